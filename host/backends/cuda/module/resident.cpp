#include "host/backends/cuda/module/resident.hpp"

#include <algorithm>
#include <string>

#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/backends/cuda/module/devices.hpp"
#include "host/backends/cuda/module/operation.hpp"
#include "host/backends/cuda/module/pool.hpp"
#include "kernels/launch.hpp"

namespace warpkem::cuda {

using host::Batch;
using host::Error;
using host::Status;

namespace {

constexpr std::size_t alignment = 256;

[[noreturn]] void refuse(const std::string& text) { throw Error(Status::invalid_argument, text); }

Device& device_of_batch(Pool& pool) {
  int ordinal = -1;
  check(cudaGetDevice(&ordinal), "cudaGetDevice");
  const auto& devices = pool.devices();
  const auto found = std::ranges::find_if(devices, [ordinal](const auto& d) { return d->ordinal() == ordinal; });
  if (found == devices.end()) {
    throw Error(Status::unsupported,
                "the engine does not drive the current device, cuda device " + std::to_string(ordinal));
  }
  if (quarantined(ordinal)) throw Error(Status::backend_failed, (*found)->name() + " is lost to this process");
  return **found;
}

void require_memory_of(const Device& device, const char* name, const void* pointer) {
  if (pointer == nullptr) return;
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, pointer), "cudaPointerGetAttributes");
  if (attributes.type == cudaMemoryTypeManaged) return;
  if (attributes.type == cudaMemoryTypeDevice && attributes.device == device.ordinal()) return;
  refuse(std::string(name) + " is not memory of the current device, " + device.name());
}

template <class Array>
const void* address_of(const Array& array) noexcept {
  return array.table != nullptr ? static_cast<const void*>(array.table) : array.data;
}

// The batch for the kernels, checked; its seeds or m are absent if they are to be drawn.
kernels::DeviceBatch translate(const Pool& pool, const Device& device, const ResidentBatch& resident) {
  const Batch& from = resident.batch;
  kernels::DeviceBatch to = kernel_batch(from, pool.refuse_zero());
  to.is_alone = true;  // the caller's other streams are not known
  to.zero_failed = true;
  host::for_each_array(
      [&](host::Array which, const auto& array, auto& target) {
        require_memory_of(device, host::spec_of(which).name, address_of(array));
        target = {array.data, array.stride, array.table};
      },
      from, to);
  if (resident.keys != nullptr) {
    if (!resident.keys->ready_on(device.number())) {
      throw Error(Status::backend_failed, "the keys are not on " + device.name());
    }
    const KeyForms forms = resident.keys->on(device.number());
    to.prepared = true;
    to.keys = {forms.forms, forms.stride, forms.count, forms.statuses, forms.kind};
    require_memory_of(device, "index", from.index);
    if (reinterpret_cast<std::uintptr_t>(from.index) % 4 != 0) refuse("index is not aligned to 4 bytes");
    to.index = from.index;
  }
  require_memory_of(device, "statuses", from.statuses);
  to.statuses = from.statuses;
  require_memory_of(device, "failed", resident.failed);
  static_assert(sizeof(std::size_t) == sizeof(std::uint64_t));
  if (reinterpret_cast<std::uintptr_t>(resident.failed) % 8 != 0) refuse("failed is not aligned to 8 bytes");
  to.failed = reinterpret_cast<std::uint64_t*>(resident.failed);
  return to;
}

// Where drawn seeds or m go: behind the kernels' part of the workspace.
struct Drawn {
  host::Array array = host::Array::none;
  std::size_t record = 0, bytes = 0;

  explicit Drawn(const ResidentBatch& resident) {
    if (!resident.draw_randomness) return;
    array = host::spec_of(resident.batch.operation).drawn;
    const host::Algorithm* const algorithm = host::find_algorithm(resident.batch.algorithm);
    record = algorithm != nullptr ? host::record_bytes(*algorithm, array, resident.batch.dk_format) : 0;
    bytes = resident.batch.count * record;
  }
  void put(kernels::DeviceBatch& batch, std::uint8_t* at) const noexcept {
    if (bytes != 0) set_array(batch, array, at, record);
  }
};

