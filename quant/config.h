// Config: which weights of a model are held in 4 bits, and how. The fields are those of
// transformers' BitsAndBytesConfig, with its defaults; `nf4()` is what QLoRA uses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graft/quant/quantized_tensor.h"

namespace graft::quant {

struct Config {
  /// False: weights stay what they are.
  bool load_in_4bit = false;
  QuantType bnb_4bit_quant_type = QuantType::fp4;
  bool bnb_4bit_use_double_quant = false;
  /// What products multiply in: f32, or bf16 with f32 sums where the processor can. Unset: as the
  /// model's dtype says.
  std::optional<DType> bnb_4bit_compute_dtype{};
  /// As what files hold the bytes of the codes: u8 or a floating dtype.
  DType bnb_4bit_quant_storage = DType::u8;
  /// Modules to leave as they are. Unset: the head and what is tied. A list takes the place of
  /// those, so the head is quantised unless it names it.
  std::optional<std::vector<std::string>> llm_int8_skip_modules{};
  /// Numbers that share a scale; bitsandbytes' classes always take 64.
  int64_t blocksize = 64;

  Format format() const { return {bnb_4bit_quant_type, blocksize, bnb_4bit_use_double_quant}; }

  friend bool operator==(const Config&, const Config&) = default;
};

/// The linear layers in nf4, their scales in 8 bits (QLoRA, Dettmers et al. 2023,
/// arXiv:2305.14314).
Config nf4();
/// The same in fp4.
Config fp4();

/// Throws ConfigError unless weights can be held as it says.
void check(const Config& config);

/// "nf4 with double quantisation, blocks of 64".
std::string to_string(const Format& format);
/// How many bits a number takes, its share of the scales included: 4.127.
double bits_per_number(const Format& format);

}  // namespace graft::quant
