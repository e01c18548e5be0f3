// model.safetensors.index.json in a folder with two shards.
#include <string>
#include <vector>

#include "graft/io/safetensors.h"
#include "graft/io/tensor_source.h"
#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

namespace graft {
namespace {

/// The folder, whose shards are there once and for all.
class Checkpoint {
 public:
  Checkpoint() {
    io::write_safetensors(index.folder() / "a.safetensors",
                          std::vector<io::NamedTensor>{{"x", Tensor::zeros({2})}});
    io::write_safetensors(index.folder() / "b.safetensors",
                          std::vector<io::NamedTensor>{{"y", Tensor::zeros({3})}});
  }
  fuzz::FuzzedFile index{"model.safetensors.index.json"};
};

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static Checkpoint checkpoint;
  checkpoint.index.put(fuzz::text_of(data, size));
  // A shard that is not there is an IoError.
  fuzz::accepted<FormatError, IoError>([&] {
    const auto source = io::open_checkpoint(checkpoint.index.folder(), io::Access::read);
    for (const std::string& name : source->names())
      fuzz::require(
          std::filesystem::path(source->file_of(name)).parent_path() == checkpoint.index.folder() &&
              source->load(name).numel() == (name == "x" ? 2 : 3),
          "a tensor is the one of a shard in the same folder");
  });
  return 0;
}
