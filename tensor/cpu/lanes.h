// Lanes: a vector of floats that reads like a number, so that the formulas of functors.h hold for
// it too. Included once by each row_kernels_*.cpp, after its simd_*.h.
//
// Everything here has internal linkage: these objects are built with wider instructions than the
// rest.
#pragma once

#include <cstdint>
#include <cstring>

namespace graft::cpu_kernels {
namespace {

class Lanes {
 public:
  static constexpr int count = Simd::lanes;
  using Vector = float __attribute__((vector_size(4 * count)));
  using Words = int32_t __attribute__((vector_size(4 * count)));

  Lanes() = default;
  /// The same number in all lanes.
  Lanes(float value) : v_(value - Vector{}) {}
  Lanes(double value) : Lanes(static_cast<float>(value)) {}
  Lanes(int value) : Lanes(static_cast<float>(value)) {}
  explicit Lanes(Vector v) : v_(v) {}

  Vector vector() const { return v_; }

  friend Lanes operator+(Lanes a, Lanes b) { return Lanes(a.v_ + b.v_); }
  friend Lanes operator-(Lanes a, Lanes b) { return Lanes(a.v_ - b.v_); }
  friend Lanes operator*(Lanes a, Lanes b) { return Lanes(a.v_ * b.v_); }
  friend Lanes operator/(Lanes a, Lanes b) { return Lanes(a.v_ / b.v_); }
  friend Lanes operator-(Lanes a) { return Lanes(-a.v_); }
  Lanes& operator+=(Lanes other) { return *this = *this + other; }

  /// The larger one; b where one of the two is NaN.
  friend Lanes larger(Lanes a, Lanes b) { return Lanes(a.v_ > b.v_ ? a.v_ : b.v_); }
  friend Lanes smaller(Lanes a, Lanes b) { return Lanes(a.v_ < b.v_ ? a.v_ : b.v_); }
  /// The same, but NaN where one of the two is.
  friend Lanes larger_or_nan(Lanes a, Lanes b) {
    return Lanes(a.v_ > b.v_ || a.v_ != a.v_ ? a.v_ : b.v_);
  }

  /// Within two units in the last place of eˣ, denormal results included; e^-∞ is 0, NaN stays NaN.
  friend Lanes exp(Lanes x) {
    // x = n ln 2 + r with |r| at most half of ln 2, and eʳ = 1 + r + r² q(r), q a minimax
    // polynomial within 4e-9 of the rest.
    constexpr float to_integer = 12582912.0F;  // 1.5 · 2^23: what is added to it is rounded
    x = smaller(Lanes(89.0F), larger(Lanes(-104.0F), x));
    const Lanes shifted = x * Lanes(1.44269504088896341F) + Lanes(to_integer);
    const Lanes n = shifted - Lanes(to_integer);
    const Lanes r = (x - n * Lanes(0.693359375F)) - n * Lanes(-2.12194440054690583e-4F);
    Lanes q = Lanes(1.3950602151453495e-3F);
    q = q * r + Lanes(8.368953131139278e-3F);
    q = q * r + Lanes(4.166620597243309e-2F);
    q = q * r + Lanes(1.66665181517601e-1F);
    q = q * r + Lanes(0.5F);
    const Lanes e = (q * r * r + r) + Lanes(1.0F);
    // In two factors: 2ⁿ itself may be beyond the range of floats where the result is not.
    const Words power = words(shifted.v_) - words(Lanes(to_integer).v_);
    const Words half = power >> 1;
    return e * power_of_two(half) * power_of_two(power - half);
  }

  float sum() const {
    Vector v = v_;
    float lanes[count];
    std::memcpy(lanes, &v, sizeof v);
    // In halves, so that the order is the same whatever the compiler makes of it.
    for (int width = count / 2; width > 0; width /= 2) {
      for (int i = 0; i < width; ++i)
        lanes[i] += lanes[i + width];
    }
    return lanes[0];
  }
  /// NaN where one of the lanes is.
  float largest() const {
    Vector v = v_;
    float lanes[count];
    std::memcpy(lanes, &v, sizeof v);
    float result = lanes[0];
    for (int i = 1; i < count; ++i)
      result = lanes[i] > result || lanes[i] != lanes[i] ? lanes[i] : result;
    return result;
  }
  /// Zeros from lane `used` on.
  Lanes first(int used) const {
    Words index;
    for (int i = 0; i < count; ++i)
      index[i] = i;
    const Words kept = index < used - Words{};
    return Lanes(reinterpret_cast<Vector>(words(v_) & kept));
  }

 private:
  static Words words(Vector v) { return reinterpret_cast<Words>(v); }
  static Lanes power_of_two(Words n) { return Lanes(reinterpret_cast<Vector>((n + 127) << 23)); }

  Vector v_;
};

}  // namespace
}  // namespace graft::cpu_kernels
