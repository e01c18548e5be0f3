// Adapter folders: PEFT's are read and give PEFT's logits, ours hold what PEFT's hold.

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "graft/io/file.h"
#include "graft/io/json.h"
#include "graft/peft/adapted_embedding.h"
#include "graft/peft/adapted_linear.h"
#include "graft/peft/lora.h"
#include "graft/peft/model_card.h"
#include "graft/tests/peft/peft.h"

namespace graft::peft {
namespace {

using io::Json;
using test::check_contains, test::golden, test::golden_model, test::logits_of, test::message_of,
    test::same_bits, test::some_ids, test::tiny_llama;

/// f32 sums over a few dozen terms in two orders, over two layers.
constexpr double logit_tolerance = 2e-5;

/// The adapters of peft_files.json.
const Json& adapters() {
  static const Json json = io::read_json_file(golden("peft_files.json"));
  return json["adapters"];
}

/// Of the LoRA called "default" on an adapted layer.
std::pair<int64_t, double> rank_and_scaling(const nn::Module& layer) {
  if (const auto* embedding = dynamic_cast<const AdaptedEmbedding*>(&layer)) {
    const auto& lora = dynamic_cast<const LoraEmbedding&>(*embedding->find("default"));
    return {lora.r(), lora.scaling()};
  }
  const Adapter* adapter = dynamic_cast<const AdaptedLinear&>(layer).find("default");
  if (const auto* tied = dynamic_cast<const TiedLora*>(adapter))
    return {tied->r(), tied->scaling()};
  const auto& lora = dynamic_cast<const Lora&>(*adapter);
  return {lora.r(), lora.scaling()};
}

std::string text_of(const std::filesystem::path& file) {
  return io::read_file(file, 1 << 24);
}

/// The bytes of a file's tensors, by name.
std::map<std::string, std::pair<Shape, std::vector<std::byte>>> tensors_of(
    const std::filesystem::path& path) {
  const io::SafetensorsFile file(path, io::Access::read);
  std::map<std::string, std::pair<Shape, std::vector<std::byte>>> tensors;
  for (const std::string& name : file.names()) {
    const Tensor tensor = file.load(name);
    tensors[name] = {tensor.shape(), {tensor.bytes().begin(), tensor.bytes().end()}};
  }
  return tensors;
}

/// A saved adapter to be damaged: r 4 on q_proj and v_proj of a one-layer model.
struct SavedAdapter {
  SavedAdapter() : model(tiny_llama(1)) {
    PeftModel adapted = get_peft_model(
        *model, {.r = 4, .target_modules = {"q_proj", "v_proj"}, .task_type = "CAUSAL_LM"});
    test::perturb(adapted);
    adapted.save_pretrained(folder.path());
    const io::SafetensorsFile file(folder / "adapter_model.safetensors", io::Access::read);
    for (const std::string& name : file.names())
      tensors.push_back({name, file.load(name)});
  }
  void write() const { io::write_safetensors(folder / "adapter_model.safetensors", tensors); }
  Tensor& tensor(const std::string& name) {
    for (io::NamedTensor& named : tensors) {
      if (named.name.ends_with(name))
        return named.tensor;
    }
    FAIL("no tensor ", name);
    return tensors[0].tensor;
  }
  std::string refusal() const {
    return message_of<FormatError>([&] { PeftModel::from_pretrained(*model, folder.path()); });
  }

