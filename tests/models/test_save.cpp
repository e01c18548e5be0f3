#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "graft/io/json.h"
#include "graft/models/save.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::golden_model;

std::set<std::string> files_in(const std::filesystem::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

void check_equal(nn::CausalLM& a, nn::CausalLM& b) {
  const auto x = nn::named_parameters(a);
  const auto y = nn::named_parameters(b);
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    CHECK(x[i].path == y[i].path);
    CHECK(test::same_bits(x[i].member->value(), y[i].member->value()));
  }
}

/// An opaque module, as layers that carry adapters are.
class Adapted final : public nn::LinearLike {
 public:
  explicit Adapted(std::unique_ptr<nn::LinearLike> base)
      : base_(*this, "base_layer", std::move(base)) {}
  Variable forward(const Variable& x, const nn::Context& context) const override {
    return base_->forward(x, context);
  }
  int64_t in_features() const override { return base_->in_features(); }
  int64_t out_features() const override { return base_->out_features(); }
  bool is_opaque() const override { return true; }

 private:
  nn::Child<nn::LinearLike> base_;
};

}  // namespace

TEST_CASE("save: what is written is loaded again bit for bit, in every floating dtype") {
  for (const std::string name : {"tied", "untied", "biases", "head_dim"}) {
    for (const DType dtype : {DType::f32, DType::bf16, DType::f16}) {
      const auto model = golden_model(name, dtype);
      const test::TemporaryFolder folder;
      models::save_pretrained(*model, folder / "out", {.dtype = dtype});
      const auto again = models::load(folder / "out", {.dtype = dtype});
      check_equal(*model, *again);
      CHECK(again->info().config_json == model->info().config_json);
      CHECK(files_in(folder / "out") == std::set<std::string>{"config.json", "model.safetensors"});
    }
  }
}

TEST_CASE("save: weights are rounded to the dtype of the file") {
  const test::TemporaryFolder folder;
  models::save_pretrained(*golden_model("gqa"), folder.path(), {.dtype = DType::bf16});
  const io::SafetensorsFile file(folder / "model.safetensors");
  CHECK(file.info("model.norm.weight").dtype == DType::bf16);
  check_equal(*models::load(folder.path(), {.dtype = DType::bf16}),
              *golden_model("gqa", DType::bf16));
}

TEST_CASE("save: a tied head is written once, under the embedding's name") {
  const test::TemporaryFolder folder;
  models::save_pretrained(*golden_model("tied"), folder.path());
  const io::SafetensorsFile file(folder / "model.safetensors");
  CHECK(file.contains("model.embed_tokens.weight"));
  CHECK(!file.contains("lm_head.weight"));
  CHECK(file.metadata().at("format") == "pt");
  const io::Json config = io::read_json_file(folder / "config.json");
  CHECK(config["tie_word_embeddings"] == true);
  CHECK(config["torch_dtype"] == "float32");
}

TEST_CASE("save: a large model is spread over files with an index, and loads again") {
  const auto model = golden_model("untied");
  const test::TemporaryFolder folder;
  models::save_pretrained(*model, folder.path(), {.max_shard_bytes = 20000});
  const std::set<std::string> names = files_in(folder.path());
  CHECK(names.contains("model.safetensors.index.json"));
  CHECK(!names.contains("model.safetensors"));
  const io::Json index = io::read_json_file(folder / "model.safetensors.index.json");
  CHECK(index["metadata"]["total_size"] == 4 * nn::count_parameters(*model));
  CHECK(names.contains(index["weight_map"]["lm_head.weight"].get<std::string>()));
  check_equal(*model, *models::load(folder.path()));
}

TEST_CASE("save: weights of the model that was there before do not stay") {
  const auto model = golden_model("untied");
  const test::TemporaryFolder folder;
  std::ofstream(folder / "tokenizer.json") << "{}";
  models::save_pretrained(*model, folder.path(), {.max_shard_bytes = 20000});
  models::save_pretrained(*model, folder.path());
  CHECK(files_in(folder.path()) ==
        std::set<std::string>{"config.json", "model.safetensors", "tokenizer.json"});
  models::save_pretrained(*model, folder.path(), {.max_shard_bytes = 20000});
  CHECK(!files_in(folder.path()).contains("model.safetensors"));
  CHECK(files_in(folder.path()).contains("tokenizer.json"));
  check_equal(*model, *models::load(folder.path()));
}

TEST_CASE("save: a model with adapters is refused, a folder that cannot be made is said") {
  const auto model = golden_model("gqa");
  const test::TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  test::check_contains(
      test::message_of<IoError>([&] { models::save_pretrained(*model, folder / "file" / "out"); }),
      "cannot make the folder");
  nn::for_each_member(*model, [](const std::string& path, nn::Member& member) {
    if (path == "model.layers.0.self_attn.q_proj")
      dynamic_cast<nn::Child<nn::LinearLike>&>(member).replace(
          [](auto base) { return std::make_unique<Adapted>(std::move(base)); });
  });
  test::check_contains(
      test::message_of<ConfigError>([&] { models::save_pretrained(*model, folder / "out"); }),
      "model.layers.0.self_attn.q_proj carries adapters");
  CHECK(!std::filesystem::exists(folder / "out"));
}

}  // namespace graft
