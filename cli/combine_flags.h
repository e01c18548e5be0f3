// The flags of `graft combine`, and what they say together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "graft/cli/adapter_folder.h"
#include "graft/cli/flags.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/training_data.h"
#include "graft/train/combine_search.h"

namespace graft::cli {

struct CombineFlags {
  ModelFlags model;
  std::string method = "svd";
  std::optional<double> density, clamp;
  std::optional<int64_t> rank;
  std::string majority_sign = "total";
  std::string compat = "none";
  int64_t seed = 0;
  DataFlags data;  ///< the path is that of --search
  std::string search_types;
  std::string search_weights = "0.25,0.5,0.75,1";
  std::string search_densities = "0.2,0.5,0.8";
  int64_t search_limit = 50;
  int64_t batch_size = 4;
  std::optional<int64_t> limit;
  std::string out;
  bool overwrite = false;
  bool json = false;

  bool is_search() const { return !data.path.empty(); }
};

/// Declares them, parses, checks and applies them. False where --help was asked for and printed.
/// Throws ConfigError.
bool parse_combine_flags(CombineFlags& values, std::span<const std::string> arguments);

/// What --method and its like say.
peft::CombineOptions combine_options(const CombineFlags& values);
/// What --search-types and its like say. Throws ConfigError naming the flag.
train::CombineSearchOptions search_options(const CombineFlags& values);
/// The folder of --out, and what must not be written over.
AdapterFolder combine_folder(const CombineFlags& values, const std::vector<AdapterName>& adapters);

}  // namespace graft::cli
