// The chat templates that come with a tokenizer: choosing one, saving them.
#include "graft/io/file.h"
#include "graft/text/chat.h"
#include "graft/text/tokenizer_parts.h"

namespace graft::text {
namespace {

namespace fs = std::filesystem;

constexpr int64_t max_chat_template_bytes = int64_t{1} << 20;

std::string names_of(const std::map<std::string, std::string>& templates) {
  std::string names;
  for (const auto& [name, source] : templates)
    names += concat(names.empty() ? "" : ", ", name);
  return names.empty() ? "it has none" : "it has " + names;
}

}  // namespace

void Tokenizer::choose_chat_template(const std::string& name_or_file) {
  std::map<std::string, std::string>& templates = parts_->settings.chat_templates;
  const auto named = templates.find(name_or_file);
  GRAFT_CHECK(named != templates.end() || fs::is_regular_file(name_or_file), ConfigError,
              "chat template: '", name_or_file, "' is neither a file nor one of ", source(), " (",
              names_of(templates), ")");
  const bool is_file = named == templates.end();
  std::string chosen =
      is_file ? io::read_file(name_or_file, max_chat_template_bytes) : named->second;
  templates = {{"default", std::move(chosen)}};
  parts_->chosen_template_source = is_file ? name_or_file : source();
  parts_->add_stop_id(end_of_turn(*this, templates.at("default")));
}

const std::string& Tokenizer::chat_template_source() const {
  const std::string& chosen = parts_->chosen_template_source;
  return chosen.empty() ? source() : chosen;
}

/// Those in a folder of their own, or the one that was chosen. The others stand in the files that
/// are copied.
void Tokenizer::save_chat_templates(const fs::path& folder) const {
  if (!parts_->chosen_template_source.empty()) {
    io::write_file_atomically(folder / "chat_template.jinja", chat_templates().at("default"));
    return;
  }
  const fs::path others = fs::path(parts_->source).parent_path() / chat_template_folder;
  if (fs::path(parts_->source).extension() == ".gguf" || !fs::is_directory(others))
    return;
  fs::create_directories(folder / chat_template_folder);
  for (const fs::directory_entry& entry : fs::directory_iterator(others))
    if (entry.path().extension() == ".jinja")
      io::write_file_atomically(folder / chat_template_folder / entry.path().filename(),
                                io::read_file(entry.path(), max_chat_template_bytes));
}

}  // namespace graft::text
