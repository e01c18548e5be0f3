// graft convert: writes the model of a GGUF file as a Hugging Face folder.

#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/model_folder.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/terminal.h"
#include "graft/io/file.h"
#include "graft/models/load.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {
namespace {

struct ConvertFlags {
  std::string from, out;
  std::string to = "hf";
  std::string dtype = "f32";
  bool overwrite = false;
  bool json = false;
};

void convert(const ConvertFlags& values) {
  const OutPolicy policy = values.overwrite ? OutPolicy::replace_files : OutPolicy::no_files;
  check_out_folder(values.out, policy, {values.from});
  const DType dtype = dtype_named(values.dtype);
  const int64_t parameters = models::describe(values.from).parameters;
  io::check_free_space(values.out, parameters * static_cast<int64_t>(element_size(dtype)));
  const text::Tokenizer tokenizer = text::Tokenizer::load(values.from);
  const auto model = models::load(values.from, load_options(dtype));
  const int64_t nbytes = write_model_folder(
      *model, {.out = values.out, .policy = policy, .tokenizer = &tokenizer}, {.dtype = dtype});
  if (values.json) {
    const io::Json json = {{"out", values.out},
                           {"parameters", parameters},
                           {"dtype", values.dtype},
                           {"bytes", nbytes}};
    std::cout << io::to_text(json) << "\n";
    return;
  }
  std::cout << "wrote " << values.out << ": " << grouped(parameters) << " parameters as "
            << values.dtype << ", tokenizer and configuration, " << byte_text(nbytes) << "\n";
}

}  // namespace

ExitCode run_convert(Arguments arguments) {
  ConvertFlags values;
  Flags flags("convert",
              "Writes the model and the tokenizer of a GGUF file as a Hugging Face folder, which "
              "graft, transformers and PEFT load. Quantised weights are decoded exactly to f32; "
              "--dtype bf16 rounds them.");
  flags.add("from", values.from, "FILE.gguf", "what to convert");
  flags.choice("to", values.to, {"hf"}, "the form to write");
  flags.add("out", values.out, "DIR", "the folder to write");
  flags.choice("dtype", values.dtype, {"f32", "bf16"}, "of the weights in the file");
  flags.add("overwrite", values.overwrite, "replace the model in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  flags.examples({"graft convert --from model.gguf --out model"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("from", "a GGUF file");
  flags.require("out", "the folder to write");
  convert(values);
  return ExitCode::done;
}

}  // namespace graft::cli
