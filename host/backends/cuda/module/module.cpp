// The module's one exported function and the table that it hands out. Exceptions end here.
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "host/backends/cuda/interface.hpp"
#include "host/backends/cuda/module/cuda_call.hpp"
#include "host/backends/cuda/module/devices.hpp"
#include "host/backends/cuda/module/driver.hpp"
#include "host/backends/cuda/module/pool.hpp"
#include "host/backends/cuda/module/resident.hpp"
#include "host/core/secure.hpp"

namespace warpkem::cuda {

using host::Batch;
using host::Completion;
using host::Error;
using host::MemoryKind;
using host::Status;

namespace {

void set_text(Text* text, const char* what) noexcept {
  if (text != nullptr) std::snprintf(text->data, sizeof text->data, "%s", what);
}

template <class Function>
Status guarded(Text* why_not, Function function) noexcept {
  try {
    function();
    return Status::ok;
  } catch (const Error& error) {
    set_text(why_not, error.what());
    return error.status();
  } catch (const CudaError& error) {
    set_text(why_not, error.what());
    return error.code() == cudaErrorMemoryAllocation ? Status::out_of_memory : Status::backend_failed;
  } catch (const std::exception& error) {
    set_text(why_not, error.what());
    return Status::out_of_memory;
  }
}

Status devices(DeviceInfo* out, std::size_t capacity, std::size_t* count, Text* why_not) noexcept {
  return guarded(why_not, [&] {
    *count = 0;
    const auto visible = visible_devices();
    std::copy_n(visible.begin(), std::min(capacity, visible.size()), out);
    *count = visible.size();
  });
}

Status create(const Options* options, bool verify, Pool** pool, Text* summary, Text* why_not) noexcept {
  return guarded(why_not, [&] {
    *pool = nullptr;
    const auto chosen = select_devices(visible_devices(), options->devices);
    auto made = std::make_unique<Pool>(chosen, *options);
    if (verify) made->verify(options->devices != nullptr && options->devices[0] != '\0');
    std::string names;
    for (const DeviceInfo& device : chosen) {
      if (!names.empty()) names += ", ";
      names += std::to_string(device.ordinal) + ": " + device.name;
      if (device.compiles) names += " (the driver compiles the kernels when they are first used)";
    }
    set_text(summary, names.c_str());
    *pool = made.release();
  });
}

void destroy(Pool* pool) noexcept {
  if (pool != nullptr && !pool->forked()) delete pool;
}

void submit(Pool* pool, const Batch* batch, const Keys* keys, Completion done) noexcept {
  pool->submit(*batch, keys, done);
}

Status prepare(Pool* pool, const Batch* batch, Keys** keys, Text* why_not) noexcept {
  return guarded(why_not, [&] { *keys = pool->prepare(*batch); });
}

std::size_t bytes_per_key(const Keys* keys) noexcept { return keys->bytes_per_key(); }

void free_keys(Keys* keys) noexcept {
  if (keys != nullptr && !keys->pool().forked()) keys->pool().retire(keys);
}

// What lies at `pointer`; throws where that cannot be asked.
Pointed ask(const Pool& pool, const void* pointer) {
  if (const auto answer = ask_driver(pointer)) return *answer;
  Pointed answer;
  pool.on_own_device([&] { answer = ask_runtime(pointer); });
  return answer;
}

bool is_device_pointer(Pool* pool, const void* pointer) noexcept {
  try {
    return ask(*pool, pointer).device_memory;
  } catch (const std::exception&) {
    return false;
  }
}

// A call that is about the current device itself.
void require_own_device(const Pool& pool) {
  if (pool.may_call_here()) return;
  throw Error(Status::unsupported,
              "the engine does not drive the current device, cuda device " + std::to_string(current_device()));
}

Status workspace_for(Pool* pool, const ResidentBatch* batch, std::size_t* bytes, Text* why_not) noexcept {
  return guarded(why_not, [&] { *bytes = resident_workspace(*pool, *batch); });
}

Status run_resident(Pool* pool, const ResidentBatch* batch, host::RandomSource random, void* workspace,
                    std::size_t workspace_bytes, CUstream_st* stream, Text* why_not) noexcept {
  return guarded(why_not, [&] { resident_run(*pool, *batch, random, workspace, workspace_bytes, stream); });
}

Status allocate(Pool* pool, MemoryKind kind, std::size_t bytes, void** memory, Text* why_not) noexcept {
  return guarded(why_not, [&] {
    const auto make = [&]<class Buffer>(Buffer buffer) {
      *memory = buffer.data();
      buffer.forget();
    };
    if (kind == MemoryKind::device) {
      require_own_device(*pool);
      make(DeviceBuffer(bytes));
    } else {
      pool->on_own_device([&] { make(PinnedBuffer(bytes)); });
    }
  });
}

// Where the memory is: the caller's current device may be another one by now.
void free_device_memory(const Pool& pool, DeviceBuffer memory) {
  const auto free = [&pool, &memory, bytes = memory.size()] {
    const Stream stream = make_stream();
    if (!wipe_and_free(std::move(memory), stream.get())) pool.keeps(bytes);
  };
  const int owner = ask(pool, memory.data()).ordinal;
  if (owner < 0 || owner == current_device()) return free();
  on_device(owner, free);
}

void release(Pool* pool, MemoryKind kind, std::size_t bytes, void* memory) noexcept {
  auto* const data = static_cast<std::uint8_t*>(memory);
  if (kind == MemoryKind::device) {
    const Status freed = guarded(nullptr, [&] { free_device_memory(*pool, DeviceBuffer(data, bytes)); });
    if (freed != Status::ok) pool->keeps(bytes);
  } else {
    host::wipe(data, bytes);
    static_cast<void>(guarded(nullptr, [&] { pool->on_own_device([&] { PinnedBuffer(data, bytes); }); }));
  }
}

Status copy(Pool* pool, void* to, const void* from, std::size_t bytes, Text* why_not) noexcept {
  return guarded(why_not, [&] {
    pool->on_own_device([&] {
      // This stream waits for the default stream, as cudaMemcpy() does.
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cudaStreamPerThread), "cudaMemcpyAsync");
      check(cudaStreamSynchronize(cudaStreamPerThread), "cudaStreamSynchronize");
    });
  });
}

