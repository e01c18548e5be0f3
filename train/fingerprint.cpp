#include "graft/train/fingerprint.h"

#include <array>
#include <charconv>

#include "graft/io/checksum.h"

namespace graft::train {
namespace {

/// The shortest text that reads back as the same number.
std::string text_of(double value) {
  std::array<char, 32> buffer{};
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), end.ptr);
}

std::string text_of(const text::Samples& samples) {
  if (const text::SampleSource* source = samples.source())
    return concat(samples.size(), " samples, xxh64 ", source->checksum());
  io::Checksum checksum;
  for (const text::Sample& sample : samples.list()) {
    checksum.add(std::span(sample.input_ids));
    checksum.add(std::span(sample.labels));
  }
  return concat(samples.size(), " samples, xxh64 ", checksum.text());
}

std::string text_of(const std::vector<NamedVariable>& parameters) {
  std::string list;
  int64_t numbers = 0;
  for (const auto& [name, variable] : parameters) {
    list += concat(name, " ", variable.dtype(), " ", variable.shape(), "\n");
    numbers += variable.value().numel();
  }
  return concat(parameters.size(), " tensors, ", numbers, " numbers, xxh64 ",
                io::checksum_of(list));
}

/// Empty where no parameter is stepped apart from the others.
std::string text_of(const std::vector<optim::ParameterSettings>& settings) {
  std::string list;
  int64_t apart = 0;
  for (const optim::ParameterSettings& each : settings) {
    list += concat(text_of(each.lr_factor), each.decays ? "\n" : " without decay\n");
    apart += each == optim::ParameterSettings() ? 0 : 1;
  }
  return apart == 0 ? "" : concat(apart, " apart, xxh64 ", io::checksum_of(list));
}

}  // namespace

Fingerprint fingerprint_of(const TrainOptions& options, const optim::Optimizer& optimizer,
                           const text::Samples& samples, const text::Samples& validation) {
  const int64_t steps = total_steps(options, rows_of(samples, options).size());
  Fingerprint result{
      {"batch-size", std::to_string(options.batch_size)},
      {"grad-accum", std::to_string(options.grad_accum)},
      {"lr-schedule", std::string(optim::name(options.lr_schedule))},
      {"warmup-steps", std::to_string(warmup_steps(options, steps))},
      {"max-grad-norm", text_of(options.max_grad_norm)},
      {"seed", std::to_string(options.seed)},
      {"shuffle", options.shuffle ? "true" : "false"},
      {"data", text_of(samples)},
      {"optim", std::string(optimizer.name())},
      {"learning-rate", text_of(optimizer.lr())},
      {"trained parameters", text_of(optimizer.parameters())},
  };
  if (options.lr_schedule != optim::ScheduleKind::constant)
    result["steps"] = std::to_string(steps);
  if (options.row_tokens > 0)
    result["packing"] = concat("rows of ", options.row_tokens, " tokens");
  if (!validation.empty())
    result["validation data"] = text_of(validation);
  if (const std::string apart = text_of(optimizer.parameter_settings()); !apart.empty())
    result["settings of parameters"] = apart;
  for (const auto& [name, value] : optimizer.settings())
    result[concat(optimizer.name(), ".", name)] = text_of(value);
  return result;
}

std::string difference(const Fingerprint& there, const Fingerprint& here) {
  const auto value = [](const Fingerprint& of, const std::string& name) {
    const auto it = of.find(name);
    return it == of.end() ? std::string("not given") : it->second;
  };
  Fingerprint names = there;
  names.insert(here.begin(), here.end());
  std::string text;
  for (const auto& [name, unused] : names) {
    const std::string first = value(there, name);
    const std::string second = value(here, name);
    if (first != second)
      text += concat("\n  ", name, " is ", first, " there, ", second, " here");
  }
  return text;
}

}  // namespace graft::train
