// graft quantize: writes a model with its linear layers in 4 bits, as bitsandbytes stores them.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/model_folder.h"
#include "graft/cli/module_errors.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/file.h"
#include "graft/models/load.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

struct QuantizeFlags {
  ModelFlags model;
  std::string out;
  std::string dtype = "keep";
  bool overwrite = false;
  bool json = false;
};

/// What became of a model.
struct Result {
  int64_t parameters = 0;
  int64_t quantized = 0;  ///< of them in 4 bits
  DType dtype = DType::f32;
  int64_t bytes_before = 0;
  int64_t bytes_after = 0;
  ModuleErrors errors{};
  quant::Format format{};

  double bits_per_weight() const {
    const auto dense = static_cast<double>(parameters - quantized);
    const double bits = static_cast<double>(quantized) * quant::bits_per_number(format) +
                        dense * 8 * static_cast<double>(element_size(dtype));
    return bits / static_cast<double>(parameters);
  }
};

void add(const models::QuantizationError& error, Result& result) {
  result.errors.add(error.weight, error.relative);
  result.quantized += error.numbers;
}

void print(const QuantizeFlags& values, const Result& result) {
  const Terminal terminal = terminal_of(1);
  Panel panel("graft quantize " + values.model.model);
  panel.row("weights", grouped(result.quantized) + " of " + grouped(result.parameters) + " as " +
                           quant::to_string(result.format) + "; the rest as " +
                           concat(result.dtype));
  panel.row("size", byte_text(result.bytes_before) + " -> " + byte_text(result.bytes_after) + ", " +
                        fixed_text(result.bits_per_weight(), 2) + " bits a weight, " +
                        fixed_text(quant::bits_per_number(result.format), 2) + " of the quantised");
  panel.row("written", values.out);
  std::cout << panel.text(terminal) << "\n";
  std::cout << table(result.errors.rows("error"), terminal) << "\n"
            << "error: ||w - q|| / ||w|| of a weight and its 4-bit form, the mean over the count\n";
}

void print_json(const QuantizeFlags& values, const Result& result) {
  const io::Json json = {{"out", values.out},
                         {"format", quant::to_string(result.format)},
                         {"dtype", concat(result.dtype)},
                         {"parameters", result.parameters},
                         {"quantized_parameters", result.quantized},
                         {"bits_per_weight", result.bits_per_weight()},
                         {"bytes_before", result.bytes_before},
                         {"bytes_after", result.bytes_after},
                         {"modules", result.errors.json()}};
  std::cout << io::to_text(json) << "\n";
}

Result quantize(const QuantizeFlags& values) {
  const std::string& path = values.model.model;
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
  check_out_folder(values.out, policy, {path});
  const models::Description description = models::describe(path);
  GRAFT_CHECK(description.quantized == 0, ConfigError, "quantize: ", path,
              " is quantised already, as ", quant::to_string(description.info.quant.format()),
              "; give the model as it was before");
  Result result{
      .parameters = description.parameters,
      .dtype = values.dtype == "keep" ? description.file_dtype : dtype_named(values.dtype),
      .bytes_before = weight_bytes(path),
      .format = quant_config(values.model).format()};
  const std::optional<text::Tokenizer> tokenizer = load_tokenizer(path);
  const auto model = models::load(path, {.dtype = result.dtype,
                                         .quant = quant_config(values.model),
                                         .on_quantized = [&](const auto& e) { add(e, result); },
                                         .progress = loading_progress()});
  io::check_free_space(values.out, static_cast<int64_t>(static_cast<double>(result.parameters) *
                                                        result.bits_per_weight() / 8));
  write_model_folder(*model,
                     {.out = values.out,
                      .policy = policy,
                      .tokenizer = tokenizer ? &*tokenizer : nullptr,
                      .generation_config = generation_config_of(path)},
                     {.dtype = result.dtype});
  result.bytes_after = weight_bytes(values.out);
  return result;
}

}  // namespace

ExitCode run_quantize(Arguments arguments) {
  QuantizeFlags values;
  values.model.quant = "nf4";
  Flags flags("quantize",
              "Writes a model with its linear layers in 4 bits, as a folder that graft and "
              "transformers with bitsandbytes load. The head and the embedding stay as they are.");
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the model to quantise: a Hugging Face folder or a GGUF file");
  add_quant_flags(flags, values.model, {"nf4", "fp4"});
  flags.add("out", values.out, "DIR", "the folder to write");
  flags.choice("dtype", values.dtype, {"keep", "f32", "bf16"},
               "of what stays; keep: as the model's files have it");
  flags.add("overwrite", values.overwrite, "replace the model in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  flags.examples({"graft quantize --model MODEL --quant nf4 --out model-nf4"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("out", "the folder to write");
  apply_model_flags(flags, values.model);
  const Result result = quantize(values);
  if (values.json)
    print_json(values, result);
  else
    print(values, result);
  return ExitCode::done;
}

}  // namespace graft::cli
