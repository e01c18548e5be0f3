#include "graft/text/overlong.h"

#include <algorithm>

namespace graft::text {

std::string_view name_of(Overlong overlong) {
  switch (overlong) {
    case Overlong::cut:
      return "cut";
    case Overlong::drop:
      return "drop";
    case Overlong::split:
      return "split";
  }
  return "";
}

std::vector<TokenRange> kept_ranges(int64_t tokens, int64_t limit, Overlong overlong) {
  if (limit <= 0 || tokens <= limit)
    return {{0, tokens}};
  if (overlong == Overlong::drop)
    return {};
  // A piece of one token would predict nothing.
  if (overlong == Overlong::cut || limit == 1)
    return {{0, limit}};
  std::vector<TokenRange> ranges;
  for (int64_t first = 0; first < tokens - 1; first += limit - 1)
    ranges.push_back({first, std::min(limit, tokens - first)});
  return ranges;
}

}  // namespace graft::text
