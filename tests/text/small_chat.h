// A tokenizer whose tokens are single characters and a few special tokens, so that masks can be
// read.
#pragma once

#include <string>

#include "graft/tests/support/test.h"
#include "graft/text/sample.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

/// Writes a tokenizer with the specials <s> (bos, before every text), </s> (eos), <|user|>,
/// <|assistant|>, <|end|> and the chat template, if any, into the folder.
void write_small_tokenizer(const test::TemporaryFolder& folder, const std::string& chat_template);

/// Writes a text into a file.
void write_text(const std::filesystem::path& path, const std::string& text);

/// The sample's text with [ ] around what carries loss.
std::string masked_text(const Tokenizer& tokenizer, const Sample& sample);

/// Ends each turn with <|end|> and a newline.
inline const std::string turns_template =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

}  // namespace graft::text
