#include "graft/train/checkpoint.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <system_error>
#include <utility>
#include <variant>

#include "graft/io/file.h"
#include "graft/io/folder_commit.h"
#include "graft/io/safetensors.h"
#include "graft/tensor/reduce.h"
#include "graft/train/manifest.h"

namespace graft::train {
namespace {

constexpr const char* parameters_name = "parameters.safetensors";
constexpr const char* optimizer_name = "optimizer.safetensors";
constexpr const char* state_name = "trainer.json";
constexpr std::string_view prefix = "step-";
/// The trainer's state has a dozen numbers.
constexpr int64_t max_state_bytes = 1 << 16;

std::string folder_name(int64_t step) {
  return concat(prefix, step);
}

/// The step in a name that folder_name made, or -1.
int64_t step_of(const std::string& name) {
  if (!name.starts_with(prefix))
    return -1;
  int64_t step = -1;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  return step >= 0 && folder_name(step) == name ? step : -1;
}

/// The steps that have a folder, newest first.
std::vector<int64_t> steps_in(const std::filesystem::path& checkpoints) {
  std::vector<int64_t> steps;
  std::error_code error;
  std::filesystem::directory_iterator entry(checkpoints, error);
  for (; !error && entry != std::filesystem::end(entry); entry.increment(error)) {
    const int64_t step = step_of(entry->path().filename().string());
    if (step >= 0)
      steps.push_back(step);
  }
  GRAFT_CHECK(!error || error == std::errc::no_such_file_or_directory, IoError, "read folder ",
              checkpoints.string(), ": ", error.message());
  std::ranges::sort(steps, std::greater{});
  return steps;
}

std::vector<io::NamedTensor> named(const std::vector<NamedVariable>& parameters) {
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, variable] : parameters)
    tensors.push_back({name, variable.value()});
  return tensors;
}

std::vector<io::NamedTensor> named(const optim::State& state) {
  std::vector<io::NamedTensor> tensors;
  for (const auto& [name, tensor] : state)
    tensors.push_back({name, tensor});
  return tensors;
}

optim::State read_optimizer_state(const std::filesystem::path& path) {
  const io::SafetensorsFile file(path, io::Access::read);
  optim::State state;
  for (const std::string& name : file.names())
    state.emplace(name, file.load(name));
  return state;
}

/// The checkpoint, or what is wrong with it. A file that cannot be read is as bad as a wrong one.
std::variant<CheckpointInfo, DamagedCheckpoint> try_verify(const std::filesystem::path& folder) {
  try {
    return verify_checkpoint(folder);
  } catch (const FormatError& error) {
    return DamagedCheckpoint{folder, error.what()};
  } catch (const IoError& error) {
    return DamagedCheckpoint{folder, error.what()};
  }
}

/// Throws NonFiniteError naming the first tensor with a NaN or an infinity.
void check_finite(const optim::Optimizer& optimizer, int64_t step) {
  const auto check = [&](std::string_view what, const std::string& name, const Tensor& tensor) {
    GRAFT_CHECK(!is_floating(tensor.dtype()) || ops::all_finite(tensor), NonFiniteError,
                "save: after step ", step, " the ", what, " '", name,
                "' has a NaN or an infinity; no checkpoint was written");
  };
  for (const auto& [name, variable] : optimizer.parameters())
    check("weight", name, variable.value());
  for (const auto& [name, tensor] : optimizer.state())
    check("optimizer state", name, tensor);
}

/// About how much a checkpoint takes, with a tenth to spare.
int64_t expected_bytes(const optim::Optimizer& optimizer) {
  int64_t bytes = max_state_bytes;
  for (const auto& [name, variable] : optimizer.parameters())
    bytes += variable.value().nbytes();
  for (const auto& [name, tensor] : optimizer.state())
    bytes += tensor.nbytes();
  return bytes + bytes / 10;
}

}  // namespace

ParameterFile::ParameterFile(std::vector<NamedVariable> parameters)
    : parameters_(std::move(parameters)) {}

void ParameterFile::save(const std::filesystem::path& folder) const {
  io::write_safetensors(folder / parameters_name, named(parameters_));
}

void ParameterFile::load(const std::filesystem::path& folder) {
  const io::SafetensorsFile file(folder / parameters_name, io::Access::read);
  std::vector<Tensor> tensors;
  for (const auto& [name, variable] : parameters_) {
    tensors.push_back(file.load(name));
    const Tensor& value = tensors.back();
    if (value.shape() != variable.shape() || value.dtype() != variable.dtype())
      throw FormatError(file.path(), file.entry(name).begin,
                        concat("'", name, "' is ", value.dtype(), " ", value.shape(), ", ",
                               variable.dtype(), " ", variable.shape(), " expected"));
  }
  for (size_t i = 0; i < parameters_.size(); ++i)
    parameters_[i].variable.set_value(std::move(tensors[i]));
}

