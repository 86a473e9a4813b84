// The few functions of libcuda.so.1 that the module asks, for machines without a driver; answers are the test's.
#include "tests/cuda/driver_stand_in.hpp"

#include <cuda.h>

#include <atomic>
#include <cstdint>

#define EXPORTED extern "C" __attribute__((visibility("default")))

namespace {

std::atomic<const warpkem::test::DriverAnswers*> answers{nullptr};

}  // namespace

EXPORTED void warpkem_stand_in_answers(const warpkem::test::DriverAnswers* given) { answers = given; }

EXPORTED CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** values,
                                         CUdeviceptr pointer) {
  const warpkem::test::DriverAnswers* const a = answers;
  if (a == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  ++a->questions;
  const bool device = pointer >= a->device_begin && pointer < a->device_end;
  const bool managed = pointer >= a->managed_begin && pointer < a->managed_end;
  for (unsigned i = 0; i < count; ++i) {
    switch (attributes[i]) {
      case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        *static_cast<unsigned*>(values[i]) = device || managed ? CU_MEMORYTYPE_DEVICE : 0;
        break;
      case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        *static_cast<unsigned*>(values[i]) = managed ? 1 : 0;
        break;
      case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        *static_cast<int*>(values[i]) = device || managed ? a->device_of_memory.load() : -2;
        break;
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return CUDA_SUCCESS;
}

EXPORTED CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  const warpkem::test::DriverAnswers* const a = answers;
  if (a == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  *flags = 0;
  *active = (a->contexts >> device & 1) != 0 ? 1 : 0;
  return CUDA_SUCCESS;
}