  test::TemporaryFolder folder;
  std::unique_ptr<nn::CausalLM> model;
  std::vector<io::NamedTensor> tensors;
};

}  // namespace

TEST_CASE("adapter file: PEFT's adapters give PEFT's logits, with its ranks and scalings") {
  const io::SafetensorsFile answers(golden("peft_files.safetensors"));
  const Tensor ids = answers.load("input_ids").view({1, -1});
  for (const Json& record : adapters()) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    const auto model = models::load(golden(record["base"].get<std::string>()));
    const PeftModel adapted =
        PeftModel::from_pretrained(*model, golden(record["folder"].get<std::string>()), "default",
                                   false, {.matcher = test::matcher()});
    const Tensor expected = answers.load(name + ".logits");
    const Tensor logits = logits_of(adapted, ids).view({expected.dim(0), expected.dim(1)});
    const double difference = test::relative_difference(logits, expected);
    MESSAGE(name, ": ", difference, " of ", logit_tolerance);
    CHECK(difference < logit_tolerance);

    size_t layers = 0;
    for (const Site& site : sites_of(*model)) {
      if (adapted_layer(*site.module) == nullptr)
        continue;
      const auto [r, scaling] = rank_and_scaling(*site.module);
      REQUIRE(record["layers"].contains(site.path));
      CHECK(r == record["layers"][site.path]["r"].get<int64_t>());
      CHECK(scaling ==
            doctest::Approx(record["layers"][site.path]["scaling"].get<double>()).epsilon(1e-15));
      ++layers;
    }
    CHECK(layers == record["layers"].size());
  }
}

TEST_CASE("adapter file: what was loaded from PEFT is saved as PEFT saved it, byte for byte") {
  for (const Json& record : adapters()) {
    CAPTURE(record["name"].get<std::string>());
    const std::filesystem::path original = golden(record["folder"].get<std::string>());
    const auto model = models::load(golden(record["base"].get<std::string>()));
    const PeftModel adapted = PeftModel::from_pretrained(*model, original, "default", false,
                                                         {.matcher = test::matcher()});
    const test::TemporaryFolder folder;
    adapted.save_pretrained(folder.path());
    CHECK(text_of(folder / "adapter_model.safetensors") ==
          text_of(original / "adapter_model.safetensors"));
    // The list of targets is sorted here, a Python set there: test_config.cpp compares the bytes.
    CHECK(read_lora_config(folder / "adapter_config.json").target_modules.names().size() ==
          read_lora_config(original / "adapter_config.json").target_modules.names().size());
    CHECK(text_of(folder / "adapter_config.json").size() ==
          text_of(original / "adapter_config.json").size());
  }
}

TEST_CASE("adapter file: a new adapter has the keys and shapes of PEFT's") {
  for (const Json& record : adapters()) {
    const std::string name = record["name"].get<std::string>();
    CAPTURE(name);
    Json json = record["config"];
    json["peft_type"] = "LORA";
    const auto model = models::load(golden(record["base"].get<std::string>()));
    const PeftModel adapted = get_peft_model(*model, parse_lora_config(io::to_text(json), "config"),
                                             "default", {.matcher = test::matcher()});
    const test::TemporaryFolder folder;
    adapted.save_pretrained(folder.path());
    const io::SafetensorsFile file(folder / "adapter_model.safetensors", io::Access::read);
    CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
    CHECK(file.names().size() == record["tensors"].size());
    for (const auto& [key, sizes] : record["tensors"].items()) {
      REQUIRE(file.contains(key));
      CHECK(file.entry(key).dtype == "F32");
      CHECK(file.entry(key).shape == Shape(sizes.get<std::vector<int64_t>>()));
    }
    Json ours = io::read_json_file(folder / "adapter_config.json");
    Json theirs =
        io::read_json_file(golden(record["folder"].get<std::string>() + "/adapter_config.json"));
    for (Json* config : {&ours, &theirs}) {
      if ((*config)["target_modules"].is_array())
        std::sort((*config)["target_modules"].begin(), (*config)["target_modules"].end());
      config->erase("base_model_name_or_path");  // the test's folder differs
    }
    // PEFT sorts the keys of patterns, graft keeps their order.
    CHECK(nlohmann::json::parse(ours.dump()) == nlohmann::json::parse(theirs.dump()));
  }
}

TEST_CASE("adapter file: the model card has PEFT's header") {
  for (const char* name : {"default", "no_task_type"}) {
    CAPTURE(name);
    const std::string theirs = text_of(golden(concat("peft_files/", name, "/README.md")));
    const std::string ours =
        model_card(read_lora_config(golden(concat("peft_files/", name, "/adapter_config.json"))));
    const size_t end = theirs.find("---\n", 4) + 4;
    CHECK(ours.substr(0, end) == theirs.substr(0, end));
    check_contains(ours, "\n### Framework versions\n\n- PEFT 0.21.2");
  }
  check_contains(model_card({.base_model_name_or_path = "it's: odd"}),
                 "base_model: 'it''s: odd'\nlibrary_name: peft\ntags:\n- "
                 "'base_model:adapter:it''s: odd'\n- lora\n");
  check_contains(model_card({.base_model_name_or_path = "123"}), "base_model: '123'\n");
  CHECK(model_card({}).starts_with("---\nlibrary_name: peft\ntags:\n- lora\n"));
}

