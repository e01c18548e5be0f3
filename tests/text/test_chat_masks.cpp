// Which tokens of a conversation are learnt, with the templates of real models: token for token,
// written so that a person can check it. A line that begins with + is learnt, one with - is not.
// Between tokens stands "·", for a line break "⏎".

#include <cstdlib>

#include "graft/tests/text/data_case.h"

namespace graft::text {
namespace {

std::string shown(const Tokenizer& tokenizer, int64_t id) {
  std::string text;
  for (const char c : tokenizer.decode(std::vector{id}))
    text += c == '\n' ? "⏎" : std::string(1, c);
  return text;
}

/// The runs of tokens that are learnt or not, a line each.
std::string mask_of(const Tokenizer& tokenizer, const Sample& sample) {
  std::string text;
  for (size_t i = 0; i < sample.input_ids.size(); ++i) {
    const bool learnt = sample.labels[i] != no_label;
    const bool before = i > 0 && sample.labels[i - 1] != no_label;
    text += i == 0 || learnt != before ? concat("\n", learnt ? "+ " : "- ") : "·";
    text += shown(tokenizer, sample.input_ids[i]);
  }
  return text + "\n";
}

std::string mask_of(const Tokenizer& tokenizer, const std::string& record) {
  const test::TemporaryFolder folder;
  write_text(folder / "data.jsonl", record);
  return mask_of(tokenizer, read_dataset(folder / "data.jsonl", &tokenizer).samples.at(0));
}

/// A tokenizer of the shared data, with another template where one is given.
Tokenizer tokenizer_of(const std::string& name, const std::string& chat_template = "") {
  Tokenizer tokenizer = Tokenizer::load(test::data("tokenizers/" + name));
  if (!chat_template.empty()) {
    const test::TemporaryFolder folder;
    write_text(folder / "t.jinja", chat_template);
    tokenizer.choose_chat_template((folder / "t.jinja").string());
  }
  return tokenizer;
}

const std::string turns =
    R"({"messages": [{"role": "system", "content": "Be brief."},)"
    R"( {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4."},)"
    R"( {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "Yes, sure."}]})";

const std::string turns_with_flags =
    R"({"messages": [{"role": "user", "content": "2+2?"},)"
    R"( {"role": "assistant", "content": "5.", "train": false},)"
    R"( {"role": "user", "content": "Sure?"}, {"role": "assistant", "content": "No, 4."}]})";

const std::string tool_turns =
    R"({"messages": [{"role": "user", "content": "Rain?"},)"
    R"( {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function":)"
    R"( {"name": "sky", "arguments": {"city": "Bonn"}}}]},)"
    R"( {"role": "tool", "name": "sky", "content": "wet"},)"
    R"( {"role": "assistant", "content": "Yes."}]})";

/// Marks what the assistant writes, as templates for training do: the call of a tool too, and the
/// end of the turn.
const std::string marking_template =
    "{%- for m in messages %}"
    "{{- '<|im_start|>' + m.role + '\\n' }}"
    "{%- if m.role == 'assistant' %}"
    "{%- generation %}"
    "{{- m.content }}"
    "{%- for call in m.tool_calls or [] %}"
    "{{- '<tool_call>' + (call.function | tojson) + '</tool_call>' }}"
    "{%- endfor %}"
    "{{- '<|im_end|>' }}"
    "{%- endgeneration %}"
    "{{- '\\n' }}"
    "{%- else %}"
    "{{- m.content + '<|im_end|>\\n' }}"
    "{%- endif %}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

}  // namespace

TEST_CASE("chat masks: Llama 3, by prefixes") {
  const Tokenizer tokenizer = tokenizer_of("llama3");
  CHECK(mask_of(tokenizer, turns) == R"(
- <|begin_of_text|>·<|start_header_id|>·system·<|end_header_id|>·⏎⏎·Be· brief·.·<|eot_id|>·<|start_header_id|>·user·<|end_header_id|>·⏎⏎·2·+·2·?·<|eot_id|>·<|start_header_id|>·assistant·<|end_header_id|>·⏎⏎
+ 4·.·<|eot_id|>
- <|start_header_id|>·user·<|end_header_id|>·⏎⏎·Sure·?·<|eot_id|>·<|start_header_id|>·assistant·<|end_header_id|>·⏎⏎
+ Yes·,· sure·.·<|eot_id|>
- <|start_header_id|>·assistant·<|end_header_id|>·⏎⏎
)");
  CHECK(mask_of(tokenizer, turns_with_flags) == R"(
- <|begin_of_text|>·<|start_header_id|>·user·<|end_header_id|>·⏎⏎·2·+·2·?·<|eot_id|>·<|start_header_id|>·assistant·<|end_header_id|>·⏎⏎·5·.·<|eot_id|>·<|start_header_id|>·user·<|end_header_id|>·⏎⏎·Sure·?·<|eot_id|>·<|start_header_id|>·assistant·<|end_header_id|>·⏎⏎
+ No·,· ·4·.·<|eot_id|>
- <|start_header_id|>·assistant·<|end_header_id|>·⏎⏎
)");
}

