// graft merge: writes a model that has its adapters in its weights.

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/autograd/tape.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/run_folder.h"
#include "graft/cli/terminal.h"
#include "graft/cli/training_data.h"
#include "graft/io/file.h"
#include "graft/io/folder_commit.h"
#include "graft/models/save.h"
#include "graft/tensor/error.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

struct MergeFlags {
  ModelFlags model;
  std::string out;
  std::string dtype = "keep";
  bool verify = false;
  bool overwrite = false;
  bool json = false;
};

/// What --verify found.
struct Verification {
  double difference = 0;  ///< largest difference of a logit from base and adapters apart
  double effect = 0;      ///< largest difference that the adapters make
  double largest = 0;     ///< largest logit
  int64_t tokens = 0;
  int64_t agreeing = 0;  ///< tokens after which the likeliest next one is the same
};

/// Of the largest logit, how far logits may be off: weights in f32 are sums in another order, in 16
/// bits each is rounded once more.
double limit_of(DType dtype) {
  return dtype == DType::bf16 ? 5e-2 : dtype == DType::f16 ? 1e-2 : 1e-4;
}

/// Ids from all over the vocabulary, the same for each run: (rows, length).
Tensor probe_ids(const nn::ModelInfo& info) {
  constexpr int64_t rows = 4;
  const int64_t length = std::min<int64_t>(32, info.max_positions);
  Tensor ids = Tensor::empty({rows, length}, DType::i64);
  for (int64_t i = 0; i < ids.numel(); ++i)
    ids.data<int64_t>()[i] = (i * 7919 + i * i * 31 + 17) % info.vocab_size;
  return ids;
}

/// (tokens, vocabulary) in f32.
Tensor logits_of(const nn::CausalLM& model, const Tensor& ids) {
  const NoGrad no_grad;
  const Tensor logits = model.logits(ids, {}).value().to(DType::f32);
  return logits.view({ids.numel(), -1});
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  const auto x = a.span<float>();
  const auto y = b.span<float>();
  for (size_t i = 0; i < x.size(); ++i)
    largest = std::max(largest, std::fabs(double{x[i]} - y[i]));
  return largest;
}

int64_t likeliest(const Tensor& logits, int64_t row) {
  const auto width = static_cast<size_t>(logits.dim(1));
  const auto values = logits.span<float>().subspan(static_cast<size_t>(row) * width, width);
  return std::ranges::max_element(values) - values.begin();
}

Verification compare(const Tensor& merged, const Tensor& apart, const Tensor& base) {
  Verification found{.difference = largest_difference(merged, apart),
                     .effect = largest_difference(base, apart),
                     .largest = largest_difference(apart, Tensor::zeros(apart.shape())),
                     .tokens = merged.dim(0)};
  for (int64_t row = 0; row < found.tokens; ++row)
    found.agreeing += likeliest(merged, row) == likeliest(apart, row);
  return found;
}

/// One merge, from the flags to the folder.
class Merge {
 public:
  explicit Merge(const MergeFlags& values) : values_(values), adapters_(adapters_of(values.model)) {
    const models::Description description = models::describe(values.model.model);
    dtype_ = values.dtype == "keep" ? description.file_dtype : dtype_named(values.dtype);
    parameters_ = description.parameters;
    // Sums are rounded once, into the format of the file; a wider base is not rounded before.
    held_ = description.file_dtype == dtype_ ? dtype_ : DType::f32;
  }

  void run() {
    const OutPolicy policy =
        values_.overwrite ? OutPolicy::replace_files : OutPolicy::must_be_empty;
    std::vector<fs::path> inputs = {values_.model.model};
    for (const AdapterName& adapter : adapters_)
      inputs.push_back(adapter.folder);
    check_out_folder(values_.out, policy, inputs);
    io::check_free_space(values_.out, parameters_ * static_cast<int64_t>(element_size(dtype_)));
    const std::optional<text::Tokenizer> tokenizer = load_tokenizer(values_.model.model, {});
    const auto base = models::load(values_.model.model, load_options(held_));
    merge(*base);
    const RunFolder folder(values_.out, policy);
    io::FilesCommit commit(folder.path());
    if (tokenizer)
      tokenizer->save(commit.path());
    models::save_pretrained(*base, commit.path(), {.dtype = dtype_});
    if (values_.verify)
      verify(commit.path());
    for (const fs::directory_entry& entry : fs::directory_iterator(commit.path()))
      nbytes_ += static_cast<int64_t>(entry.file_size());
    commit.commit("config.json", [](std::string_view name) {
      const auto tokenizer_files = text::Tokenizer::file_names();
      return models::is_weight_file(name) ||
             std::ranges::find(tokenizer_files, name) != tokenizer_files.end();
    });
    print();
  }

