#include "graft/models/weights.h"

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "graft/nn/linear.h"
#include "graft/tensor/copy.h"

namespace graft::models {
namespace {

/// A parameter under all the paths that lead to it; tied ones have several.
struct PathsOf {
  nn::Member* parameter;
  std::vector<std::string> paths;
  bool transposed = false;

  /// In the file.
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

bool same_numbers(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && std::ranges::equal(a.bytes(), b.bytes());
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
      check_present(source, path, shape, problems);
    }
    if (!found)
      problems.add(entry.paths[0], " ", shape, " is missing");
  }
  const std::vector<std::string> names = source.names();
  for (const std::string& name : names) {
    if (!known.contains(name) && !is_known_buffer(name))
      problems.add(name, " is unexpected");
  }
  problems.throw_if_any(names.empty() ? "checkpoint" : source.file_of(names[0]));
}

void load_tensors(nn::Module& root, const io::TensorSource& source, const WeightOptions& options) {
  int64_t done = 0;
  for (const PathsOf& entry : parameters_of(root)) {
    std::vector<std::string> present;
    std::ranges::copy_if(entry.paths, std::back_inserter(present),
                         [&](const std::string& path) { return source.contains(path); });
    Tensor stored = source.load(present.at(0));
    for (size_t i = 1; i < present.size(); ++i) {
      if (!same_numbers(stored, source.load(present[i])))
        throw FormatError(source.file_of(present[i]), -1,
                          concat(present[i], " and ", present[0],
                                 " differ, but the configuration ties them; set "
                                 "tie_word_embeddings to false where they are not"));
    }
    if (entry.transposed)
      stored = stored.transpose(0, 1);
    entry.parameter->load(converted(std::move(stored), options));
    for (const std::string& path : present)
      source.drop_pages(path);
    done += entry.parameter->shape().numel();
    if (options.progress)
      options.progress(done);
  }
}

}  // namespace graft::models
