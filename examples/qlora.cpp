// QLoRA from start to end: a base model in 4 bits, an adapter trained on it.
//
//   qlora MODEL DATA.jsonl OUT
//
// MODEL is a Hugging Face folder or a GGUF file, which is quantised to nf4 while it is loaded, or a
// folder that `graft quantize` or transformers with bitsandbytes wrote. DATA holds lines of
// {"messages": […]}, {"prompt", "completion"}, {"text"} or {"input_ids"}. OUT is an adapter that
// PEFT loads too.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>

#include "graft/models/load.h"
#include "graft/optim/adamw.h"
#include "graft/peft/kbit.h"
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
    std::printf("step %3ld/%ld  loss %.4f  %.0f tokens/s\n", record.step, record.total_steps,
                record.loss, record.tokens_per_second);
  }
};

/// The model in 4 bits, whether its files have it so or not.
std::unique_ptr<nn::CausalLM> load_in_4bit(const std::string& path) {
  const bool is_quantized = models::describe(path).quantized > 0;
  return models::load(path, {.quant = is_quantized ? quant::Config() : quant::nf4()});
}

void run(const std::string& model_path, const std::string& data_path, const std::string& out) {
  const auto model = load_in_4bit(model_path);
  const quant::Format format = model->info().quant.format();
  std::printf("linear layers: %s, %.2f bits a weight\n", quant::to_string(format).c_str(),
              quant::bits_per_number(format));
  peft::prepare_model_for_kbit_training(*model);

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
  StepPrinter printer;
  const double before = train::evaluate(adapted, data.samples)->loss;
  train::Trainer(adapted, adamw, data.samples, {.max_steps = 20, .gradient_checkpointing = true},
                 {.observer = &printer})
      .run();
  std::printf("loss on the data: %.4f -> %.4f\n", before,
              train::evaluate(adapted, data.samples)->loss);

  adapted.save_pretrained(out);
  if (tokenizer)
    tokenizer->save(out);
  std::printf("wrote %s\n", out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: qlora MODEL DATA.jsonl OUT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "qlora: %s\n", error.what());
    return 1;
  }
}
