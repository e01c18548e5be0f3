// The special tokens that a tokenizer puts around a text ("<s>" before it, say).
//
// Read from the "post_processor" of a tokenizer.json: TemplateProcessing BertProcessing
// RobertaProcessing ByteLevel Sequence. Others are refused by name.
#pragma once

#include <cstdint>
#include <vector>

#include "graft/io/json.h"

namespace graft::text {

/// Ids before and behind a text.
struct SpecialFrame {
  std::vector<int64_t> prefix;
  std::vector<int64_t> suffix;
};

/// What the member `key` puts around a single text; nothing where that is missing or null. Throws
/// FormatError where it is not supported or names an id that is not below `id_limit`.
SpecialFrame read_special_frame(const io::JsonObject& parent, std::string_view key,
                                int64_t id_limit);

}  // namespace graft::text
