#include <algorithm>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/io/json_events.h"
#include "graft/text/text_pattern.h"
#include "graft/text/tokenizer_definition.h"

namespace graft::text {
namespace {

// The largest tokenizers of today have 35 MB.
constexpr io::JsonLimits limits{.max_bytes = int64_t{256} << 20};
// What is not vocabulary or merges is a tree, whose values take fifty bytes each. Tokenizers with
// ten thousand added tokens have a hundred thousand.
constexpr int64_t max_values = 4'000'000;
constexpr int64_t max_stages = 256;  // each of which every text goes through
constexpr std::string_view stages[] = {"normalizer", "pre_tokenizer", "post_processor", "decoder"};

/// Takes the vocabulary and the merges into plain lists, which as a tree would need many times the
/// memory, and everything else into a tree.
class TokenizerJsonReader final : public io::JsonHandler {
 public:
  explicit TokenizerJsonReader(TokenizerDefinition& definition) : definition_(definition) {}
  const io::Json& tree() const { return tree_; }

  void null() override { value(io::Json(nullptr)); }
  void boolean(bool value_) override { value(io::Json(value_)); }
  void negative(int64_t value_) override { value(io::Json(value_)); }
  void number(double value_) override { value(io::Json(value_)); }
  void integer(uint64_t id) override {
    if (part_ != Part::vocabulary)
      return value(io::Json(id));
    definition_.vocabulary.emplace_back(
        std::move(token_), static_cast<int64_t>(std::min<uint64_t>(id, Vocabulary::max_ids)));
  }
  void text(std::string& text) override {
    if (part_ == Part::merges)
      merge_text(text);
    else
      value(io::Json(std::move(text)));
  }
  void key(std::string& name) override {
    if (part_ == Part::vocabulary)
      token_ = std::move(name);
    else
      key_ = std::move(name);
  }
  void begin_object() override {
    if (enter(Part::vocabulary, "vocab"))
      return;
    if (part_ == Part::merges)
      fail("a merge is two tokens");
    descend(io::Json::object());
  }
  void begin_array() override {
    // A list of scored tokens is a vocabulary of another kind of model, which is refused by name.
    if (enter(Part::skipped, "vocab") || enter(Part::merges, "merges"))
      return;
    pair_.clear();
    descend(io::Json::array());
  }
  void end_object() override { leave(); }
  void end_array() override {
    if (part_ == Part::merges && depth_ == 2) {
      if (pair_.size() != 2)
        fail("a merge is two tokens");
      definition_.merges.push_back({std::move(pair_[0]), std::move(pair_[1])});
    }
    leave();
  }

 private:
  enum class Part { tree, vocabulary, merges, skipped };

  [[noreturn]] void fail(std::string_view what) const {
    throw FormatError(definition_.file, offset(), what);
  }

  bool enter(Part part, std::string_view member) {
    if (part_ != Part::tree || open_.size() != 2 || open_[1] != model_ || key_ != member)
      return false;
    part_ = part;
    depth_ = 1;
    return true;
  }

  void descend(io::Json container) {
    if (part_ != Part::tree) {
      ++depth_;
      if (part_ == Part::vocabulary || (part_ == Part::merges && depth_ > 2))
        fail("a token is a text");
      return;
    }
    const bool is_model = open_.size() == 1 && key_ == "model";
    open_.push_back(add(std::move(container)));
    if (is_model)
      model_ = open_.back();
  }

  void leave() {
    if (part_ == Part::tree)
      open_.pop_back();
    else if (--depth_ == 0)
      part_ = Part::tree;
  }

  void value(io::Json value) {
    if (part_ == Part::tree)
      add(std::move(value));
    else if (part_ == Part::vocabulary)
      fail(concat("the id of token '", token_, "' is not a whole number of at least 0"));
    else if (part_ == Part::merges)
      fail("a merge is two tokens");
  }

  /// Pointers to open containers stay valid: a parent grows only while none of its children is
  /// open.
  io::Json* add(io::Json value) {
    if (++values_ > max_values)
      fail(concat("more than ", max_values, " values beside the vocabulary and the merges"));
    if (open_.empty()) {
      tree_ = std::move(value);
      return &tree_;
    }
    io::Json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    auto& members = parent.get_ref<io::Json::object_t&>();
    static_cast<io::Json::object_t::Container&>(members).emplace_back(std::move(key_),
                                                                      std::move(value));
    return &members.back().second;
  }

  /// "left right", as files of before 2024 have it, or one half of ["left", "right"].
  void merge_text(std::string& text) {
    if (depth_ == 2) {
      pair_.push_back(std::move(text));
      return;
    }
    if (text.starts_with("#version"))
      return;
    const size_t space = text.find(' ');
    if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos)
      fail(concat("merge '", text, "' is not two tokens with a space between them"));
    definition_.merges.push_back({text.substr(0, space), text.substr(space + 1)});
  }

