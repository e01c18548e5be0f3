// Prompter: what a person or a record of a data file asks becomes the token ids that a model
// continues with its answer.
//
// Both go through the chat template where the model has one, rendered and tokenised as training
// does it: a prompt's ids are those that a training sample of the same record begins with.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/chat.h"
#include "graft/text/record_format.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

struct Prompt {
  std::string asked;         ///< for people to read: the last turn without the template
  std::string text;          ///< what the model continues
  std::vector<int64_t> ids;  ///< the same, with what begins every text
  /// The answer that the record has, where it was asked for.
  std::optional<std::string> reference = std::nullopt;
  int64_t line = 0;  ///< of the file; 0 where it comes from none
};

struct PrompterOptions {
  /// Prompts are continued as they are, without the chat template.
  bool raw = false;
  /// An object of what the chat template is given besides, or null for nothing.
  std::shared_ptr<const io::Json> template_variables = nullptr;
  /// The system's turn before prompts that have none of their own.
  std::optional<std::string> system = std::nullopt;
};

class Prompter {
 public:
  /// Refers to the tokenizer, which must outlive it. Throws ConfigError where the options are for a
  /// chat template and there is none, FormatError where the template is not supported.
  explicit Prompter(const Tokenizer& tokenizer, PrompterOptions options = {});

  /// True where prompts go through a chat template. Without one a text is continued as it is.
  bool uses_template() const { return chat_.has_value(); }

  /// What a person typed: a user's turn, or the text to continue.
  Prompt from_text(const std::string& text) const;
  /// A conversation up to where the assistant answers. Without a template there can only be one
  /// turn. Throws ConfigError.
  Prompt from_turns(const std::vector<Message>& turns) const;
  /// What a record asks (see question_format_of), which may have its answer: of messages those
  /// before the last answer, where that ends them or `with_reference` asks for it. Prompt, question
  /// and alpaca without a template are joined as for training. Throws FormatError where something
  /// is missing, the answer too where `with_reference` asks for it.
  Prompt from_record(RecordFormat format, const io::JsonObject& record, bool with_reference) const;

 private:
  Prompt rendered(const io::Json& messages, const io::Json& tools, std::string asked) const;
  Prompt continued(std::string text) const;

  const Tokenizer& tokenizer_;
  PrompterOptions options_;
  std::optional<Chat> chat_;
};

}  // namespace graft::text
