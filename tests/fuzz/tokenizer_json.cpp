// tokenizer.json; with what is read, texts are encoded and decoded.
#include <array>
#include <string_view>

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"
#include "graft/text/tokenizer.h"

namespace graft {
namespace {

constexpr std::array<std::string_view, 5> texts{"", "Hello, world! 12 don't\n\n  é😀 <s>",
                                                "aaaaaaaaaaaaaaaa", "\r\n\t <|end|>x",
                                                "ﬁ 가 \u0301\u00a0中文 1234567890"};

void use(const text::Tokenizer& tokenizer) {
  for (const std::string_view text : texts) {
    const text::Encoding encoding = tokenizer.encode_with_offsets(text);
    fuzz::require(encoding.ids.size() == encoding.offsets.size(), "each token has its bytes");
    uint32_t before = 0;
    for (size_t i = 0; i < encoding.ids.size(); ++i) {
      const text::ByteRange range = encoding.offsets[i];
      fuzz::require(encoding.ids[i] >= 0 && encoding.ids[i] < tokenizer.vocab_size(),
                    "ids are those of the vocabulary");
      fuzz::require(before <= range.begin && range.begin <= range.end && range.end <= text.size(),
                    "bytes are in order and within the text");
      before = range.begin;
    }
    (void)tokenizer.decode(encoding.ids);
    (void)tokenizer.decode(encoding.ids, /*skip_special_tokens=*/true);
  }
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static fuzz::FuzzedFile input("tokenizer.json");
  input.put(fuzz::text_of(data, size));
  fuzz::accepted<FormatError>([&] {
    const text::Tokenizer tokenizer = text::Tokenizer::load(input.path());
    fuzz::accepted<FormatError>([&] { use(tokenizer); });
  });
  return 0;
}