TEST_CASE("adapter file: an adapter loaded with is_trainable goes on from the saved numbers") {
  const Json json = io::read_json_file(golden("lora_runs.json"));
  const Json& run = json["runs"][0];
  REQUIRE(run["name"] == "q_v");
  const auto model = golden_model("gqa");
  const std::filesystem::path folder = golden("lora_runs/q_v/initial");
  PeftModel adapted = PeftModel::from_pretrained(*model, folder, "default", true);
  CHECK(adapted.count_parameters().trainable == run["trainable_parameters"].get<int64_t>());
  CHECK(!adapted.config("default").inference_mode);
  const io::SafetensorsFile file(folder / "adapter_model.safetensors");
  for (const NamedVariable& parameter : adapted.trainable_parameters()) {
    std::string key = "base_model.model." + parameter.name;
    key.erase(key.find(".default"), std::string(".default").size());
    CHECK(same_bits(parameter.variable.value(), file.load(key)));
  }
}

TEST_CASE("adapter file: saving and loading gives the same logits, under any name") {
  const auto model = tiny_llama(2);
  const Tensor ids = some_ids(1, 8);
  for (const char* name :
       {"default", "other", "lora", "lora_A", "weight", "base_layer", "q_proj", "ä b"}) {
    CAPTURE(name);
    const test::TemporaryFolder folder;
    Tensor logits;
    {
      PeftModel adapted = get_peft_model(
          *model, {.target_modules = {"q_proj", "lm_head"}, .use_rslora = true}, name);
      test::perturb(adapted);
      logits = logits_of(adapted, ids);
      adapted.save_pretrained(folder.path());
    }
    const bool is_default = std::string(name) == "default";
    const auto place = is_default ? folder.path() : folder / name;
    CHECK(std::filesystem::exists(folder / "README.md"));
    CHECK(std::filesystem::exists(place / "adapter_config.json"));
    CHECK(std::filesystem::exists(folder / "adapter_config.json") == is_default);
    const PeftModel again = PeftModel::from_pretrained(*model, place, name);
    CHECK(same_bits(logits_of(again, ids), logits));
  }
}

TEST_CASE("adapter file: adapters whose names contain each other keep their numbers") {
  const auto model = tiny_llama(1);
  const test::TemporaryFolder folder;
  std::map<std::string, Tensor> logits;
  {
    PeftModel adapted = get_peft_model(*model, {.target_modules = {"q_proj"}}, "ad");
    test::perturb(adapted, 1);
    adapted.add_adapter("adapter", {.target_modules = {"q_proj", "v_proj"}});
    adapted.set_adapter({"adapter"});
    test::perturb(adapted, 50);
    adapted.save_pretrained(folder.path());
    for (const char* name : {"ad", "adapter"}) {
      adapted.set_adapter({name});
      logits[name] = logits_of(adapted, some_ids(1, 6));
    }
    const test::TemporaryFolder one;
    adapted.save_pretrained(one.path(), {"ad"});
    CHECK(std::filesystem::exists(one / "ad"));
    CHECK(!std::filesystem::exists(one / "adapter"));
    check_contains(message_of<ConfigError>([&] { adapted.save_pretrained(one.path(), {"ax"}); }),
                   "adapter \"ax\" does not exist; there are: ad, adapter");
  }
  PeftModel again = PeftModel::from_pretrained(*model, folder / "adapter", "x");
  again.load_adapter(folder / "ad", "y");
  CHECK(again.active_adapters() == std::vector<std::string>{"x"});
  CHECK(same_bits(logits_of(again, some_ids(1, 6)), logits["adapter"]));
  again.set_adapter({"y"});
  CHECK(same_bits(logits_of(again, some_ids(1, 6)), logits["ad"]));
}

