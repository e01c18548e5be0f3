#include "graft/io/checked.h"

#include "graft/tensor/error.h"

namespace graft::io {

std::string describe(IntegerRange range) {
  const IntegerRange any;
  if (range.min == any.min && range.max == any.max)
    return "an integer";
  if (range.max == any.max)
    return concat("an integer of at least ", range.min);
  if (range.min == any.min)
    return concat("an integer of at most ", range.max);
  return concat("an integer from ", range.min, " to ", range.max);
}

}  // namespace graft::io
