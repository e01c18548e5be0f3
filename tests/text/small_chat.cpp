#include "graft/tests/text/small_chat.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"

namespace graft::text {

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void write_small_tokenizer(const test::TemporaryFolder& folder, const std::string& chat_template) {
  using io::Json;
  Json vocabulary = Json::object();
  for (char c = ' '; c <= '~'; ++c)
    vocabulary[std::string(1, c)] = vocabulary.size();
  vocabulary["\n"] = vocabulary.size();
  vocabulary["é"] = vocabulary.size();
  Json added = Json::array();
  for (const char* content : {"<s>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"})
    added.push_back({{"id", vocabulary.size() + added.size()},
                     {"content", content},
                     {"special", true},
                     {"normalized", false}});
  const Json tokenizer = {
      {"version", "1.0"},
      {"added_tokens", added},
      {"decoder", {{"type", "Fuse"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", Json::array()}}}};
  write_text(folder / "tokenizer.json", io::to_text(tokenizer));
  Json config = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"add_bos_token", true}};
  if (!chat_template.empty())
    config["chat_template"] = chat_template;
  write_text(folder / "tokenizer_config.json", io::to_text(config));
}

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
