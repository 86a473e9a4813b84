// The text of the calling thread's last failed call.
#pragma once

#include "host/core/status.hpp"

namespace warpkem::host {

// Keeps as much of the text as there is room for. Without memory, of which a thread's first failure needs some, it is a
// fixed one for the status.
void keep_last_error(Status status, const char* text) noexcept;
const char* last_error() noexcept;

}  // namespace warpkem::host
