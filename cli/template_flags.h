// The flags about the chat template, which every verb that renders conversations shares.
#pragma once

#include <memory>
#include <string>

#include "graft/cli/flags.h"
#include "graft/io/json.h"
#include "graft/text/tokenizer.h"

namespace graft::cli {

struct TemplateFlags {
  std::string chat_template;
  std::string variables;

  bool any() const { return !chat_template.empty() || !variables.empty(); }
};

/// Declares --chat-template and --chat-template-kwargs, in the present group, as rivals of --raw,
/// which goes without a template, where the verb has that flag.
void add_template_flags(Flags& flags, TemplateFlags& values, bool has_raw);

/// Gives the tokenizer the template that --chat-template names. Throws as choose_chat_template.
void choose_template(const TemplateFlags& values, text::Tokenizer& tokenizer);

/// The object of --chat-template-kwargs, empty without one. Throws ConfigError where it is none.
std::shared_ptr<const io::Json> template_variables(const TemplateFlags& values);

}  // namespace graft::cli