CheckpointInfo verify_checkpoint(const std::filesystem::path& folder) {
  const Manifest manifest = verified_manifest(folder);
  for (const char* name : {optimizer_name, state_name}) {
    if (!manifest.files.contains(name))
      throw FormatError((folder / manifest_name).string(), -1, concat("'", name, "' is not in it"));
  }
  return {manifest.step, folder, manifest.bytes(), manifest.fingerprint};
}

CheckpointSearch find_checkpoints(const std::filesystem::path& checkpoints) {
  CheckpointSearch search;
  for (const int64_t step : steps_in(checkpoints)) {
    auto result = try_verify(checkpoints / folder_name(step));
    if (auto* valid = std::get_if<CheckpointInfo>(&result))
      search.valid.push_back(std::move(*valid));
    else
      search.damaged.push_back(std::get<DamagedCheckpoint>(std::move(result)));
  }
  return search;
}

TrainerState read_trainer_state(const CheckpointInfo& checkpoint) {
  const std::filesystem::path path = checkpoint.folder / state_name;
  return parse_trainer_state(io::read_file(path, max_state_bytes), path.string());
}

CheckpointStore::CheckpointStore(std::filesystem::path folder, Checkpointable& weights,
                                 Options options)
    : folder_(std::move(folder)), weights_(weights), options_(std::move(options)) {
  GRAFT_CHECK(options_.keep >= 2, ConfigError, "checkpoints: keep is ", options_.keep,
              ", at least 2 expected, so that one that is damaged costs little");
  io::sweep_temporaries(folder_);
}

void CheckpointStore::add_fingerprint(const Fingerprint& part) {
  for (const auto& [name, value] : part)
    options_.fingerprint[name] = value;
}

CheckpointInfo CheckpointStore::save(const TrainerState& state, const optim::Optimizer& optimizer) {
  check_finite(optimizer, state.step);
  const std::filesystem::path target = folder_ / folder_name(state.step);
  {
    io::FolderCommit commit(target);
    io::check_free_space(folder_, expected_bytes(optimizer));
    weights_.save(commit.path());
    commit.write(optimizer_name, [&](io::FileWriter& out) {
      io::write_safetensors(out, named(optimizer.state()));
    });
    commit.write(state_name, to_text(state));
    commit.write(manifest_name,
                 to_text(make_manifest(commit.path(), state.step, options_.fingerprint)));
    commit.commit();
  }
  return verify_checkpoint(target);
}

void CheckpointStore::prune(const TrainerState& state) {
  int64_t valid = 0;
  for (const int64_t step : steps_in(folder_)) {
    const std::filesystem::path folder = folder_ / folder_name(step);
    if (!std::holds_alternative<CheckpointInfo>(try_verify(folder)))
      continue;
    ++valid;
    if (valid <= options_.keep || step == state.best_step || step == continued_from_)
      continue;
    io::remove_folder(folder);
  }
}

std::optional<CheckpointInfo> CheckpointStore::newest(
    const std::function<void(const DamagedCheckpoint&)>& damaged) const {
  const std::vector<int64_t> steps = steps_in(folder_);
  std::string problem;
  for (const int64_t step : steps) {
    auto result = try_verify(folder_ / folder_name(step));
    if (auto* valid = std::get_if<CheckpointInfo>(&result))
      return std::move(*valid);
    const auto& found = std::get<DamagedCheckpoint>(result);
    if (problem.empty())
      problem = found.problem;
    if (damaged)
      damaged(found);
  }
  if (!steps.empty())
    throw FormatError(folder_.string(), -1,
                      concat("all ", steps.size(), " checkpoints are damaged, the newest one: ",
                             problem, "; to begin again, move them away"));
  return std::nullopt;
}

CheckpointInfo CheckpointStore::at(int64_t step) const {
  return verify_checkpoint(folder_ / folder_name(step));
}

TrainerState CheckpointStore::load(const CheckpointInfo& checkpoint, optim::Optimizer& optimizer) {
  const std::string differs = difference(checkpoint.fingerprint, options_.fingerprint);
  GRAFT_CHECK(differs.empty(), ConfigError, "resume: ", checkpoint.folder.string(),
              " is of another run:", differs,
              "\nGive the settings it was made with, or another --out");
  const TrainerState state = read_trainer_state(checkpoint);
  const optim::State optimizer_state = read_optimizer_state(checkpoint.folder / optimizer_name);
  optimizer.load_state(optimizer_state);
  weights_.load(checkpoint.folder);
  continued_from_ = checkpoint.step;
  return state;
}

void CheckpointStore::load_weights(const CheckpointInfo& checkpoint) {
  weights_.load(checkpoint.folder);
}

}  // namespace graft::train
