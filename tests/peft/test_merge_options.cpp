// Merging on weights in 4 bits, and merging models whose weights are streamed.

#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/models/save.h"
#include "graft/quant/config.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tensor/reduce.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using test::bytes_of, test::check_contains, test::golden, test::logits_of, test::message_of,
    test::perturb, test::same_bits, test::some_ids, test::tiny_llama;

using Errors = std::map<std::string, MergeError>;

const std::string up_proj = "model.layers.1.mlp.up_proj.weight";

double norm(const Tensor& x) {
  return std::sqrt(ops::sum_of_squares(x));
}

Tensor difference(const Tensor& a, const Tensor& b) {
  return ops::add(a, b, -1);
}

nn::Weight& weight_at(nn::CausalLM& model, const std::string& path) {
  for (const nn::NamedMember& parameter : base_parameters(model)) {
    if (parameter.path == path)
      return dynamic_cast<nn::Weight&>(*parameter.member);
  }
  throw Error(concat("there is no ", path));
}

/// A weight in 4 bits, in bitsandbytes' order.
quant::QuantizedTensor quantized_at(nn::CausalLM& model, const std::string& path) {
  return quant::to_blocks(std::get<quant::QuantizedTensor>(weight_at(model, path).storage()));
}

/// All that a weight in 4 bits is held in.
std::vector<Tensor> parts_of(const quant::QuantizedTensor& x) {
  std::vector<Tensor> parts = {x.codes, x.map};
  if (x.absmax.defined())
    parts.push_back(x.absmax);
  if (x.nested)
    parts.insert(parts.end(), {x.nested->blocks.codes, x.nested->blocks.absmax,
                               x.nested->blocks.map, Tensor::full({1}, x.nested->offset)});
  return parts;
}

/// The weight as products have it, in f32.
Tensor exact_value(nn::CausalLM& model, const std::string& path) {
  const nn::WeightStorage held = weight_at(model, path).storage();
  if (const auto* quantized = std::get_if<quant::QuantizedTensor>(&held))
    return quant::dequantize(*quantized, DType::f32);
  return weight_at(model, path).value().to(DType::f32);
}

/// An adapter with numbers of its own on all linear layers of a model of tests/golden.
struct Adapted {
  std::unique_ptr<nn::CausalLM> base;
  PeftModel model;

  explicit Adapted(const std::string& path, const models::LoadOptions& options = {})
      : base(models::load(golden(path), options)),
        model(*base, {.r = 4, .target_modules = Targets::all_linear(), .lora_alpha = 8}) {
    perturb(model, 3);
  }
  /// ΔW of a layer.
  Tensor change(const std::string& layer) {
    Tensor a, b;
    for (const NamedVariable& parameter : model.trainable_parameters()) {
      if (parameter.name == layer + ".default.lora_A.weight")
        a = parameter.variable.value();
      if (parameter.name == layer + ".default.lora_B.weight")
        b = parameter.variable.value();
    }
    return ops::matmul(b, a, 2);
  }
};

OriginalWeight weights_of(nn::CausalLM& model) {
  return [&model](const std::string& path) { return weight_at(model, path).value(); };
}

/// The folder's files and what is in them.
std::map<std::string, std::string> files_in(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename().string()] = bytes_of(entry.path());
  return files;
}

/// A Llama with wide layers, in files.
void write_model(const std::filesystem::path& folder, int64_t layers) {
  const auto model = test::wide_llama(layers, 96);
  models::save_pretrained(*model, folder);
}

}  // namespace

TEST_CASE("merging on 4 bits: dense by default, and exactly base plus change") {
  Adapted adapted("qlora/nf4");
  const Tensor ids = some_ids(2, 6);
  const Tensor apart = logits_of(adapted.model, ids);
  const Tensor sum =
      ops::add(exact_value(*adapted.base, up_proj), adapted.change("model.layers.1.mlp.up_proj"));
  Errors errors;
  adapted.model.merge_and_unload(
      {"default"}, {.dtype = DType::f32,
                    .on_merged = [&](const MergeError& error) { errors[error.path] = error; }});
  CHECK(!weight_at(*adapted.base, up_proj).form().format);
  CHECK(test::relative_difference(exact_value(*adapted.base, up_proj), sum) < 1e-6);
  CHECK(test::relative_difference(logits_of(*adapted.base, ids), apart) < 1e-5);
  CHECK(errors.size() == 14);
  CHECK(errors.at(up_proj).relative == 0);
}

