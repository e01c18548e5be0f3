#include "graft/tensor/allocator.h"
#include "graft/tensor/copy.h"
#include "graft/tensor/tensor.h"
#include "graft/tests/support/test.h"

namespace graft {

TEST_CASE("tensor: views share storage, transposing and slicing move no number") {
  const Tensor x = Tensor::from<float>({1, 2, 3, 4, 5, 6}, {2, 3});
  CHECK(x.transpose(0, 1).to_vector() == std::vector<double>{1, 4, 2, 5, 3, 6});
  CHECK(x.transpose(0, 1).storage() == x.storage());
  CHECK(x.slice(1, 1, 3).to_vector() == std::vector<double>{2, 3, 5, 6});
  CHECK(x.slice(1, 1, 3).transpose(0, 1).contiguous().to_vector() ==
        std::vector<double>{2, 5, 3, 6});
  CHECK(x.view({-1}).shape() == Shape{6});
  CHECK(x.view({3, -1}).to_vector() == x.to_vector());
}

TEST_CASE("tensor: every dtype converts to every other") {
  const DType all[] = {DType::f64, DType::f32, DType::bf16, DType::f16,
                       DType::i64, DType::i32, DType::u8,   DType::boolean};
  for (const DType from : all) {
    for (const DType to : all) {
      const Tensor x = Tensor::from<double>({0, 1, 1, 0}, {2, 2}).to(from);
      CHECK(x.to(to).dtype() == to);
      CHECK(x.transpose(0, 1).to(to).to_vector() == std::vector<double>{0, 1, 1, 0});
    }
  }
}

TEST_CASE("tensor: scalars and empty tensors") {
  CHECK(Tensor::full({}, 3).item() == 3);
  const Tensor empty = Tensor::zeros({2, 0, 3});
  CHECK(empty.numel() == 0);
  CHECK(empty.clone().shape() == Shape{2, 0, 3});
  CHECK(empty.view({0}).numel() == 0);
}

TEST_CASE("tensor: copy converts between any two layouts") {
  const Tensor x = Tensor::from<int64_t>({1, 2, 3, 4, 5, 6}, {3, 2});
  Tensor y = Tensor::zeros({2, 3, 2}, DType::f64);
  const Tensor target = y.slice(2, 1, 2);
  Tensor column = target.slice(0, 1, 2);
  ops::copy_(column, Tensor::from<int64_t>({7, 8, 9}, {1, 3, 1}));
  CHECK(y.to_vector() == std::vector<double>{0, 0, 0, 0, 0, 0, 0, 7, 0, 8, 0, 9});
  CHECK(ops::concatenate(std::vector<Tensor>{x, x.slice(0, 0, 1)}, 0).to_vector() ==
        std::vector<double>{1, 2, 3, 4, 5, 6, 1, 2});
  CHECK(ops::concatenate(std::vector<Tensor>{x, x}, -1).shape() == Shape{3, 4});
}

TEST_CASE("tensor: what does not fit is said with shapes") {
  const Tensor x = Tensor::zeros({2, 3});
  using test::check_contains, test::message_of;
  check_contains(message_of<ShapeError>([&] { x.view({4, 2}); }), "view: (2, 3) has 6 elements");
  check_contains(message_of<ShapeError>([&] { x.transpose(0, 1).view({6}); }), "not contiguous");
  check_contains(message_of<ShapeError>([&] { x.slice(1, 2, 4); }), "slice: [2, 4)");
  check_contains(message_of<ShapeError>([&] { x.dim(2); }),
                 "dim: dimension 2 of a tensor of rank 2");
  check_contains(message_of<ShapeError>([] { Tensor::full({}, 1).dim(-1); }),
                 "dim: dimension -1 of a tensor of rank 0");
  check_contains(message_of<ShapeError>([] { Shape().with(-1, 2); }),
                 "shape: dimension -1 of () replaced");
  check_contains(message_of<ShapeError>([&] { x.item(); }), "item: (2, 3) given");
  check_contains(message_of<DTypeError>([&] { x.data<double>(); }), "as f64, the tensor holds f32");
  check_contains(message_of<ShapeError>([&] { Shape{1 << 30, 1 << 30, 1 << 30}; }), "2^63");
  check_contains(message_of<ShapeError>([&] { Shape{-1}; }), "negative size");
  check_contains(message_of<ShapeError>([&] {
                   Tensor(x.storage(), DType::f32, {2, 4}, contiguous_strides({2, 4}));
                 }),
                 "elements 0 to 7 of a storage of 6");
  check_contains(message_of<ShapeError>([] {
                   Tensor().as_view().numel();
                   Tensor().data<float>();
                 }),
                 "undefined tensor");
}

TEST_CASE("allocator: counts what is in use and reuses what was freed") {
  Allocator& memory = allocator(cpu);
  const int64_t before = memory.stats().current;
  Tensor first = Tensor::empty({1000});
  CHECK(memory.stats().current >= before + 4000);
  first = Tensor();
  CHECK(memory.stats().current == before);
  const int64_t requests = memory.stats().system_requests;
  const Tensor second = Tensor::empty({1000});
  CHECK(memory.stats().system_requests == requests);
  CHECK(reinterpret_cast<uintptr_t>(second.data<float>()) % 64 == 0);
  memory.reset_peak();
  { const Tensor third = Tensor::empty({1 << 20}); }
  CHECK(memory.stats().peak >= memory.stats().current + (4 << 20));
}

TEST_CASE(
    "allocator: less than an eighth of a block is unused, of a small one less than 64 bytes") {
  Allocator& memory = allocator(cpu);
  for (int64_t size = 1; size < 100000; size += 1 + size / 50) {
    const int64_t before = memory.stats().current;
    const Tensor x = Tensor::empty({size}, DType::u8);
    const int64_t taken = memory.stats().current - before;
    CAPTURE(size);
    CHECK(taken >= size);
    CHECK((size < 512 ? taken - size < 64 : 8 * (taken - size) < taken));
  }
}

TEST_CASE("allocator: a loop of equal steps asks the system for nothing new") {
  Allocator& memory = allocator(cpu);
  memory.trim();
  const auto step = [] {
    std::vector<Tensor> kept;
    for (int64_t size = 1; size < 1 << 20; size *= 3) {
      kept.push_back(Tensor::empty({size}));
      Tensor::empty({size / 3});
    }
  };
  step();
  const int64_t requests = memory.stats().system_requests;
  for (int i = 0; i < 10; ++i)
    step();
  CHECK(memory.stats().system_requests == requests);
}

TEST_CASE("allocator: freed blocks of ever new sizes do not pile up") {
  Allocator& memory = allocator(cpu);
  memory.trim();
  constexpr int64_t largest = int64_t{80} << 20;
  for (int64_t size = largest / 8; size <= largest; size += size / 8)
    Tensor::empty({size}, DType::u8);
  CHECK(memory.stats().reserved <= largest / 4 * 5);
}

TEST_CASE("allocator: more than there is gives OutOfMemory") {
  test::check_contains(test::message_of<OutOfMemory>([] { Tensor::empty({int64_t{1} << 60}); }),
                       "bytes asked for");
}

TEST_CASE("nearest: finds what was meant, and nothing for something else") {
  const std::vector<std::string> names{"q_proj", "v_proj", "gate_proj"};
  CHECK(nearest("qproj", names) == "q_proj");
  CHECK(nearest("entirely_different", names).empty());
  CHECK(nearest("trian", std::vector<std::string>{"train", "chat"}) == "train");
  CHECK(did_you_mean("v_prj", names) == " (did you mean 'v_proj'?)");
}

}  // namespace graft
