#include "graft/models/bitsandbytes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "graft/io/json.h"

namespace graft::models {
namespace {

using quant::QuantizedTensor;
using quant::QuantType;

constexpr std::array quant_types{QuantType::nf4, QuantType::fp4};

std::string state_name(std::string_view weight, QuantType type) {
  return concat(weight, ".quant_state.bitsandbytes__", quant_type_name(type));
}

/// Numbers of a tensor before quantisation; far above any weight, low enough for all that is
/// computed from it.
constexpr io::IntegerRange size_range{0, int64_t{1} << 31};
constexpr io::IntegerRange blocksize_range{1, 1 << 16};

DType parse_dtype(const io::JsonObject& state) {
  const std::string name = state.text("dtype");
  for (const auto& [spelling, dtype] :
       {std::pair{"float32", DType::f32}, {"bfloat16", DType::bf16}, {"float16", DType::f16}}) {
    if (name == spelling)
      return dtype;
  }
  throw state.wrong("dtype", "float32, bfloat16 or float16");
}

std::string_view dtype_name(DType dtype) {
  return dtype == DType::bf16 ? "bfloat16" : dtype == DType::f16 ? "float16" : "float32";
}

/// The tensor's bytes as u8 (bytes), whatever dtype they are stored as.
Tensor as_bytes(const Tensor& x) {
  const Tensor stored = x.contiguous();
  return Tensor(stored.storage(), DType::u8, {stored.nbytes()}, {1},
                stored.offset() * static_cast<int64_t>(element_size(stored.dtype())));
}

/// Reads the companions of one weight.
class Reader {
 public:
  Reader(const io::TensorSource& source, std::string_view weight)
      : source_(source), weight_(weight), file_(source.file_of(weight)) {}

  QuantizedTensor read() const {
    const QuantType type = this->type();
    const Tensor text = as_bytes(source_.load(state_name(weight_, type)));
    const std::span<const uint8_t> bytes = text.span<uint8_t>();
    const std::string name = concat(file_, ": ", state_name(weight_, type));
    const io::Json json = io::parse_json(
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), name);
    const io::JsonObject state(json, name);
    if (state.text("quant_type") != quant_type_name(type))
      throw state.wrong("quant_type", quant_type_name(type));
    QuantizedTensor result{.shape = shape(state),
                           .dtype = parse_dtype(state),
                           .type = type,
                           .blocksize = state.integer("blocksize", blocksize_range)};
    result.codes = codes(result.numel());
    result.map = map(type);
    if (source_.contains(companion("nested_absmax")))
      result.nested = nested(state);
    else
      result.absmax = companion_tensor("absmax", DType::f32);
    check(result);
    return result;
  }

 private:
  QuantType type() const {
    std::optional<QuantType> found;
    for (const QuantType type : quant_types) {
      if (!source_.contains(state_name(weight_, type)))
        continue;
      if (found)
        throw FormatError(file_, -1, concat(weight_, " has the states of two 4-bit types"));
      found = type;
    }
    if (!found)
      throw FormatError(file_, -1, concat(weight_, " has no 4-bit state"));
    return *found;
  }

  static Shape shape(const io::JsonObject& state) {
    const std::vector<int64_t> sizes = state.integers("shape", size_range);
    if (sizes.empty() || sizes.size() > Shape::max_rank)
      throw state.wrong("shape", "a list of sizes");
    int64_t numbers = 1;
    for (const int64_t size : sizes) {
      if (size != 0 && numbers > size_range.max / size)
        throw state.wrong("shape", concat("at most ", size_range.max, " numbers"));
      numbers *= size;
    }
    return Shape(sizes);
  }

  std::string companion(std::string_view name) const { return concat(weight_, ".", name); }

  Tensor companion_tensor(std::string_view name, DType dtype) const {
    const std::string full = companion(name);
    if (!source_.contains(full))
      throw FormatError(file_, -1, concat(full, " is missing beside the 4-bit ", weight_));
    Tensor value = source_.load(full);
    // A cast of the whole model may have changed the scales' dtype.
    if (dtype == DType::f32 && is_floating(value.dtype()))
      value = value.to(DType::f32);
    if (value.dtype() != dtype)
      throw FormatError(file_, -1,
                        concat(full, " has dtype ", value.dtype(), ", ", dtype, " expected"));
    return value.contiguous().view({-1}).clone();
  }

