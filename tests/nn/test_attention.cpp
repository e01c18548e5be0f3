#include <algorithm>
#include <cmath>
#include <vector>

#include "graft/nn/attention.h"
#include "graft/nn/decoder_layer.h"
#include "graft/nn/init.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

using test::random_tensor;

constexpr AttentionConfig small{.hidden_size = 12, .heads = 4, .kv_heads = 2, .head_dim = 6};

const std::vector<Rotary> rotaries{Rotary({.dim = small.head_dim})};

/// The numbers of a parameter by its path.
Tensor value_of(Module& root, const std::string& path) {
  for (const NamedMember& parameter : named_parameters(root)) {
    if (parameter.path == path)
      return parameter.member->value();
  }
  throw Error("no parameter " + path);
}

/// The layer by its definition, one number after the other, in f64. x (T,C).
class Reference {
 public:
  Reference(Module& attention, const AttentionConfig& config) : config_(config) {
    for (const char* name : {"q", "k", "v", "o"})
      weights_.push_back(value_of(attention, concat(name, "_proj.weight")).to_vector());
  }

  std::vector<double> forward(const std::vector<double>& x) const {
    const int64_t length = static_cast<int64_t>(x.size()) / config_.hidden_size;
    const auto q = rotated(product(x, 0, length), config_.heads);
    const auto k = rotated(product(x, 1, length), config_.kv_heads);
    const auto v = product(x, 2, length);
    const int64_t group = config_.heads / config_.kv_heads;
    std::vector<double> mixed(q.size());
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t head = 0; head < config_.heads; ++head) {
        const int64_t begin =
            config_.window == 0 ? 0 : std::max<int64_t>(0, t + 1 - config_.window);
        double total = 0;
        for (int64_t s = begin; s <= t; ++s) {
          double score = 0;
          for (int64_t d = 0; d < config_.head_dim; ++d)
            score += q[at(t, config_.heads, head, d)] * k[at(s, config_.kv_heads, head / group, d)];
          const double weight = std::exp(score / std::sqrt(config_.head_dim));
          total += weight;
          for (int64_t d = 0; d < config_.head_dim; ++d)
            mixed[at(t, config_.heads, head, d)] +=
                weight * v[at(s, config_.kv_heads, head / group, d)];
        }
        for (int64_t d = 0; d < config_.head_dim; ++d)
          mixed[at(t, config_.heads, head, d)] /= total;
      }
    }
    return product(mixed, 3, length);
  }

 private:
  size_t at(int64_t t, int64_t heads, int64_t head, int64_t d) const {
    return static_cast<size_t>((t * heads + head) * config_.head_dim + d);
  }
  /// x wᵀ
  std::vector<double> product(const std::vector<double>& x, size_t which, int64_t length) const {
    const std::vector<double>& w = weights_[which];
    const size_t in = x.size() / static_cast<size_t>(length);
    const size_t out = w.size() / in;
    std::vector<double> y(static_cast<size_t>(length) * out);
    for (size_t i = 0; i < y.size(); ++i) {
      for (size_t j = 0; j < in; ++j)
        y[i] += x[i / out * in + j] * w[i % out * in + j];
    }
    return y;
  }
  std::vector<double> rotated(const std::vector<double>& x, int64_t heads) const {
    std::vector<double> y = x;
    const int64_t half = config_.head_dim / 2;
    for (size_t i = 0; i < x.size(); ++i) {
      const int64_t d = static_cast<int64_t>(i) % config_.head_dim;
      const int64_t t = static_cast<int64_t>(i) / (heads * config_.head_dim);
      const double angle =
          static_cast<double>(t) * std::pow(10000.0, -2.0 * static_cast<double>(d % half) /
                                                         static_cast<double>(config_.head_dim));
      const double other =
          d < half ? -x[i + static_cast<size_t>(half)] : x[i - static_cast<size_t>(half)];
      y[i] = x[i] * std::cos(angle) + other * std::sin(angle);
    }
    return y;
  }

  AttentionConfig config_;
  std::vector<std::vector<double>> weights_;
};

Variable run(const Attention& attention, const Tensor& x, const Context& context = {}) {
  return attention.forward(Variable(x), place(rotaries, x.dim(0), x.dim(1), x.dtype(), context),
                           context);
}

}  // namespace

TEST_CASE("attention: the layer is its definition, with grouped queries and with a window") {
  for (const int64_t window : {0, 1, 3, 100}) {
    CAPTURE(window);
    AttentionConfig config = small;
    config.window = window;
    Attention attention(config, 0);
    initialize(attention, 0.5, 3, DType::f64);
    const Tensor x = random_tensor({1, 9, small.hidden_size}, 5, DType::f64);
    const Tensor expected =
        Tensor::from(Reference(attention, config).forward(x.to_vector()), x.shape());
    // f64, but the angles per position are rounded to f32, as transformers rounds them.
    CHECK(test::relative_difference(run(attention, x).value(), expected) < 1e-6);
  }
}

TEST_CASE("attention: biases are where the configuration puts them") {
  AttentionConfig config = small;
  config.qkv_bias = true;
  Attention attention(config, 0);
  std::vector<std::string> paths;
  for (const NamedMember& parameter : named_parameters(attention))
    paths.push_back(parameter.path);
  CHECK(paths == std::vector<std::string>{"q_proj.weight", "q_proj.bias", "k_proj.weight",
                                          "k_proj.bias", "v_proj.weight", "v_proj.bias",
                                          "o_proj.weight"});
}

TEST_CASE("attention: heads that do not group are refused") {
  AttentionConfig config = small;
  config.kv_heads = 3;
  test::check_contains(test::message_of<ConfigError>([&] { Attention(config, 0); }),
                       "4 query heads for 3 key heads");
}

TEST_CASE("placement: positions and segments must fit the ids") {
  Context context;
  context.positions = Tensor::zeros({2, 3}, DType::i64);
  test::check_contains(
      test::message_of<ShapeError>([&] { place(rotaries, 2, 4, DType::f32, context); }),
      "positions");
  context.positions = {};
  context.segments = Tensor::zeros({1, 4}, DType::i64);
  test::check_contains(
      test::message_of<ShapeError>([&] { place(rotaries, 2, 4, DType::f32, context); }),
      "segments");
}

TEST_CASE("decoder layer: gradients reach every parameter") {
  DecoderLayer layer({.attention = small,
                      .mlp = {.hidden_size = small.hidden_size, .intermediate_size = 20},
                      .norm = {.eps = 1e-5}},
                     0);
  initialize(layer, 0.3, 1);
  set_requires_grad(layer, true);
  const Context context;
  const Tensor x = random_tensor({2, 5, small.hidden_size}, 2);
  const Placement placement = place(rotaries, 2, 5, DType::f32, context);
  layer.forward(Variable(x), placement, context).backward();
  const std::vector<NamedMember> parameters = named_parameters(layer);
  CHECK(parameters.size() == 9);
  for (const NamedMember& parameter : parameters) {
    CAPTURE(parameter.path);
    CHECK(parameter.member->variable()->grad().defined());
  }
}

}  // namespace graft::nn
