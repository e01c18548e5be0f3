// The exceptions graft throws, and the check that throws them.
//
// Every message reads "operation: what was given, what was expected" and, where it helps, how to
// fix it. A call that throws has changed nothing. Safe to use from any thread.
#pragma once

#include <cstdint>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

namespace graft {

/// Base of everything graft throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Tensors whose shapes do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// Tensors whose dtypes do not fit together, or an operation that does not support one.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// A device that does not exist, or an operation without a kernel for it.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A setting, flag or request that contradicts itself or the model. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A file or a record whose content is wrong. Exit code 3.
class FormatError : public Error {
 public:
  /// The byte offset is part of the message where it is known (offset >= 0).
  FormatError(std::string_view file, int64_t offset, std::string_view what);
  /// A record of a text file: `line` counts from 1.
  static FormatError at_line(std::string_view file, int64_t line, std::string_view what);
  const std::string& file() const { return file_; }
  /// Byte offset, or -1 where none is known.
  int64_t offset() const { return offset_; }

 private:
  FormatError(std::string message, std::string_view file);
  std::string file_;
  int64_t offset_ = -1;
};

/// The operating system could not read or write (missing file, full disk, …). Exit code 4.
class IoError : public Error {
 public:
  using Error::Error;
};

/// A loss or gradient that is not finite. Exit code 5.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

/// Memory that could not be had. Exit code 6.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// Joins the parts as they print.
template <class... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

/// The candidate closest to `name` by edit distance (two letters swapped are one edit), or an empty
/// string where none is close enough to be what was meant (more than a third of the letters differ).
std::string nearest(std::string_view name, std::span<const std::string> candidates);

/// " (did you mean 'x'?)", or nothing where no candidate is near.
std::string did_you_mean(std::string_view name, std::span<const std::string> candidates);

}  // namespace graft

/// Throws `ErrorType` with the joined message parts unless `condition` holds.
#define GRAFT_CHECK(condition, ErrorType, ...)       \
  do {                                               \
    if (!(condition)) [[unlikely]]                   \
      throw ErrorType(::graft::concat(__VA_ARGS__)); \
  } while (false)
