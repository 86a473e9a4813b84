// The CUDA backend as the registry sees it. Its code is in libwarpkem_cuda.so, opened the first time that somebody asks
// for it, so one libwarpkem serves machines with and without CUDA.
#pragma once

#include <memory>
#include <string>

#include "host/backends/backend.hpp"
#include "host/backends/cuda/interface.hpp"

namespace warpkem::host::cuda_module {

// Opens the module, if that was not done yet, and makes a backend over the devices that the options name; with `verify`
// each has proved that it works. Null, and why not.
std::unique_ptr<Backend> make_backend(const cuda::Options& options, bool verify, std::string& why_not);

}  // namespace warpkem::host::cuda_module
