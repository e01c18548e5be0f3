// graft convert: models and adapters between Hugging Face's form and GGUF's.

#include "graft/cli/convert.h"

#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/model_folder.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/file.h"
#include "graft/models/gguf_lora.h"
#include "graft/models/load.h"
#include "graft/peft/adapter_file.h"
#include "graft/tensor/error.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

enum class Kind { model_folder, gguf_model, adapter_folder, gguf_adapter };

Kind kind_of(const fs::path& from) {
  if (fs::is_directory(from))
    return fs::exists(from / peft::adapter_config_name) && !fs::exists(from / "config.json")
               ? Kind::adapter_folder
               : Kind::model_folder;
  const bool is_gguf = fs::is_regular_file(from) && from.extension() == ".gguf";
  return is_gguf && models::is_gguf_adapter(from) ? Kind::gguf_adapter : Kind::gguf_model;
}

/// The form to write: what --to says, else the other one of the two that there are.
std::string form_of(const ConvertFlags& values, Kind kind) {
  const bool is_adapter = kind == Kind::adapter_folder || kind == Kind::gguf_adapter;
  const bool is_gguf = kind == Kind::gguf_model || kind == Kind::gguf_adapter;
  const std::string folder_form = is_adapter ? "peft" : "hf";
  if (values.to == "auto")
    return is_gguf ? folder_form : "gguf";
  const bool can_be = values.to == folder_form || (values.to == "gguf" && !(is_adapter && is_gguf));
  GRAFT_CHECK(can_be, ConfigError, "convert: --to is ", values.to, ", but ", values.from, " is ",
              is_adapter ? "an adapter" : "a model", is_gguf ? " in GGUF's form" : "", ": ",
              is_adapter && is_gguf ? "" : "gguf or ", folder_form, " expected");
  GRAFT_CHECK(!(kind == Kind::adapter_folder && values.to == "peft"), ConfigError,
              "convert: --to is peft, and ", values.from, " is an adapter in PEFT's form already");
  return values.to;
}

void convert_to_folder(const ConvertFlags& values) {
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::no_files;
  check_out_folder(values.out, policy, {values.from});
  const models::Description description = models::describe(values.from);
  GRAFT_CHECK(values.dtype != "f16", ConfigError,
              "convert: --dtype is f16, for a Hugging Face folder keep, f32 or bf16 expected");
  const DType dtype = values.dtype == "keep" ? description.file_dtype : dtype_named(values.dtype);
  const int64_t parameters = description.parameters;
  io::check_free_space(values.out, parameters * static_cast<int64_t>(element_size(dtype)));
  const std::optional<text::Tokenizer> tokenizer = load_tokenizer(values.from, {});
  const fs::path generation_config = fs::path(values.from) / "generation_config.json";
  const auto model = models::load(values.from, load_options(dtype));
  const int64_t nbytes = write_model_folder(
      *model,
      {.out = values.out,
       .policy = policy,
       .tokenizer = tokenizer ? &*tokenizer : nullptr,
       .generation_config = fs::exists(generation_config) ? generation_config : fs::path()},
      {.dtype = dtype});
  if (values.json) {
    const io::Json json = {{"out", values.out},
                           {"parameters", parameters},
                           {"dtype", concat(dtype)},
                           {"bytes", nbytes}};
    std::cout << io::to_text(json) << "\n";
    return;
  }
  std::cout << "wrote " << values.out << ": " << grouped(parameters) << " parameters as " << dtype
            << ", " << (tokenizer ? "tokenizer and " : "") << "configuration, " << byte_text(nbytes)
            << "\n";
}

void convert(const ConvertFlags& values) {
  const Kind kind = kind_of(values.from);
  const std::string form = form_of(values, kind);
  const bool is_adapter = kind == Kind::adapter_folder || kind == Kind::gguf_adapter;
  GRAFT_CHECK(is_adapter || values.model.empty(), ConfigError, "convert: --model is for adapters, ",
              values.from, " is a model");
  const bool is_blocks = values.dtype == "q8_0" || values.dtype == "q4_0";
  GRAFT_CHECK(!is_blocks || (form == "gguf" && !is_adapter), ConfigError, "convert: --dtype is ",
              values.dtype, ", which only models in GGUF files have");
  if (kind == Kind::adapter_folder)
    convert_adapter_to_gguf(values);
  else if (kind == Kind::gguf_adapter)
    convert_adapter_to_peft(values);
  else if (form == "gguf")
    convert_model_to_gguf(values);
  else
    convert_to_folder(values);
}

}  // namespace

ExitCode run_convert(Arguments arguments) {
  ConvertFlags values;
  Flags flags(
      "convert",
      "Writes the model of a Hugging Face folder as a GGUF file, an adapter in PEFT's format "
      "as the GGUF file that llama.cpp loads as such, and the other way around.");
  flags.add("from", values.from, "PATH", "a model or an adapter: a GGUF file or a folder");
  flags.choice("to", values.to, {"auto", "hf", "peft", "gguf"},
               "the form to write; auto: a folder for a GGUF file, a GGUF file for a folder");
  flags.add("out", values.out, "DIR|FILE.gguf", "the folder or the file to write");
  flags.add("model", values.model, "DIR|FILE.gguf",
            "the model an adapter is for; its numbers are not read. Default: the one the adapter "
            "names, where that is here");
  flags.choice("dtype", values.dtype, {"keep", "f32", "f16", "bf16", "q8_0", "q4_0"},
               "of the weights that are written; keep: as they are, f32 from a GGUF model. "
               "Models have f16, q8_0 and q4_0 in GGUF files only");
  flags.add("overwrite", values.overwrite, "replace what is in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  flags.examples({"graft convert --from model.gguf --out model",
                  "graft convert --from model --out model-q8.gguf --dtype q8_0",
                  "graft convert --from my-adapter --model MODEL --out my-adapter.gguf"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("from", "a model or an adapter");
  flags.require("out", "the folder or the file to write");
  convert(values);
  return ExitCode::done;
}

}  // namespace graft::cli
