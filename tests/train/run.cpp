#include "graft/tests/train/run.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"

namespace graft::train {

std::vector<text::Sample> read_samples(const std::filesystem::path& path) {
  std::vector<text::Sample> samples;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const io::Json json = io::parse_json(line, path.string());
    samples.push_back({.input_ids = json["input_ids"],
                       .labels = json["labels"],
                       .line = static_cast<int64_t>(samples.size()) + 1});
  }
  return samples;
}

std::vector<text::Sample> golden_samples(size_t count) {
  std::vector<text::Sample> samples = read_samples(test::golden("lora_runs/data.jsonl"));
  samples.resize(count);
  return samples;
}

TinyRun::TinyRun(double dropout, double lr)
    : base(models::load(test::golden("models/gqa"))),
      model(*base, {.r = 4,
                    .target_modules = peft::Targets::all_linear(),
                    .lora_alpha = 8,
                    .lora_dropout = dropout}),
      adamw(model.trainable_parameters(), {.lr = lr, .weight_decay = 0.01}),
      files(model) {}

std::vector<Tensor> numbers_of(const optim::Optimizer& optimizer) {
  std::vector<Tensor> numbers;
  for (const auto& [name, variable] : optimizer.parameters())
    numbers.push_back(variable.value().clone());
  for (const auto& [name, tensor] : optimizer.state())
    numbers.push_back(tensor.clone());
  return numbers;
}

bool same_bits(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  return std::ranges::equal(a, b, test::same_bits);
}

}  // namespace graft::train
