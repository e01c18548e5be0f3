// What the readers of tensor files share. For the file layer's own .cpp files.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/file.h"
#include "graft/tensor/tensor.h"

namespace graft::io {

/// A row-major tensor over `bytes` of a mapped file: shared where the bytes are aligned for the
/// dtype, copied where not. Requires: as many bytes as the tensor has.
Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file,
                     std::span<const std::byte> bytes, DType dtype, const Shape& shape);

/// "there is no tensor 'x' (did you mean 'y'?)".
FormatError no_such_tensor(std::string_view file, std::string_view name,
                           const std::vector<std::string>& names);

}  // namespace graft::io
