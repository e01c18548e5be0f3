// Merging: an adapter becomes part of its model, for as long as it is wanted or for good.
//
//   merge MODEL ADAPTER OUT
//
// MODEL is a Hugging Face folder or a GGUF file, ADAPTER a folder that graft or PEFT wrote. OUT
// becomes a model that needs no adapter any more.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <string>

#include "graft/autograd/tape.h"
#include "graft/models/load.h"
#include "graft/models/save.h"
#include "graft/peft/peft_model.h"
#include "graft/text/regex.h"

using namespace graft;

namespace {

/// The logits after a few tokens, in f32.
Tensor logits_of(const nn::CausalLM& model) {
  const NoGrad no_grad;
  const Tensor ids = Tensor::from(std::vector<int64_t>{1, 5, 9, 2, 6, 3}, {1, 6});
  return model.logits(ids, {}).value().to(DType::f32);
}

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  for (size_t i = 0; i < a.span<float>().size(); ++i)
    largest = std::max(largest, std::fabs(double{a.span<float>()[i]} - b.span<float>()[i]));
  return largest;
}

void run(const std::string& model_path, const std::string& adapter_path, const std::string& out) {
  const auto base = models::load(model_path);
  auto adapted = peft::PeftModel::from_pretrained(*base, adapter_path, "default", false,
                                                  {.matcher = text::full_matcher()});
  const Tensor apart = logits_of(adapted);

  adapted.merge_adapter();  // a second copy of each adapted layer; the base stays as it is
  std::printf("merged:   logits differ by %.1e\n", largest_difference(logits_of(adapted), apart));

  adapted.unmerge_adapter();  // bit for bit
  std::printf("unmerged: logits differ by %.1e\n", largest_difference(logits_of(adapted), apart));

  nn::CausalLM& merged = adapted.merge_and_unload();  // *base, with other numbers
  models::save_pretrained(merged, out, {.dtype = DType::f32});

  const auto again = models::load(out);
  std::printf("saved:    logits differ by %.1e\n", largest_difference(logits_of(*again), apart));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: merge MODEL ADAPTER OUT\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3]);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "merge: %s\n", error.what());
    return 1;
  }
}
