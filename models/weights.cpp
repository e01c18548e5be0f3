#include "graft/models/weights.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/models/bitsandbytes.h"
#include "graft/nn/linear.h"
#include "graft/tensor/copy.h"

namespace graft::models {
namespace {

/// A parameter under all the paths that lead to it; tied ones have several.
struct PathsOf {
  nn::Member* parameter;
  std::vector<std::string> paths;
  bool transposed = false;

  /// The parameter as a matrix that can be held in other ways than dense, or nullptr.
  nn::Weight* weight() const { return dynamic_cast<nn::Weight*>(parameter); }
  /// In the file, where it is dense there.
  Shape shape() const {
    const Shape shape = parameter->shape();
    return transposed ? Shape{shape[1], shape[0]} : shape;
  }
};

std::vector<PathsOf> parameters_of(nn::Module& root) {
  std::vector<PathsOf> parameters;
  std::unordered_map<const void*, size_t> index;
  const std::set<std::string> transposed = transposed_in_files(root);
  nn::for_each_member(root, [&](const std::string& path, nn::Member& member) {
    if (!member.is_parameter())
      return;
    const auto [it, is_new] = index.try_emplace(member.identity(), parameters.size());
    if (is_new)
      parameters.push_back({&member, {}, transposed.contains(path)});
    parameters[it->second].paths.push_back(path);
  });
  return parameters;
}

/// Tables of rotary positions and masks, which are computed, not loaded.
bool is_known_buffer(const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") || name.ends_with(".attn.bias") ||
         name.ends_with(".attn.masked_bias");
}

/// What is wrong, one line each; the rest is counted.
class Problems {
 public:
  template <class... Parts>
  void add(const Parts&... parts) {
    constexpr int64_t shown = 20;
    if (++count_ <= shown)
      text_ += concat("\n  ", parts...);
    else if (count_ == shown + 1)
      text_ += "\n  …";
  }
  void throw_if_any(const std::string& file) const {
    if (count_ > 0)
      throw FormatError(file, -1,
                        concat(count_, count_ == 1 ? " tensor does" : " tensors do",
                               " not fit the model's configuration:", text_));
  }

 private:
  int64_t count_ = 0;
  std::string text_;
};

void check_present(const io::TensorSource& source, const std::string& name, const Shape& shape,
                   Problems& problems) {
  io::TensorInfo info;
  try {
    info = source.info(name);
  } catch (const FormatError& error) {  // a dtype that graft has not
    problems.add(error.what());
    return;
  }
  if (!is_floating(info.dtype))
    problems.add(name, " has dtype ", info.dtype, ", a floating one expected");
  else if (info.shape != shape)
    problems.add(name, " has shape ", info.shape, ", ", shape, " expected");
}

void check_quantized(const io::TensorSource& source, const std::string& name, const PathsOf& entry,
                     Problems& problems) {
  if (entry.weight() == nullptr) {
    problems.add(name, " is in 4 bits, a dense one expected");
    return;
  }
  const Shape expected = entry.parameter->shape();
  try {
    const Shape shape = quantized_info(source, name).shape;
    if (shape != expected)
      problems.add(name, " has shape ", shape, " in 4 bits, ", expected, " expected");
  } catch (const FormatError& error) {
    problems.add(error.what());
  }
}

/// The numbers of a tensor, dense or not.
Tensor numbers_of(const io::TensorSource& source, const std::string& name) {
  if (!is_quantized(source, name))
    return source.load(name);
  const quant::QuantizedTensor value = read_quantized(source, name);
  return quant::dequantize(value, value.dtype);
}

bool same_numbers(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && std::ranges::equal(a.bytes(), b.bytes());
}

/// The names under which the source has a parameter. Throws FormatError unless all hold the same.
std::vector<std::string> names_in(const io::TensorSource& source, const PathsOf& entry) {
  std::vector<std::string> present;
  std::ranges::copy_if(entry.paths, std::back_inserter(present),
                       [&](const std::string& path) { return source.contains(path); });
  for (size_t i = 1; i < present.size(); ++i) {
    if (!same_numbers(numbers_of(source, present[0]), numbers_of(source, present[i])))
      throw FormatError(source.file_of(present[i]), -1,
                        concat(present[i], " and ", present[0],
                               " differ, but the configuration ties them; set "
                               "tie_word_embeddings to false where they are not"));
  }
  return present;
}

/// The tensor as memory of our own, in the wanted dtype and place.
Tensor converted(Tensor stored, const WeightOptions& options) {
  if (stored.dtype() == options.dtype && stored.device() == options.device &&
      stored.is_unshared() && stored.is_contiguous())
    return stored;
  Tensor value = Tensor::empty(stored.shape(), options.dtype, options.device);
  ops::copy_(value, stored);
  return value;
}

/// What is left of the numbers x in 4 bits, of the weight `name`.
QuantizationError error_of(const std::string& name, const Tensor& x,
                           const quant::QuantizedTensor& quantized) {
  const Tensor before = x.to(DType::f32).contiguous();
  const Tensor after = quant::dequantize(quantized, DType::f32);
  QuantizationError error{.weight = name, .numbers = x.numel()};
  double squares = 0, error_squares = 0, largest = 0, largest_error = 0;
  for (size_t i = 0; i < static_cast<size_t>(x.numel()); ++i) {
    const double number = before.span<float>()[i];
    const double difference = number - after.span<float>()[i];
    squares += number * number;
    error_squares += difference * difference;
    largest = std::max(largest, std::fabs(number));
    largest_error = std::max(largest_error, std::fabs(difference));
  }
  if (largest > 0) {
    error.relative = std::sqrt(error_squares / squares);
    error.largest = largest_error / largest;
  }
  return error;
}

/// A matrix of the source in 4 bits, for a model whose weights have options.dtype.
quant::QuantizedTensor quantized(const Tensor& matrix, const std::string& name,
                                 const io::TensorSource& source, const WeightOptions& options) {
  try {
    quant::QuantizedTensor value = quant::quantize(matrix, options.format);
    value.dtype = options.dtype;
    if (options.on_quantized)
      options.on_quantized(error_of(name, matrix, value));
    return value;
  } catch (const NonFiniteError& error) {
    throw FormatError(source.file_of(name), -1, concat(name, ": ", error.what()));
  }
}

/// The tensor of a source that a parameter is read from, and how.
struct Origin {
  std::string name;
  bool transposed = false;
  bool is_quantized = false;  ///< in the source
  bool to_quantize = false;