TEST_CASE("chat masks: Qwen 2.5, by prefixes, with a tool") {
  const Tokenizer tokenizer = tokenizer_of("qwen2.5");
  CHECK(mask_of(tokenizer, turns) == R"(
- <|im_start|>·system·⏎·Be· brief·.·<|im_end|>·⏎·<|im_start|>·user·⏎·2·+·2·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ 4·.·<|im_end|>
- ⏎·<|im_start|>·user·⏎·Sure·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ Yes·,· sure·.·<|im_end|>
- ⏎
)");
  CHECK(mask_of(tokenizer, tool_turns) == R"(
- <|im_start|>·system·⏎·You· are· Q·wen·,· created· by· Alibaba· Cloud·.· You· are· a· helpful· assistant·.·<|im_end|>·⏎·<|im_start|>·user·⏎·Rain·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ <tool_call>·⏎·{"·name·":· "·sky·",· "·arguments·":· {"·city·":· "·B·onn·"}}⏎·</tool_call>·<|im_end|>
- ⏎·<|im_start|>·user·⏎·<·tool·_response·>⏎·w·et·⏎·</·tool·_response·>·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ Yes·.·<|im_end|>
- ⏎
)");
}

TEST_CASE("chat masks: TinyLlama's template, whose eos is written out") {
  const Tokenizer tokenizer = tokenizer_of("tinyllama-chat");
  CHECK(mask_of(tokenizer, turns) == R"(
- <s>·<·|·system·|·>·⏎·Be·brief·.·</s>··⏎·<·|·user·|·>·⏎·2·+·2·?·</s>··⏎·<·|·ass·istant·|·>·⏎
+ 4·.·</s>
- ·⏎·<·|·user·|·>·⏎·S·ure·?·</s>··⏎·<·|·ass·istant·|·>·⏎
+ Yes·,·sure·.·</s>
- ·⏎
)");
}

TEST_CASE("chat masks: SmolLM2, from its GGUF file") {
  const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
  if (file == nullptr)
    test::skip("GRAFT_SMOLLM2_GGUF is not set");
  CHECK(mask_of(Tokenizer::load(file), turns_with_flags) == R"(
- <|im_start|>·system·⏎·You· are· a· helpful· AI· assistant· named· Sm·ol·LM·,· trained· by· H·ugging· Face·<|im_end|>·⏎·<|im_start|>·user·⏎·2·+·2·?·<|im_end|>·⏎·<|im_start|>·ass·istant·⏎·5·.·<|im_end|>·⏎·<|im_start|>·user·⏎·Sure·?·<|im_end|>·⏎·<|im_start|>·ass·istant·⏎
+ No·,· ·4·.·<|im_end|>
- ⏎
)");
}

TEST_CASE("chat masks: generation blocks, with a tool and with flags") {
  const Tokenizer tokenizer = tokenizer_of("qwen2.5", marking_template);
  CHECK(mask_of(tokenizer, tool_turns) == R"(
- <|im_start|>·user·⏎·Rain·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ <tool_call>·{"·name·":· "·sky·",· "·arguments·":· {"·city·":· "·B·onn·"}}·</tool_call>·<|im_end|>
- ⏎·<|im_start|>·tool·⏎·w·et·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ Yes·.·<|im_end|>
- ⏎
)");
  CHECK(mask_of(tokenizer, turns_with_flags) == R"(
- <|im_start|>·user·⏎·2·+·2·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎·5·.·<|im_end|>·⏎·<|im_start|>·user·⏎·Sure·?·<|im_end|>·⏎·<|im_start|>·assistant·⏎
+ No·,· ·4·.·<|im_end|>
- ⏎
)");
}

}  // namespace graft::text
