#include "graft/tests/text/small_tokenizer.h"

#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/io/json.h"

namespace graft::text {

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

void write_small_tokenizer(const std::filesystem::path& folder, const std::string& chat_template) {
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

}  // namespace graft::text
