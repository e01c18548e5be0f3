// adapter_config.json; what is read is written as a file that is read as the same.
#include "graft/peft/config.h"
#include "graft/tensor/error.h"
#include "graft/tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace graft;
  std::string written;
  const bool read = fuzz::accepted<FormatError>([&] {
    written =
        peft::to_json(peft::parse_lora_config(fuzz::text_of(data, size), "adapter_config.json"));
  });
  if (read)
    fuzz::require(peft::to_json(peft::parse_lora_config(written, "written.json")) == written,
                  "a configuration that was written is read as the same");
  return 0;
}
