// A safetensors file, mapped and read: both see the same, and every tensor lies within the file.
#include "graft/io/safetensors.h"

#include <algorithm>
#include <vector>

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

namespace graft {
namespace {

/// The tensors whose dtype graft has and whose values are of it.
std::vector<Tensor> tensors_of(const io::SafetensorsFile& file) {
  std::vector<Tensor> tensors;
  for (const std::string& name : file.names())
    fuzz::accepted<FormatError>([&] { tensors.push_back(file.load(name).clone()); });
  return tensors;
}

bool same(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         std::ranges::equal(a.bytes(), b.bytes());
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static fuzz::FuzzedFile input("model.safetensors");
  input.put(fuzz::text_of(data, size));
  std::vector<Tensor> mapped, read;
  const bool maps = fuzz::accepted<FormatError>(
      [&] { mapped = tensors_of(io::SafetensorsFile(input.path(), io::Access::map)); });
  const bool reads = fuzz::accepted<FormatError>([&] {
    const io::SafetensorsFile file(input.path(), io::Access::read);
    for (const io::SafetensorsEntry& entry : file.entries())
      fuzz::require(
          0 <= entry.begin && entry.begin <= entry.end && entry.end <= static_cast<int64_t>(size),
          "a tensor lies within its file");
    read = tensors_of(file);
  });
  fuzz::require(maps == reads && std::ranges::equal(mapped, read, same),
                "a file that is mapped and one that is read are the same");
  return 0;
}
