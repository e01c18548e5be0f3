#include <algorithm>

#include "graft/tests/support/test.h"
#include "graft/tests/text/data_case.h"
#include "graft/text/line_reader.h"
#include "graft/text/record_reader.h"

namespace graft::text {
namespace {

using test::check_contains;

/// A file and what a reader makes of it.
class FileCase {
 public:
  explicit FileCase(const std::string& content, const std::string& name = "data.json",
                    int64_t piece_bytes = 64)
      : path_(folder_ / name), piece_bytes_(piece_bytes) {
    write_text(path_, content);
  }

  RecordReader open() const {
    return RecordReader(path_, {.separators = {"<|end|>"}, .piece_bytes = piece_bytes_});
  }
  /// Every record as "line:bytes", and what was wrong between them.
  std::vector<std::string> records() const {
    std::vector<std::string> result;
    RecordReader reader = open();
    while (true) {
      try {
        const std::optional<Record> record = reader.next();
        if (!record)
          return result;
        CHECK(reader.read(record->place) == record->bytes);
        result.push_back(std::to_string(record->place.line) + ":" + record->bytes);
      } catch (const FormatError& error) {
        const std::string what = error.what();
        result.push_back(what.substr(what.find(path_.filename().string())));
        if (reader.is_lost())
          return result;
      }
    }
  }
  std::filesystem::path path() const { return path_; }

