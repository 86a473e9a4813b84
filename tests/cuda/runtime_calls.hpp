// The module's calls of the CUDA runtime pass through a program that has this in it: they are counted, and on request
// some of them misbehave as no emulator does. The program exports its symbols.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>

namespace warpkem::test {

// Only a shared runtime can be stood before: where the module has the static one, its calls do not come by here.
inline constexpr bool runtime_calls_pass = WARPKEM_SHARED_CUDART;

struct CallCounter {
  const char* name;  // as the emulator's rules call it
  std::atomic<long> calls{0};
};
std::span<CallCounter> runtime_calls();

// How often something was called that makes a context on the current device where there is none, by that device.
inline constexpr int max_devices = 16;
long context_calls(int device);
std::string context_callers(int device);  // their names
long context_calls_here();                // of this thread, on any device

// How often memory was set whose device was not the current one.
extern std::atomic<long> sets_elsewhere;

// How often device memory was freed that was not all zeros. Looked at only while `watch_frees` is set.
extern std::atomic<bool> watch_frees;
extern std::atomic<long> unwiped_frees;

// How often a kernel was launched on a device where nothing had asked for its attributes, which loads it.
extern std::atomic<long> launches_unloaded;

// What the next calls return, without anything else: as many of them as said, from now on.
struct Refusal {
  std::atomic<long> calls{0};
  std::atomic<int> error{0};
};
extern Refusal refuse_set, refuse_set_device;

// Answers of the runtime about its devices that are changed on the way. Null, 0: as they are.
extern std::atomic<const char*> device_name;
extern std::atomic<int> driver_version;

// No event is ever done: to the module the device hangs.
extern std::atomic<bool> device_hangs;

// From the copy to the host of this number on, which is counted from 1, the copy's first bytes arrive with a bit
// flipped; 0: never.
extern std::atomic<long> corrupt_from_copy;

}  // namespace warpkem::test
