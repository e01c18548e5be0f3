#include "graft/text/aligned_text.h"

#include <algorithm>

#include "graft/tensor/error.h"

namespace graft::text {
namespace {

constexpr size_t most_growth = 64;
constexpr size_t always_allowed = size_t{1} << 16;

}  // namespace

AlignedText::AlignedText(std::string_view input, ByteRange part)
    : text_(part.of(input)),
      most_bytes_(std::min(max_text_bytes, most_growth * part.size() + always_allowed)) {
  origins_.reserve(text_.size());
  for (uint32_t i = part.begin; i < part.end; ++i)
    origins_.push_back({i, i + 1});
}

AlignedText AlignedText::successor() const {
  AlignedText result;
  result.most_bytes_ = most_bytes_;
  return result;
}

void AlignedText::reserve(size_t bytes) {
  text_.reserve(bytes);
  origins_.reserve(bytes);
}

void AlignedText::append(std::string_view bytes, ByteRange origin) {
  check_growth(bytes.size());
  text_ += bytes;
  origins_.insert(origins_.end(), bytes.size(), origin);
}

void AlignedText::append(const AlignedText& other, ByteRange part) {
  check_growth(part.size());
  text_ += part.of(other.text_);
  origins_.insert(origins_.end(), other.origins_.begin() + part.begin,
                  other.origins_.begin() + part.end);
}

void AlignedText::check_growth(size_t bytes) const {
  GRAFT_CHECK(bytes <= most_bytes_ - text_.size(), ConfigError, "the text grows beyond ",
              most_bytes_,
              " bytes while it is normalised; split it, or use a tokenizer that adds less");
}

}  // namespace graft::text
