#include "graft/io/tensor_file.h"

#include <cstring>

#include "graft/io/system.h"

namespace graft::io {

Tensor mapped_tensor(const std::shared_ptr<const MappedFile>& file,
                     std::span<const std::byte> bytes, DType dtype, const Shape& shape) {
  const bool aligned =
      reinterpret_cast<uintptr_t>(bytes.data()) % element_size(dtype) == 0 && !bytes.empty();
  if (aligned)
    return Tensor(std::make_shared<Storage>(bytes.data(), bytes.size(), file), dtype, shape,
                  contiguous_strides(shape));
  Tensor copy = Tensor::empty(shape, dtype);
  if (!bytes.empty())
    std::memcpy(copy.as_view().data, bytes.data(), bytes.size());
  return copy;
}

FormatError no_such_tensor(std::string_view file, std::string_view name,
                           const std::vector<std::string>& names) {
  return FormatError(file, -1,
                     concat("there is no tensor '", printable(name), "'", suggestion(name, names)));
}

}  // namespace graft::io
