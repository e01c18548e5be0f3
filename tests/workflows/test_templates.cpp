// --chat-template through the verbs: a template from a file, what it is given, and where it would
// do nothing.

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

/// Folder with a template, conversations and plain texts.
class TemplateCase {
 public:
  TemplateCase() {
    write("turns.jinja",
          "{{ bos_token }}{% for m in messages %}{{ mood }}{{ m.role }}: {{ m.content }}</s>"
          "{% endfor %}{% if add_generation_prompt %}{{ mood }}assistant: {% endif %}");
    write("turns.jsonl",
          "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, "
          "{\"role\": \"assistant\", \"content\": \"Yes\"}]}\n");
    write("texts.jsonl", "{\"text\": \"Once upon a time\"}\n");
  }

  /// A verb on the little model with this template.
  Arguments verb(const Arguments& words, const Arguments& more = {}) const {
    return joined(joined(words, {"--model", data("models/stories260k/hf"), "--chat-template",
                                 folder_ / "turns.jinja"}),
                  more);
  }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

 private:
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

  TemporaryFolder folder_;
};

}  // namespace

TEST_CASE("--chat-template: data preview shows what it makes of a conversation") {
  const TemplateCase files;
  const CommandResult plain =
      run_graft(files.verb({"data", "preview"}, {"--data", files / "turns.jsonl", "--line", "1"}));
  check_exit(plain, 0);
  check_contains(plain.out, "<s> user: Hi</s> assistant: ⟦Yes</s>⟧");
  const CommandResult happy =
      run_graft(files.verb({"data", "preview"}, {"--data", files / "turns.jsonl", "--line", "1",
                                                 "--chat-template-kwargs", "{\"mood\": \":)\"}"}));
  check_contains(happy.out, "<s> :)user: Hi</s> :)assistant: ⟦Yes</s>⟧");
}

TEST_CASE("--chat-template: training learns with it and saves it, eval and generate take it") {
  const TemplateCase files;
  check_exit(run_graft(files.verb({"train"}, {"--data", files / "turns.jsonl", "--out",
                                              files / "out", "--max-steps", "1"})),
             0);
  CHECK(content_of(files / "out/chat_template.jinja") == content_of(files / "turns.jinja"));
  check_exit(run_graft(files.verb({"eval"}, {"--data", files / "turns.jsonl"})), 0);
  const auto prompt_tokens = [&](const Arguments& more) {
    return json_of(run_graft(files.verb(
        {"generate"},
        joined({"--prompt", "Hi", "--max-new-tokens", "1", "--json"}, more))))["prompt_tokens"]
        .get<int>();
  };
  CHECK(prompt_tokens({"--chat-template-kwargs", "{\"mood\": \":)\"}"}) > prompt_tokens({}));
}

TEST_CASE("--chat-template: a run goes on from any folder, and its record names the file") {
  const TemplateCase files;
  const Arguments train = {"train",
                           "--model",
                           data("models/stories260k/hf"),
                           "--data",
                           "turns.jsonl",
                           "--chat-template",
                           "turns.jinja",
                           "--out",
                           "run",
                           "--max-steps",
                           "1"};
  check_exit(run_graft(train, {.directory = files / ""}), 0);
  check_contains(content_of(files / "run/run.toml"),
                 "chat-template = \"" + (files / "turns.jinja").string() + "\"");
  fs::remove_all(files / "run/checkpoints");
  const Arguments resume = {"train", "--resume", "--out", files / "run"};
  check_exit(run_graft(resume, {.directory = "/"}), 0);
}

TEST_CASE("--chat-template: refused where it would do nothing, or is none") {
  const TemplateCase files;
  const auto refusal = [](const Arguments& arguments) {
    const CommandResult result = run_graft(arguments);
    check_exit(result, 2);
    return result.err;
  };
  check_contains(refusal(files.verb({"data", "check"}, {"--data", files / "texts.jsonl"})),
                 "has text records, which go through no chat template; leave --chat-template");
  check_contains(refusal(files.verb({"generate"}, {"--raw", "--prompt", "x"})), "--chat-template");
  check_contains(refusal({"generate", "--model", data("models/stories260k/hf"), "--prompt", "x",
                          "--chat-template", "nothing"}),
                 "'nothing' is neither a file nor one of ");
  check_contains(refusal({"generate", "--model", data("models/stories260k/hf"), "--prompt", "x",
                          "--chat-template-kwargs", "{\"a\": 1}"}),
                 "--chat-template-kwargs are for a chat template");
  check_contains(
      refusal(files.verb({"generate"}, {"--prompt", "x", "--chat-template-kwargs", "[1]"})),
      "--chat-template-kwargs is [1], expected a JSON object");
  check_contains(refusal(files.verb({"generate"},
                                    {"--prompt", "x", "--chat-template-kwargs", "{\"tools\": 1}"})),
                 "'tools' is given to the template by graft");
}
