#include "graft/tests/text/template_cases.h"

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graft/io/gguf.h"
#include "graft/tests/support/test.h"

namespace graft::text {

io::Json template_cases() {
  return io::read_json_file(test::golden("chat_templates.json"), {.max_bytes = 4 << 20});
}

std::tm time_of(const io::Json& cases) {
  const std::time_t seconds = cases["now"].get<std::time_t>();
  std::tm now{};
  gmtime_r(&seconds, &now);
  return now;
}

std::string template_source(const std::string& name) {
  if (name == "smollm2.gguf") {
    const char* file = std::getenv("GRAFT_SMOLLM2_GGUF");
    if (file == nullptr)
      test::skip("GRAFT_SMOLLM2_GGUF is not set");
    return io::GgufFile(file).text("tokenizer.chat_template");
  }
  const auto path = test::data(name);
  if (path.extension() == ".gguf")
    return io::GgufFile(path).text("tokenizer.chat_template");
  if (path.extension() == ".json")
    return io::read_json_file(path)["chat_template"];
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

io::Json ranges_of(const Rendered& rendered) {
  io::Json ranges = io::Json::array();
  for (const auto& [begin, end] : rendered.generation)
    ranges.push_back({begin, end});
  return ranges;
}

std::string fnv1a(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes)
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3;
  std::string digits(16, '0');
  for (size_t i = 16; i-- > 0; hash >>= 4)
    digits[i] = "0123456789abcdef"[hash & 15];
  return digits;
}

}  // namespace graft::text
