// The tokenizer as a program, for comparisons with the reference (tests/reference).
//
// Standard input has a JSON value a line: a text, which is encoded, decoded and decoded piece by
// piece, {"framed": text}, which is encoded with the special tokens that a text gets, or a list of
// ids, which is only decoded. What comes out for each is one line
// [ids, text, text without special tokens]. Ends with exit code 1 where the pieces of the stream
// decoder are not whole characters or do not add up to the text.
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/text/stream_decoder.h"
#include "graft/text/tokenizer.h"
#include "graft/text/unicode.h"

namespace graft::text {
namespace {

std::string streamed(const Tokenizer& tokenizer, const std::vector<int64_t>& ids) {
  StreamDecoder decoder(tokenizer, false);
  std::string text;
  for (const int64_t id : ids) {
    const std::string piece = decoder.push(id);
    if (first_invalid_byte(piece) != piece.size())
      throw std::runtime_error("a piece of the stream is not UTF-8");
    text += piece;
  }
  return text + decoder.finish();
}

std::vector<int64_t> ids_of(const Tokenizer& tokenizer, const io::Json& question) {
  if (question.is_array())
    return question.get<std::vector<int64_t>>();
  const bool framed = question.is_object();
  const std::string text = framed ? question["framed"] : question;
  return tokenizer.encode(text, {.add_special_tokens = framed});
}

io::Json answer(const Tokenizer& tokenizer, const io::Json& question) {
  const std::vector<int64_t> ids = ids_of(tokenizer, question);
  const std::string decoded = tokenizer.decode(ids);
  if (streamed(tokenizer, ids) != decoded)
    throw std::runtime_error("the pieces of the stream do not add up to the text");
  return {ids, decoded, tokenizer.decode(ids, true)};
}

int run(const char* path) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  std::string line;
  while (std::getline(std::cin, line)) {
    try {
      std::cout << io::to_text(answer(tokenizer, io::Json::parse(line)), -1) << '\n';
    } catch (const std::exception& error) {
      throw std::runtime_error(line + ": " + error.what());
    }
  }
  return 0;
}

}  // namespace
}  // namespace graft::text

int main(int count, char** arguments) {
  try {
    if (count != 2)
      throw std::runtime_error("usage: tokenize-lines TOKENIZER < LINES");
    return graft::text::run(arguments[1]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
