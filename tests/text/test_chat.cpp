#include <map>
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
  write_small_tokenizer(folder.path(), chat_template);
  return Tokenizer::load(folder.path());
}

/// With a tokenizer_config.json of one's own.
Tokenizer tokenizer_with(const io::Json& config) {
  const test::TemporaryFolder folder;
  write_small_tokenizer(folder.path(), "");
  write_text(folder / "tokenizer_config.json", io::to_text(config));
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
      nullptr, {true});
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
                             nullptr, {true, true});
  REQUIRE(conversation.answers.size() == 2);
  CHECK(conversation.answers[0].of(conversation.text) == "call<|end|>");
  CHECK(conversation.answers[1].of(conversation.text) == "b<|end|>");
}

TEST_CASE("chat: a missing template is refused, naming those there are") {
  const Tokenizer none = small_tokenizer("");
  check_contains(
      test::message_of<ConfigError>([&] { Chat{none}; }),
      "has no chat template 'default', nor any other; take a model that is made for chats");
  const Tokenizer other =
      tokenizer_with({{"chat_template", {{{"name", "rag"}, {"template", "r"}}}}});
  check_contains(test::message_of<ConfigError>([&] { Chat{other}; }),
                 "has no chat template 'default', only rag; name the one to take");
  const Tokenizer broken = small_tokenizer("{% for %}");
  check_contains(test::message_of<FormatError>([&] { Chat{broken}; }), "chat template of ");
}

TEST_CASE("chat: of several templates tool_use is for conversations with tools") {
  const Tokenizer tokenizer =
      tokenizer_with({{"chat_template",
                       {{{"name", "default"}, {"template", "plain"}},
                        {{"name", "tool_use"}, {"template", "{{ tools[0].name }}"}}}}});
  const Chat chat(tokenizer);
  const io::Json conversation = messages(R"([{"role": "user", "content": "a"}])");
  CHECK(chat.text(conversation, nullptr) == "plain");
  CHECK(chat.text(conversation, messages(R"([{"name": "clock"}])")) == "clock");
  const Tokenizer one = small_tokenizer("{{ tools[0].name }}");
  CHECK(Chat(one).text(conversation, messages(R"([{"name": "clock"}])")) == "clock");
  const Tokenizer tools_only =
      tokenizer_with({{"chat_template", {{{"name", "tool_use"}, {"template", "t"}}}}});
  check_contains(
      test::message_of<ConfigError>([&] { Chat(tools_only).text(conversation, nullptr); }),
      "for conversations with tools only");
}

TEST_CASE("chat: a template can be chosen by name or from a file, and is saved") {
  const io::Json config = {{"bos_token", "<s>"},
                           {"eos_token", "</s>"},
                           {"chat_template",
                            {{{"name", "default"}, {"template", "plain"}},
                             {{"name", "tool_use"}, {"template", "tools"}},
                             {{"name", "rag"}, {"template", "{{ messages[0].content }}<|end|>"}}}}};
  const io::Json tools = messages(R"([{"name": "clock"}])");
  const io::Json conversation = messages(R"([{"role": "user", "content": "a"}])");
  Tokenizer tokenizer = tokenizer_with(config);
  tokenizer.choose_chat_template("rag");
  CHECK(Chat(tokenizer).text(conversation, tools) == "a<|end|>");

  const test::TemporaryFolder folder;
  write_text(folder / "mine.jinja", "{% for m in messages %}{{ m.content }}<|end|>{% endfor %}");
  Tokenizer other = tokenizer_with(config);
  CHECK(other.stop_ids() == Ids{*other.id("</s>")});
  other.choose_chat_template((folder / "mine.jinja").string());
  CHECK(other.stop_ids() == Ids{*other.id("</s>"), *other.id("<|end|>")});
  CHECK(Chat(other).prompt_text({{"user", "x"}}) == "x<|end|>");
  check_contains(test::message_of<ConfigError>([&] { other.choose_chat_template("nothing"); }),
                 "'nothing' is neither a file nor one of ");
}

TEST_CASE("chat: what is wrong with a chosen template is said of the file that it is in") {
  const test::TemporaryFolder folder;
  write_small_tokenizer(folder.path(), "{{ wrong");
  const auto refusal = [](const Tokenizer& tokenizer) {
    return test::message_of<FormatError>([&] { const Chat chat(tokenizer); });
  };
  Tokenizer tokenizer = Tokenizer::load(folder.path());
  check_contains(refusal(tokenizer), "chat template of " + tokenizer.source());
  write_text(folder / "mine.jinja", "{{ wrong too");
  tokenizer.choose_chat_template((folder / "mine.jinja").string());
  check_contains(refusal(tokenizer), "chat template of " + (folder / "mine.jinja").string());
}

