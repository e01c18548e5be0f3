// LoRA fine-tuning from start to end: load, adapt, train, evaluate, save.
//
//   lora MODEL DATA.jsonl OUT
//
// MODEL is a Hugging Face folder or a GGUF file; DATA holds lines of {"messages": […]},
// {"prompt", "completion"}, {"text"} or {"input_ids"}. OUT is an adapter that PEFT loads too.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/models/load.h"
#include "graft/optim/adamw.h"
#include "graft/peft/peft_model.h"
#include "graft/text/dataset.h"
#include "graft/text/regex.h"
#include "graft/train/trainer.h"

using namespace graft;

namespace {

/// Prints each step as it is done.
class StepPrinter final : public train::Observer {
 public:
  void on_step(const train::StepRecord& record) override {
    std::printf("step %3ld/%ld  loss %.4f  lr %.2e  %.0f tokens/s\n", record.step,
                record.total_steps, record.loss, record.lr, record.tokens_per_second);
  }
};

void run(const std::string& model_path, const std::string& data_path, const std::string& out) {
  const auto model = models::load(model_path);
  // Data that is tokenised already needs no tokenizer.
  std::optional<text::Tokenizer> tokenizer;
  if (!std::filesystem::is_directory(model_path) ||
      std::filesystem::exists(std::filesystem::path(model_path) / "tokenizer.json"))
    tokenizer = text::Tokenizer::load(model_path);
  const auto data =
      text::read_dataset(data_path, tokenizer ? &*tokenizer : nullptr,
                         {.max_seq_len = 256, .vocab_size = model->info().vocab_size});

  auto adapted = peft::get_peft_model(*model,
                                      {.r = 16,
                                       .target_modules = peft::Targets::all_linear(),
                                       .lora_alpha = 32,
                                       .task_type = "CAUSAL_LM",
                                       .base_model_name_or_path = model_path},
                                      "default", {.matcher = text::full_matcher()});
  std::printf("%s\n", peft::to_string(adapted.count_parameters()).c_str());

  auto adamw = optim::AdamW(adapted.trainable_parameters(), {.lr = 1e-3});
  const double before = train::evaluate(adapted, data.samples)->loss;
  StepPrinter printer;
  train::Trainer(adapted, adamw, data.samples, {.max_steps = 20}, {.observer = &printer}).run();
  const double after = train::evaluate(adapted, data.samples)->loss;
  std::printf("loss on the data: %.4f -> %.4f\n", before, after);

  adapted.save_pretrained(out);
  if (tokenizer)
    tokenizer->save(out);
  std::printf("wrote %s\n", out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: lora MODEL DATA.jsonl OUT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lora: %s\n", error.what());
    return 1;
  }
}
