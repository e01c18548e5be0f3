#include "graft/models/base_source.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace graft::models {
namespace {

class BaseSource final : public io::TensorSource {
 public:
  BaseSource(std::unique_ptr<io::TensorSource> source, std::string prefix)
      : source_(std::move(source)), prefix_(std::move(prefix)) {}

  std::vector<std::string> names() const override {
    std::vector<std::string> names = source_->names();
    for (std::string& name : names)
      name = prefix_ + name;
    return names;
  }
  bool contains(std::string_view name) const override {
    return name.starts_with(prefix_) && source_->contains(inner(name));
  }
  io::TensorInfo info(std::string_view name) const override { return source_->info(inner(name)); }
  Tensor load(std::string_view name) const override { return source_->load(inner(name)); }
  void drop_pages(std::string_view name) const override { source_->drop_pages(inner(name)); }
  std::string file_of(std::string_view name) const override {
    return source_->file_of(inner(name));
  }

 private:
  std::string_view inner(std::string_view name) const {
    return name.starts_with(prefix_) ? name.substr(prefix_.size()) : name;
  }

  std::unique_ptr<io::TensorSource> source_;
  std::string prefix_;
};

}  // namespace

std::unique_ptr<io::TensorSource> with_prefix(std::unique_ptr<io::TensorSource> source,
                                              const std::string& prefix) {
  const std::vector<std::string> names = source->names();
  const bool has_it = std::ranges::any_of(
      names, [&](const std::string& name) { return name.starts_with(prefix + "."); });
  if (has_it || names.empty())
    return source;
  return std::make_unique<BaseSource>(std::move(source), prefix + ".");
}

}  // namespace graft::models
