// Pickle files, which run code when they are opened: how they are known, and what the user is told.
// For the file layer's own .cpp files and those of folders above that meet such files.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace graft::io {

/// True for names that pickles have: .bin, .pt, .pth, .pkl, .ckpt.
bool is_pickle_name(std::string_view name);

/// True where a file begins as pickles and PyTorch's zip archives of them do.
bool looks_like_pickle(std::span<const std::byte> start);

/// Why it is refused, and the Python that makes a safetensors file of it.
std::string pickle_refusal();

}  // namespace graft::io
