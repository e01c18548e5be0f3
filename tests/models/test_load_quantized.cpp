// Models in 4 bits: checkpoints of transformers and bitsandbytes, and models that are quantised
// while they are loaded.

#include <algorithm>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "graft/io/file.h"
#include "graft/models/bitsandbytes.h"
#include "graft/models/save.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::check_contains, test::message_of;

const std::string up_proj = "model.layers.0.mlp.up_proj.weight";

std::unique_ptr<nn::CausalLM> load_golden(const std::string& name,
                                          const models::LoadOptions& options = {}) {
  return models::load(test::golden("qlora/" + name), options);
}

/// The weight in 4 bits at a path; nothing where it is held otherwise.
std::optional<quant::QuantizedTensor> quantized_at(nn::CausalLM& model, const std::string& path) {
  for (const nn::NamedMember& parameter : nn::named_parameters(model)) {
    if (parameter.path != path)
      continue;
    const nn::WeightStorage held = dynamic_cast<const nn::Weight&>(*parameter.member).storage();
    const auto* quantized = std::get_if<quant::QuantizedTensor>(&held);
    return quantized == nullptr ? std::nullopt : std::optional(*quantized);
  }
  FAIL("there is no ", path);
  return std::nullopt;
}

/// How many weights are held in 4 bits.
int64_t quantized_weights(nn::CausalLM& model) {
  int64_t count = 0;
  nn::for_each_member(model, [&](const std::string&, nn::Member& member) {
    const auto* weight = dynamic_cast<const nn::Weight*>(&member);
    count += weight != nullptr && std::holds_alternative<quant::QuantizedTensor>(weight->storage());
  });
  return count;
}

/// Same codes and scales, bit for bit.
void check_same(nn::CausalLM& a, nn::CausalLM& b) {
  const auto x = nn::named_parameters(a);
  const auto y = nn::named_parameters(b);
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i].path);
    CHECK(test::same_bits(x[i].member->value(), y[i].member->value()));
  }
}

/// The golden nf4 checkpoint in a folder of its own, to be spoilt.
class SpoiltCheckpoint {
 public:
  SpoiltCheckpoint() : config(io::read_json_file(test::golden("qlora/nf4/config.json"))) {
    const io::SafetensorsFile file(test::golden("qlora/nf4/model.safetensors"), io::Access::read);
    for (const std::string& name : file.names())
      tensors[name] = file.load(name);
  }

  const std::filesystem::path& write() {
    io::write_file_atomically(folder_ / "config.json", io::to_text(config));
    std::vector<io::NamedTensor> list;
    for (const auto& [name, tensor] : tensors)
      list.push_back({name, tensor});
    io::write_safetensors(folder_ / "model.safetensors", list);
    return folder_.path();
  }
  /// The message of loading it after `change`.
  static std::string refusal(const std::function<void(SpoiltCheckpoint&)>& change) {
    SpoiltCheckpoint files;
    change(files);
    const auto& folder = files.write();
    check_contains(message_of<FormatError>([&] { models::describe(folder); }), "");
    return message_of<FormatError>([&] { models::load(folder); });
  }

  io::Json config;
  std::map<std::string, Tensor> tensors;

