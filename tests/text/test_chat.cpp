#include <nlohmann/json.hpp>

#include "graft/io/json.h"
#include "graft/tests/support/test.h"
#include "graft/tests/text/small_chat.h"
#include "graft/text/chat.h"

namespace graft::text {
namespace {

using Ids = std::vector<int64_t>;
using test::check_contains;

Tokenizer small_tokenizer(const std::string& chat_template) {
  const test::TemporaryFolder folder;
  write_small_tokenizer(folder, chat_template);
  return Tokenizer::load(folder.path());
}

std::string tokens(const Tokenizer& tokenizer, const Ids& ids) {
  std::string text;
  for (const int64_t id : ids)
    text += tokenizer.token(id).value_or("?") + "|";
  return text;
}

io::Json messages(const std::string& json) {
  return io::parse_json(json, "messages");
}

}  // namespace

TEST_CASE("chat: a prompt ends where the answer begins, with bos exactly once") {
  const Tokenizer with_bos = small_tokenizer(turns_template);
  const Chat chat(with_bos);
  CHECK(chat.prompt_text({{"user", "Hi"}}) == "<s><|user|>Hi<|end|>\n<|assistant|>");
  CHECK(tokens(with_bos, chat.prompt_ids({{"user", "Hi"}})) ==
        "<s>|<|user|>|H|i|<|end|>|\n|<|assistant|>|");
  const Tokenizer without_bos = small_tokenizer("{{ messages[0].content }}");
  CHECK(tokens(without_bos, Chat(without_bos).prompt_ids({{"user", "a"}})) == "<s>|a|");
}

TEST_CASE("chat: answers are ranges of the text, from where the model takes over to its stop") {
  const Tokenizer tokenizer = small_tokenizer(turns_template);
  const Conversation conversation = Chat(tokenizer).render(
      messages(R"([{"role": "system", "content": "s"}, {"role": "user", "content": "é"},
                   {"role": "assistant", "content": "yes"}])"),
      nullptr);
  REQUIRE(conversation.answers.size() == 1);
  CHECK(conversation.answers[0].of(conversation.text) == "yes<|end|>");
}

TEST_CASE("chat: the assistant may speak twice in a row, or call tools without content") {
  const Tokenizer tokenizer = small_tokenizer(
      "{% for m in messages %}<|{{ m.role }}|>{{ m.content or m.tool_calls[0].name }}<|end|>"
      "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}");
  const Conversation conversation =
      Chat(tokenizer).render(messages(R"([{"role": "user", "content": "a"},
                   {"role": "assistant", "content": null, "tool_calls": [{"name": "call"}]},
                   {"role": "assistant", "content": "b"}])"),
                             nullptr);
  REQUIRE(conversation.answers.size() == 2);
  CHECK(conversation.answers[0].of(conversation.text) == "call<|end|>");
  CHECK(conversation.answers[1].of(conversation.text) == "b<|end|>");
}

TEST_CASE("chat: a missing template is refused, naming those there are") {
  const Tokenizer none = small_tokenizer("");
  const std::string message = test::message_of<ConfigError>([&] { Chat{none}; });
  check_contains(message, "has no chat template 'default', nor any other");
  const Tokenizer one = small_tokenizer(turns_template);
  check_contains(test::message_of<ConfigError>([&] { Chat(one, "tool_use"); }),
                 "no chat template 'tool_use', only default");
  const Tokenizer broken = small_tokenizer("{% for %}");
  check_contains(test::message_of<FormatError>([&] { Chat{broken}; }), "chat template of ");
}

TEST_CASE("chat: the end of a turn is the special token behind an answer") {
  const Tokenizer tokenizer = small_tokenizer(turns_template);
  CHECK(end_of_turn(tokenizer, turns_template) == tokenizer.id("<|end|>"));
  const auto end = [&](const std::string& behind) {
    return end_of_turn(tokenizer,
                       "{% for m in messages %}{{ m.content }}" + behind + "{% endfor %}");
  };
  CHECK(end(" \n</s>") == tokenizer.id("</s>"));
  CHECK_FALSE(end(". </s>"));
  CHECK_FALSE(end(""));
  CHECK_FALSE(end_of_turn(tokenizer, "{{ messages[0].content }}"));
  CHECK_FALSE(end_of_turn(tokenizer, "{{ raise_exception('never') }}"));
  CHECK_FALSE(end_of_turn(tokenizer, "{% what %}"));
  CHECK(tokenizer.stop_ids() == Ids{*tokenizer.id("</s>"), *tokenizer.id("<|end|>")});
}

}  // namespace graft::text
