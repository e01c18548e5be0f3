// A data file: whatever is wrong with a record, the records behind it are read, and each sample can
// be made again.
#include <optional>

#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"
#include "graft/tests/text/small_tokenizer.h"
#include "graft/text/dataset.h"

namespace graft {
namespace {

const text::Tokenizer& tokenizer() {
  static const text::Tokenizer loaded = [] {
    const fuzz::FuzzedFile beside("beside");
    text::write_small_tokenizer(beside.folder(), text::turns_template);
    return text::Tokenizer::load(beside.folder());
  }();
  return loaded;
}

void check_sample(const text::DatasetReader& reader, const text::Sample& sample) {
  fuzz::require(sample.input_ids.size() == sample.labels.size(), "each id has a label");
  for (const int64_t id : sample.input_ids)
    fuzz::require(id >= 0 && id < tokenizer().vocab_size(), "ids are those of the vocabulary");
  text::Sample again;
  fuzz::require(fuzz::accepted<FormatError>([&] { again = reader.read_again(reader.origin()); }) &&
                    again.input_ids == sample.input_ids && again.labels == sample.labels,
                "a sample that is made again is the same");
}

void read(const std::filesystem::path& path, size_t size, const text::DatasetOptions& options) {
  // A ConfigError: a setting does not go with the records.
  std::optional<text::DatasetReader> opened;
  if (!fuzz::accepted<FormatError, ConfigError>(
          [&] { opened.emplace(path, &tokenizer(), options); }))
    return;
  text::DatasetReader& reader = *opened;
  fuzz::accepted<ConfigError>([&] {
    std::optional<text::Sample> sample;
    size_t calls = 0;
    for (bool more = true; more; ++calls) {
      const bool read = fuzz::accepted<FormatError>([&] { sample = reader.next(); });
      if (read && sample)
        check_sample(reader, *sample);
      more = read ? sample.has_value() : !reader.is_lost();
      fuzz::require(calls <= 2 * size + 2, "reading comes to an end");
    }
  });
}

}  // namespace
}  // namespace graft

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  static fuzz::FuzzedFile lines("data.jsonl"), plain("data.txt");
  const std::string_view text = fuzz::text_of(data, size);
  // One way for each input, or there would be few of them a second.
  const size_t way = size % 3;
  if (way == 0) {
    plain.put(text);
    read(plain.path(), size, {.max_seq_len = 16});
    return 0;
  }
  lines.put(text);
  if (way == 1)
    read(lines.path(), size, {});
  else
    read(lines.path(), size,
         {.loss_on = text::LossOn::all, .max_seq_len = 8, .overlong = text::Overlong::split});
  return 0;
}