 private:
  test::TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("load: checkpoints of transformers and bitsandbytes give its logits") {
  const io::SafetensorsFile answers(test::golden("qlora/logits.safetensors"));
  for (const std::string name : {"nf4", "fp4"}) {
    CAPTURE(name);
    const auto model = load_golden(name);
    CHECK(quantized_weights(*model) == 14);
    CHECK(model->info().quant.load_in_4bit);
    CHECK(quant::to_string(model->info().quant.format()) ==
          (name == "nf4" ? "nf4 with double quantisation, blocks of 64" : "fp4, blocks of 64"));
    const double difference = test::logit_difference(
        test::logits_of(*model, answers.load("input_ids")), answers, name + ".logits");
    MESSAGE(name, ": ", difference, " of ", test::logit_tolerance);
    CHECK(difference < test::logit_tolerance);
  }
}

TEST_CASE("load: what is computed in follows the dtype of the weights, or what is asked for") {
  const auto compute = [](const models::LoadOptions& options) {
    const auto model = load_golden("nf4", options);
    const DType dtype = quantized_at(*model, up_proj)->compute;
    CHECK(model->info().quant.bnb_4bit_compute_dtype == dtype);
    return dtype;
  };
  CHECK(compute({}) == DType::f32);
  CHECK(compute({.dtype = DType::bf16}) == DType::bf16);
  CHECK(compute({.dtype = DType::f16}) == DType::f32);
  CHECK(compute({.quant = {.bnb_4bit_compute_dtype = DType::bf16}}) == DType::bf16);
  // bf16 has 8 bits, over two layers; see the tolerance of dense models in test_parity.cpp.
  const io::SafetensorsFile answers(test::golden("qlora/logits.safetensors"));
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto model =
        load_golden("nf4", {.dtype = dtype, .quant = {.bnb_4bit_compute_dtype = DType::bf16}});
    CHECK(test::logit_difference(test::logits_of(*model, answers.load("input_ids")), answers,
                                 "nf4.logits") < 5e-2);
  }
  check_contains(message_of<ConfigError>([&] { load_golden("nf4", {.dtype = DType::f64}); }),
                 "dtype f64 given");
}

TEST_CASE("load: a dense model is quantised as transformers does it") {
  const auto model = load_golden("dense", {.quant = quant::nf4()});
  const auto stored = load_golden("nf4");
  CHECK(quantized_weights(*model) == 14);
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    CAPTURE(parameter.path);
    if (!parameter.path.ends_with("_proj.weight"))
      continue;
    const quant::QuantizedTensor own = quant::to_blocks(*quantized_at(*model, parameter.path));
    const quant::QuantizedTensor theirs = quant::to_blocks(*quantized_at(*stored, parameter.path));
    CHECK(own.dtype == DType::f32);
    CHECK(test::same_bits(own.codes, theirs.codes));
    // bitsandbytes' CPU path rounds scales to one of 8 bits that need not be the nearest.
    CHECK(test::relative_difference(quant::scales(own), quant::scales(theirs)) < 0.01);
  }
  CHECK(!model->info().config_json.empty());
  CHECK(model->info().config_json.find("quantization_config") == std::string::npos);
}

TEST_CASE("load: block size, scales and modules are as asked for") {
  quant::Config config = quant::fp4();
  config.blocksize = 128;
  config.bnb_4bit_use_double_quant = false;
  config.llm_int8_skip_modules = {"experts"};
  config.llm_int8_skip_modules->push_back("v_proj");
  check_contains(message_of<ConfigError>([&] { load_golden("dense", {.quant = config}); }),
                 "\"experts\" stands for no module");
  config.llm_int8_skip_modules = {"up_proj", "v_proj"};
  const auto model = load_golden("dense", {.quant = config});
  CHECK(quantized_weights(*model) == 2 * 5 + 1);  // the head too, which the list does not name
  CHECK(!quantized_at(*model, up_proj));
  const std::optional<quant::QuantizedTensor> held = quantized_at(*model, "lm_head.weight");
  REQUIRE(held.has_value());
  CHECK(held->blocksize == 128);
  CHECK(held->type == quant::QuantType::fp4);
  CHECK(!held->nested);
  CHECK(held->layout == quant::Layout::panels);
}

