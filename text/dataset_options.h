// DatasetOptions: how the records of a data file become samples.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "graft/io/json.h"
#include "graft/text/loss_on.h"
#include "graft/text/overlong.h"

namespace graft::text {

struct DatasetOptions {
  /// Default: assistant for messages and sharegpt, all for text, completion for the others.
  std::optional<LossOn> loss_on = std::nullopt;
  /// Tokens of the longest sample; 0 = no limit.
  int64_t max_seq_len = 0;
  /// What becomes of longer ones. Default: plain text is split, others lose their end. Plain text
  /// cannot be treated otherwise.
  std::optional<Overlong> overlong = std::nullopt;
  /// Prompts and answers are joined without the chat template; eos is appended. A ConfigError for
  /// records that have none, or are lists of messages.
  bool raw = false;
  /// An object of what the chat template is given besides, such as {"enable_thinking": false}, or
  /// null for nothing.
  std::shared_ptr<const io::Json> template_variables = nullptr;
  /// A ConfigError for records that go through no chat template.
  bool needs_template = false;
  /// Names of a file's own keys by the names graft knows: {"prompt", "query"}.
  std::map<std::string, std::string> columns = {};
  /// Ids lie below this; 0 = the tokenizer's vocabulary.
  int64_t vocab_size = 0;
};

}  // namespace graft::text
