// Models whose matrices stay in their files.

#include "graft/models/save.h"
#include "graft/tensor/allocator.h"
#include "graft/tests/io/bytes.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

/// Ids below 32.
Tensor some_ids() {
  return test::ids_of({3, 17, 5, 9, 30, 1});
}

void check_same_model(nn::CausalLM& streamed, nn::CausalLM& loaded) {
  const auto x = nn::named_parameters(streamed);
  const auto y = nn::named_parameters(loaded);
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) {
    CAPTURE(x[i].path);
    CHECK(test::same_bits(x[i].member->value(), y[i].member->value()));
    const auto* weight = dynamic_cast<const nn::Weight*>(x[i].member);
    if (weight == nullptr)
      continue;
    CHECK(weight->is_streamed());
    const nn::WeightForm held = dynamic_cast<const nn::Weight&>(*y[i].member).form();
    CHECK(weight->form().dtype == held.dtype);
    CHECK(weight->form().format.has_value() == held.format.has_value());
  }
  CHECK(
      test::same_bits(test::logits_of(streamed, some_ids()), test::logits_of(loaded, some_ids())));
}

}  // namespace

TEST_CASE("streamed: a model has the numbers and the logits of the one that is loaded") {
  for (const char* path : {"models/gqa", "models/bf16", "models/tied", "models/sharded",
                           "families/gpt2", "families/phi3", "gguf_models/llama31.gguf",
                           "gguf_models/gpt2.gguf", "qlora/nf4", "qlora/fp4"}) {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      CAPTURE(std::string(path));
      CAPTURE(dtype);
      const auto streamed = models::load(test::golden(path), {.dtype = dtype, .streamed = true});
      check_same_model(*streamed, *models::load(test::golden(path), {.dtype = dtype}));
    }
  }
  const auto quantised =
      models::load(test::golden("qlora/dense"), {.quant = quant::nf4(), .streamed = true});
  check_same_model(*quantised, *models::load(test::golden("qlora/dense"), {.quant = quant::nf4()}));
}

TEST_CASE("streamed: what is loaded afterwards is held") {
  const auto model = models::load(test::golden("models/gqa"), {.streamed = true});
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    auto* weight = dynamic_cast<nn::Weight*>(parameter.member);
    if (weight == nullptr)
      continue;
    CHECK(weight->variable() == nullptr);
    weight->pack();  // has nothing to pack
    CHECK(weight->is_streamed());
    weight->load(Tensor::full(weight->shape(), 2));
    CHECK(!weight->is_streamed());
    CHECK(weight->value().data<float>()[0] == 2);
  }
}

TEST_CASE("streamed: loading and saving take the memory of one matrix") {
  const auto model = models::load(test::golden("models/untied"));
  const test::TemporaryFolder folder;
  models::save_pretrained(*model, folder / "whole");
  int64_t largest = 0;
  int64_t all = 0;
  for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
    largest = std::max(largest, parameter.member->value().nbytes());
    all += parameter.member->value().nbytes();
  }
  const int64_t before = allocator(cpu).stats().current;
  allocator(cpu).reset_peak();
  {
    const auto streamed = models::load(test::golden("models/untied"), {.streamed = true});
    models::save_pretrained(*streamed, folder / "streamed");
  }
  const int64_t taken = allocator(cpu).stats().peak - before;
  MESSAGE(taken, " bytes; the largest matrix has ", largest, ", the model ", all);
  CHECK(taken < 3 * largest);
  CHECK(3 * largest < all);
  CHECK(test::bytes_of(folder / "streamed" / "model.safetensors") ==
        test::bytes_of(folder / "whole" / "model.safetensors"));
}

TEST_CASE("save: weights in 4 bits are written dense where that is asked for") {
  const auto model = models::load(test::golden("qlora/nf4"));
  const test::TemporaryFolder folder;
  models::save_pretrained(*model, folder.path(), {.dequantize = true});
  const auto dense = models::load(folder.path());
  CHECK(!dense->info().quant.load_in_4bit);
  for (const auto& [path, member] : nn::named_parameters(*model)) {
    const auto* weight = dynamic_cast<const nn::Weight*>(member);
    const io::SafetensorsFile file(folder / "model.safetensors");
    if (weight == nullptr || !weight->form().format)
      continue;
    const auto held = std::get<quant::QuantizedTensor>(weight->storage());
    CHECK(test::same_bits(file.load(path), quant::dequantize(held, DType::f32)));
  }
}

}  // namespace graft
