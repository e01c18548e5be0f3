#include <cmath>
#include <string>
#include <vector>

#include "graft/nn/placement.h"
#include "graft/tests/support/test.h"

namespace graft::nn {
namespace {

using test::check_contains, test::message_of;

void refused(const RopeConfig& config, const std::string& part) {
  check_contains(message_of<ConfigError>([&] { Rotary{config}; }), part);
}

/// Powers in f32 differ by a unit in the last place from library to library.
void check_angles(const Rotary& rotary, const std::vector<double>& expected) {
  const std::vector<double> angles = rotary.frequencies(1);
  REQUIRE(angles.size() == expected.size());
  for (size_t i = 0; i < angles.size(); ++i)
    CHECK(angles[i] == doctest::Approx(expected[i]).epsilon(3e-7));
}

/// Longrope with angles that tell short from long.
Rotary long_rotary() {
  return Rotary({.kind = RopeKind::longrope,
                 .dim = 4,
                 .max_positions = 32,
                 .original_positions = 8,
                 .short_factor = {1, 2},
                 .long_factor = {3, 4}});
}

}  // namespace

TEST_CASE("rotary: angles per position are those of transformers, in f32") {
  // 1.0 / (500000.0 ** (torch.arange(0, 8, 2).float() / 8)), printed with all digits.
  const Rotary rotary({.dim = 8, .theta = 500000});
  check_angles(rotary, {1.0, 0.037606030702590942, 0.0014142136787995696, 5.3182960982667282e-05});
  for (const double angle : rotary.frequencies(1))
    CHECK(static_cast<double>(static_cast<float>(angle)) == angle);
}

TEST_CASE("rotary: yarn and llama3 at the sizes of real models are those of transformers") {
  // ROPE_INIT_FUNCTIONS of transformers 5.23.0, printed with nine digits.
  const Rotary yarn({.kind = RopeKind::yarn,
                     .dim = 16,
                     .theta = 1e6,
                     .max_positions = 32768,
                     .factor = 4,
                     .original_positions = 32768});
  check_angles(yarn, {1, 0.177827939, 0.0316227786, 0.00421755994, 0.000500000024, 4.44569851e-05,
                      7.90569356e-06, 1.40585337e-06});
  CHECK(yarn.attention_factor() == doctest::Approx(1.138629436111989).epsilon(1e-12));
  const Rotary llama3({.kind = RopeKind::llama3,
                       .dim = 16,
                       .theta = 5e5,
                       .max_positions = 131072,
                       .factor = 8,
                       .original_positions = 8192});
  check_angles(llama3, {1, 0.193922758, 0.0376060307, 0.00729266508, 0.000524846022, 3.42810235e-05,
                        6.64786967e-06, 1.28917316e-06});
  CHECK(llama3.attention_factor() == 1);
}

TEST_CASE("rotary: dynamic angles are the standard ones up to the model's positions, then slower") {
  const Rotary plain({.dim = 8});
  const Rotary dynamic({.kind = RopeKind::dynamic, .dim = 8, .max_positions = 16, .factor = 2});
  CHECK(dynamic.depends_on_length());
  CHECK(!plain.depends_on_length());
  CHECK(dynamic.frequencies(16) == plain.frequencies(16));
  for (size_t i = 1; i < 4; ++i) {
    CHECK(dynamic.frequencies(17)[i] < plain.frequencies(17)[i]);
    CHECK(dynamic.frequencies(40)[i] < dynamic.frequencies(17)[i]);
  }
}

TEST_CASE("rotary: longrope changes its angles behind the original positions") {
  const Rotary rotary = long_rotary();
  CHECK(rotary.frequencies(8)[0] == doctest::Approx(1));
  CHECK(rotary.frequencies(9)[0] == doctest::Approx(1.0 / 3));
  CHECK(rotary.attention_factor() == doctest::Approx(std::sqrt(1 + std::log(4) / std::log(8))));
}

TEST_CASE("rotary: settings that cannot be are refused by name") {
  refused({.dim = 7}, "head_dim is 7");
  refused({.dim = 8, .theta = 0}, "rope_theta is 0");
  refused({.kind = RopeKind::linear, .dim = 8}, "factor is missing");
  refused({.kind = RopeKind::linear, .dim = 8, .factor = -1}, "factor is -1");
  refused({.kind = RopeKind::dynamic, .dim = 8, .factor = 2}, "max_position_embeddings is 0");
  refused({.kind = RopeKind::llama3, .dim = 8, .factor = 2},
          "original_max_position_embeddings is 0");
  refused({.kind = RopeKind::llama3,
           .dim = 8,
           .factor = 2,
           .original_positions = 8,
           .low_freq_factor = 4,
           .high_freq_factor = 4},
          "high_freq_factor is 4, a number above low_freq_factor (4) expected");
  refused({.kind = RopeKind::longrope,
           .dim = 8,
           .factor = 2,
           .original_positions = 8,
           .short_factor = {1, 1, 1},
           .long_factor = {1, 1, 1, 1}},
          "short_factor has 3 numbers, 4 expected");
}

TEST_CASE("placement: each text of a batch has the angles of its own length") {
  const std::vector<Rotary> rotaries{long_rotary()};
  Context context;
  // Row 0: a text of 3 and one that stands at position 9; row 1: a short text.
  context.segments = Tensor::from(std::vector<int64_t>{0, 0, 0, 1, 2, 2, 2, 2}, {2, 4});
  context.positions = Tensor::from(std::vector<int64_t>{0, 1, 2, 9, 0, 1, 2, 3}, {2, 4});
  const Placement placement = place(rotaries, 2, 4, DType::f32, context);
  const std::vector<double> cos = placement.ropes.at(0).cos.to_vector();
  const double scaling = rotaries[0].attention_factor();
  const auto expected = [&](double angle) { return doctest::Approx(scaling * std::cos(angle)); };
  CHECK(cos[2 * 2] == expected(2));
  CHECK(cos[3 * 2] == expected(9.0 / 3));
  CHECK(cos[7 * 2] == expected(3));
}

}  // namespace graft::nn
