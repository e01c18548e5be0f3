#include "graft/cli/data_check.h"

#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

/// What reading a file to its end has found.
struct CheckedFile {
  io::Json json;
  int64_t faults = 0;
};

/// Prints each fault as it is found, unless the result is to be JSON.
CheckedFile check_file(const DataVerb& verb, const std::filesystem::path& path) {
  text::DatasetReader reader(path, verb.tokenizer, verb.options());
  CheckedFile result;
  io::Json messages = io::Json::array();
  const auto fault = [&](const FormatError& error) {
    ++result.faults;
    if (verb.values.json)
      messages.push_back(error.what());
    else
      std::cout << shown(error.what()) << "\n";
  };
  bool more = true;
  while (more) {
    try {
      more = reader.next().has_value();
    } catch (const FormatError& error) {
      fault(error);
      more = !reader.is_lost();
    }
  }
  const text::DatasetStats& stats = reader.stats();
  if (stats.samples == 0 && result.faults == 0)
    fault(text::no_samples(reader, path, verb.options()));
  result.json = {{"file", path.string()},
                 {"samples", stats.samples},
                 {"tokens", stats.tokens},
                 {"trained_tokens", stats.trained_tokens},
                 {"faults", messages}};
  result.json.update(losses_json(stats));
  if (!verb.values.json)
    std::cout << path.string() << ": " << counted(stats.samples, "sample") << ", "
              << counted(result.faults, "fault") << losses_text(stats, verb.values.data.max_seq_len)
              << "\n";
  return result;
}

}  // namespace

ExitCode check_data(const DataVerb& verb) {
  int64_t faults = 0;
  io::Json files = io::Json::array();
  for (const std::filesystem::path& path : verb.files) {
    CheckedFile checked = check_file(verb, path);
    faults += checked.faults;
    files.push_back(std::move(checked.json));
  }
  if (verb.values.json)
    std::cout << io::to_text({{"faults", faults}, {"files", files}}) << "\n";
  return faults == 0 ? ExitCode::done : ExitCode::bad_input;
}

}  // namespace graft::cli
