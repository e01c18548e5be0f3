#include <algorithm>
#include <system_error>
#include <utility>

#include "graft/io/pickle.h"
#include "graft/io/safetensors.h"
#include "graft/io/shard_index.h"
#include "graft/io/system.h"
#include "graft/io/tensor_file.h"
#include "graft/io/tensor_source.h"

namespace graft::io {
namespace {

constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

/// Several safetensors files and the index that says which tensor is in which.
class ShardedCheckpoint final : public TensorSource {
 public:
  ShardedCheckpoint(const std::filesystem::path& index_path, Access access)
      : index_(read_shard_index(index_path)) {
    for (const std::string& shard : index_.shards)
      shards_.push_back(
          std::make_unique<SafetensorsFile>(index_path.parent_path() / shard, access));
    check_listed_tensors();
    check_unlisted_tensors();
  }

  std::vector<std::string> names() const override {
    std::vector<std::string> result;
    result.reserve(index_.places.size());
    for (const ShardIndex::Place& place : index_.places)
      result.push_back(place.tensor);
    return result;
  }
  bool contains(std::string_view name) const override { return find(name) != nullptr; }
  TensorInfo info(std::string_view name) const override { return shard_of(name).info(name); }
  Tensor load(std::string_view name) const override { return shard_of(name).load(name); }
  void drop_pages(std::string_view name) const override { shard_of(name).drop_pages(name); }
  std::string file_of(std::string_view name) const override { return shard_of(name).path(); }

 private:
  const ShardIndex::Place* find(std::string_view name) const {
    const auto found = std::ranges::lower_bound(
        index_.places, name, {},
        [](const ShardIndex::Place& place) { return std::string_view(place.tensor); });
    return found != index_.places.end() && found->tensor == name ? &*found : nullptr;
  }

  const SafetensorsFile& shard_of(std::string_view name) const {
    if (const ShardIndex::Place* place = find(name))
      return *shards_[place->shard];
    throw no_such_tensor(index_.file, name, names());
  }

  void check_listed_tensors() const {
    for (const ShardIndex::Place& place : index_.places)
      if (!shards_[place.shard]->contains(place.tensor))
        throw FormatError(index_.file, place.offset,
                          concat("weight_map: tensor '", printable(place.tensor), "' is not in ",
                                 index_.shards[place.shard]));
  }

  void check_unlisted_tensors() const {
    for (size_t shard = 0; shard < shards_.size(); ++shard) {
      std::vector<std::string> unlisted;
      for (const SafetensorsEntry& entry : shards_[shard]->entries()) {
        const ShardIndex::Place* place = find(entry.name);
        if (place == nullptr || place->shard != shard)
          unlisted.push_back(entry.name);
      }
      if (!unlisted.empty())
        throw FormatError(shards_[shard]->path(), -1,
                          concat("holds ", unlisted.size(), " tensors that ", index_name,
                                 " does not place there: ", printable_list(unlisted)));
    }
  }

  ShardIndex index_;
  std::vector<std::unique_ptr<const SafetensorsFile>> shards_;
};

/// What a folder holds instead of a checkpoint.
FormatError no_checkpoint(const std::filesystem::path& folder) {
  std::vector<std::string> pickles;
  std::vector<std::string> others;
  for (const auto& file : list_folder(folder)) {
    const std::string name = file.path().filename().string();
    if (is_pickle_name(name) || name.ends_with(".bin.index.json"))
      pickles.push_back(name);
    else if (name.ends_with(".safetensors") || name.ends_with(".gguf"))
      others.push_back(name);
  }
  std::string what = concat("has neither ", single_name, " nor ", index_name);
  if (!others.empty())
    what += concat("; there are ", printable_list(others), ": name one to read it alone");
  else if (!pickles.empty())
    what += concat("; ", printable_list(pickles), ": each ", pickle_refusal());
  return FormatError(folder.string(), -1, what);
}

}  // namespace

std::unique_ptr<TensorSource> open_checkpoint(const std::filesystem::path& path, Access access) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(path, ignored)) {
    if (is_pickle_name(path.filename().string()))
      throw FormatError(path.string(), -1, pickle_refusal());
    return std::make_unique<SafetensorsFile>(path, access);
  }
  if (std::filesystem::exists(path / single_name, ignored))
    return std::make_unique<SafetensorsFile>(path / single_name, access);
  if (std::filesystem::exists(path / index_name, ignored))
    return std::make_unique<ShardedCheckpoint>(path / index_name, access);
  throw no_checkpoint(path);
}

}  // namespace graft::io
