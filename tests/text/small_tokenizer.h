// A tokenizer whose tokens are single characters and a few special tokens.
#pragma once

#include <filesystem>
#include <string>

namespace graft::text {

/// Writes a text into a file.
void write_text(const std::filesystem::path& path, const std::string& text);

/// Writes a tokenizer with the specials <s> (bos, before every text), </s> (eos), <|user|>,
/// <|assistant|>, <|end|> and the chat template, if any, into the folder.
void write_small_tokenizer(const std::filesystem::path& folder, const std::string& chat_template);

/// Ends each turn with <|end|> and a newline.
inline const std::string turns_template =
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}";

}  // namespace graft::text
