// What the actions of `graft data` share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "graft/cli/training_data.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

struct DataVerbFlags {
  std::string action;
  std::string model;
  DataFlags data;
  int64_t count = 3;
  int64_t line = 1;
  bool tokens = false;
  bool packing = false;
  int64_t batch_size = 4;
  int64_t grad_accum = 1;
  double epochs = 1;
  bool json = false;
};

struct DataVerb {
  const DataVerbFlags& values;
  const text::Tokenizer* tokenizer;  ///< nullptr where the model has none
  int64_t vocab_size;
  std::vector<std::filesystem::path> files;

  text::DatasetOptions options() const { return dataset_options(values.data, vocab_size); }
};

}  // namespace graft::cli