TEST_CASE("merging on 4 bits: each choice loses what it says") {
  for (const bool double_quant : {false, true}) {
    for (const bool requantize : {false, true}) {
      for (const bool from_original : {false, true}) {
        CAPTURE(double_quant);
        CAPTURE(requantize);
        CAPTURE(from_original);
        quant::Config format = quant::nf4();
        format.bnb_4bit_use_double_quant = double_quant;
        Adapted adapted("qlora/dense", {.quant = format});
        const auto dense = models::load(golden("qlora/dense"));
        const Tensor change = adapted.change("model.layers.1.mlp.up_proj");
        const Tensor exact =
            ops::add(exact_value(from_original ? *dense : *adapted.base, up_proj), change);
        Errors errors;
        MergeOptions options{.requantize = requantize, .dtype = DType::bf16};
        options.on_merged = [&](const MergeError& error) { errors[error.path] = error; };
        if (from_original)
          options.original_weight = weights_of(*dense);
        adapted.model.merge_and_unload({"default"}, options);
        const Tensor merged = exact_value(*adapted.base, up_proj);
        const MergeError& error = errors.at(up_proj);
        const double lost = norm(difference(merged, exact));
        CHECK(error.relative == doctest::Approx(lost / norm(exact)).epsilon(1e-4));
        CHECK(error.of_change == doctest::Approx(lost / norm(change)).epsilon(1e-4));
        const nn::WeightForm form = weight_at(*adapted.base, up_proj).form();
        CHECK(form.format.has_value() == requantize);
        if (requantize) {
          CHECK(form.format->double_quant == double_quant);
        } else {
          CHECK(form.dtype == DType::bf16);
        }
        CHECK(error.relative < (requantize ? 0.13 : 0x1p-8));  // nf4: about 0.09 of normal numbers
      }
    }
  }
}

TEST_CASE(
    "merging on 4 bits: what is put in 4 bits again has the bytes that bitsandbytes gives it") {
  const io::SafetensorsFile answers(golden("peft_life.safetensors"), io::Access::read);
  quant::Config format = quant::nf4();
  format.bnb_4bit_use_double_quant = false;  // whose 8-bit rounding on the CPU is not the nearest
  const io::Json records = io::read_json_file(golden("peft_life.json"))["merges"];
  int merges = 0;
  for (const io::Json& record : records) {
    if (record["dtype"] != "nf4")
      continue;
    ++merges;
    const auto name = record["name"].get<std::string>();
    CAPTURE(name);
    const auto base = models::load(golden(record["base"].get<std::string>()), {.quant = format});
    PeftModel model =
        PeftModel::from_pretrained(*base, golden(record["adapters"][0].get<std::string>()));
    const std::vector<std::string> modules = model.targeted_modules("default");
    model.merge_and_unload({"default"}, {.requantize = true});
    int64_t compared = 0;
    for (const nn::NamedMember& parameter : base_parameters(*base)) {
      const std::string key = name + "." + parameter.path;
      if (!answers.contains(key))
        continue;
      CAPTURE(parameter.path);
      const quant::QuantizedTensor merged = quantized_at(*base, parameter.path);
      CHECK(std::ranges::equal(merged.codes.bytes(), answers.load(key).bytes()));
      const Tensor scales = answers.load(key + ".absmax");
      // The largest number of a block: the sum of a product and a weight, in two orders.
      CHECK(test::relative_difference(merged.absmax, scales) < 1e-6);
      ++compared;
    }
    CHECK(compared == std::ssize(modules));
  }
  CHECK(merges == 2);
}

TEST_CASE("merging on 4 bits: a thousand merges leave the bytes of the base as they are") {
  const auto base = models::load(golden("qlora/nf4"));
  PeftModel model(*base, {.r = 2, .target_modules = {"up_proj"}});
  perturb(model, 3);
  const auto bytes = [&] {
    std::string all;
    for (const Tensor& part :
         parts_of(std::get<quant::QuantizedTensor>(weight_at(*base, up_proj).storage()))) {
      const auto span = part.bytes();
      all.append(reinterpret_cast<const char*>(span.data()), span.size());
    }
    return all;
  };
  const std::string before = bytes();
  const Tensor logits = logits_of(model, some_ids(1, 4));
  for (int i = 0; i < 1000; ++i) {
    model.merge_adapter({"default"}, {.requantize = i % 2 == 0});
    model.unmerge_adapter();
  }
  CHECK(bytes() == before);
  CHECK(same_bits(logits_of(model, some_ids(1, 4)), logits));
}

TEST_CASE("merging on 4 bits: in memory, a requantised merge is used, and dropped again") {
  Adapted adapted("qlora/nf4");
  const Tensor ids = some_ids(2, 6);
  const Tensor apart = logits_of(adapted.model, ids);
  adapted.model.set_requires_grad({"default"}, false);
  adapted.model.merge_adapter({"default"}, {.requantize = true});
  const double distance = test::relative_difference(logits_of(adapted.model, ids), apart);
  CHECK(distance > 1e-4);
  CHECK(distance < 1);
  adapted.model.unmerge_adapter();
  CHECK(same_bits(logits_of(adapted.model, ids), apart));
}

