// Questions that the runtime answers only by making a context on the current device, asked of the driver. An
// application may have excluded that device from the engine, and a context takes a second to make and some 400 MB of
// its memory.
#pragma once

#include <cuda_runtime_api.h>

#include <optional>

namespace warpkem::cuda {

struct Pointed {
  bool device_memory = false;  // that host code must not follow; managed memory is none
  int ordinal = -1;            // whose memory it is
};

// What lies at `pointer`. Nothing: there is no driver to ask, for something else stands in the runtime's place.
std::optional<Pointed> ask_driver(const void* pointer) noexcept;

// Whether this process has the context that the runtime uses on that device. Nothing: as above.
std::optional<bool> has_context(int ordinal) noexcept;

// The same answer by the runtime, which makes a context on the current device.
Pointed ask_runtime(const void* pointer) noexcept;

}  // namespace warpkem::cuda
