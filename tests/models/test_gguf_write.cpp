// Models as GGUF files: read back they are the same model, and beside files that the gguf package
// wrote (tests/golden/make_gguf_models.py) they have the same tensors.

#include <nlohmann/json.hpp>
#include <string>

#include "graft/io/gguf_model.h"
#include "graft/models/gguf_write.h"
#include "graft/tests/models/models.h"
#include "graft/tests/support/families.h"

namespace graft {
namespace {

using quant::GgmlType;
using test::check_contains, test::FamilyCase, test::message_of;

std::filesystem::path written(const test::TemporaryFolder& scratch, nn::CausalLM& model,
                              GgmlType type) {
  io::GgufValues values;
  models::add_gguf_metadata(values, model.info(), type);
  const auto tensors = models::gguf_tensors(model, type);
  const std::filesystem::path path = scratch / "model.gguf";
  io::write_file_atomically(path,
                            [&](io::FileWriter& out) { io::write_gguf(out, values, tensors); });
  models::check_gguf_metadata(path, model.info());
  return path;
}

/// Cases of families.json whose settings a file can say, each something of its own.
constexpr const char* cases[] = {"llama",          "llama_old_theta",
                                 "llama_linear",   "llama_llama3",
                                 "llama_yarn",     "llama_yarn_mscale",
                                 "llama_longrope", "mistral",
                                 "qwen2",          "qwen2_yarn_old",
                                 "qwen2_odd",      "qwen3",
                                 "qwen3_biases",   "gpt2",
                                 "gpt2_odd",       "phi3",
                                 "phi3_longrope",  "phi3_longrope_new",
                                 "phi3_odd",       "gemma3",
                                 "gemma3_old",     "olmo2",
                                 "olmo2_odd"};

Tensor some_ids() {
  return io::SafetensorsFile(test::golden("gguf_models.safetensors")).load("input_ids");
}

}  // namespace

TEST_CASE("gguf_tensors: a model that is written and read again has the same logits") {
  const Tensor ids = some_ids();
  for (const char* name : cases) {
    CAPTURE(name);
    const FamilyCase entry(test::family_record(name));
    io::Json config = io::read_json_file(entry.folder / "config.json");
    // As all of Gemma's models have it; the format has no word for another scale.
    if (config.contains("query_pre_attn_scalar"))
      config["query_pre_attn_scalar"] = config["head_dim"];
    io::write_file_atomically(entry.folder / "config.json", io::to_text(config));
    const test::TemporaryFolder scratch;
    const auto model = models::load(entry.folder.path());
    const auto again = models::load(written(scratch, *model, GgmlType::f32));
    const Tensor expected = test::logits_of(*model, ids);
    const Tensor given = test::logits_of(*again, ids);
    // Gemma's norms are stored with 1 added, which costs small numbers their last bits.
    if (model->info().model_type == "gemma3_text")
      CHECK(test::relative_difference(given, expected) < 1e-5);
    else
      CHECK(test::same_bits(given, expected));
  }
}

TEST_CASE("gguf_tensors: names, types and bytes are those of files of the gguf package") {
  const io::Json cases = io::read_json_file(test::golden("gguf_models.json"))["cases"];
  for (const io::Json& record : cases) {
    const FamilyCase entry(record);
    CAPTURE(entry.name);
    const test::TemporaryFolder scratch;
    const auto model = models::load(entry.folder.path());
    const io::GgufModel golden(test::golden(record["file"].get<std::string>()));
    const io::GgufModel ours(written(scratch, *model, GgmlType::bf16));
    CHECK(ours.tensors().size() == golden.tensors().size());
    for (const io::GgufPlace& place : golden.tensors()) {
      CAPTURE(place.tensor->name);
      const io::GgufTensor& tensor = *ours.tensor(place.tensor->name).tensor;
      CHECK(tensor.type == place.tensor->type);
      CHECK(tensor.shape == place.tensor->shape);
      if (!tensor.name.starts_with("rope_freqs"))  // computed in another order
        CHECK(std::ranges::equal(tensor.bytes, place.tensor->bytes));
    }
    const std::string prefix = golden.metadata().text("general.architecture") + ".";
    for (const std::string& key : golden.metadata().keys()) {
      CAPTURE(key);
      // One key of phi3 only says that positions are scaled by tables, which the tables say too.
      if (key.starts_with(prefix) && ours.metadata().has(key))
        CHECK(ours.metadata().described(key) == golden.metadata().described(key));
    }
  }
}

TEST_CASE("gguf_tensors: quantised files have the embedding in 8 bits and odd rows in F16") {
  const test::TemporaryFolder scratch;
  const FamilyCase entry(test::family_record("llama"));
  const auto model = models::load(entry.folder.path());
  const io::GgufFile four(written(scratch, *model, GgmlType::q4_0));
  const int64_t hidden = model->info().hidden_size;
  const int64_t ffn = model->info().intermediate_size;
  const auto expected = [&](int64_t row, GgmlType type) {
    return static_cast<uint32_t>(row % 32 == 0 ? type : GgmlType::f16);
  };
  CHECK(four.tensor("blk.0.attn_q.weight").type == expected(hidden, GgmlType::q4_0));
  CHECK(four.tensor("blk.0.ffn_down.weight").type == expected(ffn, GgmlType::q4_0));
  CHECK(four.tensor("token_embd.weight").type == expected(hidden, GgmlType::q8_0));
  CHECK(four.tensor("blk.0.attn_norm.weight").type == static_cast<uint32_t>(GgmlType::f32));
  CHECK(four.integer("general.file_type") == 2);
  CHECK(four.integer("general.quantization_version") == 2);
  const auto odd = test::golden_model("odd");
  const io::GgufFile eight(written(scratch, *odd, GgmlType::q8_0));
  for (const io::GgufTensor& tensor : eight.tensors())
    if (tensor.shape.rank() == 2)
      CHECK(tensor.type == expected(tensor.shape[1], GgmlType::q8_0));
}

TEST_CASE("add_gguf_metadata: what the format cannot say is refused by name") {
  const auto refusal = [](const char* name, const io::Json& more) {
    const FamilyCase entry(test::family_record(name));
    io::Json config = io::read_json_file(entry.folder / "config.json");
    for (const auto& [key, value] : more.items())
      config[key] = value;
    io::write_file_atomically(entry.folder / "config.json", io::to_text(config));
    const auto model = models::load(entry.folder.path());
    const test::TemporaryFolder scratch;
    return message_of<ConfigError>([&] { written(scratch, *model, GgmlType::f32); });
  };
  check_contains(refusal("llama_dynamic", {}), "rotary scaling of the kind dynamic");
  check_contains(refusal("llama_yarn_attention", {}), "yarn with truncate = false");
  check_contains(refusal("mistral_window", {}), "a sliding window of 5");
  check_contains(refusal("qwen3_window", {}), "a sliding window of");
  check_contains(refusal("gpt2_gelu", {}), "the activation");
  check_contains(refusal("gpt2_unscaled", {}), "the scale of the attention scores");
  check_contains(refusal("gemma3", {{"query_pre_attn_scalar", 5}}),
                 "the scale of the attention scores");
  const auto wide = models::load(FamilyCase(test::family_record("llama")).folder.path());
  for (const nn::NamedMember& parameter : nn::named_parameters(*wide))
    if (parameter.path.ends_with("q_proj.weight"))
      dynamic_cast<nn::Weight*>(parameter.member)
          ->load(Tensor::full(parameter.member->shape(), 1e6));
  const test::TemporaryFolder scratch;
  check_contains(message_of<NonFiniteError>([&] { written(scratch, *wide, GgmlType::f16); }),
                 "attn_q.weight: encode_blocks: 1e+06 given, F16 reaches 65504");
}

}  // namespace graft
