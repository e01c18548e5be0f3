#include "graft/peft/alora.h"

#include <algorithm>
#include <vector>

#include "graft/nn/kv_cache.h"
#include "graft/tensor/check.h"

namespace graft::peft {
namespace {

bool uses(const nn::AdapterSelection& adapters, size_t row, const std::string& adapter) {
  return adapters.by_row.empty() || adapters.by_row[row] == adapter;
}

/// How many tokens of a row's text earlier forwards have seen.
int64_t seen_tokens(const nn::Context& context, size_t row) {
  return context.cache == nullptr ? 0 : context.cache->lengths().span<int64_t>()[row];
}

/// Calls with [begin, end) of each document of a row; `segments` is empty where it is all one.
template <class Visit>
void for_each_document(std::span<const int64_t> segments, size_t length, const Visit& visit) {
  for (size_t begin = 0; begin < length;) {
    size_t end = segments.empty() ? length : begin + 1;
    while (end < length && segments[end] == segments[begin])
      ++end;
    visit(begin, end);
    begin = end;
  }
}

}  // namespace

int64_t invoked_from(std::span<const int64_t> text, std::span<const int64_t> invocation) {
  const auto found = std::ranges::find_end(text, invocation);
  return found.empty() ? nn::AdapterPart::nowhere : found.begin() - text.begin();
}

nn::AdapterPart invoked_part(const Tensor& ids, const nn::Context& context,
                             const std::string& adapter, std::span<const int64_t> invocation) {
  nn::AdapterPart part{.adapter = adapter};
  if (const nn::AdapterPart* known = context.adapters->part_of(adapter))
    part.starts = known->starts;
  const auto rows = static_cast<size_t>(ids.dim(0));
  const auto length = static_cast<size_t>(ids.dim(1));
  GRAFT_CHECK(part.starts.empty() || part.starts.size() == rows, ShapeError, "forward: where \"",
              adapter, "\" is invoked is known for ", part.starts.size(), " rows, but there are ",
              rows);
  GRAFT_CHECK(context.cache == nullptr || context.cache->rows() == ids.dim(0), ShapeError,
              "forward: ", rows, " rows given, the cache has ", context.cache->rows());
  const Tensor texts = ids.contiguous();
  Tensor segments;
  if (context.segments.defined()) {
    check_shape("forward", "segments", context.segments, ids.shape());
    segments = context.segments.contiguous();
  }
  std::vector<int64_t> tokens;
  for (size_t row = 0; row < rows; ++row) {
    if (!uses(*context.adapters, row, adapter))
      continue;
    const auto add = [&](int64_t begin, size_t end) {
      for (auto t = static_cast<size_t>(begin); t < end; ++t)
        tokens.push_back(static_cast<int64_t>(row * length + t));
    };
    const int64_t seen = seen_tokens(context, row);
    if (!part.starts.empty()) {
      add(std::clamp<int64_t>(part.starts[row] - seen, 0, ids.dim(1)), length);
      continue;
    }
    GRAFT_CHECK(seen == 0, ConfigError, "forward: \"", adapter,
                "\" applies from its invocation tokens on, and the text began in an earlier "
                "forward; call resolve() with the whole texts first");
    const auto text = texts.span<int64_t>().subspan(row * length, length);
    const auto documents = segments.defined()
                               ? segments.span<int64_t>().subspan(row * length, length)
                               : std::span<const int64_t>();
    for_each_document(documents, length, [&](size_t begin, size_t end) {
      const int64_t start = invoked_from(text.subspan(begin, end - begin), invocation);
      if (start != nn::AdapterPart::nowhere)
        add(static_cast<int64_t>(begin) + start, end);
    });
  }
  part.tokens = Tensor::from(tokens, {std::ssize(tokens)});
  return part;
}

}  // namespace graft::peft
