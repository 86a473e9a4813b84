// The AVX-512 backend: kernels, and whether this machine can run them.
#pragma once

#include <string>

#include "host/backends/cpu_kernels.hpp"

namespace warpkem::avx512 {

// Only where usable() said yes.
const host::CpuKernels& kernels() noexcept;

// Compiled for any x86-64. If not usable, says what is missing.
bool usable(std::string& why_not);

}  // namespace warpkem::avx512
