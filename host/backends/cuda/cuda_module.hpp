// The CUDA backend as the engine sees it. Its code is in libwarpkem_cuda.so, opened the first time that somebody asks
// for it, so one libwarpkem serves machines with and without CUDA.
#pragma once

#include <cstdint>
#include <string>

#include "host/backends/registry.hpp"

namespace warpkem::host::cuda_module {

// Loads the module, if that was not done yet, and makes a backend over the devices that the context names.
ProbeResult probe(const ProbeContext& context);

}  // namespace warpkem::host::cuda_module
