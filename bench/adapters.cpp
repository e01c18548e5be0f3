// A hundred adapters on one base: what the hundredth costs beside the first, to load, to switch to
// and in the forwards of another one, and in memory.
//
// The base has the shape of SmolLM2-135M, but for a small vocabulary; the adapters are LoRAs of
// rank 8 on all its linear layers. Needs about 2 GB.
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

#include "benchmark/benchmark.h"

#include "graft/autograd/tape.h"
#include "graft/io/json.h"
#include "graft/models/decoder.h"
#include "graft/nn/init.h"
#include "graft/peft/peft_model.h"
#include "graft/tensor/allocator.h"
#include "graft/train/process_memory.h"

namespace graft::bench {
namespace {

namespace fs = std::filesystem;

constexpr double mib = 1 << 20;

std::unique_ptr<nn::CausalLM> make_base() {
  const io::Json json = {{"model_type", "llama"},      {"architectures", {"LlamaForCausalLM"}},
                         {"vocab_size", 1024},         {"hidden_size", 576},
                         {"intermediate_size", 1536},  {"num_hidden_layers", 30},
                         {"num_attention_heads", 9},   {"num_key_value_heads", 3},
                         {"tie_word_embeddings", true}};
  const models::DecoderConfig config =
      models::read_decoder_config(io::JsonObject(json, "config.json"));
  auto base = std::make_unique<models::Decoder>(config, "base", DType::f32);
  nn::initialize(*base, 0.02, 1, DType::f32);
  nn::set_requires_grad(*base, false);
  nn::pack(*base);
  return base;
}

/// A base with as many adapters as are asked for, called "0", "1", …, all loaded from one folder.
class ManyAdapters {
 public:
  ManyAdapters()
      : folder_(fs::temp_directory_path() / ("graft-bench-" + std::to_string(getpid()))),
        base_(make_base()),
        model_(*base_, {.r = 8, .target_modules = peft::Targets::all_linear()}, "0") {
    model_.save_pretrained(folder_, {"0"});
  }
  ~ManyAdapters() { fs::remove_all(folder_); }

  peft::PeftModel& model() { return model_; }
  void load(const std::string& name) { model_.load_adapter(folder_ / "0", name); }
  /// Loads or deletes until there are so many.
  peft::PeftModel& with(int64_t count) {
    for (; count_ < count; ++count_)
      load(std::to_string(count_));
    for (; count_ > count; --count_)
      model_.delete_adapter(std::to_string(count_ - 1));
    return model_;
  }

 private:
  fs::path folder_;
  std::unique_ptr<nn::CausalLM> base_;
  peft::PeftModel model_;
  int64_t count_ = 1;
};

ManyAdapters& many() {
  static ManyAdapters adapters;
  return adapters;
}

/// What a hundred take, as the allocator counts and as the system does. Comes first: memory that
/// was freed would be used again.
void memory(benchmark::State& state) {
  many().with(0);
  const int64_t before = allocator(cpu).stats().current;
  const int64_t resident = train::resident_bytes();
  for (auto _ : state)
    many().with(100);
  const auto each = [](int64_t bytes) { return static_cast<double>(bytes) / 100 / mib; };
  state.counters["MiB/adapter"] = each(allocator(cpu).stats().current - before);
  state.counters["resident MiB/adapter"] = each(train::resident_bytes() - resident);
}
BENCHMARK(memory)->Iterations(1)->Unit(benchmark::kMillisecond)->UseRealTime();

/// One more adapter, beside as many as the argument says.
void load(benchmark::State& state) {
  many().with(state.range(0));
  const int64_t before = allocator(cpu).stats().current;
  for (auto _ : state) {
    many().load("new");
    state.PauseTiming();
    state.counters["MiB"] = static_cast<double>(allocator(cpu).stats().current - before) / mib;
    many().model().delete_adapter("new");
    state.ResumeTiming();
  }
}
BENCHMARK(load)->ArgName("beside")->Arg(0)->Arg(99)->Unit(benchmark::kMillisecond)->UseRealTime();

/// set_adapter from one of the adapters to the next.
void set_adapter(benchmark::State& state) {
  peft::PeftModel& model = many().with(state.range(0));
  std::vector<std::string> names = model.available_adapters();
  size_t next = 0;
  for (auto _ : state) {
    model.set_adapter({names[next]}, true);
    next = (next + 1) % names.size();
  }
}
BENCHMARK(set_adapter)->ArgName("of")->Arg(2)->Arg(100)->Unit(benchmark::kMicrosecond);

/// A forward of one token under one of the adapters, named in the context.
void forward(benchmark::State& state) {
  const peft::PeftModel& model = many().with(state.range(0));
  const NoGrad no_grad;
  const Tensor ids = Tensor::full({1, 1}, 7, DType::i64);
  nn::Context context;
  context.adapters = nn::AdapterSelection{.names = {std::to_string(state.range(0) - 1)}};
  for (auto _ : state)
    benchmark::DoNotOptimize(model.forward(ids, context));
}
BENCHMARK(forward)->ArgName("of")->Arg(1)->Arg(100)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace graft::bench
