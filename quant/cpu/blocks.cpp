// Kernels of 4-bit and 8-bit block-wise quantisation.
#include "graft/quant/blocks.h"

#include <algorithm>
#include <array>

#include "graft/quant/cpu/block_scale.h"
#include "graft/quant/cpu/code_tiles.h"
#include "graft/quant/cpu/register.h"
#include "graft/quant/dynamic_map.h"
#include "graft/quant/quantized_tensor.h"
#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/parallel.h"

namespace graft::quant {
namespace {

using cpu_kernels::contiguous;
using cpu_kernels::Isa;
using cpu_kernels::visit_float;

/// Numbers of one work item of a thread: some tens of microseconds.
constexpr int64_t grain_elements = 1 << 15;

/// One block as f32, padded with zeros to whole lanes. Returns its largest magnitude.
template <class T>
float read_block(const T* x, int64_t count, float* block) {
  for (int64_t i = 0; i < count; ++i)
    block[i] = static_cast<float>(x[i]);
  return largest_magnitude(block, count);
}

/// The codes of a block of numbers in [-1, 1], up to whole lanes of it.
void round_block(const CodeTileKernels& kernels, const Rounding& rounding, float* x, int64_t count,
                 uint8_t* codes) {
  const int64_t padded = (count + lanes - 1) / lanes * lanes;
  std::array<uint8_t, largest_block> signs;
  if (rounding.sign_bit != 0) {
    for (int64_t i = 0; i < padded; ++i) {
      signs[i] = x[i] < 0 ? rounding.sign_bit : uint8_t{0};
      x[i] = x[i] < 0 ? -x[i] : x[i];
    }
  }
  kernels.count_below(x, padded, rounding.boundaries.data(),
                      static_cast<int>(rounding.boundaries.size()), codes);
  for (int64_t i = 0; i < padded; ++i)
    codes[i] = rounding.codes[codes[i]];
  for (int64_t i = 0; rounding.sign_bit != 0 && i < padded; ++i)
    codes[i] |= signs[i];
}

/// Calls body(block, first number, count) for each block, on several threads.
template <class Body>
void for_each_block(int64_t elements, int64_t blocksize, const Body& body) {
  const int64_t grain = std::max<int64_t>(1, grain_elements / blocksize);
  parallel_for(block_count(elements, blocksize), grain, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * blocksize;
      body(block, first, std::min(blocksize, elements - first));
    }
  });
}

template <Isa isa>
KernelStatus quantize_4bit(const Quantize4bitArgs& args) {
  if (!contiguous(args.x, args.codes, args.absmax) || args.blocksize % lanes != 0 ||
      args.blocksize > largest_block)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    const Rounding rounding = quant::rounding(args.type);
    for_each_block(args.x.numel(), args.blocksize, [&](int64_t b, int64_t first, int64_t count) {
      std::array<float, largest_block> block;
      std::array<uint8_t, largest_block> codes;
      const float absmax = read_block(args.x.as<T>() + first, count, block.data());
      args.absmax.as<float>()[b] = absmax;
      const float factor = reciprocal(absmax);
      for (int64_t i = 0; i < count; ++i)
        block[i] *= factor;
      round_block(code_tile_kernels(isa), rounding, block.data(), count, codes.data());
      if (count % 2 == 1)
        codes[count] = 0;
      uint8_t* packed = args.codes.as<uint8_t>() + first / 2;
      for (int64_t i = 0; i < count; i += 2)
        packed[i / 2] = static_cast<uint8_t>(codes[i] << 4 | codes[i + 1]);
    });
    return KernelStatus::done;
  });
}

KernelStatus dequantize_4bit_portable(const Dequantize4bitArgs& args) {
  if (!contiguous(args.codes, args.absmax, args.map, args.y) || args.blocksize % 2 != 0)
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    const float* map = args.map.as<float>();
    for_each_block(args.y.numel(), args.blocksize, [&](int64_t b, int64_t first, int64_t count) {
      const float scale = args.absmax.as<float>()[b];
      std::array<T, 16> values;
      for (size_t code = 0; code < values.size(); ++code)
        values[code] = T(map[code] * scale);
      const uint8_t* codes = args.codes.as<uint8_t>() + first / 2;
      T* y = args.y.as<T>() + first;
      for (int64_t i = 0; i + 1 < count; i += 2) {
        y[i] = values[codes[i / 2] >> 4];
        y[i + 1] = values[codes[i / 2] & 15];
      }
      if (count % 2 == 1)
        y[count - 1] = values[codes[count / 2] >> 4];
    });
    return KernelStatus::done;
  });
}

KernelStatus quantize_blockwise_portable(const QuantizeBlockwiseArgs& args) {
  if (!contiguous(args.x, args.codes, args.absmax) || args.blocksize % lanes != 0 ||
      args.blocksize > largest_block)
    return KernelStatus::unsupported;
  return visit_float(args.x.dtype, [&]<class T>() {
    const NearestEntry& nearest =
        args.is_signed ? nearest_signed_entry() : nearest_unsigned_entry();
    for_each_block(args.x.numel(), args.blocksize, [&](int64_t b, int64_t first, int64_t count) {
      std::array<float, largest_block> block;
      const float absmax = read_block(args.x.as<T>() + first, count, block.data());
      args.absmax.as<float>()[b] = absmax;
      if (!is_scale(absmax))
        return;  // the caller sees it in absmax
      const float factor = reciprocal(absmax);
      uint8_t* codes = args.codes.as<uint8_t>() + first;
      for (int64_t i = 0; i < count; ++i)
        codes[i] = nearest(block[i] * factor);
    });
    return KernelStatus::done;
  });
}

KernelStatus dequantize_blockwise_portable(const DequantizeBlockwiseArgs& args) {
  if (!contiguous(args.codes, args.absmax, args.map, args.y))
    return KernelStatus::unsupported;
  return visit_float(args.y.dtype, [&]<class T>() {
    const float* map = args.map.as<float>();
    for_each_block(args.y.numel(), args.blocksize, [&](int64_t b, int64_t first, int64_t count) {
      const float scale = args.absmax.as<float>()[b];
      const uint8_t* codes = args.codes.as<uint8_t>() + first;
      T* y = args.y.as<T>() + first;
      for (int64_t i = 0; i < count; ++i)
        y[i] = T(map[codes[i]] * scale);
    });
    return KernelStatus::done;
  });
}

}  // namespace

void register_blocks(Registry& registry) {
  cpu_kernels::for_each_isa([&registry]<Isa isa>() {
    registry.add<quantize_4bit<isa>>(quantize_4bit_slot, DeviceKind::cpu,
                                     cpu_kernels::isa_name(isa));
  });
  registry.add<dequantize_4bit_portable>(dequantize_4bit_slot, DeviceKind::cpu);
  registry.add<quantize_blockwise_portable>(quantize_blockwise_slot, DeviceKind::cpu);
  registry.add<dequantize_blockwise_portable>(dequantize_blockwise_slot, DeviceKind::cpu);
}

}  // namespace graft::quant
