#include "graft/cli/word_list.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace graft::cli {

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const size_t first = text.find_first_not_of(' ', begin);
    const size_t last = text.find_last_not_of(' ', end == 0 ? 0 : end - 1);
    if (first != text.npos && first < end)
      parts.push_back(text.substr(first, last - first + 1));
    begin = end + 1;
  }
  return parts;
}

std::optional<std::vector<double>> split_numbers(const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : split(text)) {
    const char* end = part.data() + part.size();
    double number = 0;
    const auto [stop, error] = std::from_chars(part.data(), end, number);
    if (error != std::errc() || stop != end || !std::isfinite(number))
      return std::nullopt;
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace graft::cli
