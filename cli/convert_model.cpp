// graft convert: a model as a GGUF file.

#include <algorithm>
#include <array>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/cli/convert.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/file.h"
#include "graft/io/folder_commit.h"
#include "graft/io/gguf_write.h"
#include "graft/models/gguf_write.h"
#include "graft/models/load.h"
#include "graft/tensor/error.h"
#include "graft/text/tokenizer.h"
#include "graft/text/tokenizer_gguf_write.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;
using quant::GgmlType;

/// What --dtype asks for; keep: the dtype of the model's files.
GgmlType type_named(const std::string& dtype, DType of_files) {
  constexpr std::array names = {std::pair("f32", GgmlType::f32), std::pair("f16", GgmlType::f16),
                                std::pair("bf16", GgmlType::bf16),
                                std::pair("q8_0", GgmlType::q8_0),
                                std::pair("q4_0", GgmlType::q4_0)};
  const std::string wanted = dtype == "keep" ? concat(of_files) : dtype;
  const auto* found = std::ranges::find_if(names, [&](const auto& n) { return n.first == wanted; });
  return found == names.end() ? GgmlType::f32 : found->second;
}

/// Throws ConfigError where the written tokenizer has other ids than the model's.
void check_tokenizer(const fs::path& file, const text::Tokenizer& tokenizer) {
  constexpr std::array<const char*, 5> probes = {
      " two  spaces and\n\n\ttabs ", "It's 12345 o'clock, ISN'T it? 3.14e-10",
      "naïve café, größe, 模型, 한국어, 🙂👍🏽, e\u0301",
      "def f(x):\r\n    return x**2  # done", "Words and words; <b>more</b> words_and_names."};
  const text::Tokenizer written = text::Tokenizer::load(file);
  for (const char* probe : probes)
    GRAFT_CHECK(written.encode(probe) == tokenizer.encode(probe), ConfigError,
                "convert: ", tokenizer.source(),
                ": as a GGUF file describes this tokenizer, the text '", probe,
                "' has other tokens");
}

/// A model's file in the making.
struct ModelFile {
  io::GgufValues values;
  std::vector<io::GgufTensorOut> tensors;
  int64_t nbytes = 0;  ///< of the tensors
  std::vector<std::string> warnings;
};

ModelFile file_of(nn::CausalLM& model, const text::Tokenizer* tokenizer, GgmlType type) {
  ModelFile file;
  models::add_gguf_metadata(file.values, model.info(), type);
  if (tokenizer != nullptr) {
    file.warnings = text::add_gguf_tokenizer(file.values, *tokenizer, model.info().vocab_size);
  } else {
    file.values.add_text("tokenizer.ggml.model", "none");
    file.warnings.emplace_back("the model has no tokenizer, and so has the file");
  }
  file.tensors = models::gguf_tensors(model, type);
  int64_t narrowed = 0;
  for (const io::GgufTensorOut& tensor : file.tensors) {
    file.nbytes += io::gguf_nbytes(tensor);
    narrowed += type != GgmlType::f16 && tensor.type == static_cast<uint32_t>(GgmlType::f16);
  }
  if (narrowed > 0)
    file.warnings.push_back(
        concat(counted(narrowed, "matrix"), " with rows that are not whole blocks of 32 are F16"));
  return file;
}

void print(const ConvertFlags& values, const ModelFile& file, int64_t parameters, GgmlType type) {
  const std::string name = quant::ggml_type_name(static_cast<uint32_t>(type));
  const auto nbytes = static_cast<int64_t>(fs::file_size(values.out));
  if (!values.json) {
    std::cout << "wrote " << values.out << ": " << grouped(parameters) << " parameters as " << name
              << ", tokenizer and configuration, " << byte_text(nbytes) << "\n";
    return;
  }
  const io::Json json = {{"out", values.out},
                         {"parameters", parameters},
                         {"dtype", name},
                         {"bytes", nbytes},
                         {"warnings", file.warnings}};
  std::cout << io::to_text(json) << "\n";
}

}  // namespace

void convert_model_to_gguf(const ConvertFlags& values) {
  check_gguf_out(values);
  const models::Description description = models::describe(values.from);
  const GgmlType type = type_named(values.dtype, description.file_dtype);
  const std::optional<text::Tokenizer> tokenizer = load_tokenizer(values.from, {});
  // What is not wider than bf16 loses nothing there.
  const DType held = description.file_dtype == DType::bf16 ? DType::bf16 : DType::f32;
  const auto model = models::load(values.from, load_options(held));
  const ModelFile file = file_of(*model, tokenizer ? &*tokenizer : nullptr, type);
  for (const std::string& warning : file.warnings)
    warn(warning);
  const fs::path out(values.out);
  const fs::path folder = out.has_parent_path() ? out.parent_path() : ".";
  io::check_free_space(folder, file.nbytes);
  io::FilesCommit commit(folder);
  const fs::path written = commit.path() / out.filename();
  io::write_file_atomically(
      written, [&](io::FileWriter& to) { io::write_gguf(to, file.values, file.tensors); });
  models::check_gguf_metadata(written, model->info());
  if (tokenizer)
    check_tokenizer(written, *tokenizer);
  commit.commit(out.filename().string());
  print(values, file, description.parameters, type);
}

}  // namespace graft::cli
