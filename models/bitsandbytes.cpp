#include "graft/models/bitsandbytes.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>
#include <utility>

#include "graft/io/checked_shape.h"
#include "graft/io/json.h"
#include "graft/models/torch_dtype.h"

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

DType read_dtype(const io::JsonObject& state) {
  const std::optional<DType> dtype = dtype_of_torch(state.text("dtype"));
  if (!dtype || !is_floating(*dtype) || *dtype == DType::f64)
    throw state.wrong("dtype", "float32, bfloat16 or float16");
  return *dtype;
}

/// The tensor's bytes as u8 (bytes), whatever dtype they are stored as.
Tensor as_bytes(const Tensor& x) {
  const Tensor stored = x.contiguous();
  return Tensor(stored.storage(), DType::u8, {stored.nbytes()}, {1},
                // fits: a place in memory
                stored.offset() * static_cast<int64_t>(element_size(stored.dtype())));
}

/// Codes (bytes) as (numbers, 1) of `storage`.
Tensor codes_as(const Tensor& codes, DType storage, const std::string& weight) {
  const auto size = static_cast<int64_t>(element_size(storage));
  GRAFT_CHECK(codes.numel() % size == 0, ConfigError, weight, " has ", codes.numel(),
              " bytes of codes, which are no whole numbers of ", storage,
              "; write them as u8 (bnb_4bit_quant_storage)");
  const Tensor own = codes.clone();
  return Tensor(own.storage(), storage, {own.numel() / size, 1}, {1, 1}, own.offset() / size);
}

/// Reads the companions of one weight.
class Reader {
 public:
  Reader(const io::TensorSource& source, std::string_view weight)
      : source_(source), weight_(weight), file_(source.file_of(weight)) {}

  QuantizedInfo info() const {
    return with_state([&](const io::JsonObject& state) { return info_in(state); });
  }

  QuantizedTensor read() const {
    return with_state([&](const io::JsonObject& state) {
      const QuantizedInfo info = info_in(state);
      QuantizedTensor result{.shape = info.shape,
                             .dtype = info.dtype,
                             .type = info.format.type,
                             .blocksize = info.format.blocksize};
      result.codes = codes(result.numel());
      result.map = map(result.type);
      if (info.format.double_quant)
        result.nested = nested(state);
      else
        result.absmax = companion_tensor("absmax", DType::f32);
      check(result);
      return result;
    });
  }

 private:
  /// Calls use(state) with the JSON beside the weight.
  template <class Use>
  std::invoke_result_t<const Use&, const io::JsonObject&> with_state(const Use& use) const {
    const std::string key = state_name(weight_, type());
    const Tensor text = as_bytes(source_.load(key));
    const std::span<const uint8_t> bytes = text.span<uint8_t>();
    const std::string name = concat(file_, ": ", key);
    const io::Json json = io::parse_json(
        std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()), name);
    return use(io::JsonObject(json, name));
  }

  QuantizedInfo info_in(const io::JsonObject& state) const {
    const QuantType type = this->type();
    if (state.text("quant_type") != quant_type_name(type))
      throw state.wrong("quant_type", quant_type_name(type));
    return {.format = {.type = type,
                       .blocksize = state.integer("blocksize", blocksize_range),
                       .double_quant = source_.contains(companion("nested_absmax"))},
            .shape = shape(state),
            .dtype = read_dtype(state)};
  }

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
    const std::optional<Shape> shape =
        io::checked_shape(std::vector<uint64_t>(sizes.begin(), sizes.end()));
    if (!shape || shape->numel() > size_range.max)
      throw state.wrong("shape", concat("at most ", size_range.max, " numbers"));
    return *shape;
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
    const int64_t needed = (numbers + 1) / 2;  // fits: numbers are at most 2^31
    // fits: as above
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
    if (name.ends_with(suffix))  // fits: so it is longer
      return is_quantized(source, name.substr(0, name.size() - suffix.size()));
  }
  return false;
}

QuantizedInfo quantized_info(const io::TensorSource& source, std::string_view weight) {
  return Reader(source, weight).info();
}

std::optional<quant::Format> quantized_format(const io::TensorSource& source) {
  constexpr std::string_view state = ".quant_state.bitsandbytes__";
  for (const std::string& name : source.names()) {
    const size_t at = name.rfind(state);
    if (at != name.npos && is_quantized(source, name.substr(0, at)))
      return quantized_info(source, name.substr(0, at)).format;
  }
  return std::nullopt;
}

QuantizedTensor read_quantized(const io::TensorSource& source, std::string_view weight) {
  return Reader(source, weight).read();
}

std::vector<io::NamedTensor> quantized_tensors(const std::string& weight,
                                               const QuantizedTensor& value, DType storage) {
  const QuantizedTensor x = quant::to_blocks(value);
  io::Json state{{"quant_type", quant_type_name(x.type)},
                 {"blocksize", x.blocksize},
                 {"dtype", torch_name(x.dtype)},
                 {"shape", io::Json::array()}};
  for (int i = 0; i < x.shape.rank(); ++i)
    state["shape"].push_back(x.shape[i]);
  // bitsandbytes' own table has 0 where its kernels have -0.
  Tensor map = x.map.clone();
  for (float& entry : map.span<float>())
    entry = entry == 0 ? 0 : entry;
  std::vector<io::NamedTensor> tensors{{weight, codes_as(x.codes, storage, weight)},
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