TEST_CASE("load: the peak of memory is the model in 4 bits and one tensor") {
  const std::filesystem::path path = test::data("models/tinystories-656k/fp32");
  Allocator& memory = allocator(cpu);
  const int64_t before = memory.stats().current;
  memory.reset_peak();
  const auto model = models::load(path, {.quant = quant::nf4()});
  const int64_t held = memory.stats().current - before;
  int64_t largest = 0;
  int64_t dense = 0;
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    const int64_t nbytes = parameter.member->shape().numel() * 4;
    largest = std::max(largest, nbytes);
    if (!parameter.path.ends_with("_proj.weight"))
      dense += nbytes;
  }
  const int64_t quantized = nn::count_parameters(*model) - dense / 4;
  CHECK(memory.stats().peak - memory.stats().current <= largest);
  // Codes, a worked-out scale for each 64, the nested ones, maps of 1 KiB; sizes are rounded up.
  CHECK(static_cast<double>(held - dense) < 0.7 * static_cast<double>(quantized) + 60 * 2048.0);
}

TEST_CASE("load: a quantised checkpoint is not quantised again") {
  check_same(*load_golden("nf4", {.quant = quant::nf4()}), *load_golden("nf4"));
  const auto refusal = [](const quant::Config& config) {
    return message_of<ConfigError>([&] { load_golden("nf4", {.quant = config}); });
  };
  check_contains(refusal(quant::fp4()),
                 "is quantised already, as nf4 with double quantisation, blocks of 64, but fp4 "
                 "with double quantisation, blocks of 64 is asked for");
  quant::Config config = quant::nf4();
  config.blocksize = 128;
  check_contains(refusal(config), "blocks of 128 is asked for");
  config = quant::nf4();
  config.llm_int8_skip_modules = {"q_proj", "lm_head"};
  check_contains(refusal(config), "llm_int8_skip_modules cannot choose others");
}

TEST_CASE("load: each tensor says itself how it is held, whatever the configuration does") {
  const io::SafetensorsFile dense(test::golden("qlora/dense/model.safetensors"), io::Access::read);
  SpoiltCheckpoint files;
  std::erase_if(files.tensors, [](const auto& entry) { return entry.first.starts_with(up_proj); });
  files.tensors[up_proj] = dense.load(up_proj);
  for (const io::Json& config : {files.config["quantization_config"], io::Json()}) {
    files.config["quantization_config"] = config;
    const auto model = models::load(files.write());
    CHECK(quantized_weights(*model) == 13);
    CHECK(model->info().quant.bnb_4bit_quant_type == quant::QuantType::nf4);
    const models::Description about = models::describe(files.write());
    CHECK(about.quantized == 2 * (5 * 4096 + 2 * 2048) - 4096);
    CHECK(about.file_dtype == DType::f32);
    CHECK(about.info.quant.load_in_4bit);
  }
}

TEST_CASE("load: what does not fit beside a quantised weight is refused by name") {
  const auto refusal = SpoiltCheckpoint::refusal;
  check_contains(refusal([](SpoiltCheckpoint& files) { files.config["intermediate_size"] = 128; }),
                 up_proj + " has shape (64, 64) in 4 bits, (128, 64) expected");
  check_contains(refusal([](SpoiltCheckpoint& files) { files.tensors.erase(up_proj); }),
                 up_proj + " (64, 64) is missing");
  check_contains(refusal([](SpoiltCheckpoint& files) {
                   files.tensors["model.norm.weight.absmax"] = Tensor::zeros({1});
                 }),
                 "model.norm.weight.absmax is unexpected");
  check_contains(refusal([](SpoiltCheckpoint& files) {
                   for (const std::string part :
                        {"", ".absmax", ".quant_map", ".quant_state.bitsandbytes__nf4"})
                     files.tensors["model.norm.weight" + part] = files.tensors.at(up_proj + part);
                 }),
                 "model.norm.weight is in 4 bits, a dense one expected");
  check_contains(refusal([](SpoiltCheckpoint& files) {
                   files.tensors[up_proj + ".quant_state.bitsandbytes__nf4"] =
                       Tensor::zeros({3}, DType::u8);
                 }),
                 up_proj + ".quant_state.bitsandbytes__nf4");
}

