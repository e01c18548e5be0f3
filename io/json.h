// JSON with limits: texts of others are checked while they are parsed, and values are read by name.
//
// `parse_json` refuses what nlohmann::json lets through (deep nesting, duplicate keys, any size);
// what it returns may be copied and printed safely. `JsonObject` reads the members of an object:
// nothing wraps, nothing converts silently, and each error names the file and the key. Who uses the
// members of a Json itself includes <nlohmann/json.hpp>, in a .cpp file. For texts too large for a
// tree in memory see json_events.h.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/checked.h"
#include "graft/tensor/error.h"

namespace graft::io {

/// A JSON value whose objects keep the order of their keys.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  /// Longer texts are refused before they are parsed. A tree takes about 20 times the text.
  int64_t max_bytes = int64_t{1} << 20;
  /// Arrays and objects inside each other; `[[1]]` has depth 2.
  int max_depth = 64;
};

/// The value that `text` (UTF-8) holds. Throws FormatError with `file` and the byte offset where
/// the text is not valid JSON or UTF-8, names a key twice in one object, or exceeds the limits.
/// Integers beyond 64 bits become floating-point numbers.
Json parse_json(std::string_view text, std::string_view file, const JsonLimits& limits = {});

/// parse_json of a file's content. Throws IoError where the file cannot be read.
Json read_json_file(const std::filesystem::path& path, const JsonLimits& limits = {});

/// Text with `indent` spaces a level, or on one line where it is negative; no newline at the end.
/// Strings that are not valid UTF-8 get U+FFFD in place of the bad bytes.
std::string to_text(const Json& json, int indent = 2);

/// What a member is. `integer` is any whole number written without point or exponent.
enum class JsonKind { absent, null, boolean, integer, number, text, array, object };

/// Reads the members of a JSON object by name. Refers to the Json, which must outlive it.
///
/// Each accessor throws FormatError, "config.json: rope_scaling.factor is "big", expected a
/// number", where the member is missing or of another kind. The forms with a fallback return it
/// where the member is missing or null, and throw where it is of another kind all the same.
class JsonObject {
 public:
  /// `path` is where the object stands in the file, e.g. "rope_scaling"; empty for the whole file.
  /// Throws FormatError where `json` is no object.
  JsonObject(const Json& json, std::string_view file, std::string_view path = "");
  JsonObject(Json&& json, std::string_view file, std::string_view path = "") = delete;

  JsonKind kind(std::string_view key) const;
  /// True where the member is there and not null.
  bool has(std::string_view key) const;
  /// All keys, in the order of the file. Counts as asking for none of them.
  std::vector<std::string> keys() const;
  /// The keys that no accessor has been asked for so far: what the caller does not understand.
  std::vector<std::string> unasked() const;

  int64_t integer(std::string_view key, IntegerRange range = {}) const;
  int64_t integer_or(std::string_view key, int64_t fallback, IntegerRange range = {}) const;
  /// Whole numbers are numbers too.
  double number(std::string_view key) const;
  double number_or(std::string_view key, double fallback) const;
  bool boolean(std::string_view key) const;
  bool boolean_or(std::string_view key, bool fallback) const;
  std::string text(std::string_view key) const;
  std::string text_or(std::string_view key, std::string_view fallback) const;

  /// A member that is itself an object.
  JsonObject object(std::string_view key) const;
  /// A list of objects, integers, numbers or texts; every element is checked.
  std::vector<JsonObject> objects(std::string_view key) const;
  std::vector<int64_t> integers(std::string_view key, IntegerRange range = {}) const;
  std::vector<double> numbers(std::string_view key) const;
  std::vector<std::string> texts(std::string_view key) const;

  /// The member as it is, of any kind.
  const Json& value(std::string_view key) const;

  const std::string& file() const { return file_; }
  /// "rope_scaling.factor": where a member stands in the file.
  std::string path_of(std::string_view key) const;
  /// An error about a member, for the caller to throw: "FILE: PATH is VALUE, expected EXPECTED".
  FormatError wrong(std::string_view key, std::string_view expected) const;

 private:
  const Json* find(std::string_view key) const;
  /// The member, or nullptr where it is missing or null.
  const Json* find_set(std::string_view key) const;
  const Json& array(std::string_view key) const;

  const Json* json_;
  std::string file_;
  std::string path_;
  mutable std::set<std::string, std::less<>> asked_;
};

}  // namespace graft::io
