#include "graft/quant/linear.h"
#include "graft/tensor/parallel.h"
#include "graft/tests/support/kernels.h"
#include "graft/tests/support/test.h"

namespace graft::quant {
namespace {

using test::random_tensor;

Tensor wide(const Tensor& x) {
  return x.to(DType::f64);
}

/// A weight, and the same numbers in f64.
struct Weight {
  QuantizedTensor quantized, panels;
  Tensor numbers;

  Weight(const Shape& shape, const Format& format)
      : quantized(quantize(random_tensor(shape, 1), format)),
        panels(to_panels(quantized)),
        numbers(wide(dequantize(quantized, DType::f32))) {}
};

const Format formats[] = {{QuantType::nf4, 64, false},
                          {QuantType::nf4, 64, true},
                          {QuantType::nf4, 32, true},
                          {QuantType::fp4, 4096, false}};

/// Whole panels and blocks; a group of eight columns as the longest run of one scale; columns that
/// are no multiple of eight and stay in blocks; several blocks of columns.
const Shape shapes[] = {{32, 64}, {70, 128}, {33, 72}, {40, 50}, {1, 7}, {65, 800}};

}  // namespace

TEST_CASE("to_panels: codes and scales come back byte for byte") {
  for (const Format& format : formats) {
    for (const Shape& shape : shapes) {
      CAPTURE(shape);
      const Weight w(shape, format);
      CHECK((w.panels.layout == Layout::panels) == (shape[1] % 8 == 0));
      const QuantizedTensor back = to_blocks(w.panels);
      check(back);
      CHECK(test::same_bits(back.codes, w.quantized.codes));
      CHECK(test::same_bits(scales(back), scales(w.quantized)));
      CHECK(back.nested.has_value() == format.double_quant);
      CHECK(back.absmax.defined() != format.double_quant);
      CHECK(test::same_bits(wide(dequantize(w.panels, DType::f32)), w.numbers));
    }
  }
}

TEST_CASE("4-bit linear: agrees with f64 on every instruction set, with many rows and with few") {
  for (const Format& format : formats) {
    for (const Shape& shape : shapes) {
      const Weight w(shape, format);
      for (const int64_t rows : {1, 2, 3, 5, 8, 9, 40, 360}) {
        const Tensor x = random_tensor({rows, shape[1]}, 2);
        const Tensor bias = random_tensor({shape[0]}, 3);
        const Tensor u = random_tensor({rows, 3}, 4);
        const Tensor b = random_tensor({shape[0], 3}, 5);
        const Tensor expected = ops::linear(wide(x), w.numbers, wide(bias), wide(u), wide(b));
        test::for_each_kernel(quantized_linear_slot, [&] {
          CAPTURE(std::string(quantized_linear_slot.kernels(DeviceKind::cpu).back().name));
          CAPTURE(shape);
          CAPTURE(rows);
          // f32 sums of up to 800 products.
          CHECK(test::relative_difference(ops::linear(x, w.panels, bias, u, b), expected) < 2e-6);
        });
      }
    }
  }
}

TEST_CASE("4-bit linear: the gradient agrees with f64 on every instruction set") {
  for (const Format& format : formats) {
    for (const Shape& shape : shapes) {
      const Weight w(shape, format);
      for (const int64_t rows : {1, 37, 360}) {
        const Tensor dy = random_tensor({rows, shape[0]}, 2);
        const Tensor g = random_tensor({rows, 3}, 3);
        const Tensor a = random_tensor({3, shape[1]}, 4);
        const Tensor expected = ops::linear_backward(wide(dy), w.numbers, wide(g), wide(a));
        test::for_each_kernel(quantized_linear_backward_slot, [&] {
          CAPTURE(std::string(quantized_linear_backward_slot.kernels(DeviceKind::cpu).back().name));
          CAPTURE(shape);
          CAPTURE(rows);
          CHECK(test::relative_difference(ops::linear_backward(dy, w.panels, g, a), expected) <
                2e-6);
        });
      }
    }
  }
}

TEST_CASE("4-bit linear: in blocks it gives what it gives in panels") {
  const Weight w({48, 128}, {});
  const Tensor x = random_tensor({20, 128}, 2);
  CHECK(test::relative_difference(ops::linear(x, w.quantized, {}, {}, {}),
                                  ops::linear(x, w.panels, {}, {}, {})) < 2e-6);
}

TEST_CASE("4-bit linear: products in bf16 stay within the roundings of weight and input") {
  Weight w({96, 192}, {});
  w.panels.compute = DType::bf16;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const int64_t rows : {3, 50}) {
      const Tensor x = random_tensor({rows, 192}, 2, dtype);
      const Tensor dy = random_tensor({rows, 96}, 3, dtype);
      const Tensor y = ops::linear(wide(x), w.numbers, {}, {}, {});
      const Tensor dx = ops::linear_backward(wide(dy), w.numbers, {}, {});
      test::for_each_kernel(quantized_linear_slot, [&] {
        // Each number rounded to 8 bits, errors add up like a random walk; results of bf16 too.
        CHECK(test::relative_difference(ops::linear(x, w.panels, {}, {}, {}), y) < 8e-3);
      });
      test::for_each_kernel(quantized_linear_backward_slot, [&] {
        CHECK(test::relative_difference(ops::linear_backward(dy, w.panels, {}, {}), dx) < 8e-3);
      });
    }
  }
}

TEST_CASE("4-bit linear: bytes do not depend on the number of threads") {
  const Weight w({500, 400}, {});
  const int before = thread_count();
  for (const int64_t rows : {4, 400}) {
    const Tensor x = random_tensor({rows, 400}, 2);
    const Tensor dy = random_tensor({rows, 500}, 3);
    set_thread_count(1);
    const Tensor y = ops::linear(x, w.panels, {}, {}, {});
    const Tensor dx = ops::linear_backward(dy, w.panels, {}, {});
    set_thread_count(3);
    CHECK(test::same_bits(ops::linear(x, w.panels, {}, {}, {}), y));
    CHECK(test::same_bits(ops::linear_backward(dy, w.panels, {}, {}), dx));
  }
  set_thread_count(before);
}

TEST_CASE("4-bit linear: an identity gives the weight back") {
  const Weight w({40, 64}, {});
  Tensor identity = Tensor::zeros({64, 64});
  for (int64_t i = 0; i < 64; ++i)
    identity.data<float>()[i * 64 + i] = 1;
  const Tensor expected = w.numbers.transpose(0, 1).contiguous().to(DType::f32);
  for (const int64_t rows : {int64_t{64}, int64_t{4}}) {
    CAPTURE(rows);
    const Tensor y = ops::linear(identity.slice(0, 0, rows).contiguous(), w.panels, {}, {}, {});
    CHECK(test::max_difference(y, expected.slice(0, 0, rows).contiguous()) == 0);
  }
}

}  // namespace graft::quant
