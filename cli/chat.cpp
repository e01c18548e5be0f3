// graft chat: a conversation with a model, with its adapter or without.

#include <iostream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "graft/cli/answer.h"
#include "graft/cli/commands.h"
#include "graft/cli/flags.h"
#include "graft/cli/interrupt.h"
#include "graft/cli/model_flags.h"
#include "graft/cli/template_flags.h"
#include "graft/cli/terminal.h"
#include "graft/tensor/error.h"
#include "graft/text/prompt.h"

namespace graft::cli {
namespace {

constexpr const char* commands_help =
    "  /adapter on|off   answer with the adapters, or as the base model does\n"
    "  /adapter NAME…    answer with these of several; /adapter alone lists them\n"
    "  /reset            forget the conversation\n"
    "  /help             these lines\n"
    "  /exit             leave (as does the end of the input)\n";

std::string trimmed(const std::string& line) {
  const size_t begin = line.find_first_not_of(" \t\r");
  return begin == line.npos ? "" : line.substr(begin, line.find_last_not_of(" \t\r") - begin + 1);
}

/// The conversation and its commands.
class Chat {
 public:
  Chat(const LoadedModel& loaded, const text::Tokenizer& tokenizer, const AnswerFlags& flags,
       const TemplateFlags& chat_template, std::optional<std::string> system)
      : loaded_(loaded),
        tokenizer_(tokenizer),
        prompter_(tokenizer, {.template_variables = template_variables(chat_template)}),
        flags_(flags),
        system_(std::move(system)) {
    reset();
  }

  void run() {
    greet();
    for (std::string line; !stop_requested() && read_line(line);) {
      line = trimmed(line);
      if (line == "/exit" || line == "/quit")
        return;
      try {
        if (line.starts_with('/'))
          command(line);
        else if (!line.empty())
          reply(line);
      } catch (const ConfigError& error) {
        // Too long, most often: the conversation stays as it was before that turn.
        std::cerr << terminal_.red("graft: error:") << " " << error.what() << std::endl;
      }
    }
  }

 private:
  void greet() const {
    std::cerr << terminal_.bold("graft chat") << ": type a message"
              << (loaded_.adapted ? ", /adapter off to compare with the base model" : "")
              << ", /help or /exit"
              << (prompter_.uses_template()
                      ? ""
                      : "; the model has no chat template: each message is continued as it is")
              << "\n";
  }

  /// False at the end of the input, or at a signal while waiting.
  bool read_line(std::string& line) const {
    std::cerr << terminal_.green(label() + "> ") << std::flush;
    const bool read = static_cast<bool>(std::getline(std::cin, line));
    if (!read || stop_requested())
      std::cerr << std::endl;
    return read && !stop_requested();
  }

  std::string label() const {
    if (!loaded_.adapted)
      return "you";
    const std::vector<std::string> all = loaded_.adapted->available_adapters();
    const std::vector<std::string> active = loaded_.adapted->active_adapters();
    if (all.size() == 1)
      return "you (" + (all[0] == AdapterName{}.name ? "adapter" : shown(all[0])) +
             (active.empty() ? " off)" : " on)");
    return "you (" + (active.empty() ? "base" : listed(active, " + ")) + ")";
  }

  static std::string listed(const std::vector<std::string>& names, const char* between) {
    std::string text;
    for (const std::string& name : names)
      text += (text.empty() ? "" : between) + shown(name);
    return text;
  }

  /// /adapter: what answers from now on. `words` is what follows it.
  void choose_adapters(const std::string& words) {
    GRAFT_CHECK(loaded_.adapted != nullptr, ConfigError,
                "chat: there is no adapter; start with --adapter DIR");
    const std::vector<std::string> all = loaded_.adapted->available_adapters();
    std::istringstream stream(words);
    std::vector<std::string> names{std::istream_iterator<std::string>(stream), {}};
    if (names.empty())
      std::cerr << "adapters: " << listed(all, ", ") << "\n";
    else if (names == std::vector<std::string>{"on"})
      loaded_.adapted->set_adapter(all, true);
    else if (names == std::vector<std::string>{"off"})
      loaded_.adapted->set_adapter({}, true);
    else
      loaded_.adapted->set_adapter(std::move(names), true);
  }

  void reset() {
    turns_.clear();
    if (system_)
      turns_.push_back({"system", *system_});
  }

