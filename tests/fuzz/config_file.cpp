// The settings of --config; texts that were read are written as texts that are read as the same.
#include "graft/cli/config_file.h"

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  const std::vector<std::string> verbs{"train", "generate"};
  std::vector<cli::ConfigEntry> entries;
  fuzz::accepted<ConfigError>(
      [&] { entries = cli::parse_config(fuzz::text_of(data, size), "run.toml", "train", verbs); });
  for (const cli::ConfigEntry& entry : entries) {
    fuzz::require(!entry.key.empty() && entry.line >= 1, "a setting has a name and a line");
    for (const std::string& value : entry.values) {
      const auto again =
          cli::parse_config("key = " + cli::toml_quoted(value), "written.toml", "train", verbs);
      fuzz::require(again.size() == 1 && again[0].values == std::vector{value},
                    "a text that was written is read as the same");
    }
  }
  return 0;
}
