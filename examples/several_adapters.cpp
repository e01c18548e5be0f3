// Several adapters on one model in one process: switched, added up, and mixed in a batch.
//
//   several_adapters MODEL ADAPTER ADAPTER PROMPT
//
// MODEL is a Hugging Face folder or a GGUF file; the adapters are folders that graft or PEFT wrote.
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "graft/models/generate.h"
#include "graft/models/load.h"
#include "graft/peft/peft_model.h"
#include "graft/text/regex.h"
#include "graft/text/tokenizer.h"

using namespace graft;

namespace {

/// How the model continues each of the prompts. Unset `adapters`: those that are active.
std::vector<std::string> continued(const nn::CausalLM& model, const text::Tokenizer& tokenizer,
                                   const std::vector<std::string>& prompts,
                                   std::optional<nn::AdapterSelection> adapters = {}) {
  std::vector<std::vector<int64_t>> ids;
  for (const std::string& prompt : prompts)
    ids.push_back(tokenizer.encode(prompt));
  std::vector<std::string> texts;
  for (const models::Continuation& row : models::generate(
           model, ids,
           {.max_new_tokens = 16, .stop_ids = tokenizer.stop_ids(), .adapters = adapters}))
    texts.push_back(tokenizer.decode(row.ids));
  return texts;
}

void run(const std::string& model_path, const std::string& one, const std::string& other,
         const std::string& prompt) {
  const auto tokenizer = text::Tokenizer::load(model_path);
  const auto base = models::load(model_path);
  auto model =
      peft::PeftModel::from_pretrained(*base, one, "one", false, {.matcher = text::full_matcher()});
  model.load_adapter(other, "other");  // the base is in memory once

  for (const std::vector<std::string>& active :
       {std::vector<std::string>{"one"}, {"other"}, {"one", "other"}}) {
    model.set_adapter(active, true);
    std::printf("%s: %s\n", active.size() == 2 ? "both" : active[0].c_str(),
                continued(model, tokenizer, {prompt})[0].c_str());
  }

  // Three requests in one batch, each with its own adapter or none.
  const std::vector<std::string> rows = {"one", "other", std::string(nn::base_row)};
  const auto texts = continued(model, tokenizer, {prompt, prompt, prompt},
                               nn::AdapterSelection{.names = {}, .by_row = rows});
  for (size_t row = 0; row < rows.size(); ++row)
    std::printf("row %zu, %s: %s\n", row, rows[row].c_str(), texts[row].c_str());

  model.delete_adapter("one");
  std::printf("left: %s\n", model.available_adapters().at(0).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: several_adapters MODEL ADAPTER ADAPTER PROMPT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argv[4]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "several_adapters: %s\n", error.what());
    return 1;
  }
}
