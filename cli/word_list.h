// Flags whose value is a list of words or numbers.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace graft::cli {

/// The words of a text with commas between, without the blanks around them; empty ones are left
/// out.
std::vector<std::string> split(const std::string& text);
/// The same words as numbers; nothing where one of them is none, or is not finite.
std::optional<std::vector<double>> split_numbers(const std::string& text);

}  // namespace graft::cli
