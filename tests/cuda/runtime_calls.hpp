// The module's calls of the CUDA runtime pass through a program that has this in it: they are counted, and on request
// some of them misbehave as no emulator does. The program exports its symbols.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

namespace warpkem::test {

// Only a shared runtime can be stood before: where the module has the static one, its calls do not come by here.
inline constexpr bool runtime_calls_pass = WARPKEM_SHARED_CUDART;

struct CallCounter {
  const char* name;  // as the emulator's rules call it
  std::atomic<long> calls{0};
};
std::span<CallCounter> runtime_calls();

// No event is ever done: to the module the device hangs.
extern std::atomic<bool> device_hangs;

// From the copy to the host of this number on, which is counted from 1, the copy's first bytes arrive with a bit
// flipped; 0: never.
extern std::atomic<long> corrupt_from_copy;

}  // namespace warpkem::test
