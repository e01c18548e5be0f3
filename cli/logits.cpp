// graft logits: the logits of a model on given token ids, for comparing implementations.

#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <vector>

#include "graft/autograd/tape.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/safetensors.h"
#include "graft/tensor/error.h"
#include "graft/text/line_reader.h"

namespace graft::cli {
namespace {

/// The ids of each line's "input_ids".
std::vector<std::vector<int64_t>> read_ids(const std::string& path, int64_t vocab_size) {
  std::vector<std::vector<int64_t>> records;
  text::LineReader lines(path);
  while (const std::optional<std::string> line = lines.next()) {
    if (line->find_first_not_of(" \t") == line->npos)
      continue;
    const std::string where = concat(path, ":", lines.line());
    const io::Json json = io::parse_json(*line, where);
    records.push_back(io::JsonObject(json, where).integers("input_ids", {0, vocab_size - 1}));
    if (records.back().empty())
      throw FormatError::at_line(path, lines.line(), "input_ids is empty, expected an id");
  }
  if (records.empty())
    throw FormatError(path, -1,
                      "there is no record, expected lines such as {\"input_ids\": [1, 2]}");
  return records;
}

Tensor logits_of(const nn::CausalLM& model, const std::vector<int64_t>& ids) {
  const NoGrad no_grad;
  const auto count = static_cast<int64_t>(ids.size());
  const Tensor logits = model.logits(Tensor::from(ids, {1, count}), {}).value();
  return logits.contiguous().view({count, -1}).to(DType::f32);
}

}  // namespace

ExitCode run_logits(Arguments arguments) {
  ModelFlags model_flags;
  std::string data, out;
  bool as_json = false;
  Flags flags("logits",
              "Writes the logits of each record as the tensors logits.0, logits.1 … of shape "
              "(tokens, vocabulary) in f32, to compare graft with other implementations.");
  add_model_flags(flags, model_flags);
  flags.group("Data");
  flags.add("data", data, "FILE.jsonl", "lines of {\"input_ids\": [1, 2, 3]}");
  flags.add("out", out, "FILE.safetensors", "the file to write; an older one is replaced");
  flags.add("json", as_json, "print the result as one JSON object");
  flags.config_file();
  flags.not_a_setting("json");
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("data", "a .jsonl file with input_ids");
  flags.require("out", "the .safetensors file to write");
  apply_model_flags(flags, model_flags);
  std::vector<std::filesystem::path> inputs = {model_flags.model, data};
  for (const AdapterName& adapter : adapters_of(model_flags))
    inputs.push_back(adapter.folder);
  check_out_file(out, inputs);
  const LoadedModel loaded = load_model(model_flags);
  const auto records = read_ids(data, loaded.base->info().vocab_size);
  std::vector<int64_t> lengths;
  for (const std::vector<int64_t>& ids : records)
    lengths.push_back(std::ssize(ids));
  warn_of_long_inputs(data, lengths, loaded.base->info().max_positions,
                      "their logits beyond mean little");
  std::vector<io::NamedTensor> tensors;
  for (const auto& ids : records)
    tensors.push_back({concat("logits.", tensors.size()), logits_of(loaded.model(), ids)});
  io::write_safetensors(out, tensors);
  const auto count = static_cast<int64_t>(tensors.size());
  if (as_json)
    std::cout << io::to_text({{"out", out}, {"records", count}}) << "\n";
  else
    std::cout << "wrote " << out << ": logits of " << counted(count, "record") << "\n";
  return ExitCode::done;
}

}  // namespace graft::cli
