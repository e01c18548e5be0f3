#include "graft/io/pickle.h"

#include <algorithm>
#include <array>

namespace graft::io {

bool is_pickle_name(std::string_view name) {
  constexpr std::array<std::string_view, 5> endings = {".bin", ".pt", ".pth", ".pkl", ".ckpt"};
  return std::ranges::any_of(endings, [&](std::string_view e) { return name.ends_with(e); });
}

bool looks_like_pickle(std::span<const std::byte> start) {
  const auto byte = [&](size_t i) {
    return i < start.size() ? std::to_integer<int>(start[i]) : -1;
  };
  const bool zip = byte(0) == 'P' && byte(1) == 'K' && byte(2) == 3 && byte(3) == 4;
  const bool bare = byte(0) == 0x80 && byte(1) >= 2 && byte(1) <= 5;  // PROTO opcode and its number
  return zip || bare;
}

std::string pickle_refusal() {
  return "is a pickle (PyTorch) file, which can run code when it is opened; graft never reads "
         "them. "
         "Convert it in Python, where you trust the file: "
         "`import torch, safetensors.torch as st; "
         "st.save_file({k: v.clone().contiguous() for k, v in "
         "torch.load('pytorch_model.bin', map_location='cpu', weights_only=True).items()}, "
         "'model.safetensors', metadata={'format': 'pt'})`, "
         "or load the model with transformers and call save_pretrained, which writes safetensors";
}

}  // namespace graft::io
