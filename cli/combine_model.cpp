#include "graft/cli/combine_model.h"

#include <string_view>

#include "graft/peft/adapter_file.h"

namespace graft::cli {

namespace fs = std::filesystem;

LoadedModel load_to_combine(const ModelFlags& values, std::vector<AdapterName> adapters) {
  LoadedModel loaded;
  loaded.base = load_base(values);
  adapters.at(0).scale = 1;
  loaded.adapted = load_adapters(*loaded.base, {adapters[0]});
  for (size_t i = 1; i < adapters.size(); ++i)
    loaded.adapted->load_adapter(adapters[i].folder, adapters[i].name);
  return loaded;
}

void save_adapter(const peft::PeftModel& model, const std::string& name, const fs::path& folder) {
  model.save_pretrained(folder, {name});
  const fs::path subfolder = folder / name;
  if (!fs::exists(subfolder))
    return;  // the adapter is called "default"
  for (const std::string_view file : {peft::adapter_config_name, peft::adapter_model_name})
    fs::rename(subfolder / file, folder / file);
  fs::remove(subfolder);
}

}  // namespace graft::cli
