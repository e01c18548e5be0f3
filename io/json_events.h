// JSON as a stream of events: for texts too large for a tree (safetensors headers, shard indexes).
//
// The handler keeps what it wants in its own structs; memory is bounded by what it keeps and by the
// set of keys of the objects that are open.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "graft/io/json.h"

namespace graft::io {

/// Is told of each piece of a JSON text in order. Strings may be moved from. To stop, throw.
class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  virtual void null() = 0;
  virtual void boolean(bool value) = 0;
  /// A whole number below zero.
  virtual void negative(int64_t value) = 0;
  virtual void integer(uint64_t value) = 0;
  /// A number with point or exponent, or a whole one beyond 64 bits. Always finite.
  virtual void number(double value) = 0;
  virtual void text(std::string& value) = 0;
  virtual void begin_object() = 0;
  virtual void key(std::string& name) = 0;
  virtual void end_object() = 0;
  virtual void begin_array() = 0;
  virtual void end_array() = 0;

  /// Byte offset in the file just behind the piece that is being told of.
  int64_t offset() const { return *offset_; }

 private:
  friend class JsonParser;
  const int64_t* offset_ = nullptr;
};

/// Parses `text`, which starts at byte `file_offset` of `file`, with the checks of parse_json.
void parse_json_events(std::string_view text, std::string_view file, const JsonLimits& limits,
                       JsonHandler& handler, int64_t file_offset = 0);

}  // namespace graft::io
