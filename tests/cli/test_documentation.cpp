// docs/command.md names every flag there is, and none that there is not.

#include <cstdlib>
#include <regex>
#include <set>

#include "graft/cli/commands.h"
#include "graft/tests/support/command.h"

using namespace graft;
using namespace graft::test;

namespace {

std::set<std::string> flags_in(const std::string& text) {
  static const std::regex flag("--[a-z][a-z0-9-]*");
  return {std::sregex_token_iterator(text.begin(), text.end(), flag), {}};
}

std::string documentation() {
  const char* source = std::getenv("GRAFT_TEST_SOURCE");
  REQUIRE(source != nullptr);
  return content_of(std::filesystem::path(source) / "docs/command.md");
}

/// The flags at the start of the lines of --help: those the verb declares.
std::set<std::string> declared_flags(const cli::Verb& verb) {
  std::set<std::string> flags;
  std::istringstream lines(run_graft({std::string(verb.name), "--help"}).out);
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("  --"))
      flags.insert(line.substr(2, line.find_first_of(" \n", 2) - 2));
  return flags;
}

}  // namespace

TEST_CASE("documentation: every flag of every verb is in docs/command.md, and no other") {
  std::set<std::string> declared = {"--flag", "--help"};  // how flags are written, and all verbs'
  for (const cli::Verb& verb : cli::verbs())
    declared.merge(declared_flags(verb));
  CHECK(declared.size() > 50);
  const std::set<std::string> documented = flags_in(documentation());
  for (const std::string& flag : declared)
    CHECK_MESSAGE(documented.contains(flag), flag, " is not in docs/command.md");
  for (const std::string& flag : documented)
    CHECK_MESSAGE((declared.contains(flag) || flag == "--lora"), flag, " is no flag");  // --lora_r
}