  /// The codes as bytes; a float `quant_storage` only names them differently.
  Tensor codes(int64_t numbers) const {
    const Tensor bytes = as_bytes(source_.load(weight_));
    const int64_t needed = (numbers + 1) / 2;
    if (bytes.numel() < needed || bytes.numel() >= needed + 8)
      throw FormatError(file_, -1,
                        concat(weight_, " has ", bytes.numel(), " bytes, ", needed,
                               " expected for ", numbers, " numbers"));
    return bytes.slice(0, 0, needed).clone();
  }

  /// The file's map; the codebook itself where they agree, so that code 8 of fp4 is -0 as in the
  /// kernels of bitsandbytes and not 0 as in its table.
  Tensor map(QuantType type) const {
    const Tensor stored = companion_tensor("quant_map", DType::f32);
    const auto values = quant::codebook(type);
    if (std::ranges::equal(stored.span<float>(), values))
      return Tensor::from(std::vector<float>(values.begin(), values.end()), {16});
    return stored;
  }

  quant::NestedScales nested(const io::JsonObject& state) const {
    return {{.codes = companion_tensor("absmax", DType::u8),
             .absmax = companion_tensor("nested_absmax", DType::f32),
             .map = companion_tensor("nested_quant_map", DType::f32),
             .blocksize = state.integer("nested_blocksize", blocksize_range)},
            static_cast<float>(state.number("nested_offset"))};
  }

  /// quant's own check, as an error about the file.
  void check(const QuantizedTensor& value) const {
    try {
      quant::check(value);
    } catch (const Error& error) {
      throw FormatError(file_, -1, concat(weight_, ": ", error.what()));
    }
  }

  const io::TensorSource& source_;
  std::string weight_;
  std::string file_;
};

}  // namespace

bool is_quantized(const io::TensorSource& source, std::string_view weight) {
  return source.contains(weight) && std::ranges::any_of(quant_types, [&](QuantType type) {
           return source.contains(state_name(weight, type));
         });
}

bool is_quantization_companion(const io::TensorSource& source, std::string_view name) {
  for (const std::string_view suffix :
       {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map",
        ".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4"}) {
    if (name.ends_with(suffix))
      return is_quantized(source, name.substr(0, name.size() - suffix.size()));
  }
  return false;
}

QuantizedTensor read_quantized(const io::TensorSource& source, std::string_view weight) {
  return Reader(source, weight).read();
}

std::vector<io::NamedTensor> quantized_tensors(const std::string& weight,
                                               const QuantizedTensor& value) {
  const QuantizedTensor x = quant::to_blocks(value);
  io::Json state{{"quant_type", quant_type_name(x.type)},
                 {"blocksize", x.blocksize},
                 {"dtype", dtype_name(x.dtype)},
                 {"shape", io::Json::array()}};
  for (int i = 0; i < x.shape.rank(); ++i)
    state["shape"].push_back(x.shape[i]);
  // bitsandbytes' own table has 0 where its kernels have -0.
  Tensor map = x.map.clone();
  for (float& entry : map.span<float>())
    entry = entry == 0 ? 0 : entry;
  std::vector<io::NamedTensor> tensors{{weight, x.codes.view({-1, 1})},
                                       {weight + ".quant_map", map}};
  if (x.nested) {
    const quant::Blockwise& nested = x.nested->blocks;
    state["nested_blocksize"] = nested.blocksize;
    state["nested_dtype"] = "float32";
    state["nested_offset"] = static_cast<double>(x.nested->offset);
    tensors.push_back({weight + ".absmax", nested.codes});
    tensors.push_back({weight + ".nested_absmax", nested.absmax});
    tensors.push_back({weight + ".nested_quant_map", nested.map});
  } else {
    tensors.push_back({weight + ".absmax", x.absmax});
  }
  const std::string text = state.dump();
  tensors.push_back(
      {state_name(weight, x.type), Tensor::from(std::vector<uint8_t>(text.begin(), text.end()),
                                                {static_cast<int64_t>(text.size())})});
  return tensors;
}

}  // namespace graft::models