TEST_CASE("chat: a chosen template, and those in a folder, are saved with the tokenizer") {
  const test::TemporaryFolder from, to, chosen;
  write_small_tokenizer(from.path(), "in the config");
  std::filesystem::create_directory(from / "additional_chat_templates");
  write_text(from / "chat_template.jinja", "in a file");
  write_text(from / "additional_chat_templates/rag.jinja", "rag");
  Tokenizer tokenizer = Tokenizer::load(from.path());
  tokenizer.save(to.path());
  const std::map<std::string, std::string> both = {{"default", "in a file"}, {"rag", "rag"}};
  CHECK(Tokenizer::load(to.path()).chat_templates() == both);
  tokenizer.choose_chat_template("rag");
  tokenizer.save(chosen.path());
  const std::map<std::string, std::string> one = {{"default", "rag"}};
  CHECK(Tokenizer::load(chosen.path()).chat_templates() == one);
}

TEST_CASE("chat: templates in files of their own replace those of the config") {
  const test::TemporaryFolder folder;
  write_small_tokenizer(folder.path(), "in the config");
  std::filesystem::create_directory(folder / "additional_chat_templates");
  write_text(folder / "additional_chat_templates/tool_use.jinja", "tools");
  const std::map<std::string, std::string> expected = {{"tool_use", "tools"}};
  CHECK(Tokenizer::load(folder.path()).chat_templates() == expected);
}

TEST_CASE("chat: variables reach the template, but not in place of what graft gives it") {
  const Tokenizer tokenizer = small_tokenizer(
      "{{ enable_thinking is defined and enable_thinking }}{{ documents }}{{ bos_token }}");
  const io::Json conversation = messages(R"([{"role": "user", "content": "a"}])");
  CHECK(Chat(tokenizer).text(conversation, nullptr) == "FalseNone<s>");
  const io::Json variables = {{"enable_thinking", true}, {"documents", {1}}, {"bos_token", "b"}};
  CHECK(Chat(tokenizer, variables).text(conversation, nullptr) == "True[1]b");
  check_contains(test::message_of<ConfigError>([&] {
                   Chat(tokenizer, {{"messages", 1}});
                 }),
                 "'messages' is given to the template by graft");
  check_contains(test::message_of<ConfigError>([&] { Chat(tokenizer, io::Json::array()); }),
                 "no JSON object");
}

TEST_CASE("chat: what an assistant thought is found under every name for it") {
  const Tokenizer tokenizer = small_tokenizer(
      "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }};{% endfor %}");
  const auto render = [&](const char* name) {
    return Chat(tokenizer).text({{{"role", "assistant"}, {name, "hm"}}}, nullptr);
  };
  CHECK(render("reasoning_content") == "hm|hm;");
  CHECK(render("thinking") == "hm|hm;");
  CHECK(render("reasoning") == "hm|hm;");
}

TEST_CASE("chat: an answer that was begun goes on where it stops") {
  const Tokenizer tokenizer = small_tokenizer(turns_template);
  const Chat chat(tokenizer);
  const auto go_on = [&](const Chat& with, const std::string& content) {
    return with.text(messages(R"([{"role": "user", "content": "Hi"},
                                  {"role": "assistant", "content": )" +
                              content + "}]"),
                     nullptr, Ending::answer_goes_on);
  };
  const std::string before = "<s><|user|>Hi<|end|>\n<|assistant|>";
  CHECK(go_on(chat, R"("The ")") == before + "The ");
  const Tokenizer trimming = small_tokenizer(
      "{% for m in messages %}{{ (m.content if m.content is string else m.content[-1].text) | trim "
      "}}"
      "<|end|>{% endfor %}");
  CHECK(go_on(Chat(trimming), R"("The ")") == "Hi<|end|>The");
  CHECK(go_on(Chat(trimming), R"([{"type": "image"}, {"type": "text", "text": "It"}])") ==
        "Hi<|end|>It");
  const Tokenizer silent = small_tokenizer("{{ messages[0].content }}");
  check_contains(test::message_of<FormatError>([&] { go_on(Chat(silent), R"("The ")"); }),
                 "leaves out the end of the last message");
  check_contains(test::message_of<ConfigError>([&] { go_on(chat, "null"); }),
                 "no text that could go on");
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
