// convert of adapters: what llama.cpp loads, and back.

#include <cmath>
#include <nlohmann/json.hpp>

#include "graft/io/gguf.h"
#include "graft/io/json.h"
#include "graft/io/safetensors.h"
#include "graft/tensor/matmul.h"
#include "graft/tensor/pointwise.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

const std::string prefix = "base_model.model.model.layers.0.self_attn.";

/// An adapter of PEFT's that a test may change.
class Adapter {
 public:
  explicit Adapter(const std::string& name, const std::string& base = "models/gqa")
      : base_(golden(base)) {
    fs::copy(golden("peft_files/" + name), folder(), fs::copy_options::recursive);
  }

  fs::path folder() const { return scratch_ / "adapter"; }
  fs::path file() const { return scratch_ / "adapter.gguf"; }
  fs::path back() const { return scratch_ / "back"; }

  CommandResult to_gguf(const Arguments& more = {}) const {
    return run_graft(
        joined({"convert", "--from", folder(), "--model", base_, "--out", file()}, more));
  }
  CommandResult to_peft(const Arguments& more = {}) const {
    return run_graft(
        joined({"convert", "--from", file(), "--model", base_, "--out", back()}, more));
  }
  CommandResult logits(const fs::path& adapter) const {
    put_bytes(scratch_ / "ids.jsonl", "{\"input_ids\": [3, 1, 4, 1, 5, 9, 2, 6]}\n");
    return run_graft({"logits", "--model", base_, "--adapter", adapter, "--data",
                      scratch_ / "ids.jsonl", "--out", scratch_ / "logits.safetensors"});
  }
  /// The logits that the model has with the adapter in a folder.
  Tensor logits_with(const fs::path& adapter) const {
    check_exit(logits(adapter), 0);
    return io::SafetensorsFile(scratch_ / "logits.safetensors").load("logits.0").clone();
  }
  void set(const std::string& key, const io::Json& value) const {
    io::Json config = io::read_json_file(folder() / "adapter_config.json");
    config[key] = value;
    put_bytes(folder() / "adapter_config.json", io::to_text(config));
  }

 private:
  TemporaryFolder scratch_;
  fs::path base_;
};

io::SafetensorsFile tensors_of(const fs::path& folder) {
  return io::SafetensorsFile(folder / "adapter_model.safetensors", io::Access::read);
}

void check_same_tensors(const fs::path& a, const fs::path& b) {
  const io::SafetensorsFile given = tensors_of(a), expected = tensors_of(b);
  CHECK(given.names() == expected.names());
  for (const std::string& name : expected.names()) {
    CAPTURE(name);
    CHECK(same_bits(given.load(name), expected.load(name)));
  }
}

/// All tensors in another dtype.
void round_tensors(const fs::path& folder, DType dtype) {
  std::vector<io::NamedTensor> tensors;
  const io::SafetensorsFile file = tensors_of(folder);
  for (const std::string& name : file.names())
    tensors.push_back({name, file.load(name).to(dtype)});
  io::write_safetensors(folder / "adapter_model.safetensors", tensors);
}

}  // namespace

TEST_CASE("convert: an adapter goes to GGUF and back with the same bits") {
  for (const char* name : {"q_v", "all_linear", "layers_to_transform", "patterns"}) {
    for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
      CAPTURE(name);
      CAPTURE(dtype);
      const Adapter adapter(name);
      adapter.set("alpha_pattern", io::Json::object());
      round_tensors(adapter.folder(), dtype);
      check_exit(adapter.to_gguf(), 0);
      check_exit(adapter.to_peft(), 0);
      check_same_tensors(adapter.back(), adapter.folder());
      CHECK(same_bits(adapter.logits_with(adapter.back()), adapter.logits_with(adapter.folder())));
    }
  }
}

TEST_CASE("convert: an adapter's file has llama.cpp's metadata, names and rows") {
  const Adapter adapter("q_v");
  check_exit(adapter.to_gguf(), 0);
  const io::GgufFile file(adapter.file());
  CHECK(file.text("general.type") == "adapter");
  CHECK(file.text("general.architecture") == "llama");
  CHECK(file.text("adapter.type") == "lora");
  const io::Json config = io::read_json_file(adapter.folder() / "adapter_config.json");
  CHECK(file.number("adapter.lora.alpha") == config["lora_alpha"]);
  CHECK(file.tensors().size() == tensors_of(adapter.folder()).names().size());
  // Rows 0 and D/2 of a head of q stand next to each other, those of v as they are.
  const Tensor b = tensors_of(adapter.folder()).load(prefix + "q_proj.lora_B.weight");
  const io::GgufTensor& stored = file.tensor("blk.0.attn_q.weight.lora_b");
  CHECK(stored.shape == b.shape());
  const int64_t heads = io::read_json_file(golden("models/gqa/config.json"))["num_attention_heads"];
  const int64_t half = b.dim(0) / heads / 2;
  const auto row_bytes = static_cast<size_t>(b.nbytes() / b.dim(0));
  const auto row = [&](int64_t i) {
    return b.bytes().subspan(static_cast<size_t>(i) * row_bytes, row_bytes);
  };
  CHECK(std::ranges::equal(stored.bytes.first(row_bytes), row(0)));
  CHECK(std::ranges::equal(stored.bytes.subspan(row_bytes, row_bytes), row(half)));
  const Tensor v = tensors_of(adapter.folder()).load(prefix + "v_proj.lora_B.weight");
  CHECK(std::ranges::equal(file.tensor("blk.0.attn_v.weight.lora_b").bytes, v.bytes()));
}

