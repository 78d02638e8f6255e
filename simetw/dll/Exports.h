// Changes what a loaded module exports.
#pragma once

#include <vector>

#include "Api.h"

namespace simetw {

// From now on GetProcAddress finds these functions in the module, whether it had them or not. What was found
// before stays as it was. False where the module can't be changed.
bool ReplaceExports(HMODULE module, const std::vector<Replacement>& replacements);

} // namespace simetw
