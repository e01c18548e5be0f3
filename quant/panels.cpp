// 4-bit matrices from blocks to panels and back.
#include <numeric>

#include "graft/quant/blocks.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/parallel.h"

namespace graft::quant {
namespace {

constexpr int64_t panel_width = 32;
constexpr int64_t codes_per_word = 8;

int64_t panel_count(int64_t rows) {
  return (rows + panel_width - 1) / panel_width;
}

/// The halves of each byte change places: blocks hold the first of two codes in the upper half,
/// words of panels in the lower one.
uint32_t swap_halves(uint32_t word) {
  constexpr uint32_t lower = 0x0f0f0f0fU;
  return (word & lower) << 4 | (word >> 4 & lower);
}

/// Four bytes in this order from the lowest on, whatever the machine's is.
uint32_t read_word(const uint8_t* bytes) {
  return bytes[0] | uint32_t{bytes[1]} << 8 | uint32_t{bytes[2]} << 16 | uint32_t{bytes[3]} << 24;
}

/// Words of one panel, from the codes of its rows; rows beyond the matrix have code 0.
void pack_panel(const QuantizedTensor& x, int64_t panel, uint32_t* words) {
  const uint8_t* codes = x.codes.data<uint8_t>();
  const int64_t rows = std::min(panel_width, x.shape[0] - panel * panel_width);
  const int64_t columns = x.shape[1];
  for (int64_t row = 0; row < rows; ++row) {
    const uint8_t* from = codes + (panel * panel_width + row) * columns / 2;
    for (int64_t k = 0; k < columns; k += codes_per_word)
      words[k / codes_per_word * panel_width + row] = swap_halves(read_word(from + k / 2));
  }
}

void unpack_panel(const QuantizedTensor& x, int64_t panel, const uint32_t* words, uint8_t* codes) {
  const int64_t rows = std::min(panel_width, x.shape[0] - panel * panel_width);
  const int64_t columns = x.shape[1];
  for (int64_t row = 0; row < rows; ++row) {
    uint8_t* to = codes + (panel * panel_width + row) * columns / 2;
    for (int64_t k = 0; k < columns; k += 2) {
      const uint32_t word = words[k / codes_per_word * panel_width + row] >> (4 * (k % 8));
      to[k / 2] = static_cast<uint8_t>((word & 15U) << 4 | (word >> 4 & 15U));
    }
  }
}

/// Calls body(index in the panels' scales, number of the block) for every scale of a row that is
/// there.
template <class Body>
void for_each_scale(const QuantizedTensor& x, const Body& body) {
  const int64_t columns = x.shape[1];
  const int64_t group = scale_group(columns, x.blocksize);
  const int64_t groups = columns / group;
  for (int64_t row = 0; row < x.shape[0]; ++row) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t at = (row / panel_width * groups + g) * panel_width + row % panel_width;
      body(at, (row * columns + g * group) / x.blocksize);
    }
  }
}

}  // namespace

int64_t scale_group(int64_t columns, int64_t blocksize) {
  return std::gcd(columns, blocksize);
}

QuantizedTensor to_panels(const QuantizedTensor& x) {
  GRAFT_CHECK(x.shape.rank() == 2, ShapeError, "to_panels: a matrix is expected, ", x.shape,
              " given");
  QuantizedTensor result = x;
  if (x.layout == Layout::panels)
    return result;
  result.absmax = scales(x);
  const int64_t columns = x.shape[1];
  if (columns % codes_per_word != 0 || x.numel() == 0)
    return result;
  const int64_t panels = panel_count(x.shape[0]);
  result.layout = Layout::panels;
  result.codes = Tensor::zeros({panels, columns / codes_per_word, panel_width}, DType::i32);
  auto* words = reinterpret_cast<uint32_t*>(result.codes.data<int32_t>());
  const int64_t panel_words = columns / codes_per_word * panel_width;
  parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel)
      pack_panel(x, panel, words + panel * panel_words);
  });
  const Tensor by_block = result.absmax;
  const int64_t groups = columns / scale_group(columns, x.blocksize);
  result.absmax = Tensor::zeros({panels, groups, panel_width});
  const float* from = by_block.data<float>();
  float* to = result.absmax.data<float>();
  for_each_scale(x, [&](int64_t at, int64_t block) { to[at] = from[block]; });
  return result;
}

QuantizedTensor to_blocks(const QuantizedTensor& x) {
  QuantizedTensor result = x;
  if (x.layout == Layout::panels) {
    result.layout = Layout::blocks;
    result.codes = Tensor::empty({x.numel() / 2}, DType::u8);
    const auto* words = reinterpret_cast<const uint32_t*>(x.codes.data<int32_t>());
    uint8_t* codes = result.codes.data<uint8_t>();
    const int64_t panel_words = x.codes.dim(1) * panel_width;
    parallel_for(x.codes.dim(0), 1, [&](int64_t begin, int64_t end) {
      for (int64_t panel = begin; panel < end; ++panel)
        unpack_panel(x, panel, words + panel * panel_words, codes);
    });
    result.absmax = Tensor::empty({block_count(x.numel(), x.blocksize)});
    const float* from = x.absmax.data<float>();
    float* to = result.absmax.data<float>();
    for_each_scale(x, [&](int64_t at, int64_t block) { to[block] = from[at]; });
  }
  if (result.nested)
    result.absmax = Tensor();
  return result;
}

Tensor dequantize_rows(const QuantizedTensor& x, int64_t begin, int64_t end, DType dtype) {
  GRAFT_CHECK(x.shape.rank() == 2 && 0 <= begin && begin <= end && end <= x.shape[0], ShapeError,
              "dequantize_rows: rows ", begin, " to ", end, " of ", x.shape, " asked for");
  const bool in_panels = x.layout == Layout::panels;
  const int64_t columns = x.shape[1];
  const int64_t first = begin * columns;
  if (first % x.blocksize != 0 || (in_panels && begin % panel_width != 0))
    return dequantize(x, dtype).slice(0, begin, end).contiguous();
  QuantizedTensor part = x;
  part.shape = {end - begin, columns};
  part.nested.reset();
  if (in_panels) {
    part.codes = x.codes.slice(0, begin / panel_width, panel_count(end));
    part.absmax = x.absmax.slice(0, begin / panel_width, panel_count(end));
  } else {
    part.codes = x.codes.slice(0, first / 2, (end * columns + 1) / 2);
    part.absmax = scales(x).slice(0, first / x.blocksize, block_count(end * columns, x.blocksize));
  }
  return dequantize(part, dtype);
}

}  // namespace graft::quant
