#include "graft/cli/train_setup.h"

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "graft/cli/optimizer_flags.h"
#include "graft/cli/original_weights.h"
#include "graft/cli/terminal.h"
#include "graft/io/checksum.h"
#include "graft/nn/linear.h"
#include "graft/nn/module.h"
#include "graft/peft/eva.h"
#include "graft/tensor/error.h"
#include "graft/train/eva_batches.h"
#include "graft/train/model_files.h"

namespace graft::cli {
namespace {

namespace fs = std::filesystem;

/// Every dense parameter, for --method full.
std::vector<NamedVariable> all_parameters(nn::CausalLM& model) {
  nn::set_requires_grad(model, true);
  std::vector<NamedVariable> parameters;
  for (const auto& [path, member] : nn::named_parameters(model))
    parameters.push_back({path, *member->variable()});
  return parameters;
}

/// The product of an adapter's matrices has at most the rank of the layer's smaller size. Said
/// before the memory is taken.
void warn_of_useless_rank(int64_t r, nn::CausalLM& model) {
  int64_t usable = 0;
  nn::for_each_member(model, [&](const std::string&, nn::Member& member) {
    if (const auto* layer = dynamic_cast<const nn::LinearLike*>(member.module()))
      usable = std::max(usable, std::min(layer->in_features(), layer->out_features()));
  });
  if (r > usable)
    warn(concat("--lora-r is ", r, ", and no layer of this model can make use of a rank above ",
                usable, "; what is more takes memory and time and changes nothing"));
}

/// A new adapter whose A comes from the training data.
std::unique_ptr<peft::PeftModel> adapter_by_eva(const TrainFlags& flags, const TrainSetup& setup,
                                                const peft::PeftOptions& options) {
  const peft::LoraConfig config = lora_config(flags);
  nn::set_requires_grad(*setup.base, false);
  nn::pack(*setup.base);
  const peft::EvaStart start = peft::eva_start(
      *setup.base, config, train::EvaBatches(setup.samples(), setup.options, *config.eva_config),
      options);
  std::cerr << "eva: directions found in the inputs of " << start.batches << " batches\n";
  auto adapted = std::make_unique<peft::PeftModel>(*setup.base, start.config, "default", options);
  start.put_into(*adapted, "default");
  return adapted;
}

/// A new adapter that makes up for what the weights lost in 4 bits.
std::unique_ptr<peft::PeftModel> adapter_by_loftq(const TrainFlags& flags, const TrainSetup& setup,
                                                  peft::PeftOptions options) {
  GRAFT_CHECK(setup.description.quantized == 0, ConfigError, "train: ", flags.model.model,
              " is in 4 bits already, and --init-lora-weights loftq asks what its weights were "
              "before; give the model as it was, with --quant");
  const auto errors = std::make_shared<std::vector<peft::LoftQError>>();
  options.original_weight = original_weights(flags.model.model, "--model", *setup.base);
  options.on_loftq = [errors](const peft::LoftQError& error) { errors->push_back(error); };
  auto adapted =
      std::make_unique<peft::PeftModel>(*setup.base, lora_config(flags), "default", options);
  const auto mean = [&](double peft::LoftQError::*error) {
    double sum = 0;
    for (const peft::LoftQError& each : *errors)
      sum += each.*error;
    return fixed_text(100 * sum / static_cast<double>(errors->size()), 2) + " %";
  };
  std::cerr << "loftq: weights begin " << mean(&peft::LoftQError::with_lora)
            << " away from those of the model, " << mean(&peft::LoftQError::quantized_alone)
            << " without the adapter\n";
  return adapted;
}

std::unique_ptr<peft::PeftModel> new_adapter(const TrainFlags& flags, const TrainSetup& setup,
                                             const peft::PeftOptions& options) {
  const peft::LoraConfig config = lora_config(flags);
  if (config.eva_config)
    return adapter_by_eva(flags, setup, options);
  if (config.init_lora_weights == peft::LoraInit::loftq)
    return adapter_by_loftq(flags, setup, options);
  return std::make_unique<peft::PeftModel>(*setup.base, config, "default", options);
}

void set_up_adapter(const TrainFlags& flags, TrainSetup& setup) {
  const peft::PeftOptions options = peft_options(flags.seed);
  if (const std::optional<AdapterName> from = adapter_of(flags.model)) {
    setup.adapted.reset(new peft::PeftModel(
        peft::PeftModel::from_pretrained(*setup.base, from->folder, "default", true, options)));
  } else {
    warn_of_useless_rank(flags.lora_r, *setup.base);
    setup.adapted = new_adapter(flags, setup, options);
  }
  nn::pack(*setup.base);
  setup.optimizer = make_optimizer(flags, *setup.adapted);
  setup.counts = setup.adapted->count_parameters();
  setup.weights = std::make_unique<train::AdapterFiles>(*setup.adapted);
  peft::LoraConfig config = setup.adapted->config("default");
  config.base_model_name_or_path.reset();  // a model that was moved is the same model
  setup.fingerprint["adapter"] = "xxh64 " + io::checksum_of(peft::to_json(config));
}

void set_up_full(const TrainFlags& flags, TrainSetup& setup) {
  std::vector<NamedVariable> parameters = all_parameters(*setup.base);
  const int64_t count = nn::count_parameters(*setup.base);
  setup.counts = {.trainable = count, .all = count};
  setup.weights = std::make_unique<train::ModelFiles>(*setup.base);
  setup.optimizer = make_optimizer(flags, std::move(parameters));
}

void read_data(const TrainFlags& flags, TrainSetup& setup) {
  const text::Tokenizer* tokenizer = setup.tokenizer.get();
  const int64_t vocab_size = setup.description.info.vocab_size;
  setup.data = read_samples(flags.data, tokenizer, vocab_size, text::DataPart::train);
  if (!flags.validation_data.empty()) {
    DataFlags validation = flags.data;
    validation.path = flags.validation_data;
    setup.validation_data = read_samples(validation, tokenizer, vocab_size, text::DataPart::valid);
    setup.validation_source = setup.validation_data->path().string();
  } else if (flags.validation_split.value_or(0) > 0) {
    setup.split = split_off(*setup.data, *flags.validation_split, flags.seed);
    setup.validation_source =
        concat(setup.split.taken->size(), " of the ", counted(setup.data->size(), "sample"),
               ", kept out of training");
  }
}

void warn_of_long_samples(const TrainFlags& flags, const TrainSetup& setup) {
  const int64_t positions = setup.description.info.max_positions;
  const std::string remedy = concat("--max-seq-len ", positions, " cuts them");
  warn_of_long_inputs(flags.data.path, lengths_of(setup.samples()), positions, remedy);
  if (setup.validation_data)
    warn_of_long_inputs(flags.validation_data, lengths_of(setup.validation()), positions, remedy);
}

}  // namespace

text::Samples TrainSetup::samples() const {
  return split.kept ? text::Samples(*split.kept) : text::Samples(*data);
}

text::Samples TrainSetup::validation() const {
  if (validation_data)
    return *validation_data;
  return split.taken ? text::Samples(*split.taken) : text::Samples();
}

TrainSetup prepare_training(const TrainFlags& flags) {
  TrainSetup setup;
  setup.description = models::describe(flags.model.model);
  if (auto tokenizer = load_tokenizer(flags.model.model, flags.data.chat_template))
    setup.tokenizer = std::make_unique<const text::Tokenizer>(std::move(*tokenizer));
  read_data(flags, setup);
  warn_of_long_samples(flags, setup);
  setup.options = train_options(flags);
  setup.rows = train::rows_of(setup.samples(), setup.options).size();
  train::check_options(setup.options, setup.rows, setup.validation().size());
  GRAFT_CHECK(!flags.is_full() || setup.description.quantized == 0, ConfigError,
              "train: --method full trains all weights, but those of ", flags.model.model,
              " are in 4 bits, which cannot be trained; train an adapter (--method lora), or give "
              "the model as it was before");
  setup.base = load_base(flags.model);
  if (flags.is_full())
    set_up_full(flags, setup);
  else
    set_up_adapter(flags, setup);
  setup.fingerprint["method"] = flags.method;
  setup.fingerprint["dtype"] = flags.model.dtype;
  if (const quant::Config& quant = setup.base->info().quant; quant.load_in_4bit)
    setup.fingerprint["quant"] = quant::to_string(quant.format());
  setup.fingerprint["model"] = checksum_of_input(flags.model.model);
  return setup;
}

std::string checksum_of_input(const fs::path& path) {
  if (fs::is_regular_file(path))
    return "xxh64:" + io::checksum_of_file(path);
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(path)) {
    const fs::path name = entry.path().filename();
    const bool counts = name == "config.json" || name.extension() == ".safetensors";
    if (counts && entry.is_regular_file())
      files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  io::Checksum all;
  for (const fs::path& file : files)
    all.add(file.filename().string() + ":" + io::checksum_of_file(file) + "\n");
  return "xxh64:" + all.text();
}

}  // namespace graft::cli
