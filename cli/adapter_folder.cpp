#include "graft/cli/adapter_folder.h"

#include <string_view>

#include "graft/io/folder_commit.h"
#include "graft/peft/adapter_file.h"

namespace graft::cli {
namespace {

/// True for the files of an adapter.
bool is_part_of_adapter(std::string_view name) {
  return name == peft::adapter_config_name || name == peft::adapter_model_name ||
         name == "adapter_model.bin" || name == "README.md" || name == combine_search_name;
}

}  // namespace

void write_adapter_folder(const AdapterFolder& folder,
                          const std::function<void(const std::filesystem::path&)>& write) {
  check_out_folder(folder.out, folder.policy, folder.inputs);
  const RunFolder run_folder(folder.out, folder.policy);
  io::FilesCommit commit(run_folder.path());
  write(commit.path());
  commit.commit(peft::adapter_config_name, is_part_of_adapter);
}

}  // namespace graft::cli
