// GGUF files as checkpoints: metadata become a DecoderConfig, tensors get their Hugging Face names.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/gguf.h"
#include "graft/io/tensor_source.h"
#include "graft/models/decoder_config.h"

namespace graft::models {

/// Reads the metadata. Throws FormatError where a key is missing or of the wrong kind, ConfigError
/// where the model is of another family or needs what graft has not.
DecoderConfig read_gguf_config(const io::GgufFile& file);

/// The tensors under Hugging Face names and in their row order, decoded to f32 when they are
/// loaded. Tensors without such a name keep that of the file.
class GgufSource final : public io::TensorSource {
 public:
  GgufSource(std::shared_ptr<const io::GgufFile> file, const DecoderConfig& config);

  std::vector<std::string> names() const override;
  bool contains(std::string_view name) const override;
  io::TensorInfo info(std::string_view name) const override;
  Tensor load(std::string_view name) const override;
  void drop_pages(std::string_view name) const override;
  std::string file_of(std::string_view name) const override;

 private:
  const io::GgufTensor& find(std::string_view name) const;
  /// Heads whose rows the file holds interleaved; 0 where a tensor's rows stand as they are.
  int64_t interleaved_heads(std::string_view name) const;

  std::shared_ptr<const io::GgufFile> file_;
  int64_t q_heads_, k_heads_;
  std::map<std::string, const io::GgufTensor*, std::less<>> tensors_;
};

}  // namespace graft::models