  bool is_in_4_bits() const { return is_quantized || to_quantize; }
};

Origin origin_of(const PathsOf& entry, const std::string& name, const io::TensorSource& source,
                 const WeightOptions& options) {
  const bool is_stored_so = is_quantized(source, name);
  const Origin origin{name, entry.transposed, is_stored_so,
                      !is_stored_so && options.quantized.contains(entry.paths[0])};
  GRAFT_CHECK(!origin.is_in_4_bits() || options.device == cpu, DeviceError,
              "load: weights in 4 bits are held on the CPU, ", options.device, " given");
  return origin;
}

Tensor read_dense(const Origin& origin, const io::TensorSource& source) {
  Tensor stored = source.load(origin.name);
  return origin.transposed ? stored.transpose(0, 1) : stored;
}

/// A matrix in 4 bits, in panels.
quant::QuantizedTensor read_in_4_bits(const Origin& origin, const io::TensorSource& source,
                                      const WeightOptions& options) {
  quant::QuantizedTensor value =
      origin.is_quantized ? read_quantized(source, origin.name)
                          : quantized(read_dense(origin, source), origin.name, source, options);
  value.compute = options.compute;
  return quant::to_panels(value);
}

/// The weight is read from the source as it is used.
void stream(nn::Weight& weight, const Origin& origin,
            const std::shared_ptr<const io::TensorSource>& source, const WeightOptions& options) {
  nn::WeightForm form{options.dtype};
  if (origin.is_quantized) {
    const QuantizedInfo info = quantized_info(*source, origin.name);
    form = {info.dtype, info.format};
  } else if (origin.to_quantize) {
    form.format = options.format;
  }
  const WeightOptions copy{.dtype = options.dtype,
                           .device = options.device,
                           .format = options.format,
                           .compute = options.compute};
  weight.stream(form, [origin, source, copy]() -> nn::WeightStorage {
    nn::WeightStorage held;
    if (origin.is_in_4_bits())
      held = read_in_4_bits(origin, *source, copy);
    else
      held = Variable(converted(read_dense(origin, *source), copy));
    source->drop_pages(origin.name);
    return held;
  });
}

/// Loads a parameter from the tensor of that name.
void load_parameter(const PathsOf& entry, const std::string& name,
                    const std::shared_ptr<const io::TensorSource>& source,
                    const WeightOptions& options) {
  const Origin origin = origin_of(entry, name, *source, options);
  nn::Weight* weight = entry.weight();
  if (weight != nullptr && options.streamed)
    stream(*weight, origin, source, options);
  else if (origin.is_in_4_bits())
    weight->load(read_in_4_bits(origin, *source, options));
  else
    entry.parameter->load(converted(read_dense(origin, *source), options));
}

}  // namespace

std::set<std::string> transposed_in_files(nn::Module& root) {
  std::set<std::string> paths;
  nn::for_each_member(root, [&](const std::string& path, nn::Member& member) {
    const auto* linear = dynamic_cast<const nn::Linear*>(member.module());
    if (linear != nullptr && linear->file_layout() == nn::FileLayout::in_out)
      paths.insert(path + ".weight");
  });
  return paths;
}

void check_tensors(nn::Module& root, const io::TensorSource& source) {
  refuse_other_quantization(source);
  Problems problems;
  std::unordered_set<std::string> known;
  for (const PathsOf& entry : parameters_of(root)) {
    const Shape shape = entry.shape();
    bool found = false;
    for (const std::string& path : entry.paths) {
      known.insert(path);
      if (!source.contains(path))
        continue;
      found = true;
      if (is_quantized(source, path))
        check_quantized(source, path, entry, problems);
      else
        check_present(source, path, shape, problems);
    }
    if (!found)
      problems.add(entry.paths[0], " ", shape, " is missing");
  }
  const std::vector<std::string> names = source.names();
  for (const std::string& name : names) {
    if (!known.contains(name) && !is_known_buffer(name) && !is_quantization_companion(source, name))
      problems.add(name, " is unexpected");
  }
  problems.throw_if_any(names.empty() ? "checkpoint" : source.file_of(names[0]));
}

void load_tensors(nn::Module& root, const std::shared_ptr<const io::TensorSource>& source,
                  const WeightOptions& options) {
  int64_t done = 0;
  for (const PathsOf& entry : parameters_of(root)) {
    const std::vector<std::string> present = names_in(*source, entry);
    load_parameter(entry, present.at(0), source, options);
    for (const std::string& path : present)
      source->drop_pages(path);
    done += entry.parameter->shape().numel();
    if (options.progress)
      options.progress(done);
  }
}

}  // namespace graft::models