 private:
  /// Merges into the base, having kept the logits that the result is to have.
  void merge(nn::CausalLM& base) {
    const auto adapted = load_adapters(base, adapters_);
    if (values_.verify) {
      ids_ = probe_ids(base.info());
      apart_ = logits_of(*adapted, ids_);
      const auto off = adapted->disable_adapter();
      base_logits_ = logits_of(*adapted, ids_);
    }
    adapted->merge_and_unload();
  }

  /// Reads the written model back. Throws Error where its logits are too far off.
  void verify(const fs::path& written) {
    const auto merged = models::load(written, load_options(held_));
    verification_ = compare(logits_of(*merged, ids_), apart_, base_logits_);
    const double limit = limit_of(dtype_) * verification_->largest;
    GRAFT_CHECK(verification_->difference <= limit, Error,
                "merge: the logits of the merged model "
                "are off by up to ",
                verification_->difference, ", more than ", limit_of(dtype_), " of the largest, ",
                verification_->largest, "; nothing is kept in ", values_.out,
                ". --dtype f32 rounds least");
  }

  void print() const {
    if (values_.json) {
      io::Json json = {{"out", values_.out},
                       {"adapters", io::Json::array()},
                       {"parameters", parameters_},
                       {"dtype", concat(dtype_)},
                       {"bytes", nbytes_}};
      for (const AdapterName& adapter : adapters_)
        json["adapters"].push_back({{"name", adapter.name},
                                    {"folder", adapter.folder.string()},
                                    {"scale", adapter.scale}});
      if (verification_)
        json["verify"] = {{"largest_difference", verification_->difference},
                          {"limit", limit_of(dtype_) * verification_->largest},
                          {"effect_of_adapters", verification_->effect},
                          {"largest_logit", verification_->largest},
                          {"tokens", verification_->tokens},
                          {"same_likeliest", verification_->agreeing}};
      std::cout << io::to_text(json) << "\n";
      return;
    }
    std::cout << "wrote " << values_.out << ": " << grouped(parameters_) << " parameters as "
              << dtype_ << " with " << counted(std::ssize(adapters_), "adapter") << " merged, "
              << byte_text(nbytes_) << "\n";
    if (verification_)
      std::cout << "verified: logits differ by up to " << number_text(verification_->difference, 3)
                << " (allowed " << number_text(limit_of(dtype_) * verification_->largest, 3)
                << "; the adapters change them by up to " << number_text(verification_->effect, 3)
                << "), and the likeliest token is the same after " << verification_->agreeing
                << " of " << verification_->tokens << "\n";
  }

  const MergeFlags& values_;
  const std::vector<AdapterName> adapters_;
  DType dtype_;
  DType held_;
  int64_t parameters_ = 0;
  int64_t nbytes_ = 0;
  Tensor ids_, apart_, base_logits_;
  std::optional<Verification> verification_;
};

}  // namespace

ExitCode run_merge(Arguments arguments) {
  MergeFlags values;
  Flags flags("merge",
              "Adds adapters to the weights of their model and writes the sum as a model of its "
              "own, a Hugging Face folder that needs no adapter any more.");
  flags.add("model", values.model.model, "DIR|FILE.gguf",
            "the base model: a Hugging Face folder or a GGUF file");
  flags.add("adapter", values.model.adapters, "[NAME=]DIR[@SCALE]",
            "a LoRA adapter in PEFT's format; may be repeated, and they add up");
  flags.add("out", values.out, "DIR", "the folder to write");
  flags.choice("dtype", values.dtype, {"keep", "f32", "bf16"},
               "of the weights in the file; keep: that of the model's files");
  flags.add("verify", values.verify,
            "read the result back and compare its logits with those of model and adapters; keep "
            "nothing where they are off by more than 1e-4 of the largest (bf16: 5e-2, f16: 1e-2)");
  flags.add("overwrite", values.overwrite, "replace the model in --out; other files stay");
  flags.add("json", values.json, "print the result as one JSON object");
  flags.add("threads", values.model.threads, "N", "threads to use; default: all processors",
            {1, most_threads});
  flags.examples({"graft merge --model MODEL --adapter my-adapter --out merged --verify",
                  "graft merge --model MODEL --adapter a@0.7 --adapter b@0.3 --out merged"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  flags.require("model", "the folder of a model or a GGUF file");
  flags.require("adapter", "the folder of an adapter");
  flags.require("out", "the folder to write");
  apply_machine_flags(values.model);
  Merge(values).run();
  return ExitCode::done;
}

}  // namespace graft::cli
