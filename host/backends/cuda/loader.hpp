// Finds and opens the module: by absolute path, and only where nobody but root and this process's user could have put
// it.
#pragma once

#include <string>
#include <vector>

#include "host/backends/cuda/interface.hpp"
#include "host/core/gate.hpp"

namespace warpkem::cuda {

// Around the loading and starting of CUDA.
extern host::Gate gate;

// The module, opened at the first call that succeeds and never closed: CUDA cannot be unloaded. Null, and why, if it
// cannot be had.
const Module* load_module(std::string& why_not);

// The same without opening anything: null unless load_module() has succeeded before.
const Module* loaded_module() noexcept;

// What load_module() is made of.
std::vector<std::string> module_paths();  // where it may be, in order
bool is_trusted(const std::string& path, std::string& why_not);
const Module* open_module(const std::string& path, std::string& why_not);

}  // namespace warpkem::cuda
