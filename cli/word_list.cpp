#include "graft/cli/word_list.h"

#include <algorithm>

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

}  // namespace graft::cli
