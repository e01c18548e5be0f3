// graft combine --search: adapters trained on two halves of some data, combined for both.

#include <algorithm>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/tests/workflows/workflow.h"

using namespace graft;
using namespace graft::test;
namespace fs = std::filesystem;

namespace {

using Json = nlohmann::json;

const char* const robots[] = {"Once upon a time a robot ate soup.", "A robot ate all the soup."};
const char* const whales[] = {"Lily saw a blue whale at sea.", "The blue whale saw Lily at sea."};

/// Two adapters, each trained on one kind of text, and a file with both.
class TwoHalves {
 public:
  TwoHalves() {
    for (const auto& [name, texts] : {std::pair{"robots", robots}, {"whales", whales}}) {
      for (int i = 0; i < 2; ++i) {
        const std::string line = Json{{"text", texts[i]}}.dump() + "\n";
        std::ofstream(folder_ / (std::string(name) + ".jsonl"), std::ios::app) << line;
        std::ofstream(data_file(), std::ios::app) << line;
      }
      check_exit(run_graft({"train", "--model", model(), "--data",
                            folder_ / (std::string(name) + ".jsonl"), "--out", folder_ / name,
                            "--max-steps", "8", "--learning-rate", "0.01", "--lora-r", "4",
                            "--batch-size", "2"}),
                 0);
    }
  }

  static fs::path model() { return data("models/stories260k/hf"); }
  fs::path data_file() const { return folder_ / "both.jsonl"; }
  fs::path operator/(const std::string& name) const { return folder_ / name; }

  Arguments search(const fs::path& out, const Arguments& more) const {
    return joined({"combine", "--model", model(), "--adapter", folder_ / "robots", "--adapter",
                   folder_ / "whales", "--search", data_file(), "--out", out},
                  more);
  }
  /// The loss that graft eval has with these adapters.
  double loss(const Arguments& adapters) const {
    Arguments arguments = {"eval", "--model", model(), "--data", data_file(), "--json"};
    for (const std::string& adapter : adapters)
      arguments = joined(arguments, {"--adapter", adapter});
    return json_of(run_graft(arguments))["loss"];
  }

 private:
  TemporaryFolder folder_;
};

/// The trial of the base, or of one adapter, alone.
Json alone(const Json& trials, const std::string& adapter) {
  for (const Json& trial : trials) {
    bool fits = trial["method"].is_null();
    for (const auto& [name, weight] : trial["weights"].items())
      fits = fits && weight == (name == adapter ? 1 : 0);
    if (fits)
      return trial;
  }
  FAIL("nothing was measured of ", adapter, " alone");
  return {};
}

}  // namespace

TEST_CASE("combine --search: what is written is the best that was measured, and as good in eval") {
  const TwoHalves halves;
  const fs::path out = halves / "out";
  const CommandResult result = run_graft(halves.search(out, {"--json"}));
  check_exit(result, 0);
  const Json json = json_of(result);
  const Json& search = json["search"];
  const Json& trials = search["trials"];
  CHECK(search["end"] == "limit");
  CHECK(search["samples"] == 4);
  CHECK(trials.size() == 50 + 3);
  const auto loss_of = [](const Json& trial) { return trial["loss"].get<double>(); };
  CHECK(std::ranges::is_sorted(trials, {}, loss_of));

  CHECK(json["method"] == trials[0]["method"]);
  CHECK(trials[0]["loss"] == halves.loss({out}));
  for (const std::string name : {"robots", "whales"}) {
    CHECK(alone(trials, name)["loss"] == halves.loss({halves / name}));
    CHECK(loss_of(trials[0]) < loss_of(alone(trials, name)));  // each knows half of the texts
  }
  CHECK(alone(trials, "")["loss"] == halves.loss({}));

  CHECK(Json::parse(content_of(out / "combine_search.json")) == search);
  CHECK(snapshot(out).size() == 4);
  CHECK(std::ranges::count(result.err, '\n') == 53);  // a line for each trial
  // The record of a search goes with the adapter it was made for.
  check_exit(run_graft({"combine", "--adapter", halves / "robots", "--out", out, "--overwrite"}),
             0);
  CHECK(snapshot(out).size() == 3);

  // The same again, with the table for people.
  const CommandResult shown = run_graft(halves.search(halves / "again", {"--threads", "1"}));
  check_exit(shown, 0);
  for (const char* part : {"4 samples, ", "50 combinations, as many as --search-limit allows",
                           "method           density  robots  whales  rank    loss  perplexity\n",
                           "\n  robots alone", "\n  base alone", "\nwrote "})
    check_contains(shown.out, part);
  CHECK(Json::parse(content_of(halves / "again" / "combine_search.json")) == search);
}

TEST_CASE("combine --search: where an adapter alone is the best it is written as it is") {
  const TwoHalves halves;
  fs::copy_file(halves / "robots.jsonl", halves.data_file(), fs::copy_options::overwrite_existing);
  const fs::path out = halves / "out";
  const CommandResult result =
      run_graft(halves.search(out, {"--search-types", "linear", "--search-weights", "1"}));
  check_exit(result, 0);
  check_contains(result.out, ": robots alone, rank 4\n");
  check_contains(result.out, "  1 combination\n");
  CHECK(content_of(out / "adapter_model.safetensors") ==
        content_of(halves / "robots" / "adapter_model.safetensors"));
  const Json json = json_of(run_graft(halves.search(
      halves / "json", {"--search-types", "linear", "--search-weights", "1", "--json"})));
  CHECK(json["method"].is_null());
  CHECK(json["rank"] == 4);
}