TEST_CASE("adapter file: an existing model card is kept") {
  const auto model = tiny_llama(1);
  const test::TemporaryFolder folder;
  io::write_file_atomically(folder / "README.md", "mine");
  get_peft_model(*model, {}).save_pretrained(folder.path());
  CHECK(text_of(folder / "README.md") == "mine");
}

TEST_CASE("adapter file: missing, unexpected and reshaped tensors are listed together") {
  SavedAdapter saved;
  saved.tensors[0].name = "base_model.model.model.layers.0.self_attn.q_prj.lora_A.weight";
  saved.tensor("v_proj.lora_B.weight") = Tensor::zeros({16, 5});
  saved.write();
  const std::string message = saved.refusal();
  check_contains(message, (saved.folder / "adapter_model.safetensors").string());
  check_contains(message,
                 "does not fit its configuration and this model: 1 tensors are missing, 1 "
                 "unexpected, 1 of another shape");
  check_contains(message,
                 "\n  missing: base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight "
                 "(4, 16)");
  check_contains(message,
                 "\n  unexpected: base_model.model.model.layers.0.self_attn.q_prj.lora_A.weight "
                 "(4, 16) (did you mean "
                 "'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight'?)");
  check_contains(message,
                 "\n  shape: base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight is "
                 "(16, 5), (16, 4) expected");
}

TEST_CASE("adapter file: keys without PEFT's prefix are unexpected, and the list is cut") {
  const auto model = tiny_llama(3);
  const test::TemporaryFolder folder;
  get_peft_model(*model, {}).save_pretrained(folder.path());
  std::vector<io::NamedTensor> tensors;
  {
    const io::SafetensorsFile file(folder / "adapter_model.safetensors", io::Access::read);
    for (const std::string& name : file.names())
      tensors.push_back({name.substr(std::string("base_model.model.").size()), file.load(name)});
  }
  io::write_safetensors(folder / "adapter_model.safetensors", tensors);
  const std::string message =
      message_of<FormatError>([&] { PeftModel::from_pretrained(*model, folder.path()); });
  check_contains(message, "12 tensors are missing, 12 unexpected");
  check_contains(message,
                 "\n  unexpected: model.layers.0.self_attn.q_proj.lora_A.weight (without PEFT's "
                 "prefix base_model.model.)");
  check_contains(message, "\n  missing: 6 more");
}

TEST_CASE("adapter file: pickles are refused with the way to convert them") {
  const SavedAdapter saved;
  std::filesystem::rename(saved.folder / "adapter_model.safetensors",
                          saved.folder / "adapter_model.bin");
  const std::string message = saved.refusal();
  check_contains(message, "adapter_model.bin: a pickle, which can run code");
  check_contains(message, "load the adapter with PEFT and call save_pretrained");
}

TEST_CASE("adapter file: a folder that is none is an IoError that says what is missing") {
  const auto model = tiny_llama(1);
  const test::TemporaryFolder folder;
  check_contains(
      message_of<IoError>([&] { PeftModel::from_pretrained(*model, folder / "nowhere"); }),
      "it has no adapter_config.json (adapters not called \"default\" are in a subfolder");
  get_peft_model(*model, {}).save_pretrained(folder.path());
  std::filesystem::remove(folder / "adapter_model.safetensors");
  check_contains(message_of<IoError>([&] { PeftModel::from_pretrained(*model, folder.path()); }),
                 "adapter_model.safetensors");
}

