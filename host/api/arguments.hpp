// From the ABI's arguments to a checked batch: null pointers, sizes, overflow, overlap, what belongs to which
// operation.
#pragma once

#include <cstddef>

#include "host/batch.hpp"
#include "warpkem/warpkem.h"

namespace warpkem::host {

class Engine;

// Checks everything that can be checked before work begins. Throws Error, whose text names argument, item and rule.
// `operation` is a prepare_* when warpkem_prepare_*() asks. Arrays lie on the host, else, with Memory::device, where
// only their addresses can be looked at: what a table holds is then unchecked.
enum class Memory { host, device };
Batch checked_batch(const Engine& engine, const warpkem_batch& arguments, Operation operation,
                    Memory memory = Memory::host);

// Copies a caller's struct that begins with struct_size over `known`, which holds the defaults: a shorter one leaves
// the rest as it is, a longer one must hold zeros there. Throws Error.
void copy_struct(void* known, std::size_t known_bytes, const void* given, const char* name);

}  // namespace warpkem::host
