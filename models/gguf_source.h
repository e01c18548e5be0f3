// The tensors of GGUF files as those of a Hugging Face checkpoint.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/gguf_model.h"
#include "graft/io/tensor_source.h"
#include "graft/models/decoder_config.h"
#include "graft/models/gguf_rows.h"

namespace graft::models {

/// The tensors under Hugging Face names, with the rows, the orientation and the numbers that those
/// have, decoded to f32 when they are loaded. Tensors without such a name keep that of the file.
class GgufSource final : public io::TensorSource {
 public:
  /// Throws FormatError where two tensors have one name.
  GgufSource(std::shared_ptr<const io::GgufModel> model, const DecoderConfig& config);

  std::vector<std::string> names() const override;
  bool contains(std::string_view name) const override;
  io::TensorInfo info(std::string_view name) const override;
  Tensor load(std::string_view name) const override;
  void drop_pages(std::string_view name) const override;
  std::string file_of(std::string_view name) const override;

 private:
  const io::GgufPlace& find(std::string_view name) const;

  std::shared_ptr<const io::GgufModel> model_;
  GgufHeads heads_;
  double norm_offset_;
  std::map<std::string, io::GgufPlace, std::less<>> tensors_;
};

}  // namespace graft::models
