// What the engine knows of a backend: one virtual call per batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "host/core/batch.hpp"
#include "host/core/status.hpp"

namespace warpkem::host {

struct BackendInfo {
  std::string name;                 // as in the registry
  std::string detail;               // device or instruction set
  std::size_t preferred_count = 1;  // below this many items another backend is likely to finish sooner
};

// How a batch ended. `ok` says that the backend has no more to do for it, not that every item is good: see statuses. In
// every case no later write of the backend reaches the batch's memory.
struct Outcome {
  Status status = Status::ok;
  const char* text = "";  // of an error; valid during the call
};

struct Completion {
  void (*call)(void* context, const Outcome& outcome) noexcept = nullptr;
  void* context = nullptr;
};

// A backend's own expanded form of a prepared set; destroying it wipes it.
class KeyForm {
 public:
  virtual ~KeyForm() = default;
  virtual std::size_t bytes_per_key() const noexcept = 0;
};

// The engine's randomness for a backend that must put it somewhere itself. `fill` answers false if there is none.
struct RandomSource {
  bool (*fill)(void* context, std::uint8_t* out, std::size_t bytes) noexcept = nullptr;
  void* context = nullptr;
};

enum class MemoryKind : std::uint32_t { device = 1, pinned = 2 };

// What a backend does besides, if its memory is a device's: batches whose arrays are there already, on a stream of the
// caller's. See warpkem/cuda.h. All but release() throw Error.
class DeviceResident {
 public:
  virtual bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept = 0;
  virtual void* allocate(MemoryKind kind, std::size_t bytes) = 0;
  virtual void release(MemoryKind kind, std::size_t bytes, void* memory) noexcept = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void synchronize(void* stream) = 0;
  virtual std::size_t workspace_bytes(const Batch& batch, std::size_t* failed, bool draw_randomness) = 0;
  virtual void enqueue(const Batch& batch, std::size_t* failed, bool draw_randomness, RandomSource random,
                       void* workspace, std::size_t workspace_bytes, void* stream) = 0;

 protected:
  ~DeviceResident() = default;
};

// One instance per device or CPU pool. Thread-safe.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual const BackendInfo& info() const noexcept = 0;

  // Whether it has this operation with this algorithm and, where dk formats are taken, this format. Always the same
  // answer. What it does not have is never sent to it: it is passed over, which is no failure.
  virtual bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept = 0;

  // Expands `batch.count` keys; the batch is prepare_ek or prepare_dk with ek or dk and statuses. Blocks. Throws Error.
  virtual std::unique_ptr<KeyForm> prepare(const Batch& batch) = 0;

  // Takes the batch and calls `done` exactly once, from any thread, after the last write: also before submit returns.
  // An error means that items still `pending` were not done: try the next backend.
  virtual void submit(const Batch& batch, Completion done) noexcept = 0;

  virtual DeviceResident* device_resident() noexcept { return nullptr; }
  // Whether host code must not follow this pointer.
  virtual bool is_device_pointer(const void*) const noexcept { return false; }
  // Memory that it keeps until the process ends because secrets in it could not be wiped: a device was lost.
  virtual std::uint64_t kept_bytes() const noexcept { return 0; }
};

}  // namespace warpkem::host