TEST_CASE(
    "combine --search: what was measured is not lost with an adapter that cannot be written") {
  const TwoHalves halves;
  const fs::path out = halves / "out";
  CommandOptions small_disk;
  small_disk.max_file_bytes = 10'000;
  for (const bool is_json : {false, true}) {
    const Arguments more = is_json ? Arguments{"--json"} : Arguments{};
    const CommandResult result =
        run_graft(halves.search(out, joined({"--search-limit", "3"}, more)), small_disk);
    check_exit(result, 4);
    CHECK(!fs::exists(out / "adapter_config.json"));
    if (is_json) {
      const Json json = Json::parse(result.out);
      CHECK(json.size() == 1);
      CHECK(json["search"]["trials"].size() == 3 + 3);
    } else {
      check_contains(result.out, "\n  robots alone");
    }
  }
}

TEST_CASE("combine --search: a base that is better than every adapter is said") {
  const TwoHalves halves;
  // What the model was trained on, and the adapters unlearn.
  std::ofstream(halves.data_file())
      << R"({"text": "Once upon a time, there was a little girl named Lily. She loved to play."})";
  const CommandResult result = run_graft(
      halves.search(halves / "out", {"--search-types", "linear", "--search-weights", "1"}));
  check_exit(result, 0);
  check_contains(result.err, "the base alone has the lowest loss: on these data no adapter helps");
  CHECK(fs::exists(halves / "out" / "adapter_config.json"));
}

TEST_CASE("combine --search: a signal leaves the best so far") {
  const TwoHalves halves;
  const fs::path out = halves / "out";
  RunningCommand command(halves.search(
      out, {"--search-limit", "100000", "--search-weights",
            "0.05,0.1,0.15,0.2,0.25,0.3,0.35,0.4,0.45,0.5,0.55,0.6,0.65,0.7,0.75,0.8,0.85,0.9"}));
  command.wait_for_error_lines(5);
  command.send(SIGINT);
  const CommandResult result = command.finish();
  check_exit(result, 130);
  check_contains(result.out, ", then a signal ended the search");
  const Json search = Json::parse(content_of(out / "combine_search.json"));
  CHECK(search["end"] == "stopped");
  CHECK(search["trials"].size() >= 5);
  CHECK(search["trials"][0]["loss"] == halves.loss({out}));
}

TEST_CASE("combine --search: wrong settings are refused by name, and bad data by line") {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "data.jsonl") << "{\"input_ids\": [1, 2, 3]}\n";
  std::ofstream(scratch / "unlabelled.jsonl")
      << "{\"input_ids\": [1, 2, 3], \"labels\": [-100, -100, -100]}\n";
  const auto refused = [&](int exit_code, const Arguments& more, const char* part) {
    const CommandResult result =
        run_graft(joined({"combine", "--adapter", "a=" + golden("peft_files/q_v").string(), "--out",
                          scratch / "out"},
                         more));
    check_exit(result, exit_code);
    check_contains(result.err, part);
    CHECK(!fs::exists(scratch / "out"));
  };
  const Arguments other = {"--adapter", "b=" + golden("peft_files/all_linear").string()};
  const Arguments model = {"--model", golden("models/gqa")};
  const Arguments search = {"--search", scratch / "data.jsonl"};
  const Arguments all = joined(joined(other, model), search);
  refused(2, joined(other, search), "--search measures adapters on their model; give it (--model)");
  refused(3, joined(joined(other, model), {"--search", scratch / "unlabelled.jsonl"}),
          "unlabelled.jsonl:1");
  refused(2, joined(model, search), "1 given, at least two adapters");
  refused(2, joined(joined(model, search), {"--adapter", other[1] + "@0.5"}), "leave @0.5 out");
  refused(2, joined(all, {"--method", "ties"}), "see --search-types");
  refused(2, joined(all, {"--density", "0.5"}), "see --search-densities");
  refused(2, joined(all, {"--search-types", "linear,tie"}), "did you mean 'ties'?");
  refused(2, joined(all, {"--search-weights", "1,x"}), "--search-weights is '1,x'");
  refused(2, joined(all, {"--search-densities", "0"}), "density is 0");
  refused(2, joined(joined(other, model), {"--search-limit", "3"}), "is for --search");
  refused(2, joined(joined(other, model), {"--raw"}), "--raw is for --search");
  refused(2, joined(other, {"--quant", "nf4"}), "says how --model is held");
}

TEST_CASE("combine --search: where nothing has a finite loss nothing is written") {
  const TemporaryFolder scratch;
  std::ofstream(scratch / "data.jsonl") << "{\"input_ids\": [1, 2, 3]}\n";
  Arguments arguments = {
      "combine", "--model",      golden("models/gqa"), "--search", scratch / "data.jsonl",
      "--out",   scratch / "out"};
  for (const char* name : {"one", "other"}) {
    fs::copy(golden("peft_files/q_v"), scratch / name);
    std::string bytes = content_of(scratch / name / "adapter_model.safetensors");
    bytes.replace(bytes.size() - 4, 4, std::string("\x00\x00\xc0\x7f", 4));
    std::ofstream(scratch / name / "adapter_model.safetensors", std::ios::binary) << bytes;
    arguments = joined(arguments, {"--adapter", scratch / name});
  }
  const CommandResult result = run_graft(arguments);
  check_exit(result, 5);
  check_contains(result.err, "no adapter and no combination of them has a loss on");
  CHECK(!fs::exists(scratch / "out"));
}
