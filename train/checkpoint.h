// Checkpoints: states of a run on the disk, each whole or not there.
//
//   checkpoints/step-100/  the weights' files, optimizer.safetensors, trainer.json, manifest.json
//
// manifest.json names every file with its size and checksum, and is written last: it is what makes
// a folder a checkpoint. The folder appears under its name when all of it is on the disk. Damaged
// checkpoints are reported and kept, never used and never counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "graft/optim/optimizer.h"
#include "graft/train/fingerprint.h"
#include "graft/train/trainer_state.h"

namespace graft::train {

/// The part of a model that a run changes, as files: an adapter, a whole model.
class Checkpointable {
 public:
  virtual ~Checkpointable() = default;
  /// Writes its files into `folder`, which exists. The numbers are written as they are held,
  /// without rounding, or a resumed run would not be the same.
  virtual void save(const std::filesystem::path& folder) const = 0;
  /// Puts the numbers that `save` wrote back. Throws FormatError where the files are not its own.
  virtual void load(const std::filesystem::path& folder) = 0;
};

/// Parameters as they are, under their names, in one file "parameters.safetensors". Serves any
/// model.
class ParameterFile final : public Checkpointable {
 public:
  explicit ParameterFile(std::vector<NamedVariable> parameters);
  void save(const std::filesystem::path& folder) const override;
  void load(const std::filesystem::path& folder) override;

 private:
  std::vector<NamedVariable> parameters_;
};

/// A checkpoint that was verified.
struct CheckpointInfo {
  int64_t step = 0;
  std::filesystem::path folder;
  int64_t bytes = 0;  ///< of all files
  Fingerprint fingerprint;
};

/// A folder that looks like a checkpoint and is none.
struct DamagedCheckpoint {
  std::filesystem::path folder;
  std::string problem;  ///< which file, what is wrong
};

struct CheckpointSearch {
  std::vector<CheckpointInfo> valid;  ///< newest first
  std::vector<DamagedCheckpoint> damaged;
};

/// Reads the manifest of one checkpoint and compares all files with it. Throws FormatError naming
/// the first file that is missing, of another size or altered. Files that the manifest does not
/// name are not part of the checkpoint.
CheckpointInfo verify_checkpoint(const std::filesystem::path& folder);

/// All checkpoints of a folder "checkpoints"; empty where there is no such folder.
CheckpointSearch find_checkpoints(const std::filesystem::path& checkpoints);

/// The trainer's state in a verified checkpoint. Throws FormatError.
TrainerState read_trainer_state(const CheckpointInfo& checkpoint);

/// The checkpoints of one run. One process at a time.
class CheckpointStore {
 public:
  struct Options {
    /// How many of the newest valid checkpoints stay, at least 2. The best one, and the one the run
    /// was continued from, stay besides.
    int64_t keep = 3;
    /// What the caller wants compared on resuming, besides what the Trainer knows: model,
    /// tokenizer, adapter configuration.
    Fingerprint fingerprint{};
  };
  /// `folder` is made by the first save; leftovers of killed processes in it are removed now.
  /// Throws ConfigError where `keep` is below 2.
  CheckpointStore(std::filesystem::path folder, Checkpointable& weights, Options options);
  CheckpointStore(std::filesystem::path folder, Checkpointable& weights)
      : CheckpointStore(std::move(folder), weights, Options()) {}

  /// Adds to what is compared on resuming; the Trainer adds its options and its data.
  void add_fingerprint(const Fingerprint& part);

  /// Writes step-N and reads it again. Throws IoError, for a full disk before anything is written,
  /// and NonFiniteError where a weight or a state is not finite; what was there before is then
  /// untouched.
  CheckpointInfo save(const TrainerState& state, const optim::Optimizer& optimizer);
  /// Removes the valid checkpoints beyond `keep`, each after verifying that those it counts are
  /// valid. `state.best_step` stays. Throws IoError.
  void prune(const TrainerState& state);

  /// The newest valid checkpoint; nothing where there is none at all. `damaged` is told of those
  /// that were passed over. Throws FormatError where checkpoints are there and none is valid.
  std::optional<CheckpointInfo> newest(
      const std::function<void(const DamagedCheckpoint&)>& damaged = {}) const;
  /// The valid checkpoint of that step. Throws FormatError where there is none.
  CheckpointInfo at(int64_t step) const;

  /// Puts weights and optimizer into the state of a checkpoint and returns the trainer's. Throws
  /// ConfigError naming what differs, before anything is changed, where its fingerprint is not
  /// this run's.
  TrainerState load(const CheckpointInfo& checkpoint, optim::Optimizer& optimizer);
  /// Puts only the weights back.
  void load_weights(const CheckpointInfo& checkpoint);

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
  Checkpointable& weights_;
  Options options_;
  int64_t continued_from_ = -1;
};

}  // namespace graft::train
