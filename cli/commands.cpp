#include "graft/cli/commands.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <iostream>

#include "graft/cli/interrupt.h"
#include "graft/cli/terminal.h"
#include "graft/cli/version.h"
#include "graft/tensor/error.h"

namespace graft::cli {
namespace {

constexpr std::array all_verbs = {
    Verb{"train", "fine-tune a model: LoRA adapter or all weights", run_train},
    Verb{"data", "show what training makes of a data set, and its faults", run_data},
    Verb{"generate", "answer one prompt or a file of prompts", run_generate},
    Verb{"chat", "talk to a model, with and without its adapter", run_chat},
    Verb{"eval", "loss, exact match or multiple choice on a data set", run_eval},
    Verb{"logits", "write a model's logits to a file, to compare implementations", run_logits},
    Verb{"merge", "write a model with adapters in its weights", run_merge},
    Verb{"combine", "make one adapter of several", run_combine},
    Verb{"diff", "compare two adapters, or measure one", run_diff},
    Verb{"extract", "make an adapter of what full fine-tuning changed", run_extract},
    Verb{"quantize", "write a model in 4 bits, as bitsandbytes stores it", run_quantize},
    Verb{"convert", "bring models and adapters into GGUF's form, and back", run_convert},
    Verb{"inspect", "say what a model, adapter, data set or checkpoint holds", run_inspect},
    Verb{"doctor", "check what this build and this machine can do", run_doctor},
};

std::string help() {
  std::string text =
      "graft fine-tunes language models with LoRA: no Python, one command.\n\n"
      "Usage: graft VERB [flags]\n\nVerbs\n";
  for (const Verb& verb : all_verbs)
    text += "  " + std::string(verb.name) + std::string(10 - verb.name.size(), ' ') +
            std::string(verb.summary) + "\n";
  return text +
         "\n'graft VERB --help' lists a verb's flags, 'graft --version' the version.\n\n"
         "  graft train --model MODEL --data train.jsonl --out my-adapter\n"
         "  graft chat --model MODEL --adapter my-adapter\n";
}

ExitCode dispatch(Arguments arguments) {
  if (arguments.empty()) {
    std::cerr << help();
    return ExitCode::usage;
  }
  const std::string& name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") {
    std::cout << help();
    return ExitCode::done;
  }
  if (name == "--version") {
    std::cout << "graft " << version << "\n";
    return ExitCode::done;
  }
  const auto verb = std::find_if(all_verbs.begin(), all_verbs.end(),
                                 [&](const Verb& candidate) { return candidate.name == name; });
  GRAFT_CHECK(verb != all_verbs.end(), ConfigError, "graft has no verb '", shown(name), "'",
              did_you_mean(name, verb_names()), "; 'graft --help' lists them");
  return verb->run(arguments.subspan(1));
}

}  // namespace

std::span<const Verb> verbs() {
  return all_verbs;
}

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const Verb& verb : all_verbs)
    names.emplace_back(verb.name);
  return names;
}

ExitCode run_command(Arguments arguments) {
  survive_file_size_limits();
  try {
    const ExitCode code = dispatch(arguments);
    // A full disk behind stdout shows only here.
    GRAFT_CHECK(std::cout.flush() && std::fflush(stdout) == 0, IoError,
                "stdout: the result could not be written; is the disk full?");
    return code;
  } catch (const std::exception& error) {
    std::cout.flush();
    const bool no_memory = dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
    const std::string what = no_memory ? "out of memory" : error.what();
    std::cerr << terminal_of(2).red("graft: error:") << " " << what << "\n";
    return exit_code_of(error);
  }
}

}  // namespace graft::cli
