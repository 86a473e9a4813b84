#include "host/backends/cuda/module/driver.hpp"

#include <cuda.h>
#include <dlfcn.h>

#include <array>

namespace warpkem::cuda {

namespace {

struct Driver {
  decltype(&cuPointerGetAttributes) pointer_attributes = nullptr;
  decltype(&cuDeviceGet) device = nullptr;
  decltype(&cuDevicePrimaryCtxGetState) context_state = nullptr;
};

// The driver that the runtime has loaded. cudaGetDriverEntryPoint() would find it too, but older runtimes lack its
// successor, newer ones lack it, and neither promises to make no context.
const Driver& driver() noexcept {
  static const Driver found = [] {
    Driver d;
    void* const library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (library == nullptr) return d;
    const auto find = [library](auto& function, const char* name) {
      function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    };
    find(d.pointer_attributes, "cuPointerGetAttributes");
    find(d.device, "cuDeviceGet");
    find(d.context_state, "cuDevicePrimaryCtxGetState");
    return d;
  }();
  return found;
}

}  // namespace

std::optional<Pointed> ask_driver(const void* pointer) noexcept {
  if (driver().pointer_attributes == nullptr) return std::nullopt;
  // Zero for memory that the driver does not know.
  unsigned type = 0, managed = 0;
  int ordinal = -1;
  std::array attributes{CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_IS_MANAGED,
                        CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL};
  std::array<void*, 3> values{&type, &managed, &ordinal};
  const CUresult result = driver().pointer_attributes(attributes.size(), attributes.data(), values.data(),
                                                      reinterpret_cast<CUdeviceptr>(pointer));
  if (result != CUDA_SUCCESS || type != CU_MEMORYTYPE_DEVICE) return Pointed();
  return Pointed{managed == 0, ordinal};
}

std::optional<bool> has_context(int ordinal) noexcept {
  if (driver().device == nullptr || driver().context_state == nullptr) return std::nullopt;
  CUdevice device = 0;
  unsigned flags = 0;
  int active = 0;
  return driver().device(&device, ordinal) == CUDA_SUCCESS &&
         driver().context_state(device, &flags, &active) == CUDA_SUCCESS && active != 0;
}

Pointed ask_runtime(const void* pointer) noexcept {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, pointer) != cudaSuccess) {
    static_cast<void>(cudaGetLastError());
    return {};
  }
  return {attributes.type == cudaMemoryTypeDevice, attributes.device};
}

}  // namespace warpkem::cuda