 private:
  test::TemporaryFolder folder_;
  std::filesystem::path path_;
  int64_t piece_bytes_;
};

using Strings = std::vector<std::string>;

}  // namespace

TEST_CASE("records: the elements of a list, with the lines they begin on") {
  const FileCase list(
      "\xef\xbb\xbf [\r\n {\"a\": [1, {\"b\": \"],}\\\"\"}]},\n\n\"text\" , 5 ]\n \n");
  CHECK(list.open().kind() == FileKind::list);
  CHECK(list.records() == Strings{"2:{\"a\": [1, {\"b\": \"],}\\\"\"}]}", "4:\"text\"", "4:5"});
  CHECK(FileCase("[]").records().empty());
  CHECK(FileCase(" [ \n ] \n").records().empty());
}

TEST_CASE("records: a list that is broken off, goes on or has gaps is an error with its line") {
  CHECK(FileCase("[\n{},\n{\"a\": 1").records() ==
        Strings{"2:{}",
                "data.json:3: the list is not closed: what begins here goes on to the end "
                "of the file, expected ',' or ']' behind a record"});
  CHECK(
      FileCase("[{}]\n{}\n").records() ==
      Strings{"1:{}",
              "data.json:2: there is more behind the list; a file holds one list, or one record a "
              "line"});
  CHECK(FileCase("[{},\n,{}]").records() ==
        Strings{"1:{}", "data.json:2: no record stands before a comma of the list", "2:{}"});
  CHECK(FileCase("[{},\n]").records() ==
        Strings{"1:{}", "data.json:2: no record follows the last comma of the list"});
}

TEST_CASE("records: where a quote or a bracket is missing, the line of that record is named") {
  for (const char* bad : {"{\"a\": \"b}", "{\"a\": [1}"}) {
    const Strings records = FileCase(concat("[{},\n{},\n", bad, ",\n{\"c\": 1}\n]\n")).records();
    REQUIRE(records.size() == 3);
    check_contains(records[2], "data.json:3: the list is not closed");
  }
}

TEST_CASE("records: lines of JSON whatever the name, text by the name") {
  CHECK(FileCase("{\"a\": 1}\n\n{\"b\": 2}").records() == Strings{"1:{\"a\": 1}", "3:{\"b\": 2}"});
  CHECK(FileCase("{}", "x.jsonl").open().kind() == FileKind::lines);
  CHECK(FileCase("[{}]", "x.jsonl").open().kind() == FileKind::list);
  CHECK(FileCase("[{}]", "x.txt").open().kind() == FileKind::plain);
  CHECK(FileCase("", "x.json").records().empty());
  CHECK(FileCase("", "x.txt").records().empty());
  CHECK_THROWS_AS(RecordReader("/does/not/exist.txt"), IoError);
}

TEST_CASE("records: files of other kinds are refused by their kind") {
  const auto refusal = [](const std::string& content, const std::string& name) {
    return test::message_of<FormatError>([&] { FileCase(content, name).open(); });
  };
  check_contains(refusal("PAR1\x15\x04", "a.jsonl"), "the file is a Parquet file, expected JSON");
  check_contains(refusal("\x1f\x8b\x08", "a.jsonl.gz"), "the file is compressed (gzip), expected");
  check_contains(refusal("a,b\n1,2\n", "a.csv"), "the file is a table (CSV), expected");
}

TEST_CASE("records: files in UTF-16 are refused, and how to convert them is said") {
  using namespace std::string_literals;
  const auto way_out = [](const std::string& kind) {
    return "the file is in " + kind + ", expected UTF-8; convert it: iconv -f " + kind +
           " -t UTF-8 FILE > NEWFILE";
  };
  const std::vector<std::pair<std::string, std::string>> files = {{"\xff\xfe{\0"s, "UTF-16"},
                                                                  {"\xfe\xff\0{"s, "UTF-16"},
                                                                  {"{\0\"\0"s, "UTF-16LE"},
                                                                  {"\0{\0\""s, "UTF-16BE"}};
  for (const auto& [content, kind] : files) {
    for (const char* name : {"a.jsonl", "a.json", "a.txt"}) {
      const FileCase file(content, name);
      const std::string expected = concat(name, ": ", way_out(kind));
      check_contains(test::message_of<FormatError>([&] { file.open(); }), expected);
      check_contains(test::message_of<FormatError>([&] { LineReader(file.path()); }), expected);
    }
  }
  CHECK(FileCase("a", "a.txt").records() == Strings{"1:a"});
}

TEST_CASE("records: plain text is cut into documents at separator lines") {
  const FileCase text(
      "\xef\xbb\xbf\nfirst\r\nline\n<|end|>\n\nsecond <|end|> here\n<|end|>\r\n<|end|>", "a.txt");
  CHECK(text.records() == Strings{"2:first\nline", "6:second <|end|> here"});
  RecordReader reader = text.open();
  const auto first = reader.next();
  CHECK(first->place.begins);
  CHECK(first->place.ends);
}

TEST_CASE("records: a long document comes in pieces that end at lines, words or characters") {
  const std::string lines = "0123456789 123456\n0123456789\n";
  const FileCase by_line(lines, "a.txt", 20);
  RecordReader reader = by_line.open();
  const auto first = reader.next();
  const auto second = reader.next();
  REQUIRE(second);
  CHECK(first->bytes == "0123456789 123456\n");
  CHECK(first->place.begins);
  CHECK_FALSE(first->place.ends);
  CHECK(second->bytes == "0123456789");
  CHECK(second->place.line == 2);
  CHECK_FALSE(second->place.begins);
  CHECK(second->place.ends);
  CHECK(FileCase("0123456789 0123456789", "a.txt", 20).records() ==
        Strings{"1:0123456789 ", "1:0123456789"});
  std::string accents;
  for (int i = 0; i < 15; ++i)
    accents += "é";
  CHECK(FileCase(accents, "a.txt", 21).records() ==
        Strings{"1:" + accents.substr(0, 20), "1:" + accents.substr(20)});
}

TEST_CASE("records: plain text with NUL or bytes that are no UTF-8 is an error with its line") {
  CHECK(FileCase(std::string("a\nb\0c\n<|end|>\nd", 15), "a.txt").records() ==
        Strings{"a.txt:2: there is a NUL byte; plain text is expected", "4:d"});
  CHECK(FileCase("a\n\nb\xff", "a.txt").records() ==
        Strings{"a.txt:3: there are bytes that are no UTF-8; convert the file to UTF-8"});
}

TEST_CASE("records: one that is too long is refused, and the next one read") {
  const std::string huge(LineReader::max_line_bytes + (size_t{1} << 20), 'x');
  const Strings lines = FileCase("{}\n\"" + huge + "\"\n{}\n").records();
  REQUIRE(lines.size() == 3);
  check_contains(lines[1], "data.json:2: the line has more than 16777216 bytes");
  CHECK(lines[2] == "3:{}");
  const Strings list = FileCase("[{},\n\"" + huge + "\",\n{}]").records();
  REQUIRE(list.size() == 3);
  check_contains(list[1], "data.json:2: the record has 17825794 bytes; at most 16777216 are read");
  CHECK(list[2] == "3:{}");
}

TEST_CASE("data: hostile records end in an error with their line, and the next one is read") {
  const std::string deep(100'000, '[');
  const std::string good = "{\"text\": \"a\"}\n";
  for (const std::string& bad :
       {"{\"text\": " + deep + "\n", std::string("{\"text\": \"a\0b\"}\n", 16),
        std::string("{\"text\": \"a\xc3\"}\n"), std::string("\xff\xfe{\0}\0\n", 7),
        std::string("{\"text\": {\"a\": 1}}\n"), std::string("nul\n"),
        std::string("{\"text\": 1e999}\n")}) {
    CAPTURE(bad.substr(0, 40));
    const DataCase data(good + bad + good);
    DatasetReader reader(data.file(), &data.tokenizer());
    CHECK(reader.next());
    check_contains(test::message_of<FormatError>([&] { reader.next(); }), "data.jsonl:2: ");
    CHECK_FALSE(reader.is_lost());
    CHECK(reader.next()->line == 3);
    CHECK_FALSE(reader.next());
  }
}

TEST_CASE("data: what is wrong with the first record does not end the reading") {
  const DataCase data("{\"txt\": 1}\n{\"text\": \"a\"}\n");
  DatasetReader reader(data.file(), &data.tokenizer());
  check_contains(test::message_of<FormatError>([&] { reader.next(); }), "data.jsonl:1: ");
  CHECK(reader.next()->line == 2);
  CHECK(reader.format() == RecordFormat::text);
}

}  // namespace graft::text