  TokenizerDefinition& definition_;
  io::Json tree_;
  std::vector<io::Json*> open_;
  const io::Json* model_ = nullptr;
  std::string key_;
  Part part_ = Part::tree;
  int64_t values_ = 0;
  int depth_ = 0;  // of the containers that are open within the part
  std::string token_;
  std::vector<std::string> pair_;
};

BpeOptions read_model_options(const io::JsonObject& model) {
  if (model.text_or("type", "BPE") != "BPE")
    throw model.wrong("type", "BPE: graft has byte-pair tokenizers only; use a model with one");
  if (model.number_or("dropout", 0) != 0)
    throw model.wrong("dropout", "none: tokens may not depend on chance");
  BpeOptions options;
  options.continuing_subword_prefix = model.text_or("continuing_subword_prefix", "");
  options.end_of_word_suffix = model.text_or("end_of_word_suffix", "");
  if (model.has("unk_token"))
    options.unk_token = model.text("unk_token");
  options.fuse_unk = model.boolean_or("fuse_unk", false);
  options.byte_fallback = model.boolean_or("byte_fallback", false);
  options.ignore_merges = model.boolean_or("ignore_merges", false);
  refuse_unasked_options(model);
  return options;
}

AddedToken read_added_token(const io::JsonObject& token) {
  AddedToken result;
  result.content = token.text("content");
  result.id = token.integer("id", {.min = 0, .max = Vocabulary::max_ids - 1});
  result.single_word = token.boolean_or("single_word", false);
  result.lstrip = token.boolean_or("lstrip", false);
  result.rstrip = token.boolean_or("rstrip", false);
  result.special = token.boolean_or("special", false);
  result.normalized = token.boolean_or("normalized", !result.special);
  return result;
}

/// Stages of a pipeline, and whatever else in it has a type.
int64_t count_stages(const io::Json& json) {
  int64_t count = json.is_object() && json.contains("type") ? 1 : 0;
  for (const io::Json& inner : json)
    if (inner.is_structured())
      count += count_stages(inner);
  return count;
}

std::string json_text(std::string_view text) {
  return io::to_text(io::Json(text), -1);
}

io::Json to_json(const AddedToken& token) {
  return {{"id", token.id},          {"content", token.content}, {"single_word", token.single_word},
          {"lstrip", token.lstrip},  {"rstrip", token.rstrip},   {"normalized", token.normalized},
          {"special", token.special}};
}

std::string model_json(const TokenizerDefinition& definition) {
  const BpeOptions& options = definition.options;
  const auto truth = [](bool value) { return value ? "true" : "false"; };
  std::string out = concat(
      R"({"type": "BPE", "dropout": null, "unk_token": )",
      options.unk_token ? json_text(*options.unk_token) : "null",
      R"(, "continuing_subword_prefix": )", json_text(options.continuing_subword_prefix),
      R"(, "end_of_word_suffix": )", json_text(options.end_of_word_suffix), R"(, "fuse_unk": )",
      truth(options.fuse_unk), R"(, "byte_fallback": )", truth(options.byte_fallback),
      R"(, "ignore_merges": )", truth(options.ignore_merges), ",\n\"vocab\": {");
  const char* separator = "\n";
  for (const auto& [token, id] : definition.vocabulary) {
    out += concat(separator, json_text(token), ": ", id);
    separator = ",\n";
  }
  out += "\n},\n\"merges\": [";
  separator = "\n";
  for (const auto& [left, right] : definition.merges) {
    out += concat(separator, "[", json_text(left), ", ", json_text(right), "]");
    separator = ",\n";
  }
  return out + "\n]}";
}

}  // namespace

TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path) {
  TokenizerDefinition definition;
  definition.file = path.string();
  TokenizerJsonReader reader(definition);
  io::parse_json_events(io::read_file(path, limits.max_bytes), definition.file, limits, reader);
  const io::JsonObject root(reader.tree(), definition.file);
  if (root.text_or("version", "1.0") != "1.0")
    throw root.wrong("version", "1.0");
  definition.options = read_model_options(root.object("model"));
  if (definition.vocabulary.empty())
    throw FormatError(definition.file, -1, "model.vocab is missing or empty");
  if (root.has("added_tokens"))
    for (const io::JsonObject& token : root.objects("added_tokens"))
      definition.added_tokens.push_back(read_added_token(token));
  io::Json pipeline = io::Json::object();
  for (const std::string_view stage : stages)
    if (root.has(stage))
      pipeline[std::string(stage)] = root.value(stage);
  if (count_stages(pipeline) > max_stages)
    throw FormatError(definition.file, -1,
                      concat("a pipeline of more than ", max_stages, " stages"));
  definition.pipeline = io::to_text(pipeline);
  return definition;
}

std::string to_tokenizer_json(const TokenizerDefinition& definition) {
  const io::Json pipeline = io::parse_json(definition.pipeline, definition.file);
  std::string out = R"({"version": "1.0", "truncation": null, "padding": null)";
  io::Json added_tokens = io::Json::array();
  for (const AddedToken& token : definition.added_tokens)
    added_tokens.push_back(to_json(token));
  out += concat(",\n\"added_tokens\": ", io::to_text(added_tokens));
  for (const std::string_view stage : stages)
    out += concat(",\n\"", stage, "\": ",
                  pipeline.contains(stage) ? io::to_text(pipeline[std::string(stage)]) : "null");
  return out + ",\n\"model\": " + model_json(definition) + "}\n";
}

}  // namespace graft::text
