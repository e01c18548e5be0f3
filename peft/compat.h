// Where graft does otherwise than PEFT, a setting `compat` brings PEFT's way back.
#pragma once

namespace graft::peft {

enum class Compat { none, peft };

}  // namespace graft::peft
