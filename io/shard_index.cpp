#include "graft/io/shard_index.h"

#include <algorithm>
#include <map>
#include <utility>

#include "graft/io/file.h"
#include "graft/io/json_events.h"
#include "graft/io/pickle.h"
#include "graft/io/system.h"

namespace graft::io {
namespace {

// 64 MiB of index name about half a million tensors.
constexpr JsonLimits limits{.max_bytes = int64_t{64} << 20, .max_depth = 16};
// No checkpoint has as many files, and each is open at the same time.
constexpr size_t most_shards = 4096;

/// Keeps the texts of the member "weight_map" and looks at nothing else.
class IndexReader final : public JsonHandler {
 public:
  explicit IndexReader(ShardIndex& index) : index_(index) {}

  void null() override { value("null"); }
  void boolean(bool) override { value("true or false"); }
  void negative(int64_t) override { value("a number"); }
  void integer(uint64_t) override { value("a number"); }
  void number(double) override { value("a number"); }
  void begin_array() override {
    value("a list");
    ++depth_;
  }
  void end_array() override { --depth_; }

  void begin_object() override {
    if (depth_ == 1 && key_ == "weight_map")
      seen_ = in_map_ = true;
    else if (depth_ > 0)
      value("an object");
    ++depth_;
  }
  void end_object() override {
    --depth_;
    if (depth_ == 1)
      in_map_ = false;
  }
  void key(std::string& name) override { key_ = std::move(name); }

  void text(std::string& name) override {
    if (!in_map_)
      return value("a text");
    check_name(name);
    const auto [shard, is_new] = shards_.emplace(name, shards_.size());
    if (is_new) {
      if (shards_.size() > most_shards)
        fail(concat("names more than ", most_shards, " files"));
      index_.shards.push_back(name);
    }
    index_.places.push_back({std::move(key_), shard->second, offset()});
  }

  void check_complete() const {
    if (!seen_)
      throw FormatError(index_.file, -1, "has no object \"weight_map\"");
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw FormatError(index_.file, offset(), what);
  }

  /// A value that is no file name: of no interest outside the map, wrong inside and at the top.
  void value(std::string_view what) const {
    if (depth_ == 0)
      fail(concat("is ", what, ", expected an object"));
    if (in_map_ || (depth_ == 1 && key_ == "weight_map"))
      fail(concat("weight_map: '", printable(key_), "' is ", what, ", expected ",
                  in_map_ ? "a file name" : "an object"));
  }

  void check_name(const std::string& name) const {
    if (is_plain_file_name(name) && name.ends_with(".safetensors"))
      return;
    std::string what =
        concat("weight_map: tensor '", printable(key_), "' is in '", printable(name),
               "', expected the plain name of a .safetensors file ", "in the same folder");
    if (is_pickle_name(name))
      what += concat("; it ", pickle_refusal());
    fail(what);
  }

  ShardIndex& index_;
  std::map<std::string, size_t> shards_;
  std::string key_;
  int depth_ = 0;
  bool in_map_ = false;
  bool seen_ = false;
};

}  // namespace

ShardIndex read_shard_index(const std::filesystem::path& path) {
  ShardIndex index;
  index.file = path.string();
  const std::string text = read_file(path, limits.max_bytes);
  IndexReader reader(index);
  parse_json_events(text, index.file, limits, reader);
  reader.check_complete();
  std::ranges::sort(index.places, {}, &ShardIndex::Place::tensor);
  return index;
}

}  // namespace graft::io
