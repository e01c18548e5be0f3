#include "graft/text/sentencepiece.h"

#include <bit>
#include <cmath>
#include <string_view>

#include "graft/io/file.h"
#include "graft/tensor/error.h"
#include "graft/text/unicode.h"
#include "graft/text/vocabulary.h"

namespace graft::text {
namespace {

// The largest of today have 5 MB.
constexpr int64_t max_file_bytes = int64_t{64} << 20;

/// The fields of one message, in the order of the file.
class Message {
 public:
  Message(std::string_view bytes, const std::string& file, int64_t offset)
      : bytes_(bytes), file_(file), offset_(offset) {}

  /// Goes on to the next field; false at the end.
  bool next();
  /// Number of the field in its message.
  uint64_t field() const { return field_; }

  // The value of the field. Throw FormatError where it is of another kind.
  bool boolean() const { return number() != 0; }
  int64_t enumeration(int64_t last) const;
  float real() const;
  std::string_view text() const;
  Message message() const;

  FormatError wrong(std::string_view what) const {
    // fits: a byte of the file
    return {file_, offset_ + static_cast<int64_t>(at_), concat("no SentencePiece model: ", what)};
  }

 private:
  enum Wire : uint64_t { varint = 0, fixed64 = 1, length = 2, fixed32 = 5 };

  uint64_t read_varint();
  std::string_view take(uint64_t size);
  uint64_t number() const;
  void expect(Wire wire) const;

  std::string_view bytes_;
  const std::string& file_;
  int64_t offset_;
  size_t at_ = 0;
  uint64_t field_ = 0;
  uint64_t wire_ = 0;
  uint64_t number_ = 0;        // of a varint
  std::string_view contents_;  // of every other kind
};

bool Message::next() {
  if (at_ == bytes_.size())
    return false;
  const uint64_t key = read_varint();
  field_ = key >> 3;
  wire_ = key & 7;
  contents_ = {};
  if (wire_ == varint)
    number_ = read_varint();
  else if (wire_ == length)
    contents_ = take(read_varint());
  else if (wire_ == fixed32 || wire_ == fixed64)
    contents_ = take(wire_ == fixed32 ? 4 : 8);
  else
    throw wrong(concat("field ", field_, " is of kind ", wire_, ", expected 0, 1, 2 or 5"));
  return true;
}

uint64_t Message::read_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {  // fits: 70 at most
    const auto byte = static_cast<unsigned char>(take(1)[0]);
    if (shift == 63 && byte > 1)
      break;
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;  // fits: one bit behind 63
    if (byte < 0x80)
      return value;
  }
  throw wrong("a number of more than 64 bits");
}

std::string_view Message::take(uint64_t size) {
  const std::string_view left = bytes_.substr(at_);
  if (size > left.size())
    throw wrong(concat("a value of ", size, " bytes where ", left.size(), " are left"));
  at_ += size;  // fits: so much is left
  return left.substr(0, size);
}

void Message::expect(Wire wire) const {
  if (wire_ != wire)
    throw wrong(concat("field ", field_, " is of kind ", wire_, ", expected ",
                       static_cast<uint64_t>(wire)));
}

uint64_t Message::number() const {
  expect(varint);
  return number_;
}

int64_t Message::enumeration(int64_t last) const {
  if (number() < 1 || number() > static_cast<uint64_t>(last))
    throw wrong(concat("field ", field_, " is ", number_, ", expected 1 to ", last));
  return static_cast<int64_t>(number_);
}

float Message::real() const {
  expect(fixed32);
  uint32_t bits = 0;
  for (size_t i = 0; i < 4; ++i)  // fits: 32 bits
    bits |= static_cast<uint32_t>(static_cast<unsigned char>(contents_[i])) << 8 * i;
  return std::bit_cast<float>(bits);
}

std::string_view Message::text() const {
  expect(length);
  return contents_;
}

Message Message::message() const {
  expect(length);
  // fits: the contents end where the field does
  return {contents_, file_, offset_ + static_cast<int64_t>(at_ - contents_.size())};
}

SentencePieceModel::Piece read_piece(Message message) {
  SentencePieceModel::Piece piece;
  while (message.next()) {
    if (message.field() == 1)
      piece.text = message.text();
    else if (message.field() == 2)
      piece.score = message.real();
    else if (message.field() == 3)
      piece.type = static_cast<SentencePieceModel::Type>(message.enumeration(6));
  }
  if (!std::isfinite(piece.score))
    throw message.wrong(concat("the score of piece '", piece.text, "' is not finite"));
  if (piece.text.empty() || first_invalid_byte(piece.text) != piece.text.size())
    throw message.wrong("a piece is empty, or not UTF-8");
  return piece;
}

void read_normalizer(Message message, SentencePieceModel& model) {
  while (message.next()) {
    if (message.field() == 2)
      model.has_charsmap = !message.text().empty();
    else if (message.field() == 3)
      model.add_dummy_prefix = message.boolean();
    else if (message.field() == 4)
      model.remove_extra_whitespaces = message.boolean();
  }
}

void read_trainer(Message message, SentencePieceModel& model) {
  while (message.next())
    if (message.field() == 3)
      model.kind = static_cast<SentencePieceModel::Kind>(message.enumeration(4));
}

}  // namespace

SentencePieceModel read_sentencepiece_model(const std::filesystem::path& path) {
  const std::string file = path.string();
  const std::string bytes = io::read_file(path, max_file_bytes);
  SentencePieceModel model;
  Message message(bytes, file, 0);
  while (message.next()) {
    if (message.field() == 1) {
      if (model.pieces.size() == static_cast<size_t>(Vocabulary::max_ids))
        throw message.wrong(concat("more than ", Vocabulary::max_ids, " pieces"));
      model.pieces.push_back(read_piece(message.message()));
    } else if (message.field() == 2) {
      read_trainer(message.message(), model);
    } else if (message.field() == 3) {
      read_normalizer(message.message(), model);
    }
  }
  if (model.pieces.empty())
    throw message.wrong("it has no pieces");
  return model;
}

}  // namespace graft::text
