// The C ABI of batches and memory on a device (warpkem/cuda.h).
#include <exception>
#include <string>

#include "host/api/arguments.hpp"
#include "host/api/batch_call.hpp"
#include "host/core/operation.hpp"
#include "host/engine/engine.hpp"
#include "warpkem/cuda.h"

namespace {

using namespace warpkem::host;

// The checked arguments of a device-resident call.
struct DeviceArguments {
  DeviceArguments(Engine& engine, const warpkem_batch* given) {
    const warpkem_batch known = known_batch(given);
    if (known.items_by_backend != nullptr) {
      throw Error(Status::invalid_argument, "items_by_backend is not for device-resident batches");
    }
    batch = checked_batch(engine, known, static_cast<Operation>(known.operation), Memory::device);
    failed = known.failed;
    const bool takes_randomness = spec_of(batch.operation).drawn != Array::none;
    draw_randomness = takes_randomness && (known.flags & WARPKEM_DERAND) == 0 && batch.count != 0;
  }

  Batch batch;
  size_t* failed;
  bool draw_randomness;
};

}  // namespace

extern "C" {

warpkem_status warpkem_cuda_workspace_bytes(warpkem_engine* engine, const warpkem_batch* given, size_t* bytes) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (bytes == nullptr) throw Error(Status::invalid_argument, "bytes is NULL");
    *bytes = 0;
    DeviceArguments arguments(e, given);
    DeviceResident& device = e.device_resident(arguments.batch);
    *bytes = device.workspace_bytes(arguments.batch, arguments.failed, arguments.draw_randomness);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_run(warpkem_engine* engine, const warpkem_batch* given, void* workspace,
                                size_t workspace_bytes, struct CUstream_st* stream) {
  return guarded([&] {
    Engine& e = usable(engine);
    DeviceArguments arguments(e, given);
    const auto fill = [](void* random, uint8_t* out, size_t count) noexcept {
      try {
        static_cast<Random*>(random)->fill(out, count);
        return true;
      } catch (const std::exception&) {
        return false;
      }
    };
    DeviceResident& device = e.device_resident(arguments.batch);
    device.enqueue(arguments.batch, arguments.failed, arguments.draw_randomness, {fill, &e.random()}, workspace,
                   workspace_bytes, stream);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_alloc(warpkem_engine* engine, uint32_t kind, size_t bytes, void** memory) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (memory == nullptr) throw Error(Status::invalid_argument, "memory is NULL");
    *memory = nullptr;
    if (kind != WARPKEM_CUDA_DEVICE && kind != WARPKEM_CUDA_PINNED) {
      throw Error(Status::invalid_argument, "kind " + std::to_string(kind) + " of memory is unknown");
    }
    if (bytes == 0) throw Error(Status::invalid_argument, "bytes is 0");
    *memory = e.device_resident().allocate(static_cast<MemoryKind>(kind), bytes);
    return WARPKEM_OK;
  });
}

void warpkem_cuda_free(warpkem_engine* engine, uint32_t kind, size_t bytes, void* memory) {
  if (engine == nullptr || memory == nullptr) return;
  static_cast<void>(guarded([&] {
    usable(engine).device_resident().release(static_cast<MemoryKind>(kind), bytes, memory);
    return WARPKEM_OK;
  }));
}

warpkem_status warpkem_cuda_copy(warpkem_engine* engine, void* to, const void* from, size_t bytes) {
  return guarded([&] {
    DeviceResident& device = usable(engine).device_resident();
    if (bytes == 0) return WARPKEM_OK;
    if (to == nullptr || from == nullptr)
      throw Error(Status::invalid_argument, to == nullptr ? "to is NULL" : "from is NULL");
    device.copy(to, from, bytes);
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_cuda_synchronize(warpkem_engine* engine, struct CUstream_st* stream) {
  return guarded([&] {
    usable(engine).device_resident().synchronize(stream);
    return WARPKEM_OK;
  });
}

}  // extern "C"
