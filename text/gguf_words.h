// Words of the tokenizers in GGUF files: what a token is, and by the names of tokenizer.ggml.pre
// how byte-level ones cut their text. Internal to text.
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "graft/io/json.h"

namespace graft::text {

/// Values of tokenizer.ggml.token_type.
enum class GgufTokenType : int32_t { normal = 1, unknown, control, user_defined, unused, byte };

struct GgufPre {
  /// In place of a pattern: each digit apart.
  static constexpr std::string_view digits = "digits";

  std::string_view name;
  /// Patterns whose matches are cut out, one after the other.
  std::array<std::string_view, 5> cuts = {};
  /// Whether what is left is cut into the words of GPT-2.
  bool words = true;
  bool nfc = false;
  // What the format leaves to the name:
  bool ignore_merges = false;
  bool add_bos = false;
};

/// Those that graft knows. Of several names for the same the usual one comes first.
std::span<const GgufPre> gguf_pres();
/// "gpt-2, smollm, …".
std::string gguf_pre_names();

/// The stages of the pre-tokenizer in a tokenizer.json, a list.
io::Json stages_of(const GgufPre& pre, bool add_prefix_space);

}  // namespace graft::text