TEST_CASE("load: a number that is not finite is refused with the tensor's name") {
  SpoiltCheckpoint files;
  const io::SafetensorsFile dense(test::golden("qlora/dense/model.safetensors"), io::Access::read);
  files.config.erase("quantization_config");
  files.tensors.clear();
  for (const std::string& name : dense.names())
    files.tensors[name] = dense.load(name).to(DType::f32);
  files.tensors.at(up_proj).data<float>()[70] = INFINITY;
  const auto& folder = files.write();
  check_contains(message_of<FormatError>([&] { models::load(folder, {.quant = quant::nf4()}); }),
                 up_proj + ": quantize: number 70 of (64, 64) is inf");
}

TEST_CASE("save: a quantised model is written as it was read, in one file and in several") {
  for (const std::string name : {"nf4", "fp4"}) {
    CAPTURE(name);
    const auto model = load_golden(name);
    for (const int64_t shard_bytes : {int64_t{1} << 30, int64_t{9000}}) {
      const test::TemporaryFolder folder;
      models::save_pretrained(*model, folder.path(), {.max_shard_bytes = shard_bytes});
      check_same(*models::load(folder.path()), *model);
      const io::Json config = io::read_json_file(folder / "config.json");
      const io::Json theirs = io::read_json_file(test::golden("qlora/" + name + "/config.json"));
      CHECK(config["quantization_config"] == theirs["quantization_config"]);
      if (shard_bytes > 9000) {
        const io::SafetensorsFile written(folder / "model.safetensors");
        const io::SafetensorsFile expected(test::golden("qlora/" + name + "/model.safetensors"));
        CHECK(written.names() == expected.names());
        continue;
      }
      const io::Json index = io::read_json_file(folder / "model.safetensors.index.json");
      CHECK(index["weight_map"].contains(up_proj + ".quant_map"));
      int64_t total = 0;
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
        if (entry.path().extension() != ".safetensors")
          continue;
        const io::SafetensorsFile shard(entry.path());
        for (const io::SafetensorsEntry& tensor : shard.entries())
          total += tensor.end - tensor.begin;
      }
      CHECK(index["metadata"]["total_size"] == total);
    }
  }
}

TEST_CASE("save: codes are written as the dtype asked for") {
  quant::Config config = quant::nf4();
  config.bnb_4bit_quant_storage = DType::bf16;
  const auto model = load_golden("dense", {.quant = config});
  const test::TemporaryFolder folder;
  models::save_pretrained(*model, folder.path());
  const io::SafetensorsFile file(folder / "model.safetensors");
  CHECK(file.info(up_proj).dtype == DType::bf16);
  CHECK(file.info(up_proj).shape == Shape{1024, 1});
  CHECK(io::read_json_file(
            folder / "config.json")["quantization_config"]["bnb_4bit_quant_storage"] == "bfloat16");
  check_same(*models::load(folder.path()), *model);
}

TEST_CASE("gpt2: matrices are quantised as they are in memory, and so stand in files") {
  const auto model = models::load(test::golden("families/gpt2"), {.quant = quant::nf4()});
  const std::string c_attn = "transformer.h.0.attn.c_attn.weight";
  CHECK(quantized_weights(*model) == 8);
  const auto dense = models::load(test::golden("families/gpt2"));
  for (const nn::NamedMember& parameter : nn::named_parameters(*dense)) {
    if (parameter.path == c_attn)
      CHECK(test::same_bits(quant::to_blocks(*quantized_at(*model, c_attn)).codes,
                            quant::quantize(parameter.member->value(), {}).codes));
  }
  const test::TemporaryFolder folder;
  models::save_pretrained(*model, folder.path());
  const io::SafetensorsFile file(folder / "model.safetensors");
  CHECK(models::quantized_info(file, c_attn).shape == Shape{96, 32});
  check_same(*models::load(folder.path()), *model);
}

}  // namespace graft
