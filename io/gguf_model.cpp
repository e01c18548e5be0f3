#include "graft/io/gguf_model.h"

#include <cstdint>
#include <utility>

#include "graft/io/tensor_file.h"

namespace graft::io {
namespace {

namespace fs = std::filesystem;

constexpr IntegerRange part_counts{1, 65535};  // the format has 16 bits for it

/// Which part of a model a file is; {0, 1} where it is the whole.
struct Part {
  int64_t number = 0;  // from 0
  int64_t count = 1;
};

/// The number that people and file names give it, from 1.
int64_t shown_number(const Part& part) {
  return part.number + 1;  // fits: there are at most 65535 parts
}

std::string described(const Part& part) {
  return concat("part ", shown_number(part), " of ", part.count);
}

Part part_of(const GgufFile& file) {
  Part part;
  part.count = file.integer_or("split.count", 1, part_counts);
  if (part.count > 1)
    part.number = file.integer("split.no", {0, part.count - 1});  // fits: it is above 1
  return part;
}

/// "-00001-of-00003.gguf".
std::string ending_of(const Part& part) {
  const auto padded = [](int64_t number) {
    std::string digits = std::to_string(number);
    digits.insert(0, digits.size() < 5 ? 5 - digits.size() : 0, '0');  // fits: it is below 5
    return digits;
  };
  return concat("-", padded(shown_number(part)), "-of-", padded(part.count), ".gguf");
}

/// The path of a part without its ending. Throws FormatError where the ending is another.
std::string stem_of(const GgufFile& file, const Part& part) {
  const std::string ending = ending_of(part);
  if (!file.path().ends_with(ending))
    throw FormatError(file.path(), -1,
                      concat("is ", described(part), " of a model, but its name does not end in ",
                             ending, ", by which the other parts are found"));
  return file.path().substr(0, file.path().size() - ending.size());  // fits: it ends so
}

/// Throws FormatError unless `file` is that part of the model of which `given` is a part.
void check_part(const GgufFile& file, const Part& part, const GgufFile& given) {
  const auto refuse = [&](const auto&... what) {
    throw FormatError(file.path(), -1, concat(what...));
  };
  const Part said = part_of(file);
  if (said.number != part.number || said.count != part.count)
    refuse("is ", described(said), " by its metadata, ", described(part), " by its name");
  constexpr std::string_view architecture = "general.architecture";
  const std::string expected = given.text_or(architecture, "");
  const std::string found = file.text_or(architecture, "");
  if (!expected.empty() && !found.empty() && found != expected)
    refuse("is a part of another model: ", architecture, " is ", found, ", in ", given.path(),
           " it is ", expected);
  constexpr std::string_view total = "split.tensors.count";
  if (file.integer(total, {.min = 0}) != given.integer(total, {.min = 0}))
    refuse("is a part of another model: it is one of ", file.integer(total), " tensors, ",
           given.path(), " of ", given.integer(total));
}

}  // namespace

GgufModel::GgufModel(const fs::path& path) {
  auto given = std::make_unique<const GgufFile>(path);
  const Part own = part_of(*given);
  if (own.count == 1) {
    files_.push_back(std::move(given));
    add_tensors(*files_.front());
    return;
  }
  const std::string stem = stem_of(*given, own);
  const GgufFile& reference = *given;
  int64_t tensors = 0;
  for (Part part{.count = own.count}; part.number < part.count; ++part.number) {
    const fs::path part_path = concat(stem, ending_of(part));
    if (!fs::exists(part_path))
      throw FormatError(
          part_path.string(), -1,
          concat("is missing: ", described(part), " of the model of ", reference.path()));
    files_.push_back(part.number == own.number ? std::move(given)
                                               : std::make_unique<const GgufFile>(part_path));
    check_part(*files_.back(), part, reference);
    add_tensors(*files_.back());
    // fits: they are in memory
    tensors += static_cast<int64_t>(files_.back()->tensors().size());
  }
  if (tensors != reference.integer("split.tensors.count"))
    throw FormatError(reference.path(), -1,
                      concat("split.tensors.count is ", reference.integer("split.tensors.count"),
                             ", but the ", own.count, " parts hold ", tensors, " tensors"));
}

void GgufModel::add_tensors(const GgufFile& file) {
  for (const GgufTensor& tensor : file.tensors()) {
    const auto [entry, is_new] = index_.emplace(tensor.name, tensors_.size());
    if (!is_new)
      throw FormatError(file.path(), -1,
                        concat("tensor '", tensor.name, "' is there, and in ",
                               tensors_[entry->second].file->path(), " too"));
    tensors_.push_back({&tensor, &file});
  }
}

const GgufPlace& GgufModel::tensor(std::string_view name) const {
  const auto found = index_.find(name);
  if (found != index_.end())
    return tensors_[found->second];
  std::vector<std::string> names;
  for (const GgufPlace& place : tensors_)
    names.push_back(place.tensor->name);
  throw no_such_tensor(path(), name, names);
}

}  // namespace graft::io
