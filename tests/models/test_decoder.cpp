#include <algorithm>
#include <vector>

#include "graft/nn/kv_cache.h"
#include "graft/nn/loss.h"
#include "graft/tensor/allocator.h"
#include "graft/tensor/copy.h"
#include "graft/tests/models/models.h"

namespace graft {
namespace {

using test::golden_answers, test::golden_model, test::logits_of, test::row_of;

/// Two ways to one number differ by how matrix products of other heights are cut into tiles.
constexpr double tolerance = 4e-6;

/// Positions [begin, end) of ids (B,T).
Tensor columns(const Tensor& ids, int64_t begin, int64_t end) {
  return ids.slice(1, begin, end).contiguous();
}

nn::Context with_cache(nn::KvCache& cache) {
  nn::Context context;
  context.cache = &cache;
  return context;
}

/// The largest difference of `part` from the rows of `whole` (T,V) from `begin` on.
double difference_at(const Tensor& part, const Tensor& whole, int64_t begin) {
  return test::relative_difference(part, whole.slice(0, begin, begin + part.dim(0)));
}

}  // namespace

TEST_CASE("decoder: a text read in pieces through the cache has the logits of the whole text") {
  for (const std::string name : {"gqa", "head_dim", "biases"}) {
    CAPTURE(name);
    const auto model = golden_model(name);
    const Tensor ids = columns(golden_answers(name).load("input_ids").slice(0, 0, 1), 0, 17);
    const Tensor whole = row_of(logits_of(*model, ids), 0);
    nn::KvCache cache(model->info().layers, 1, 17);
    int64_t begin = 0;
    for (const int64_t count : {5, 1, 1, 7, 3}) {
      const Tensor piece = columns(ids, begin, begin + count);
      const Tensor part = row_of(logits_of(*model, piece, with_cache(cache)), 0);
      CHECK(difference_at(part, whole, begin) < tolerance);
      cache.advance({count});
      begin += count;
    }
  }
}

TEST_CASE("decoder: rows of different lengths in one cache do not see each other or padding") {
  const auto model = golden_model("gqa");
  const Tensor ids = golden_answers("gqa").load("input_ids");
  const std::vector<int64_t> lengths{3, 9};
  nn::KvCache cache(model->info().layers, 2, 17);
  Tensor prompts = Tensor::full({2, 9}, 7, DType::i64);  // 7 pads
  for (int64_t row = 0; row < 2; ++row) {
    Tensor target = prompts.slice(0, row, row + 1).slice(1, 0, lengths[static_cast<size_t>(row)]);
    ops::copy_(target, columns(ids.slice(0, row, row + 1), 0, lengths[static_cast<size_t>(row)]));
  }
  const Tensor prefill = logits_of(*model, prompts, with_cache(cache));
  cache.advance(lengths);
  Tensor next = Tensor::empty({2, 1}, DType::i64);
  for (int64_t row = 0; row < 2; ++row) {
    const int64_t at = lengths[static_cast<size_t>(row)];
    next.data<int64_t>()[row] = row_of(ids, row).contiguous().data<int64_t>()[at];
  }
  const Tensor step = logits_of(*model, next, with_cache(cache));
  for (int64_t row = 0; row < 2; ++row) {
    CAPTURE(row);
    const int64_t length = lengths[static_cast<size_t>(row)];
    const Tensor alone =
        row_of(logits_of(*model, columns(ids.slice(0, row, row + 1), 0, length + 1)), 0);
    CHECK(difference_at(row_of(prefill, row).slice(0, 0, length), alone, 0) < tolerance);
    CHECK(difference_at(row_of(step, row), alone, length) < tolerance);
  }
}

TEST_CASE("decoder: positions given and positions counted are the same") {
  const auto model = golden_model("gqa");
  const Tensor ids = golden_answers("gqa").load("input_ids").slice(0, 0, 1).contiguous();
  nn::Context context;
  std::vector<int64_t> positions(17);
  for (size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<int64_t>(i);
  context.positions = Tensor::from(positions, {1, 17});
  CHECK(test::same_bits(logits_of(*model, ids, context), logits_of(*model, ids)));
  std::ranges::for_each(positions, [](int64_t& position) { position *= 2; });
  context.positions = Tensor::from(positions, {1, 17});
  CHECK(test::relative_difference(logits_of(*model, ids, context), logits_of(*model, ids)) > 1e-3);
}

TEST_CASE("decoder: documents packed into one row are the documents in rows of their own") {
  const auto model = golden_model("gqa");
  const Tensor ids = golden_answers("gqa").load("input_ids").slice(0, 0, 1).contiguous();
  nn::Context context;
  std::vector<int64_t> segments;
  std::vector<int64_t> positions;
  for (const int64_t length : {6, 4, 7}) {
    for (int64_t i = 0; i < length; ++i) {
      segments.push_back(length);
      positions.push_back(i);
    }
  }
  context.segments = Tensor::from(segments, {1, 17});
  context.positions = Tensor::from(positions, {1, 17});
  const Tensor packed = row_of(logits_of(*model, ids, context), 0);
  int64_t begin = 0;
  for (const int64_t length : {6, 4, 7}) {
    const Tensor alone = row_of(logits_of(*model, columns(ids, begin, begin + length)), 0);
    CHECK(difference_at(alone, packed, begin) < tolerance);
    begin += length;
  }
}

TEST_CASE("decoder: recomputed blocks give the gradients of kept ones, bit for bit") {
  const io::SafetensorsFile answers = golden_answers("gqa");
  std::vector<std::vector<Tensor>> grads;
  for (const bool checkpoint : {false, true}) {
    const auto model = golden_model("gqa");
    nn::set_requires_grad(*model, true);
    nn::Context context;
    context.checkpoint_blocks = checkpoint;
    nn::causal_lm_loss(*model, answers.load("input_ids"), answers.load("labels"), context)
        .total.backward();
    grads.emplace_back();
    for (const nn::NamedMember& parameter : nn::named_parameters(*model))
      grads.back().push_back(parameter.member->variable()->grad());
  }
  for (size_t i = 0; i < grads[0].size(); ++i)
    CHECK(test::same_bits(grads[0][i], grads[1][i]));
}

TEST_CASE("decoder: recomputed blocks keep their input only, and still reach their parameters") {
  const io::SafetensorsFile answers = golden_answers("gqa");
  std::vector<Tensor> grads;
  std::vector<int64_t> kept;
  for (const bool checkpoint : {false, true}) {
    const auto model = golden_model("gqa");
    // Nothing before this matrix needs a gradient, as with adapters on a frozen model.
    Variable* trained = nullptr;
    for (const nn::NamedMember& parameter : nn::named_parameters(*model)) {
      if (parameter.path == "model.layers.0.mlp.gate_proj.weight")
        trained = parameter.member->variable();
    }
    REQUIRE(trained != nullptr);
    trained->set_requires_grad(true);
    nn::Context context;
    context.checkpoint_blocks = checkpoint;
    const int64_t before = allocator(cpu).stats().saved;
    const nn::Loss loss =
        nn::causal_lm_loss(*model, answers.load("input_ids"), answers.load("labels"), context);
    kept.push_back(allocator(cpu).stats().saved - before);
    loss.total.backward();
    grads.push_back(trained->grad());
  }
  CHECK(test::same_bits(grads[0], grads[1]));
  CHECK(kept[1] < kept[0] / 3);
}

TEST_CASE("decoder: what a forward cannot take is said") {
  const auto model = golden_model("gqa");
  using test::check_contains, test::message_of;
  check_contains(message_of<ShapeError>([&] { model->logits(Tensor::zeros({3}, DType::i64), {}); }),
                 "forward: ids are (3), (B,T) expected");
  check_contains(message_of<DTypeError>([&] { model->logits(Tensor::zeros({1, 3}), {}); }), "i64");
  check_contains(message_of<ShapeError>([&] { model->logits(test::ids_of({96}), {}); }), "96");
  nn::KvCache cache(2, 2, 8);
  check_contains(
      message_of<ShapeError>([&] { model->logits(test::ids_of({1}), with_cache(cache)); }),
      "1 rows given, the cache has 2");
  nn::KvCache small(2, 1, 2);
  check_contains(message_of<ShapeError>([&] {
                   model->logits(test::ids_of({1, 2, 3}), with_cache(small));
                 }),
                 "3 tokens in a row, room for 2");
  nn::set_requires_grad(*model, true);
  check_contains(message_of<Error>([&] { model->logits(test::ids_of({1}), with_cache(small)); }),
                 "run the forward under NoGrad");
}

TEST_CASE("decoder: module paths are checkpoint keys, a tied head is one parameter") {
  const auto model = golden_model("tied");
  const std::vector<nn::NamedMember> parameters = nn::named_parameters(*model);
  CHECK(parameters.front().path == "model.embed_tokens.weight");
  CHECK(parameters[1].path == "model.layers.0.self_attn.q_proj.weight");
  CHECK(parameters.back().path == "model.norm.weight");
  CHECK(parameters.size() == 2 + 2 * 9);
  CHECK(nn::named_parameters(*golden_model("untied")).back().path == "lm_head.weight");
  for (const nn::NamedMember& parameter : parameters)
    CHECK(!parameter.member->variable()->requires_grad());
}

}  // namespace graft
