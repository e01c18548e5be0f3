// Combining: one adapter made of two, in three ways.
//
//   combine MODEL ADAPTER ADAPTER OUT
//
// MODEL is a Hugging Face folder or a GGUF file; the adapters are folders that graft or PEFT wrote.
// OUT gets a folder for each of the results, which PEFT loads too.
#include <cstdio>
#include <exception>
#include <string>

#include "graft/models/load.h"
#include "graft/peft/peft_model.h"
#include "graft/text/regex.h"

using namespace graft;

namespace {

void describe(const std::string& name, const peft::CombineReport& report) {
  std::printf("%-6s rank %2ld, leaves out %.2f%% of the energy\n", name.c_str(), report.rank,
              100 * report.discarded_share());
}

void run(const std::string& model_path, const std::string& one, const std::string& other,
         const std::string& out) {
  const auto base = models::load(model_path);
  auto model =
      peft::PeftModel::from_pretrained(*base, one, "one", false, {.matcher = text::full_matcher()});
  model.load_adapter(other, "other");
  const std::vector<std::string> both = {"one", "other"};

  // The exact weighted sum; the ranks add up.
  describe("sum", model.add_weighted_adapter(both, {0.7, 0.3}, "sum",
                                             {.combination_type = peft::Combination::cat}));
  // The same in a lower rank.
  describe("small",
           model.add_weighted_adapter(both, {0.7, 0.3}, "small",
                                      {.combination_type = peft::Combination::svd, .svd_rank = 2}));
  // Of each the larger half, and of those numbers the ones that agree.
  describe("ties", model.add_weighted_adapter(
                       both, {1, 1}, "ties",
                       {.combination_type = peft::Combination::ties, .density = 0.5}));

  model.set_adapter({"sum"}, true);  // to be used at once
  model.save_pretrained(out, {"sum", "small", "ties"});
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: combine MODEL ADAPTER ADAPTER OUT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argv[4]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "combine: %s\n", error.what());
    return 1;
  }
}
