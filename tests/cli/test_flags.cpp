#include <fstream>
#include <nlohmann/json.hpp>

#include "graft/cli/flags.h"
#include "graft/tests/support/test.h"

using namespace graft;
using namespace graft::cli;
using test::check_contains;

namespace {

/// A verb with one flag of each kind.
struct Verb {
  Flags flags{"train", "Trains."};
  std::string model;
  std::string method = "lora";
  int64_t rank = 16;
  double rate = 2e-4;
  std::optional<int64_t> max_steps;
  std::optional<double> epochs;
  double decay = 0;
  double alpha = 32;
  double dropout = 0;
  std::optional<std::string> system;
  std::vector<std::string> stops;
  bool rslora = false;

  Verb() {
    flags.add("model", model, "DIR", "the model");
    flags.choice("method", method, {"lora", "full"}, "what to train");
    flags.synonyms("method", {{"adapter", "lora"}, {"all", "full"}});
    flags.add("lora-r", rank, "N", "the rank", {1, 1024});
    flags.add("learning-rate", rate, "X", "the rate", {0, 1});
    flags.add("weight-decay", decay, "X", "decay", {.least = 0});
    flags.add("max-steps", max_steps, "N", "steps");
    flags.add("epochs", epochs, "E", "epochs");
    flags.add("lora-alpha", alpha, "X", "alpha", {.least = 0, .above_least = true});
    flags.add("lora-dropout", dropout, "P", "dropout", {.least = 0, .most = 1, .below_most = true});
    flags.add("system", system, "TEXT", "the system's turn");
    flags.add("stop", stops, "TEXT", "stops");
    flags.add("use-rslora", rslora, "rsLoRA");
    flags.config_file();
    flags.rivals("max-steps", "epochs");
  }

  bool parse(const std::vector<std::string>& arguments) { return flags.parse(arguments); }
  std::string refusal(const std::vector<std::string>& arguments) {
    return test::message_of<ConfigError>([&] { parse(arguments); });
  }
};

std::filesystem::path config(const test::TemporaryFolder& folder, const std::string& text) {
  const std::filesystem::path path = folder / "run.toml";
  std::ofstream(path) << text;
  return path;
}

}  // namespace

TEST_CASE("flags: another spelling of a word is that word, and is not listed") {
  Verb verb;
  CHECK(verb.parse({"--method", "all"}));
  CHECK(verb.method == "full");
  CHECK(verb.flags.resolved()["method"] == "full");
  CHECK(Verb().refusal({"--method", "alle"}).find("expected lora or full") != std::string::npos);
  CHECK(verb.flags.help(80).find("adapter") == std::string::npos);
}

TEST_CASE("flags: values reach their variables, others keep their defaults") {
  Verb verb;
  CHECK(verb.parse({"--model", "a b", "--lora-r=8", "--use-rslora", "--stop", "x", "--stop", "y"}));
  CHECK(verb.model == "a b");
  CHECK(verb.rank == 8);
  CHECK(verb.rslora);
  CHECK(verb.stops == std::vector<std::string>{"x", "y"});
  CHECK(verb.rate == 2e-4);
  CHECK(!verb.max_steps);
  CHECK(verb.flags.given("lora-r"));
  CHECK(!verb.flags.given("method"));
}

TEST_CASE("flags: names may be typed with underscores, values keep theirs") {
  Verb verb;
  CHECK(verb.parse({"--learning_rate", "1e-3", "--model=my_model", "--lora_r", "4"}));
  CHECK(verb.rate == 1e-3);
  CHECK(verb.model == "my_model");
  CHECK(verb.rank == 4);
}

TEST_CASE("flags: a value may begin with a dash") {
  Verb verb;
  CHECK(verb.parse({"--model", "- a list", "--stop", "-1"}));
  CHECK(verb.model == "- a list");
  CHECK(verb.stops == std::vector<std::string>{"-1"});
}

TEST_CASE("flags: an unknown flag names the nearest one") {
  const std::string message = Verb().refusal({"--lerning-rate", "1"});
  check_contains(message, "train: unknown flag '--lerning-rate'");
  check_contains(message, "did you mean '--learning-rate'?");
  CHECK(Verb().refusal({"--zzzzzzzz"}).find("did you mean") == std::string::npos);
  check_contains(Verb().refusal({"-model", "x"}), "did you mean '--model'?");
}

