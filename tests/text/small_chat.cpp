#include "graft/tests/text/small_chat.h"

namespace graft::text {

std::string masked_text(const Tokenizer& tokenizer, const Sample& sample) {
  std::string text;
  bool inside = false;
  for (size_t i = 0; i < sample.input_ids.size(); ++i) {
    const bool trained = sample.labels[i] != no_label;
    if (trained)
      CHECK(sample.labels[i] == sample.input_ids[i]);
    if (trained != inside)
      text += trained ? '[' : ']';
    inside = trained;
    text += tokenizer.token(sample.input_ids[i]).value_or("?");
  }
  return text + (inside ? "]" : "");
}

}  // namespace graft::text
