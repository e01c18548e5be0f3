#include "graft/text/aligned_text.h"

#include "graft/tensor/error.h"

namespace graft::text {

AlignedText::AlignedText(std::string_view input, ByteRange part) : text_(part.of(input)) {
  origins_.reserve(text_.size());
  for (uint32_t i = part.begin; i < part.end; ++i)
    origins_.push_back({i, i + 1});
}

void AlignedText::reserve(size_t bytes) {
  text_.reserve(bytes);
  origins_.reserve(bytes);
}

void AlignedText::append(std::string_view bytes, ByteRange origin) {
  GRAFT_CHECK(bytes.size() <= max_text_bytes - text_.size(), ConfigError,
              "tokenizer: the text grows beyond 4 GiB while it is normalised; split it");
  text_ += bytes;
  origins_.insert(origins_.end(), bytes.size(), origin);
}

void AlignedText::append(const AlignedText& other, ByteRange part) {
  GRAFT_CHECK(part.size() <= max_text_bytes - text_.size(), ConfigError,
              "tokenizer: the text grows beyond 4 GiB while it is normalised; split it");
  text_ += part.of(other.text_);
  origins_.insert(origins_.end(), other.origins_.begin() + part.begin,
                  other.origins_.begin() + part.end);
}

}  // namespace graft::text