Status synchronize(Pool* pool, CUstream_st* stream, Text* why_not) noexcept {
  return guarded(why_not, [&] {
    const auto wait = [stream] { check(cudaStreamSynchronize(stream), "cudaStreamSynchronize"); };
    if (stream != nullptr) return pool->on_own_device(wait);  // it knows its device
    const std::optional<bool> in_use = has_context(current_device());
    if (in_use && !*in_use) return;  // nothing was ever given to the default stream
    require_own_device(*pool);
    wait();
  });
}

std::uint64_t kept_bytes(const Pool* pool) noexcept { return pool->kept_bytes(); }

constexpr Module table{.version = interface_version,
                       .devices = &devices,
                       .create = &create,
                       .destroy = &destroy,
                       .submit = &submit,
                       .prepare = &prepare,
                       .bytes_per_key = &bytes_per_key,
                       .free_keys = &free_keys,
                       .is_device_pointer = &is_device_pointer,
                       .resident_workspace = &workspace_for,
                       .resident_run = &run_resident,
                       .allocate = &allocate,
                       .release = &release,
                       .copy = &copy,
                       .synchronize = &synchronize,
                       .kept_bytes = &kept_bytes};

}  // namespace

extern "C" __attribute__((visibility("default"))) const Module* warpkem_cuda_module(std::uint32_t version) noexcept {
  return version == interface_version ? &table : nullptr;
}

}  // namespace warpkem::cuda