TEST_CASE("flags: stray arguments, missing and repeated values are refused") {
  check_contains(Verb().refusal({"stray"}), "unexpected argument 'stray'");
  check_contains(Verb().refusal({"--model"}), "--model needs a value");
  check_contains(Verb().refusal({"--model", "--lora-r", "8"}), "--model needs a value");
  check_contains(Verb().refusal({"--model", "a", "--model", "b"}),
                 "--model is given several times");
}

TEST_CASE("flags: several arguments without names, between and behind flags") {
  Flags flags("diff", "Compares.");
  std::vector<std::string> adapters;
  bool json = false;
  std::string model;
  flags.positionals("ADAPTER", adapters, "ADAPTER [ADAPTER]", "folders");
  flags.add("model", model, "DIR", "the model");
  flags.add("json", json, "as JSON");
  flags.parse(std::vector<std::string>{"one", "--model", "m", "two", "--json", "three"});
  CHECK(adapters == std::vector<std::string>{"one", "two", "three"});
  CHECK(model == "m");
  CHECK(json);
  check_contains(flags.help(80), "Usage: graft diff ADAPTER [ADAPTER] [flags]");
}

TEST_CASE("flags: values of the wrong kind are refused with what was expected") {
  check_contains(Verb().refusal({"--lora-r", "eight"}),
                 "--lora-r is 'eight', expected a whole number from 1 to 1024");
  check_contains(Verb().refusal({"--lora-r", "0"}), "expected a whole number from 1 to 1024");
  check_contains(Verb().refusal({"--lora-r", "8.5"}), "--lora-r is '8.5'");
  check_contains(Verb().refusal({"--lora-r", "99999999999999999999"}), "--lora-r is '999");
  check_contains(Verb().refusal({"--learning-rate", "nan"}), "expected a number from 0 to 1");
  check_contains(Verb().refusal({"--learning-rate", "1e-3x"}), "--learning-rate is '1e-3x'");
  check_contains(Verb().refusal({"--weight-decay", "inf"}), "expected a number of at least 0");
  check_contains(Verb().refusal({"--method", "fulll"}),
                 "--method is 'fulll', expected lora or full (did you mean 'full'?)");
}

TEST_CASE("flags: the ends of a range may lie outside it") {
  check_contains(Verb().refusal({"--lora-alpha", "0"}),
                 "--lora-alpha is '0', expected a number above 0");
  check_contains(Verb().refusal({"--lora-dropout", "1"}),
                 "--lora-dropout is '1', expected a number of at least 0 and below 1");
  Verb verb;
  CHECK(verb.parse({"--lora-alpha", "1e-9", "--lora-dropout", "0.999"}));
  CHECK(verb.dropout == 0.999);
}

TEST_CASE("flags: an empty text is refused, but where it differs from none") {
  check_contains(Verb().refusal({"--model", ""}), "train: --model is empty, expected DIR");
  check_contains(Verb().refusal({"--model="}), "--model");
  check_contains(Verb().refusal({"--stop", "a", "--stop", ""}), "--stop is empty, expected TEXT");
  const test::TemporaryFolder folder;
  check_contains(Verb().refusal({"--config", config(folder, "\nstop = ['']\n")}),
                 "run.toml:2: train: --stop is empty");
  Verb verb;
  CHECK(verb.parse({"--system", ""}));
  CHECK(verb.system == "");
  CHECK(verb.flags.resolved()["system"] == "");
  CHECK(!Verb().system);
}

TEST_CASE("flags: one that means nothing beside another is refused, in a file it yields") {
  const auto parsed = [](const std::vector<std::string>& arguments) {
    auto verb = std::make_unique<Verb>();
    verb->parse(arguments);
    if (verb->method == "full")
      verb->flags.set_aside("lora-r", "method", "describes an adapter, which there is not");
    return verb;
  };
  const auto refusal = [&](const std::vector<std::string>& arguments) {
    return test::message_of<ConfigError>([&] { parsed(arguments); });
  };
  CHECK(refusal({"--method", "full", "--lora-r", "8"}) ==
        "train: --lora-r describes an adapter, which there is not");
  const test::TemporaryFolder folder;
  const auto rank = config(folder, "lora-r = 8\n");
  CHECK(parsed({"--config", rank, "--method", "full"})->flags.resolved()["lora-r"].is_null());
  refusal({"--config", rank, "--method", "full", "--lora-r", "8"});
  refusal({"--config", config(folder, "lora-r = 8\nmethod = 'full'\n")});
  CHECK(parsed({"--method", "full"})->flags.resolved_toml().find("lora-r") == std::string::npos);
  CHECK(parsed({"--lora-r", "8"})->flags.resolved()["lora-r"] == 8);
}

