#include "graft/cli/data_preview.h"

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "graft/cli/terminal.h"
#include "graft/text/stream_decoder.h"

namespace graft::cli {
namespace {

/// A run of tokens that are all learnt, or all not.
struct Stretch {
  bool learnt = false;
  std::string text;
};

/// Line breaks and tabs so that they can be seen.
std::string visible(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '\n')
      result += "⏎\n";
    else if (c == '\t')
      result += "⇥";
    else
      result += c;
  }
  return result;
}

/// The sample as text. A character of several tokens stands with the last of them.
std::vector<Stretch> stretches_of(const text::Sample& sample, const DataVerb& verb) {
  std::optional<text::StreamDecoder> decoder;
  if (verb.tokenizer != nullptr)
    decoder.emplace(*verb.tokenizer, false);
  std::vector<Stretch> result;
  for (size_t i = 0; i < sample.input_ids.size(); ++i) {
    const bool learnt = sample.labels[i] != text::no_label;
    if (result.empty() || result.back().learnt != learnt)
      result.push_back({learnt, {}});
    std::string& text = result.back().text;
    if (!decoder) {
      text += (i == 0 ? "" : " ") + std::to_string(sample.input_ids[i]);
      continue;
    }
    if (verb.values.tokens && i > 0)
      text += "|";
    text += decoder->push(sample.input_ids[i]);
    if (i + 1 == sample.input_ids.size())
      text += decoder->finish();
  }
  return result;
}

/// In colour what is learnt is green and the rest dim; without it stands in ⟦ ⟧.
std::string text_of(const std::vector<Stretch>& stretches, const Terminal& terminal) {
  std::string text;
  for (const Stretch& stretch : stretches) {
    const std::string safe = visible(shown(stretch.text));
    if (terminal.colour)
      text += stretch.learnt ? terminal.green(safe) : terminal.dim(safe);
    else
      text += stretch.learnt ? "⟦" + safe + "⟧" : safe;
  }
  return text;
}

io::Json json_of(const text::Sample& sample, const std::vector<Stretch>& stretches) {
  io::Json parts = io::Json::array();
  for (const Stretch& stretch : stretches)
    parts.push_back({{"learnt", stretch.learnt}, {"text", stretch.text}});
  return {{"line", sample.line},
          {"input_ids", sample.input_ids},
          {"labels", sample.labels},
          {"tokens", sample.input_ids.size()},
          {"trained_tokens", text::count_trained_tokens(sample)},
          {"parts", parts}};
}

std::string indented(const std::string& text) {
  std::string result = "  ";
  for (size_t i = 0; i < text.size(); ++i) {
    result += text[i];
    if (text[i] == '\n' && i + 1 < text.size())
      result += "  ";
  }
  return result;
}

std::string heading(const text::DatasetReader& reader, const std::filesystem::path& file,
                    const Terminal& terminal) {
  Panel panel("graft data preview " + file.string());
  panel.row("format",
            concat(text::name_of(reader.format()),
                   reader.uses_chat_template() ? ", through the model's chat template" : "",
                   ", loss on ", text::name_of(reader.loss_on())));
  panel.row("learnt",
            terminal.colour ? terminal.green("green") + ", the rest is not" : "what stands in ⟦ ⟧");
  return panel.text(terminal);
}

/// Where a sample begins: a line, and in a record that was split the token.
std::string place_text(const text::Sample& sample, const text::SampleOrigin& origin) {
  const std::string line = concat("line ", sample.line);
  return origin.tokens.first == 0 ? line
                                  : concat(line, ", from token ", grouped(origin.tokens.first + 1));
}

void print(const text::Sample& sample, const std::string& place,
           const std::vector<Stretch>& stretches, const Terminal& terminal) {
  std::cout << "\n"
            << terminal.bold(place) << ": " << counted(std::ssize(sample.input_ids), "token")
            << ", " << grouped(text::count_trained_tokens(sample)) << " of them learnt\n\n"
            << indented(text_of(stretches, terminal)) << "\n";
}

}  // namespace

ExitCode preview_data(const DataVerb& verb) {
  const Terminal terminal = terminal_of(1);
  const std::filesystem::path& file = verb.files.front();
  text::DatasetReader reader(file, verb.tokenizer, verb.options());
  io::Json samples = io::Json::array();
  int64_t count = 0;
  while (count < verb.values.count) {
    const std::optional<text::Sample> sample = reader.next();
    if (!sample)
      break;
    if (sample->line < verb.values.line)
      continue;
    const std::vector<Stretch> stretches = stretches_of(*sample, verb);
    if (verb.values.json) {
      samples.push_back(json_of(*sample, stretches));
    } else {
      if (count == 0)
        std::cout << heading(reader, file, terminal);
      print(*sample, place_text(*sample, reader.origin()), stretches, terminal);
    }
    ++count;
  }
  if (count == 0)
    throw verb.values.line > 1
        ? FormatError(file.string(), -1,
                      concat("there is no sample from line ", verb.values.line, " on"))
        : text::no_samples(reader, file, verb.options());
  if (verb.values.json)
    std::cout << io::to_text({{"file", file.string()},
                              {"format", text::name_of(reader.format())},
                              {"loss_on", text::name_of(reader.loss_on())},
                              {"chat_template", reader.uses_chat_template()},
                              {"samples", samples}})
              << "\n";
  return ExitCode::done;
}

}  // namespace graft::cli
