#include "graft/quant/config.h"

#include "graft/quant/blocks.h"

namespace graft::quant {

Config nf4() {
  return {.load_in_4bit = true,
          .bnb_4bit_quant_type = QuantType::nf4,
          .bnb_4bit_use_double_quant = true};
}

Config fp4() {
  Config config = nf4();
  config.bnb_4bit_quant_type = QuantType::fp4;
  return config;
}

void check(const Config& config) {
  check_blocksize("quantisation", config.blocksize);
  const DType compute = config.bnb_4bit_compute_dtype.value_or(DType::f32);
  GRAFT_CHECK(compute == DType::f32 || compute == DType::bf16, ConfigError,
              "quantisation: bnb_4bit_compute_dtype is ", compute, ", f32 or bf16 expected");
  const DType storage = config.bnb_4bit_quant_storage;
  GRAFT_CHECK(storage == DType::u8 || is_floating(storage), ConfigError,
              "quantisation: bnb_4bit_quant_storage is ", storage,
              ", u8 or a floating dtype expected");
}

std::string to_string(const Format& format) {
  return concat(quant_type_name(format.type),
                format.double_quant ? " with double quantisation" : "", ", blocks of ",
                format.blocksize);
}

double bits_per_number(const Format& format) {
  constexpr double scale_bits = 32;
  constexpr double nested_bits = 8 + scale_bits / static_cast<double>(nested_blocksize);
  return 4 +
         (format.double_quant ? nested_bits : scale_bits) / static_cast<double>(format.blocksize);
}

}  // namespace graft::quant
