// The small tokenizer, and masks that can be read.
#pragma once

#include <string>

#include "graft/tests/support/test.h"
#include "graft/tests/text/small_tokenizer.h"
#include "graft/text/sample.h"
#include "graft/text/tokenizer.h"

namespace graft::text {

/// The sample's text with [ ] around what carries loss.
std::string masked_text(const Tokenizer& tokenizer, const Sample& sample);

}  // namespace graft::text
