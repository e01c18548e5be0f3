// A GGUF file: every value in every form it can be asked for, every tensor, and the tokenizer.
#include "graft/io/gguf.h"

#include <cstring>

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"
#include "graft/text/tokenizer.h"

namespace graft {
namespace {

void read_values(const io::GgufFile& file) {
  for (const std::string& key : file.keys()) {
    (void)file.described(key);
    const auto ask = [](const auto& read) { fuzz::accepted<FormatError>(read); };
    ask([&] { (void)file.integer(key); });
    ask([&] { (void)file.integers(key); });
    ask([&] { (void)file.number(key); });
    ask([&] { (void)file.numbers(key); });
    ask([&] { (void)file.boolean(key); });
    ask([&] { (void)file.booleans(key); });
    ask([&] { (void)file.text(key); });
    ask([&] { (void)file.texts(key); });
  }
}

/// Touches all bytes.
int64_t sum_of(const io::GgufFile& file) {
  int64_t sum = 0;
  for (const io::GgufTensor& tensor : file.tensors()) {
    fuzz::require(file.contains(tensor.name), "a tensor is found by its name");
    for (const std::byte byte : tensor.bytes)
      sum += std::to_integer<int64_t>(byte);
  }
  return sum;
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static fuzz::FuzzedFile input("model.gguf");
  input.put(fuzz::text_of(data, size));
  fuzz::accepted<FormatError>([&] {
    const io::GgufFile file(input.path());
    read_values(file);
    fuzz::require(sum_of(file) <= 255 * static_cast<int64_t>(size),
                  "no byte of the file belongs to two tensors");
    const text::Tokenizer tokenizer = text::Tokenizer::from_gguf(file);
    fuzz::accepted<FormatError>([&] { tokenizer.decode(tokenizer.encode("Some words, 12.")); });
  });
  return 0;
}
