#include "graft/text/post_processor.h"

#include <nlohmann/json.hpp>

#include "graft/text/text_pattern.h"

namespace graft::text {
namespace {

void append(std::vector<int64_t>& ids, const std::vector<int64_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

/// {"single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}],
///  "special_tokens": {"<s>": {"ids": [1]}}}
SpecialFrame read_template(const io::JsonObject& stage, int64_t id_limit) {
  stage.kind("pair");  // for two texts at once, which language models do not read
  const io::JsonObject tokens = stage.object("special_tokens");
  SpecialFrame frame;
  bool behind_text = false;
  for (const io::JsonObject& piece : stage.objects("single")) {
    if (piece.has("SpecialToken")) {
      const io::JsonObject token = tokens.object(piece.object("SpecialToken").text("id"));
      append(behind_text ? frame.suffix : frame.prefix,
             token.integers("ids", {.min = 0, .max = id_limit - 1}));
      continue;
    }
    if (behind_text || piece.object("Sequence").text("id") != "A")
      throw stage.wrong("single", "special tokens around one text A");
    behind_text = true;
  }
  if (!behind_text)
    throw stage.wrong("single", "special tokens around one text A");
  return frame;
}

/// ["<s>", 0]
int64_t read_token_pair(const io::JsonObject& stage, std::string_view key, int64_t id_limit) {
  const io::Json& pair = stage.value(key);
  if (!pair.is_array() || pair.size() != 2 || !pair[1].is_number_unsigned() ||
      pair[1].get<uint64_t>() >= static_cast<uint64_t>(id_limit))
    throw stage.wrong(key, "a token with its id");
  return pair[1].get<int64_t>();
}

bool adds_tokens(const SpecialFrame& frame) {
  return !frame.prefix.empty() || !frame.suffix.empty();
}

SpecialFrame read_stage(const io::JsonObject& stage, int64_t id_limit) {
  const std::string type = stage.text("type");
  SpecialFrame frame;
  if (type == "ByteLevel") {
    for (const std::string_view only_for_offsets :
         {"add_prefix_space", "trim_offsets", "use_regex"})
      stage.kind(only_for_offsets);
  } else if (type == "TemplateProcessing") {
    frame = read_template(stage, id_limit);
  } else if (type == "RobertaProcessing" || type == "BertProcessing") {
    for (const std::string_view only_for_offsets : {"add_prefix_space", "trim_offsets"})
      stage.kind(only_for_offsets);
    frame = {{read_token_pair(stage, "cls", id_limit)}, {read_token_pair(stage, "sep", id_limit)}};
  } else if (type == "Sequence") {
    for (const io::JsonObject& inner : stage.objects("processors")) {
      SpecialFrame next = read_stage(inner, id_limit);
      if (adds_tokens(frame) && adds_tokens(next))
        throw stage.wrong("processors", "one stage at most that adds special tokens");
      if (adds_tokens(next))
        frame = std::move(next);
    }
  } else {
    throw stage.wrong("type", "a post-processor that graft supports");
  }
  refuse_unasked_options(stage);
  return frame;
}

}  // namespace

SpecialFrame read_special_frame(const io::JsonObject& parent, std::string_view key,
                                int64_t id_limit) {
  return parent.has(key) ? read_stage(parent.object(key), id_limit) : SpecialFrame{};
}

}  // namespace graft::text
