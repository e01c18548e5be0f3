// Flags whose value is a list of words.
#pragma once

#include <string>
#include <vector>

namespace graft::cli {

/// The words of a text with commas between, without the blanks around them; empty ones are left
/// out.
std::vector<std::string> split(const std::string& text);

}  // namespace graft::cli