TEST_CASE("convert: the alpha of a GGUF adapter gives each module its scaling") {
  // Rounding: alpha is f32, and where it cannot serve all, B is rounded once more.
  constexpr double tolerance = 2e-6;
  for (const auto& [name, folded] : {std::pair("rslora", 0), std::pair("patterns_rslora", 2),
                                     std::pair("patterns", 2), std::pair("fractional_alpha", 0)}) {
    CAPTURE(name);
    const Adapter adapter(name);
    const CommandResult result = adapter.to_gguf({"--json"});
    check_exit(result, 0);
    CHECK((json_of(result)["folded"] > 0) == (folded > 0));
    check_exit(adapter.to_peft(), 0);
    const io::Json config = io::read_json_file(adapter.back() / "adapter_config.json");
    CHECK(config["use_rslora"] == false);
    const Tensor expected = adapter.logits_with(adapter.folder());
    CHECK(relative_difference(adapter.logits_with(adapter.back()), expected) < tolerance);
  }
}

TEST_CASE("convert: embedding and head of a model that has two matrices") {
  for (const char* name : {"embedding", "lm_head_untied"}) {
    CAPTURE(name);
    const Adapter adapter(name, "models/untied");
    check_exit(adapter.to_gguf(), 0);
    check_exit(adapter.to_peft(), 0);
    CHECK(same_bits(adapter.logits_with(adapter.back()), adapter.logits_with(adapter.folder())));
  }
  const Adapter adapter("embedding", "models/untied");
  check_exit(adapter.to_gguf(), 0);
  // llama.cpp reads the rows of A that belong to the tokens.
  const Tensor a =
      tensors_of(adapter.folder()).load("base_model.model.model.embed_tokens.lora_embedding_A");
  CHECK(io::GgufFile(adapter.file()).tensor("token_embd.weight.lora_a").shape ==
        Shape{a.dim(1), a.dim(0)});
}

TEST_CASE("convert: what a GGUF adapter cannot say is refused by name, and nothing is written") {
  const auto refused = [](const Adapter& adapter, const char* expected, int code = 2) {
    const CommandResult result = adapter.to_gguf();
    check_exit(result, code);
    check_contains(result.err, expected);
    CHECK(!fs::exists(adapter.file()));
  };
  refused(Adapter("modules_to_save", "models/untied"), "it has base_model.model.lm_head.weight");
  refused(Adapter("bias_lora_only", "models/biases"), "q_proj.base_layer.bias");
  refused(Adapter("lora_bias", "models/biases"), "(lora_bias)");
  refused(Adapter("lm_head_tied"), "head and embedding of the model are one matrix");
  refused(Adapter("q_v", "models/odd"), "the adapter does not fit the model");
  const Adapter without_alpha("q_v");
  without_alpha.set("lora_alpha", 0);
  refused(without_alpha, "lora_alpha is 0");
  const Adapter large("q_v");
  const CommandResult result = run_graft({"convert", "--from", large.folder(), "--model",
                                          golden("models/gqa"), "--out", large.back() / "a.txt"});
  check_exit(result, 2);
  check_contains(result.err, "is not called .gguf");
}

TEST_CASE("convert: a file that is there is replaced with --overwrite only") {
  const Adapter adapter("q_v");
  put_bytes(adapter.file(), "older");
  const CommandResult refused = adapter.to_gguf();
  check_exit(refused, 2);
  check_contains(refused.err, "is there already; give --overwrite");
  CHECK(bytes_of(adapter.file()) == "older");
  check_exit(adapter.to_gguf({"--overwrite"}), 0);
  check_exit(adapter.to_peft(), 0);
  check_exit(adapter.to_peft(), 2);
  check_exit(adapter.to_peft({"--overwrite", "--dtype", "f16"}), 0);
  CHECK(tensors_of(adapter.back()).info(prefix + "q_proj.lora_A.weight").dtype == DType::f16);
}

TEST_CASE("convert: an adapter's base model is found where its configuration names it") {
  const Adapter adapter("q_v");
  CommandOptions here{.directory = golden("")};
  const Arguments without_model = {"convert", "--from", adapter.folder(), "--out", adapter.file()};
  check_exit(run_graft(without_model, here), 0);  // "models/gqa"
  fs::remove(adapter.file());
  const CommandResult nowhere = run_graft(without_model, {.directory = adapter.folder()});
  check_exit(nowhere, 2);
  check_contains(nowhere.err, "--model is missing");
}

TEST_CASE("convert: forms that do not fit what is given are refused") {
  const Adapter adapter("q_v");
  const auto refused = [&](const Arguments& more, const char* expected) {
    const CommandResult result = adapter.to_gguf(more);
    check_exit(result, 2);
    check_contains(result.err, expected);
  };
  refused({"--to", "hf"}, "is an adapter: gguf or peft expected");
  refused({"--to", "peft"}, "is an adapter in PEFT's form already");
  refused({"--dtype", "q8_0"}, "only models in GGUF files have");
  check_exit(adapter.to_gguf(), 0);
  const CommandResult again = run_graft({"convert", "--from", adapter.file(), "--to", "gguf",
                                         "--model", golden("models/gqa"), "--out", adapter.back()});
  check_exit(again, 2);
  check_contains(again.err, "is an adapter in GGUF's form: peft expected");
}