TEST_CASE(
    "merging on 4 bits: an original that is another model's is refused, and nothing changes") {
  Adapted adapted("qlora/nf4");
  const Tensor before = logits_of(adapted.model, some_ids(2, 6));
  const auto merge_on = [&](const OriginalWeight& original) {
    return message_of<ConfigError>(
        [&] { adapted.model.merge_and_unload({"default"}, {.original_weight = original}); });
  };
  check_contains(merge_on([&](const std::string& path) {
                   return test::random_tensor(weight_at(*adapted.base, path).shape(), 5);
                 }),
                 "cannot be what was put in 4 bits");
  check_contains(merge_on([](const std::string&) {
                   return Tensor::zeros({3, 4});
                 }),
                 "is (3, 4), but the one in 4 bits is (64, 64)");
  CHECK(same_bits(logits_of(adapted.model, some_ids(2, 6)), before));
}

TEST_CASE("merging streamed: the files are those of a model in memory") {
  for (const char* kind : {"models/gqa", "models/bf16", "models/tied", "qlora/nf4"}) {
    for (const bool requantize : {false, true}) {
      CAPTURE(std::string(kind));
      CAPTURE(requantize);
      const test::TemporaryFolder folder;
      const DType dtype = std::string(kind) == "models/bf16" ? DType::bf16 : DType::f32;
      for (const bool streamed : {false, true}) {
        const auto base = models::load(golden(kind), {.dtype = dtype, .streamed = streamed});
        PeftModel model(*base,
                        {.r = 3,
                         .target_modules = Targets::regex(".*proj|.*embed_tokens|lm_head"),
                         .bias = "none"},
                        "a", {.matcher = test::matcher()});
        perturb(model, 1);
        model.add_adapter("b", {.r = 2, .target_modules = {"v_proj"}, .modules_to_save = {"norm"}});
        model.set_adapter({"b"});
        perturb(model, 9);
        model.merge_and_unload({"a", "b"}, {.requantize = requantize});
        models::save_pretrained(*base, folder / (streamed ? "streamed" : "held"), {.dtype = dtype});
        if (streamed)
          CHECK(logits_of(*base, some_ids(2, 6)).defined());
      }
      CHECK(files_in(folder / "streamed") == files_in(folder / "held"));
    }
  }
}

TEST_CASE("merging streamed: the memory does not grow with the layers") {
  int64_t taken[2];
  for (const bool is_deep : {false, true}) {
    const test::TemporaryFolder folder;
    write_model(folder / "model", is_deep ? 12 : 2);
    const int64_t before = allocator(cpu).stats().current;
    allocator(cpu).reset_peak();
    const auto base = models::load(folder / "model", {.streamed = true});
    PeftModel model(*base, {.r = 1, .target_modules = {"q_proj", "up_proj"}});
    model.merge_and_unload({"default"}, {.dtype = DType::bf16});
    models::save_pretrained(*base, folder / "out",
                            {.dtype = DType::bf16, .max_shard_bytes = 200'000});
    taken[is_deep] = allocator(cpu).stats().peak - before;
    CHECK(std::filesystem::exists(folder / "out" / "model.safetensors.index.json"));
  }
  // Ten layers more bring their adapters and norms, of fewer than 1000 numbers a layer.
  constexpr int64_t layer = 4 * (4 * 96 * 96 + 3 * 96 * 192);
  MESSAGE(taken[0], " bytes for 2 layers, ", taken[1], " for 12; a layer has ", layer);
  CHECK(taken[1] - taken[0] < layer);
}

TEST_CASE(
    "merging streamed: a broken adapter changes nothing, a sum beyond f16 is found in writing") {
  const auto base = models::load(golden("models/gqa"), {.dtype = DType::f16, .streamed = true});
  PeftModel model(*base, {.r = 2, .target_modules = {"q_proj", "v_proj"}});
  perturb(model, 1);
  const Tensor before = logits_of(model, some_ids(2, 6));
  Variable last = model.trainable_parameters().back().variable;
  const Tensor sound = last.value().clone();
  last.set_value(Tensor::full(sound.shape(), NAN));
  CHECK_THROWS_AS(model.merge_and_unload(), NonFiniteError);
  last.set_value(sound);
  CHECK(same_bits(logits_of(model, some_ids(2, 6)), before));
  last.set_value(Tensor::full(sound.shape(), 1e6));
  model.merge_and_unload();
  const test::TemporaryFolder folder;
  check_contains(message_of<NonFiniteError>(
                     [&] { models::save_pretrained(*base, folder.path(), {.dtype = DType::f16}); }),
                 "the weight of model.layers.1.self_attn.v_proj with its adapters is not finite");
  CHECK(files_in(folder.path()).empty());
}

}  // namespace graft::peft
