// tokenizer.model: SentencePiece's binary form; with what is read, a text is encoded and decoded.
#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"
#include "graft/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static fuzz::FuzzedFile input("tokenizer.model");
  input.put(fuzz::text_of(data, size));
  fuzz::accepted<FormatError>([&] {
    const text::Tokenizer tokenizer = text::Tokenizer::load(input.path());
    const std::vector<int64_t> ids = tokenizer.encode("Some words, 12 é😀\n");
    for (const int64_t id : ids)
      fuzz::require(id >= 0 && id < tokenizer.vocab_size(), "ids are those of the vocabulary");
    (void)tokenizer.decode(ids);
  });
  return 0;
}
