// Chat: a tokenizer and its chat template, for training and generation alike.
//
// Both go through the same render and the same encoding, so that a model is asked in the form it
// was trained in. A template writes the special tokens itself; only the token that begins every
// text (bos) is added where the template leaves it out, so that it stands there exactly once.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "graft/io/json.h"
#include "graft/text/byte_range.h"
#include "graft/text/chat_template.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

struct Message {
  std::string role;
  std::string content;
};

/// How the text of a conversation ends.
enum class Ending {
  complete,
  answer_begins,   ///< with what introduces the assistant's answer
  answer_goes_on,  ///< in the last message, which the model continues
};

/// A whole conversation as one text, and which bytes of it the assistant wrote. Its ids are
/// Tokenizer::encode_with_prefix of the text.
struct Conversation {
  std::string text;
  /// One range per answer that was asked for, in order: from where the model takes over to the end
  /// of its turn.
  std::vector<ByteRange> answers;
};

class Chat {
 public:
  /// Uses the tokenizer's template "default", and for conversations with tools "tool_use" where
  /// there is one, as transformers does. `variables` is an object of what the template is given
  /// besides, such as {"enable_thinking": false}. The tokenizer must outlive the Chat. Throws
  /// ConfigError where there is no template or the variables are none, FormatError where a template
  /// is not supported.
  explicit Chat(const Tokenizer& tokenizer);
  Chat(const Tokenizer& tokenizer, const io::Json& variables);
  ~Chat();
  Chat(Chat&& other) noexcept;

  /// The text, and the ids, that a model continues with its answer. Throws FormatError as
  /// ChatTemplate::render does.
  std::string prompt_text(const std::vector<Message>& messages) const;
  std::vector<int64_t> prompt_ids(const std::vector<Message>& messages) const;

  /// `messages` (objects with role and content) as one text; `tools` may be null. Throws
  /// FormatError as ChatTemplate::render does, and where the last message, which is to go on, is
  /// not in the text.
  std::string text(const io::Json& messages, const io::Json& tools,
                   Ending ending = Ending::complete) const;

  /// The same with the answers of the assistant marked: by the template's `{% generation %}`
  /// blocks, else by rendering the conversation up to each answer and comparing. `wanted` says of
  /// each message of the assistant, in order, whether its answer is asked for; only those are
  /// looked for. Throws FormatError where the template renders the beginning of a conversation
  /// differently once it goes on, so that an answer cannot be found; where it marks more or fewer
  /// answers than there are messages and not all are wanted; and where thousands of messages would
  /// be rendered up to each of thousands of answers.
  Conversation render(const io::Json& messages, const io::Json& tools,
                      const std::vector<bool>& wanted) const;

 private:
  const ChatTemplate& template_for(const io::Json& tools) const;
  std::string continued_text(const io::Json& messages, const io::Json& tools) const;
  std::vector<ByteRange> chosen(std::vector<ByteRange> marked,
                                const std::vector<bool>& wanted) const;
  ByteRange find_answer(std::string_view text, const io::Json& messages, size_t index,
                        const io::Json& tools) const;
  std::optional<uint32_t> end_of_last_stop(std::string_view text, ByteRange within) const;

  const Tokenizer* tokenizer_;
  std::unique_ptr<const io::Json> variables_;
  std::map<std::string, ChatTemplate> templates_;
};

/// The id of the token that ends a turn: the special token that `chat_template` writes directly
/// behind an answer. Nothing where there is none or the template cannot be rendered.
std::optional<int64_t> end_of_turn(const Tokenizer& tokenizer, std::string_view chat_template);

}  // namespace graft::text
