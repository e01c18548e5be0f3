#include "graft/io/json.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/json_events.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

/// Reads a text byte by byte and writes down how far it is.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, int64_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*count_;
    return *this;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }

 private:
  const char* at_;
  int64_t* count_;
};

/// What nlohmann says, without its exception number and its place: the error has one of its own,
/// which is that of the file.
std::string readable(std::string_view what) {
  const size_t bracket = what.find("] ");
  if (what.starts_with('[') && bracket != std::string_view::npos)
    what.remove_prefix(bracket + 2);
  const size_t colon = what.find(": ");
  if (what.starts_with("parse error at ") && colon != std::string_view::npos)
    what.remove_prefix(colon + 2);
  return printable(what);
}

}  // namespace

/// Stands between nlohmann's parser and a handler: counts the depth, sees duplicate keys.
class JsonParser {
 public:
  JsonParser(std::string_view text, std::string_view file, const JsonLimits& limits,
             JsonHandler& handler, int64_t file_offset)
      : text_(text),
        file_(file),
        limits_(limits),
        handler_(handler),
        file_offset_(file_offset),
        offset_(file_offset) {
    handler.offset_ = &offset_;
  }
  ~JsonParser() { handler_.offset_ = nullptr; }
  JsonParser(const JsonParser&) = delete;
  JsonParser& operator=(const JsonParser&) = delete;

  void run() {
    if (std::cmp_greater(text_.size(), limits_.max_bytes))
      throw FormatError(
          file_, file_offset_,
          concat("JSON of ", text_.size(), " bytes, at most ", limits_.max_bytes, " are read"));
    const char* begin = text_.data();
    Json::sax_parse(CountingIterator(begin, &offset_),
                    CountingIterator(begin + text_.size(), &offset_), this);
    // A NUL byte is the end of the text to nlohmann, whatever follows.
    const int64_t parsed = offset_ - file_offset_;
    if (std::cmp_not_equal(parsed, text_.size()) || text_.ends_with('\0'))
      throw FormatError(file_, offset_ - 1, "not valid JSON: a NUL byte behind the value");
  }

  // The names and types that nlohmann's sax_parse calls.
  using string_t = std::string;
  using number_integer_t = int64_t;
  using number_unsigned_t = uint64_t;
  using number_float_t = double;
  using binary_t = Json::binary_t;

  bool null() {
    handler_.null();
    return true;
  }
  bool boolean(bool value) {
    handler_.boolean(value);
    return true;
  }
  bool number_integer(int64_t value) {
    if (value < 0)
      handler_.negative(value);
    else
      handler_.integer(static_cast<uint64_t>(value));
    return true;
  }
  bool number_unsigned(uint64_t value) {
    handler_.integer(value);
    return true;
  }
  bool number_float(double value, const std::string&) {
    handler_.number(value);
    return true;
  }
  bool string(std::string& value) {
    handler_.text(value);
    return true;
  }
  bool binary(binary_t&) { return false; }
  bool start_object(size_t) {
    descend();
    keys_.emplace_back();
    handler_.begin_object();
    return true;
  }
  bool key(std::string& name) {
    if (!keys_.back().insert(name).second)
      throw FormatError(file_, offset_, concat("key '", printable(name), "' is there twice"));
    handler_.key(name);
    return true;
  }
  bool end_object() {
    --depth_;
    keys_.pop_back();
    handler_.end_object();
    return true;
  }
  bool start_array(size_t) {
    descend();
    handler_.begin_array();
    return true;
  }
  bool end_array() {
    --depth_;
    handler_.end_array();
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // nlohmann counts the byte it stumbled over, and one more at the end of the text.
    const auto at =
        std::min(static_cast<int64_t>(position) - 1, static_cast<int64_t>(text_.size()));
    throw FormatError(file_, file_offset_ + std::max<int64_t>(at, 0),
                      "not valid JSON: " + readable(error.what()));
  }

 private:
  void descend() {
    if (++depth_ > limits_.max_depth)
      throw FormatError(file_, offset_,
                        concat("JSON is nested more than ", limits_.max_depth, " levels deep"));
  }

  std::string_view text_;
  std::string_view file_;
  JsonLimits limits_;
  JsonHandler& handler_;
  int64_t file_offset_;
  int64_t offset_;
  int depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
};

namespace {

class TreeBuilder final : public JsonHandler {
 public:
  void null() override { add(Json(nullptr)); }
  void boolean(bool value) override { add(Json(value)); }
  void negative(int64_t value) override { add(Json(value)); }
  void integer(uint64_t value) override { add(Json(value)); }
  void number(double value) override { add(Json(value)); }
  void text(std::string& value) override { add(Json(std::move(value))); }
  void begin_object() override { open_.push_back(add(Json::object())); }
  void key(std::string& name) override { key_ = std::move(name); }
  void end_object() override { open_.pop_back(); }
  void begin_array() override { open_.push_back(add(Json::array())); }
  void end_array() override { open_.pop_back(); }

  Json take() { return std::move(root_); }

 private:
  /// The pointers in `open_` stay valid: a parent grows only while none of its children is open.
  Json* add(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      auto& elements = parent.get_ref<Json::array_t&>();
      elements.push_back(std::move(value));
      return &elements.back();
    }
    // The members as the vector they are: ordered_json itself would compare the key with all others
    // again, which takes quadratic time.
    Json::object_t::Container& members = parent.get_ref<Json::object_t&>();
    members.emplace_back(std::move(key_), std::move(value));
    return &members.back().second;
  }

  Json root_;
  std::vector<Json*> open_;
  std::string key_;
};

}  // namespace

void parse_json_events(std::string_view text, std::string_view file, const JsonLimits& limits,
                       JsonHandler& handler, int64_t file_offset) {
  JsonParser(text, file, limits, handler, file_offset).run();
}

Json parse_json(std::string_view text, std::string_view file, const JsonLimits& limits) {
  TreeBuilder builder;
  parse_json_events(text, file, limits, builder);
  return builder.take();
}

Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits) {
  return parse_json(read_file(path, limits.max_bytes), path.string(), limits);
}

std::string to_text(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace graft::io
