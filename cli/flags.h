// Flags: the command line of one verb. Each flag is declared once, with its default and its help;
// parsing, --help, --config files and the resolved settings all come from that declaration.
//
// Names are written with dashes and may be typed with underscores. A flag on the command line wins
// over the same one in a --config file, which wins over the default. What is wrong is a ConfigError
// that names the flag, and the nearest one where there is no such flag.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "graft/io/json.h"

namespace graft::cli {

/// Smallest and largest value a number may have.
struct WholeRange {
  int64_t least = std::numeric_limits<int64_t>::min();
  int64_t most = std::numeric_limits<int64_t>::max();
};
struct RealRange {  // and always finite
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool above_least = false;  ///< `least` itself is too small
  bool below_most = false;   ///< `most` itself is too large
};

class Flags {
 public:
  /// `verb` is what follows "graft" on the command line; `summary` stands on top of its help.
  Flags(std::string verb, std::string summary);

  /// Flags declared from here on stand under this title in the help.
  void group(std::string title);

  // Each declares a flag whose value goes to `value`, which holds the default and must outlive the
  // Flags. `placeholder` stands for the value in the help. An empty text is refused: what is not
  // wanted is left out.

  void add(std::string name, std::string& value, std::string placeholder, std::string help);
  void add(std::string name, int64_t& value, std::string placeholder, std::string help,
           WholeRange range = {});
  void add(std::string name, double& value, std::string placeholder, std::string help,
           RealRange range = {});
  /// No default: stays unset unless given. A text may be empty, which is not the same as unset.
  void add(std::string name, std::optional<std::string>& value, std::string placeholder,
           std::string help);
  void add(std::string name, std::optional<int64_t>& value, std::string placeholder,
           std::string help, WholeRange range = {});
  void add(std::string name, std::optional<double>& value, std::string placeholder,
           std::string help, RealRange range = {});
  /// May be given several times.
  void add(std::string name, std::vector<std::string>& value, std::string placeholder,
           std::string help);
  /// On or off; takes no value on the command line.
  void add(std::string name, bool& value, std::string help);
  /// One of a few words.
  void choice(std::string name, std::string& value, std::vector<std::string> words,
              std::string help);
  /// Other spellings of words of a choice, each with its word, which `value` then gets. The help
  /// does not list them.
  void synonyms(std::string_view name,
                std::vector<std::pair<std::string_view, std::string_view>> words);
  /// The one argument without a name. Required.
  void positional(std::string name, std::string& value, std::string help);
  /// The same for several: "graft diff ADAPTER [ADAPTER]", where `shown` is what the help says.
  void positionals(std::string name, std::vector<std::string>& values, std::string shown,
                   std::string help);
  /// --config FILE: reads flags from a file, see config_file.h.
  void config_file();
  /// Two flags of which only one may be given; on the command line, it wins over the other one in
  /// a config file.
  void rivals(std::string a, std::string b);
  /// A flag for one call, which `resolved` leaves out: --dry-run.
  void not_a_setting(std::string_view name);
  /// A flag that means nothing beside `other`, because of what `other` is set to: refused where it
  /// is given, `reason` saying why, unless it stands in a config file and `other` on the command
  /// line, which wins. `resolved` has null for it.
  void set_aside(std::string_view name, std::string_view other, std::string_view reason);
  /// Lines shown below the flags: commands to try.
  void examples(std::vector<std::string> lines);

  /// Reads the arguments that follow the verb. False where --help was among them.
  bool parse(std::span<const std::string> arguments);
  /// Reads a config file as --config does. Called after parse.
  void read_config(const std::string& path);
  /// True where the command line or the config file sets the flag.
  bool given(std::string_view name) const;
  /// True where the command line sets it.
  bool typed(std::string_view name) const;
  /// Throws ConfigError where the flag was not given; `meaning` says what belongs there.
  void require(std::string_view name, std::string_view meaning) const;
  /// An error about a flag: "graft train: --lora-r is 0, expected …".
  std::string where(std::string_view name) const;

  /// What --help prints, at most `columns` wide.
  std::string help(int columns) const;
  /// All settings with their values after parsing, unset ones null.
  io::Json resolved() const;
  /// The same as a --config file, without what is unset.
  std::string resolved_toml() const;

 private:
  struct Flag {
    std::string name;  // without dashes
    std::string placeholder;
    std::string help;
    std::string group;
    bool is_switch = false;
    bool is_list = false;
    bool is_positional = false;
    bool is_setting = true;
    bool is_set_aside = false;
    bool is_given = false;
    bool is_typed = false;
    std::function<void(const std::string& text)> set;
    std::function<io::Json()> show;
    std::string default_text;
  };
  Flag& declare(std::string name, std::string placeholder, std::string help);
  /// Throws where the flag's text is empty.
  std::function<void(const std::string& text)> refusal_of_empty(const Flag& flag) const;
  Flag* find(std::string_view name);
  const Flag* find(std::string_view name) const;
  std::vector<std::string> names() const;
  void parse_command_line(std::vector<std::string> arguments);
  void assign(Flag& flag, const std::vector<std::string>& values);
  /// The flag that may not be given besides this one, or nullptr.
  const Flag* rival_of(const Flag& flag) const;
  void check_rivals() const;
  [[noreturn]] void refuse_unknown(const std::string& argument) const;
  std::string usage() const;

  std::string verb_;
  std::string summary_;
  std::string group_ = "Flags";
  std::vector<Flag> flags_;
  std::vector<std::pair<std::string, std::string>> rivals_;
  std::vector<std::string> examples_;
  std::string config_path_;
  bool help_wanted_ = false;
};

}  // namespace graft::cli
