// The GPUs of this machine: which there are, which can run our kernels, and which are lost to this process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "host/backends/cuda/interface.hpp"

namespace warpkem::cuda {

inline constexpr int max_devices = 64;  // a work item remembers in one word which devices have refused it

// The visible devices; throws host::Error with a sentence where there are none or the driver cannot serve this runtime.
std::vector<DeviceInfo> visible_devices();

// What `list` names (see Options::devices), each device once; throws host::Error for one that does not exist or is not
// usable. An empty list is every usable device, at least one.
std::vector<DeviceInfo> select_devices(const std::vector<DeviceInfo>& visible, const char* list);

// The calling thread's; -1: it cannot be told.
int current_device() noexcept;

// Calls `work` on a thread of its own with that device current, for a thread that has another: to set that one back
// would make a context there. Throws what `work` throws, CudaError and std::system_error.
void on_device(int ordinal, const std::function<void()>& work);

// kernels::load_kernels() on the current device, which has that number, once in a process. Throws CudaError.
void load_kernels(int ordinal);

// A device whose context is broken or whose work is stuck stays out until the process ends: CUDA cannot revive a
// context, and cudaDeviceReset would take the application's own work with it.
void quarantine(int ordinal, const std::string& why) noexcept;
bool quarantined(int ordinal) noexcept;

}  // namespace warpkem::cuda
