#include "graft/tests/faults/file_kinds.h"

#include "graft/io/gguf.h"
#include "graft/io/tensor_source.h"
#include "graft/peft/config.h"
#include "graft/tests/support/command.h"
#include "graft/text/tokenizer.h"

namespace graft::test {

std::vector<FileKind> file_kinds() {
  using Path = std::filesystem::path;
  const auto content = [](const char* name) { return content_of(golden(name)); };
  return {
      {.name = "model.safetensors",
       .content = content("safetensors/all_dtypes.safetensors"),
       .read = [](const Path& file) { io::open_checkpoint(file, io::Access::read); }},
      {.name = "model.safetensors.index.json",
       .content = content("models/sharded/model.safetensors.index.json"),
       .read = [](const Path& file) { io::open_checkpoint(file.parent_path()); }},
      {.name = "model.gguf",
       .content = content("small.gguf"),
       .read = [](const Path& file) { io::GgufFile gguf(file); }},
      {.name = "adapter_config.json",
       .content = content("peft_files/patterns/adapter_config.json"),
       .read = [](const Path& file) { peft::read_lora_config(file); },
       .is_tree = true},
      {.name = "tokenizer.json",
       .content = content("tokenizers/byte_level.json"),
       .read = [](const Path& file) { text::Tokenizer::load(file); },
       .is_tree = true},
  };
}

size_t FileKind::needed_bytes() const {
  if (!name.ends_with(".gguf"))
    return content.find_last_not_of('\n') + 1;
  ChangingFile file(*this);
  const io::GgufFile gguf(file.path());
  const auto whole = gguf.file()->bytes();
  return static_cast<size_t>(&gguf.tensors().back().bytes.back() - whole.data()) + 1;
}

ChangingFile::ChangingFile(const FileKind& kind) : FuzzedFile(kind.name) {
  put(kind.content);
  if (!kind.name.ends_with(".index.json"))
    return;
  for (const auto& entry : std::filesystem::directory_iterator(golden("models/sharded")))
    if (entry.path().extension() == ".safetensors")
      std::filesystem::copy_file(entry.path(), folder() / entry.path().filename());
}

}  // namespace graft::test
