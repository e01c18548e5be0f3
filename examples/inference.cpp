// Inference with an adapter: load a model and an adapter, answer with it and without.
//
//   inference MODEL ADAPTER PROMPT
//
// MODEL is a Hugging Face folder or a GGUF file, ADAPTER a folder that graft or PEFT wrote.
#include <cstdio>
#include <exception>
#include <string>

#include "graft/models/generate.h"
#include "graft/models/load.h"
#include "graft/peft/peft_model.h"
#include "graft/text/regex.h"
#include "graft/text/stream_decoder.h"
#include "graft/text/tokenizer.h"

using namespace graft;

namespace {

/// Prints how the model continues the prompt, token by token.
void continue_text(const nn::CausalLM& model, const text::Tokenizer& tokenizer,
                   const std::string& prompt) {
  text::StreamDecoder decoder(tokenizer);
  models::GenerateOptions options;
  options.max_new_tokens = 48;
  options.stop_ids = tokenizer.stop_ids();
  options.on_token = [&](int64_t, int64_t token) {
    std::printf("%s", decoder.push(token).c_str());
    std::fflush(stdout);
    return models::Verdict::go_on;
  };
  models::generate(model, {tokenizer.encode(prompt)}, options);
  std::printf("%s\n", decoder.finish().c_str());
}

void run(const std::string& model_path, const std::string& adapter_path,
         const std::string& prompt) {
  const auto tokenizer = text::Tokenizer::load(model_path);
  const auto base = models::load(model_path);
  auto adapted = peft::PeftModel::from_pretrained(*base, adapter_path, "default", false,
                                                  {.matcher = text::full_matcher()});

  std::printf("with the adapter:    %s", prompt.c_str());
  continue_text(adapted, tokenizer, prompt);

  const auto disabled = adapted.disable_adapter();
  std::printf("without the adapter: %s", prompt.c_str());
  continue_text(adapted, tokenizer, prompt);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: inference MODEL ADAPTER PROMPT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "inference: %s\n", error.what());
    return 1;
  }
}
