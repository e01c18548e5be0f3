// A tokenizer as the metadata of a GGUF file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "graft/io/gguf_write.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

/// Adds what a GGUF file says of the tokenizer of a model with `vocab_size` ids, so that what is
/// read of it has the same ids for the same texts. Returns what the format has no word for and what
/// changes nothing in ordinary texts, in words for people. Throws ConfigError where the format
/// cannot say how texts become tokens, and as Tokenizer::load does, as the tokenizer's file is read
/// again.
std::vector<std::string> add_gguf_tokenizer(io::GgufValues& values, const Tokenizer& tokenizer,
                                            int64_t vocab_size);

}  // namespace graft::text