TEST_CASE("flags: a required flag that is missing says what belongs there") {
  Verb verb;
  verb.parse({});
  const std::string message =
      test::message_of<ConfigError>([&] { verb.flags.require("model", "a model's folder"); });
  check_contains(message, "train: --model is missing: give a model's folder");
}

TEST_CASE("flags: help shows every flag with its default and fits the width") {
  Verb verb;
  CHECK(!verb.parse({"--help"}));
  const std::string help = verb.flags.help(60);
  for (const char* part : {"--lora-r N", "[16]", "--method lora|full", "[lora]", "[0.0002]",
                           "--use-rslora", "--config FILE"})
    check_contains(help, part);
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);)
    CHECK_MESSAGE(line.size() <= 62, line);  // 30 columns of names and at least 30 of text
}

TEST_CASE("flags: a config file sets flags, the command line wins") {
  const test::TemporaryFolder folder;
  const auto path = config(folder,
                           "model = \"dir # with a hash\"   # a comment\n"
                           "lora_r = 8\n"
                           "learning-rate = 1e-3\n"
                           "use-rslora = true\n"
                           "stop = [\"a\", 'b']\n");
  Verb verb;
  CHECK(verb.parse({"--config", path, "--lora-r", "4"}));
  CHECK(verb.model == "dir # with a hash");
  CHECK(verb.rank == 4);
  CHECK(verb.rate == 1e-3);
  CHECK(verb.rslora);
  CHECK(verb.stops == std::vector<std::string>{"a", "b"});
  CHECK(verb.flags.given("model"));
  CHECK(!verb.flags.typed("model"));
  CHECK(verb.flags.typed("lora-r"));
}

TEST_CASE("flags: a list in a config file stands for a text with commas") {
  const test::TemporaryFolder folder;
  Verb verb;
  CHECK(verb.parse({"--config", config(folder, "model = [\"q_proj\", \"v_proj\"]\n")}));
  CHECK(verb.model == "q_proj,v_proj");
}

TEST_CASE("flags: mistakes in a config file name file and line") {
  const test::TemporaryFolder folder;
  const auto refusal = [&](const std::string& text) {
    return Verb().refusal({"--config", config(folder, text)});
  };
  check_contains(refusal("\nlora_rank = 3\n"),
                 "run.toml:2: graft train has no setting 'lora-rank'");
  check_contains(refusal("lora-r = 'x'\n"), "run.toml:1: train: --lora-r is 'x'");
  check_contains(refusal("config = 'other.toml'\n"), "has no setting 'config'");
}

TEST_CASE("flags: of two rivals one may be given, and a typed one beats the file's") {
  check_contains(Verb().refusal({"--max-steps", "3", "--epochs", "1"}),
                 "--max-steps and --epochs are both given");
  const test::TemporaryFolder folder;
  const auto path = config(folder, "epochs = 3\n");
  Verb verb;
  CHECK(verb.parse({"--config", path, "--max-steps", "7"}));
  CHECK(verb.max_steps == 7);
  CHECK(!verb.epochs);
}

TEST_CASE("flags: resolved settings read back as the same settings") {
  Verb verb;
  verb.parse({"--model", "a \"b\"\\c\nd", "--lora-r", "3", "--learning-rate", "0.1", "--stop", "x",
              "--stop", "y,z", "--use-rslora", "--epochs", "2.5"});
  const test::TemporaryFolder folder;
  Verb again;
  CHECK(again.parse({"--config", config(folder, verb.flags.resolved_toml())}));
  CHECK(again.model == verb.model);
  CHECK(again.rank == 3);
  CHECK(again.rate == 0.1);
  CHECK(again.stops == verb.stops);
  CHECK(again.rslora);
  CHECK(again.epochs == 2.5);
  CHECK(again.flags.resolved() == verb.flags.resolved());
  CHECK(verb.flags.resolved()["max-steps"].is_null());
}

TEST_CASE("flags: what is no setting is left out of the resolved ones") {
  bool dry_run = false;
  Flags flags("train", "");
  flags.add("dry-run", dry_run, "check only");
  flags.not_a_setting("dry-run");
  flags.parse(std::vector<std::string>{"--dry-run"});
  CHECK(dry_run);
  CHECK(flags.resolved().empty());
}
