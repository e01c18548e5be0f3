#include "graft/cli/self_check.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <unistd.h>

#include "graft/cli/terminal.h"
#include "graft/models/decoder.h"
#include "graft/models/family.h"
#include "graft/models/generate.h"
#include "graft/models/load.h"
#include "graft/models/save.h"
#include "graft/optim/adamw.h"
#include "graft/peft/peft_model.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/random.h"
#include "graft/train/trainer.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// A folder of this process's own, removed with all that is in it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string pattern = (fs::temp_directory_path() / "graft-doctor-XXXXXX").string();
    GRAFT_CHECK(mkdtemp(pattern.data()) != nullptr, IoError, "no temporary folder can be made in ",
                fs::temp_directory_path().string(), "; set TMPDIR to one that is writable");
    path_ = pattern;
  }
  ~ScratchFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

models::DecoderConfig tiny_config() {
  models::DecoderConfig config;
  config.family = &models::families().front();
  config.vocab_size = 96;
  config.hidden_size = 32;
  config.intermediate_size = 48;
  config.layers = 2;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 8;
  config.max_positions = 64;
  config.norm_eps = 1e-5;
  config.ropes = {{.dim = config.head_dim, .max_positions = config.max_positions}};
  config.tied_head = true;
  return config;
}

std::unique_ptr<nn::CausalLM> tiny_model() {
  auto model = std::make_unique<models::Decoder>(tiny_config(), "doctor", DType::f32);
  for (const auto& [path, member] : nn::named_parameters(*model)) {
    const bool is_norm = member->shape().rank() == 1;
    member->load(is_norm ? Tensor::full(member->shape(), 1)
                         : ops::normal(member->shape(), 0, 0.2, 0, stream_of(path)));
  }
  return model;
}

Tensor some_ids() {
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 16; ++i)
    ids.push_back((i * 37 + 5) % 96);
  return Tensor::from(ids, {1, 16});
}

Tensor logits_of(const nn::CausalLM& model) {
  const NoGrad no_grad;
  return model.logits(some_ids(), {}).value();
}

bool same_numbers(const Tensor& a, const Tensor& b) {
  return std::ranges::equal(a.bytes(), b.bytes());
}

peft::LoraConfig tiny_lora() {
  return {.r = 4, .target_modules = peft::Targets::all_linear(), .lora_alpha = 8};
}

std::string check_load(const fs::path& folder) {
  const auto model = tiny_model();
  models::save_pretrained(*model, folder);
  const auto loaded = models::load(folder);
  GRAFT_CHECK(same_numbers(logits_of(*model), logits_of(*loaded)), Error,
              "the model that was read gives other logits than the one that was written");
  return "a model folder was written, read and gave the same logits";
}

std::string check_configure(const fs::path& model_folder) {
  const auto base = models::load(model_folder);
  const Tensor before = logits_of(*base);
  peft::PeftModel adapted(*base, tiny_lora());
  GRAFT_CHECK(same_numbers(before, logits_of(adapted)), Error,
              "a new adapter changes the logits of its base");
  return "a LoRA adapter was put on " +
         counted(static_cast<int64_t>(adapted.targeted_modules("default").size()), "module");
}

std::string check_train(const fs::path& model_folder, const fs::path& adapter_folder) {
  const auto base = models::load(model_folder);
  peft::PeftModel adapted(*base, tiny_lora());
  const Tensor ids = some_ids();
  const std::vector<int64_t> values(ids.span<int64_t>().begin(), ids.span<int64_t>().end());
  const std::vector<text::Sample> samples = {{.input_ids = values, .labels = values}};
  optim::AdamW adamw(adapted.trainable_parameters(), {.lr = 1e-2});
  const double before = train::evaluate(adapted, samples)->loss;
  train::Trainer(adapted, adamw, samples, {.max_steps = 30}).run();
  const double after = train::evaluate(adapted, samples)->loss;
  GRAFT_CHECK(after < 0.9 * before, Error, "the loss did not fall in 30 steps: ", before, " -> ",
              after);
  adapted.save_pretrained(adapter_folder);
  return "30 steps took the loss from " + fixed_text(before, 2) + " to " + fixed_text(after, 2);
}

std::string check_infer(const fs::path& model_folder, const fs::path& adapter_folder) {
  const auto base = models::load(model_folder);
  peft::PeftModel adapted = peft::PeftModel::from_pretrained(*base, adapter_folder);
  const Tensor ids = some_ids();
  std::vector<int64_t> prompt(ids.span<int64_t>().begin(), ids.span<int64_t>().end());
  prompt.resize(8);
  const auto rows = models::generate(adapted, {prompt}, {.max_new_tokens = 8});
  // The cache must give what a forward over the whole text gives.
  for (const int64_t token : rows.at(0).ids) {
    const NoGrad no_grad;
    const Tensor row = Tensor::from(prompt, {1, static_cast<int64_t>(prompt.size())});
    const Tensor logits = adapted.logits(row, {}).value();
    const auto last = logits.span<float>().last(static_cast<size_t>(logits.dim(-1)));
    const auto best = std::max_element(last.begin(), last.end()) - last.begin();
    GRAFT_CHECK(best == token, Error, "generation with a cache differs from generation without");
    prompt.push_back(token);
  }
  return "the saved adapter was loaded and " +
         counted(static_cast<int64_t>(rows.at(0).ids.size()), "token") + " were generated with it";
}

CheckResult attempt(const std::string& name, const std::function<std::string()>& check) {
  try {
    return {.name = name, .works = true, .detail = check()};
  } catch (const std::exception& error) {
    return {.name = name, .works = false, .detail = error.what()};
  }
}

}  // namespace

std::vector<CheckResult> run_self_checks() {
  const ScratchFolder scratch;
  const fs::path model = scratch / "model", adapter = scratch / "adapter";
  return {attempt("load", [&] { return check_load(model); }),
          attempt("configure", [&] { return check_configure(model); }),
          attempt("train", [&] { return check_train(model, adapter); }),
          attempt("infer", [&] { return check_infer(model, adapter); })};
}

double matmul_gflops() {
  constexpr int64_t size = 768;
  constexpr int repetitions = 3;  // the first one also wakes the threads; the best counts
  const Tensor a = ops::uniform({size, size}, -1, 1, 0, 1),
               b = ops::uniform({size, size}, -1, 1, 0, 2);
  double best = 0;
  for (int i = 0; i < repetitions; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const Tensor c = ops::matmul(a, b);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * size * size * size / seconds.count() / 1e9);
  }
  return best;
}

}  // namespace graft::cli
