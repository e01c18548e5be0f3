#include "graft/cli/model_folder.h"

#include <algorithm>
#include <string>

#include "graft/io/file.h"
#include "graft/io/folder_commit.h"
#include "graft/io/gguf_model.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* generation_config_name = "generation_config.json";
constexpr int64_t most_config_bytes = int64_t{1} << 20;

/// True for a file that would be taken for a part of the model that is written.
bool is_part_of_model(std::string_view name) {
  const auto tokenizer_files = text::Tokenizer::file_names();
  return models::is_weight_file(name) || name == generation_config_name ||
         std::ranges::find(tokenizer_files, name) != tokenizer_files.end();
}

int64_t bytes_in(const fs::path& folder) {
  int64_t nbytes = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file())
      nbytes += static_cast<int64_t>(entry.file_size());
  return nbytes;
}

}  // namespace

int64_t write_model_folder(nn::CausalLM& model, const ModelFolder& folder,
                           const models::SaveOptions& options) {
  const RunFolder run_folder(folder.out, folder.policy);
  io::FilesCommit commit(run_folder.path());
  if (folder.tokenizer != nullptr)
    folder.tokenizer->save(commit.path());
  if (!folder.generation_config.empty())
    io::write_file_atomically(commit.path() / generation_config_name,
                              io::read_file(folder.generation_config, most_config_bytes));
  models::save_pretrained(model, commit.path(), options);
  if (folder.check)
    folder.check(commit.path());
  const int64_t nbytes = bytes_in(commit.path());
  commit.commit("config.json", is_part_of_model);
  return nbytes;
}

fs::path generation_config_of(const fs::path& model) {
  const fs::path path = model / generation_config_name;
  return fs::is_directory(model) && fs::exists(path) ? path : fs::path();
}

int64_t weight_bytes(const fs::path& model) {
  int64_t nbytes = 0;
  if (fs::is_regular_file(model)) {
    const io::GgufModel gguf(model);
    for (const auto& part : gguf.files())
      nbytes += static_cast<int64_t>(fs::file_size(part->path()));
    return nbytes;
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(model)) {
    const std::string name = entry.path().filename().string();
    if (models::is_weight_file(name) && name.ends_with(".safetensors"))
      nbytes += static_cast<int64_t>(fs::file_size(entry.path()));
  }
  return nbytes;
}

}  // namespace graft::cli