TEST_CASE("adapter file: numbers in other formats are converted, integers are refused") {
  SavedAdapter saved;
  const Tensor exact = saved.tensor("q_proj.lora_A.weight");
  saved.tensor("q_proj.lora_A.weight") = exact.to(DType::bf16);
  saved.tensor("q_proj.lora_B.weight") = saved.tensor("q_proj.lora_B.weight").to(DType::f64);
  saved.write();
  {
    PeftModel adapted = PeftModel::from_pretrained(*saved.model, saved.folder.path(), "x", true);
    const std::vector<NamedVariable> parameters = adapted.trainable_parameters();
    CHECK(same_bits(parameters[0].variable.value(), exact.to(DType::bf16).to(DType::f32)));
    CHECK(parameters[1].variable.dtype() == DType::f32);
  }
  saved.tensor("q_proj.lora_A.weight") = Tensor::zeros({4, 16}, DType::i64);
  saved.write();
  check_contains(saved.refusal(), "q_proj.lora_A.weight is i64, floating-point numbers expected");
}

TEST_CASE("adapter file: base weights in the file have to be the model's") {
  const auto model = tiny_llama(1);
  const test::TemporaryFolder folder;
  get_peft_model(*model, {.target_modules = {"lm_head"}}).save_pretrained(folder.path());
  CHECK(tensors_of(folder / "adapter_model.safetensors")
            .contains("base_model.model.lm_head.base_layer.weight"));
  PeftModel::from_pretrained(*model, folder.path());
  // The same numbers in a model that holds them rounded.
  PeftModel::from_pretrained(*tiny_llama(1, false, DType::bf16), folder.path());

  const auto other = tiny_llama(1);
  for (const nn::NamedMember& parameter : nn::named_parameters(*other)) {
    if (parameter.path == "lm_head.weight")
      parameter.member->load(test::random_tensor({32, 16}, 99));
  }
  check_contains(
      message_of<FormatError>([&] { PeftModel::from_pretrained(*other, folder.path()); }),
      "base_model.model.lm_head.base_layer.weight is not the weight of this model: the "
      "adapter was saved over a base model that had been changed");
}

TEST_CASE("adapter file: targets of others that match nothing only give a warning") {
  const SavedAdapter saved;
  Json json = io::read_json_file(saved.folder / "adapter_config.json");
  json["target_modules"].push_back("query_key_value");
  json["base_model_name_or_path"] = "somewhere/else";
  io::write_file_atomically(saved.folder / "adapter_config.json", io::to_text(json));
  test::Warnings warnings;
  const PeftModel adapted = PeftModel::from_pretrained(*saved.model, saved.folder.path(), "x",
                                                       false, {.observer = warnings.observer()});
  REQUIRE(warnings.texts.size() == 1);
  check_contains(warnings.texts[0], "\"query_key_value\" matches no module of the model");
  CHECK(adapted.config("x").base_model_name_or_path == "somewhere/else");
}

TEST_CASE("adapter file: a load that fails changes nothing") {
  SavedAdapter saved;
  const auto model = tiny_llama(1);
  PeftModel adapted = get_peft_model(*model, {.target_modules = {"up_proj"}});
  test::perturb(adapted);
  const Tensor logits = logits_of(adapted, some_ids(1, 6));
  const size_t parameters = nn::named_parameters(adapted).size();
  saved.tensors.pop_back();
  saved.write();
  message_of<FormatError>([&] { adapted.load_adapter(saved.folder.path(), "x"); });
  message_of<ConfigError>([&] { adapted.load_adapter(saved.folder.path(), "default"); });
  message_of<IoError>([&] { adapted.load_adapter(saved.folder / "no", "x"); });
  CHECK(nn::named_parameters(adapted).size() == parameters);
  CHECK(adapted.available_adapters() == std::vector<std::string>{"default"});
  CHECK(same_bits(logits_of(adapted, some_ids(1, 6)), logits));
  message_of<FormatError>([&] { PeftModel::from_pretrained(*saved.model, saved.folder.path()); });
  for (const Site& site : sites_of(*saved.model))
    CHECK(dynamic_cast<AdaptedLinear*>(site.module) == nullptr);
}

TEST_CASE("adapter file: a huge rank in a damaged configuration allocates nothing") {
  const SavedAdapter saved;
  Json json = io::read_json_file(saved.folder / "adapter_config.json");
  json["r"] = int64_t{1} << 30;
  io::write_file_atomically(saved.folder / "adapter_config.json", io::to_text(json));
  check_contains(saved.refusal(), "is (4, 16), (1073741824, 16) expected");
}

}  // namespace graft::peft