std::uint8_t* align_up(void* pointer) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  return reinterpret_cast<std::uint8_t*>((address + alignment - 1) / alignment * alignment);
}

}  // namespace

std::size_t resident_workspace(Pool& pool, const ResidentBatch& resident) {
  Device& device = device_of_batch(pool);
  const RelaxedCapture relaxed;
  load_kernels(device.ordinal());
  if (pool.forks()) device.forks().reserve();
  kernels::DeviceBatch batch = translate(pool, device, resident);
  const Drawn drawn(resident);
  if (drawn.bytes == 0) return kernels::workspace_bytes(batch);
  drawn.put(batch, reinterpret_cast<std::uint8_t*>(alignment));  // an aligned address is all that counts here
  device.random().reserve(drawn.bytes);
  return kernels::workspace_bytes(batch) + drawn.bytes + alignment;
}

void resident_run(Pool& pool, const ResidentBatch& resident, host::RandomSource random, void* workspace,
                  std::size_t workspace_bytes, cudaStream_t stream) {
  Device& device = device_of_batch(pool);
  kernels::DeviceBatch batch = translate(pool, device, resident);
  require_memory_of(device, "workspace", workspace);
  const Drawn drawn(resident);
  cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
  check(cudaStreamIsCapturing(stream, &capture), "cudaStreamIsCapturing");
  const bool captures = capture != cudaStreamCaptureStatusNone;
  std::uint8_t* seeds = nullptr;
  RandomRing::Piece* piece = nullptr;
  auto* kernel_workspace = static_cast<std::uint8_t*>(workspace);
  std::size_t kernel_bytes = workspace_bytes;
  if (drawn.bytes != 0) {
    if (captures) {
      throw Error(
          Status::unsupported,
          "a captured graph would use the engine's randomness at every replay: give seeds or m (WARPKEM_DERAND)");
    }
    seeds = align_up(workspace);
    kernel_workspace = seeds + drawn.bytes;
    const auto used = static_cast<std::size_t>(kernel_workspace - static_cast<std::uint8_t*>(workspace));
    kernel_bytes = workspace_bytes >= used ? workspace_bytes - used : 0;
    drawn.put(batch, seeds);
  }
  const std::size_t needed = kernels::workspace_bytes(batch);
  if (batch.count != 0 && (workspace == nullptr || kernel_bytes < needed)) {
    refuse("workspace of " + std::to_string(workspace_bytes) +
           " bytes is too small; see warpkem_cuda_workspace_bytes()");
  }
  if (drawn.bytes != 0) {
    piece = device.random().acquire(drawn.bytes);
    if (piece == nullptr) {
      throw Error(Status::out_of_memory,
                  "the room for randomness on " + device.name() +
                      " is in use by calls in flight, or no workspace was queried for this size");
    }
    if (!random.fill(random.context, piece->data, drawn.bytes)) {
      piece->wipe_and_release();
      throw Error(Status::rng_failed, "randomness failed");
    }
    const cudaError_t copied = cudaMemcpyAsync(seeds, piece->data, drawn.bytes, cudaMemcpyHostToDevice, stream);
    if (copied != cudaSuccess) {
      piece->wipe_and_release();
      check(copied, "cudaMemcpyAsync (randomness)");
    }
  }
  // A capture would hold on to a fork until it ends.
  OwnedFork fork = captures ? OwnedFork() : device.forks().take();
  const cudaError_t launched = kernels::launch(batch, kernel_workspace, kernel_bytes, stream, fork.get());
  device.forks().give_back(std::move(fork));
  if (drawn.bytes != 0) {
    // Also after an error: the copy is on its way. A piece whose release cannot be enqueued stays busy for ever.
    const cudaError_t wiped = cudaMemsetAsync(seeds, 0, drawn.bytes, stream);
    const cudaError_t released = cudaLaunchHostFunc(
        stream, [](void* context) { static_cast<RandomRing::Piece*>(context)->wipe_and_release(); }, piece);
    check(launched, "kernel launch");
    check(wiped, "cudaMemsetAsync (wipe)");
    check(released, "cudaLaunchHostFunc");
  }
  check(launched, "kernel launch");
}

}  // namespace warpkem::cuda