  void command(const std::string& line) {
    if (line == "/reset") {
      reset();
      std::cerr << "the conversation is forgotten\n";
    } else if (line == "/adapter" || line.starts_with("/adapter ")) {
      choose_adapters(line.substr(std::string_view("/adapter").size()));
    } else {
      std::cerr << (line == "/help" ? "" : "there is no command " + shown(line) + "\n")
                << commands_help;
    }
  }

  void reply(const std::string& message) {
    std::vector<text::Message> turns =
        prompter_.uses_template() ? turns_ : std::vector<text::Message>();
    turns.push_back({"user", message});
    const Prompts prompt{.ids = {prompter_.from_turns(turns).ids},
                         .goes_on = !prompter_.uses_template()};
    check_length(std::ssize(prompt.ids[0]), turns.size() > (system_ ? 2 : 1));
    note_uninvoked(loaded_.model(), prompt.ids);
    const Terminal out = terminal_of(1);
    const auto show = [&](size_t, const std::string& piece) {
      std::cout << (out.interactive ? shown(piece) : piece) << std::flush;
    };
    const Answers result = answer(loaded_.model(), tokenizer_, prompt, flags_, std::nullopt, show);
    std::cout << std::endl;
    if (stop_requested() && interrupted_exit_code() == ExitCode::interrupted)
      clear_stop_request();  // Ctrl-C ended this answer, not the conversation
    turns.push_back({"assistant", result.answers.at(0).text});
    turns_ = std::move(turns);
    if (out.interactive)
      std::cerr << terminal_.dim(summary(result)) << "\n";
  }

  /// The model needs a position for each token of the conversation and of its answer.
  void check_length(int64_t tokens, bool has_earlier_turns) const {
    const int64_t positions = loaded_.model().info().max_positions;
    GRAFT_CHECK(tokens < positions, ConfigError, "chat: the conversation has ", grouped(tokens),
                " tokens with this message, but the model has ", grouped(positions), " positions; ",
                has_earlier_turns ? "/reset begins a new one" : "shorten the message");
  }

  std::string summary(const Answers& result) const {
    const Answer& answer = result.answers.at(0);
    const std::string text = counted(std::ssize(answer.ids), "token") + ", " +
                             number_text(result.times.tokens_per_second(), 3) + " a second";
    if (answer.reason != models::StopReason::length)
      return text;
    return text + ", " + cut_text(answer, flags_, loaded_.model().info().max_positions);
  }

  const LoadedModel& loaded_;
  const text::Tokenizer& tokenizer_;
  const text::Prompter prompter_;
  const AnswerFlags& flags_;
  const std::optional<std::string> system_;
  const Terminal terminal_ = terminal_of(2);
  std::vector<text::Message> turns_;
};

}  // namespace

ExitCode run_chat(Arguments arguments) {
  ModelFlags model_flags;
  TemplateFlags template_flags;
  AnswerFlags answer_flags;
  answer_flags.max_new_tokens = 512;
  std::optional<std::string> system;
  Flags flags("chat",
              "A conversation with a model. /adapter off answers as the base model does, for "
              "comparison; Ctrl-C ends an answer, or the conversation.");
  add_model_flags(flags, model_flags);
  flags.group("Prompt");
  flags.add("system", system, "TEXT", "the system's turn before the conversation");
  add_template_flags(flags, template_flags, false);
  add_answer_flags(flags, answer_flags);
  flags.config_file();
  flags.examples({"graft chat --model MODEL --adapter my-adapter"});
  if (!flags.parse(arguments)) {
    std::cout << flags.help(terminal_of(1).columns);
    return ExitCode::done;
  }
  apply_model_flags(flags, model_flags);
  check_answer_flags(flags, answer_flags);
  text::Tokenizer tokenizer = text::Tokenizer::load(model_flags.model);
  choose_template(template_flags, tokenizer);
  GRAFT_CHECK(!system || tokenizer.chat_templates().contains("default"), ConfigError,
              "chat: --system is a turn of the chat template, and ", tokenizer.source(),
              " has none; leave it out, or take a model that is made for chats");
  const LoadedModel loaded = load_model(model_flags);
  watch_signals();
  Chat(loaded, tokenizer, answer_flags, template_flags, system).run();
  return stop_requested() ? interrupted_exit_code() : ExitCode::done;
}

}  // namespace graft::cli
