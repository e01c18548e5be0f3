#include <fstream>
#include <unistd.h>

#include "graft/io/checksum.h"
#include "graft/tests/text/data_case.h"
#include "graft/text/sample_file.h"

namespace graft::text {
namespace {

std::string some_records(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i)
    lines += R"({"prompt": "p)" + std::string(static_cast<size_t>(i % 7), 'x') +
             R"(", "completion": "c)" + std::to_string(i) + "\"}\n";
  return lines;
}

void check_equal(const Sample& a, const Sample& b) {
  CHECK(a.input_ids == b.input_ids);
  CHECK(a.labels == b.labels);
  CHECK(a.line == b.line);
}

/// Memory of this process that has been touched, in bytes.
int64_t resident() {
  int64_t pages = 0;
  int64_t size = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * sysconf(_SC_PAGESIZE);
}

}  // namespace

TEST_CASE("sample file: kept or made again, the samples are those of reading it whole") {
  const DataCase data(some_records(40));
  const DatasetOptions options{.max_seq_len = 12, .overlong = Overlong::split, .raw = true};
  const Dataset whole = data.read(options);
  for (const int64_t room : {int64_t{0}, int64_t{3000}, int64_t{1} << 20}) {
    CAPTURE(room);
    const SampleFile file(data.file(), &data.tokenizer(), options, {.room = room});
    REQUIRE(file.size() == std::ssize(whole.samples));
    CHECK((room == 0) == (file.samples_in_memory() == 0));
    CHECK((room > 3000) == (file.samples_in_memory() == file.size()));
    CHECK(file.bytes_in_memory() <= room + 48 * file.size());
    io::Checksum checksum;
    for (int64_t i = file.size(); i-- > 0;) {  // in another order than the file's
      const Sample& expected = whole.samples[static_cast<size_t>(i)];
      check_equal(file.sample(i), expected);
      CHECK(file.info(i).line == expected.line);
      CHECK(file.info(i).tokens == std::ssize(expected.input_ids));
      CHECK(file.info(i).trained_tokens == count_trained_tokens(expected));
    }
    for (const Sample& sample : whole.samples) {
      checksum.add(std::span<const int64_t>(sample.input_ids));
      checksum.add(std::span<const int64_t>(sample.labels));
    }
    CHECK(file.checksum() == checksum.text());
    CHECK(file.id_limit() == data.tokenizer().eos_id().value() + 1);
    CHECK(file.stats().samples == file.size());
  }
}

TEST_CASE("sample file: plain text is made again piece by piece") {
  std::string text;
  for (int line = 0; line < 4000; ++line)
    text +=
        "line " + std::to_string(line) + (line % 900 == 899 ? "\n<|endoftext|>\n" : ", and on\n");
  const DataCase data(text, turns_template, "data.txt");
  const DatasetOptions options{.max_seq_len = 32};
  const Dataset whole = data.read(options);
  CHECK(whole.stats.records == 5);
  CHECK(whole.stats.longest == 32);
  CHECK(whole.stats.split_records == 0);
  const SampleFile file(data.file(), &data.tokenizer(), options, {.room = 0});
  REQUIRE(file.size() == std::ssize(whole.samples));
  for (int64_t i = 0; i < file.size(); i += 7)
    check_equal(file.sample(i), whole.samples[static_cast<size_t>(i)]);
  CHECK(masked_text(data.tokenizer(), file.sample(0)).starts_with("[<s>line 0, and on\nline 1"));
  // Every token of the text is learnt exactly once, as is the end of each document.
  const auto ends = static_cast<int64_t>(whole.stats.records);
  int64_t characters = 0;
  for (int line = 0; line < 4000; ++line)
    characters += std::ssize("line " + std::to_string(line)) + (line % 900 == 899 ? 0 : 8) + 1;
  // Without the line break before each separator and at the end of the file.
  CHECK(whole.stats.trained_tokens == characters - ends + ends);
}

TEST_CASE("sample file: a record that changes while it is in use is an error, not other data") {
  const DataCase data(some_records(8));
  const SampleFile file(data.file(), &data.tokenizer(), {.raw = true}, {.room = 0});
  const Sample before = file.sample(5);
  std::fstream(data.file(), std::ios::in | std::ios::out | std::ios::binary).seekp(13) << 'z';
  test::check_contains(test::message_of<FormatError>([&] { file.sample(0); }),
                       "data.jsonl:1: the record has changed since the run began");
  check_equal(file.sample(5), before);
}

TEST_CASE("sample file: the errors are those of reading it whole") {
  const DataCase empty("");
  test::check_contains(
      test::message_of<FormatError>([&] { SampleFile(empty.file(), &empty.tokenizer(), {}); }),
      "the file has no records");
  const DataCase broken("{\"text\": \"a\"}\n{\n");
  test::check_contains(
      test::message_of<FormatError>([&] { SampleFile(broken.file(), &broken.tokenizer(), {}); }),
      "data.jsonl:2: ");
}

TEST_CASE("sample file: progress is told, and reading can be given up") {
  const DataCase data(some_records(200));
  int64_t calls = 0, last = 0;
  SampleFile(data.file(), &data.tokenizer(), {.raw = true},
             {.progress = [&](int64_t done, int64_t total) {
               ++calls;
               CHECK(done >= last);
               CHECK(done <= total);
               last = done;
               return true;
             }});
  CHECK(calls == 3);
  test::check_contains(test::message_of<ConfigError>([&] {
                         SampleFile(data.file(), &data.tokenizer(), {.raw = true},
                                    {.progress = [](int64_t, int64_t) { return false; }});
                       }),
                       "was given up");
}

TEST_CASE("sample file: a file whose tokens do not fit the room takes no more memory than that") {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder / "big.jsonl";
  constexpr int64_t records = 3000, tokens = 4000;
  {
    std::string line = "{\"input_ids\": [7";
    for (int64_t i = 1; i < tokens; ++i)
      line += ",7";
    line += "]}\n";
    std::ofstream out(path, std::ios::binary);
    for (int64_t i = 0; i < records; ++i)
      out << line;
  }
  constexpr int64_t room = int64_t{1} << 20;
  const int64_t before = resident();
  const SampleFile file(path, nullptr, {.vocab_size = 8}, {.room = room});
  CHECK(file.stats().tokens == records * tokens);  // 192 MB as ids and labels
  CHECK(file.bytes_in_memory() < room + 64 * records);
  for (int64_t i = 0; i < file.size(); i += 100)
    CHECK(file.sample(i).input_ids.size() == tokens);
  // One record as a tree of JSON and the allocator's slack are far below this.
  CHECK(resident() - before < int64_t{32} << 20);
}

}  // namespace graft::text
