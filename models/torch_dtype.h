// PyTorch's names of dtypes, as configuration files spell them.
#pragma once

#include <optional>
#include <string_view>

#include "graft/tensor/dtype.h"

namespace graft::models {

/// "bfloat16". Requires: a floating dtype or u8.
std::string_view torch_name(DType dtype);
/// The dtype of such a name, also with "torch." before it; nothing for other names.
std::optional<DType> dtype_of_torch(std::string_view name);

}  // namespace graft::models
