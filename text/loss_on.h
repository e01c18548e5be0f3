// LossOn: which tokens of a sample are learnt.
#pragma once

#include <string_view>

namespace graft::text {

/// Which tokens carry loss: every answer of the assistant, the last answer (or the completion)
/// only, or all tokens.
enum class LossOn { assistant, completion, all };
/// "assistant", "completion", "all".
std::string_view name_of(LossOn loss_on);

}  // namespace graft::text
