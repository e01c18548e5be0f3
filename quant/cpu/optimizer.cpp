#include "graft/quant/optimizer.h"

#include <algorithm>
#include <array>

#include "graft/quant/blocks.h"
#include "graft/quant/cpu/block_scale.h"
#include "graft/quant/cpu/register.h"
#include "graft/quant/dynamic_map.h"
#include "graft/tensor/cpu/adamw_step.h"
#include "graft/tensor/cpu/dispatch.h"
#include "graft/tensor/cpu/isa.h"
#include "graft/tensor/parallel.h"

namespace graft::quant {
namespace {

using cpu_kernels::AdamWFactors;
using cpu_kernels::AdamWKernels;
using cpu_kernels::AdamWRows;
using cpu_kernels::contiguous;
using cpu_kernels::visit_float;

/// Numbers of one work item of a thread: some tens of microseconds.
constexpr int64_t grain_elements = 1 << 13;

/// How one of the moments is held.
struct Moment {
  uint8_t* codes;
  float* absmax;
  const DynamicMap& map;
  const NearestEntry& nearest;
  /// The least code of a number above 0.
  uint8_t least;
};

void read_block(const Moment& moment, int64_t block, int64_t first, int64_t count, float* values) {
  const float scale = moment.absmax[block];
  for (int64_t i = 0; i < count; ++i)
    values[i] = moment.map[moment.codes[first + i]] * scale;
}

void write_block(const Moment& moment, int64_t block, int64_t first, int64_t count, float* values) {
  const float absmax = largest_magnitude(values, count);
  moment.absmax[block] = absmax;
  if (!is_scale(absmax))
    return;
  const float factor = reciprocal(absmax);
  for (int64_t i = 0; i < count; ++i) {
    const uint8_t least = values[i] > 0 ? moment.least : uint8_t{0};
    moment.codes[first + i] = std::max(least, moment.nearest(values[i] * factor));
  }
}

/// What is the same for all blocks of a step.
struct Step {
  const AdamW8bitArgs& args;
  AdamWRows<float> rows;
  AdamWFactors<float> factors;
  Moment first, second;
};

template <class T>
void update_block(const Step& step, int64_t block) {
  const AdamW8bitArgs& args = step.args;
  const int64_t first = block * args.blocksize;
  const int64_t count = std::min(args.blocksize, args.w.numel() - first);
  std::array<float, largest_block> m;
  std::array<float, largest_block> v;
  read_block(step.first, block, first, count, m.data());
  read_block(step.second, block, first, count, v.data());
  cpu_kernels::adamw_step(step.rows, step.factors, count, args.w.as<T>() + first,
                          args.g.as<const T>() + first, m.data(), v.data());
  write_block(step.first, block, first, count, m.data());
  write_block(step.second, block, first, count, v.data());
}

template <const AdamWKernels& kernels>
KernelStatus adamw8bit(const AdamW8bitArgs& args) {
  if (!contiguous(args.w, args.g, args.m, args.m_absmax, args.v, args.v_absmax) ||
      args.g.dtype != args.w.dtype || args.w.dtype == DType::f64 || args.blocksize % lanes != 0 ||
      args.blocksize > largest_block)
    return KernelStatus::unsupported;
  const Step step{.args = args,
                  .rows = kernels.f32,
                  .factors = cpu_kernels::factors_of<float>(args.scalars),
                  .first = {args.m.as<uint8_t>(), args.m_absmax.as<float>(), signed_dynamic_map(),
                            nearest_signed_entry(), 0},
                  .second = {args.v.as<uint8_t>(), args.v_absmax.as<float>(),
                             unsigned_dynamic_map(), nearest_unsigned_entry(), 1}};
  return visit_float(args.w.dtype, [&]<class T>() {
    const int64_t grain = std::max<int64_t>(1, grain_elements / args.blocksize);
    parallel_for(block_count(args.w.numel(), args.blocksize), grain,
                 [&](int64_t begin, int64_t end) {
                   for (int64_t block = begin; block < end; ++block)
                     update_block<T>(step, block);
                 });
    return KernelStatus::done;
  });
}

}  // namespace

void register_optimizer(Registry& registry) {
  using namespace cpu_kernels;
  registry.add<adamw8bit<portable::adamw_kernels>>(adamw8bit_slot, DeviceKind::cpu);
  if (cpu_has(Isa::avx2))
    registry.add<adamw8bit<x86_64_v3::adamw_kernels>>(adamw8bit_slot, DeviceKind::cpu,
                                                      isa_name(Isa::avx2));
}

}  // namespace graft::quant
