// The seam between libwarpkem and libwarpkem_cuda.so: one C entry point that returns a table of functions. Everything
// that crosses it is plain data; an error is a status and a text in the caller's buffer. Both sides are built together,
// and the version is exact: a module of another version is refused, so nothing here needs to stay compatible.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/backends/backend.hpp"
#include "host/core/batch.hpp"
#include "host/core/status.hpp"

struct CUstream_st;

namespace warpkem::cuda {

inline constexpr std::uint32_t interface_version = 5;
inline constexpr char module_file[] = "libwarpkem_cuda.so";
inline constexpr char module_entry[] = "warpkem_cuda_module";

struct Text {
  char data[512] = "";
};

struct DeviceInfo {
  int ordinal;  // as the CUDA runtime numbers the visible devices
  int compute_major, compute_minor;
  int multiprocessors;
  bool compiles;  // the driver compiles the kernels for it, when they are first used
  std::uint64_t memory_bytes;
  char name[128];
  char uuid[48];      // GPU-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx; of a slice of a GPU MIG-...
  char pci_id[24];    // 0000:3b:00.0
  char why_not[128];  // empty: usable
};

struct Options {
  const char* devices =
      nullptr;  // with commas: index, UUID (or a beginning of it) or PCI id; null, "" or "all": every usable one
  std::size_t chunk = 0;       // most items of one chunk; 0: from the device's memory and multiprocessors
  std::uint32_t streams = 0;   // chunks in flight on each device; 0: 4
  std::uint32_t stuck_ms = 0;  // a chunk that takes longer has lost its device; 0: 120 000
  bool graphs = true;          // small chunks that repeat are replayed as CUDA graphs
  bool forks = true;           // X25519 of hybrids has a stream of its own
  bool kernel_copies = true;   // of a replayed chunk of few bytes; else copy engines do that
  bool refuse_zero = false;    // WARPKEM_REFUSE_ZERO
  const char* sysfs = "/sys";  // where the system tells which processors are near a device
};

class Pool;  // the devices that one backend drives
class Keys;  // a prepared set on them

// A device-resident batch with its keys in this module's form.
struct ResidentBatch {
  host::Batch batch;  // device memory throughout; statuses may be null, key indices are unchecked
  const Keys* keys;
  std::size_t* failed;   // device memory, or null
  bool draw_randomness;  // seeds or m are absent and come from the RandomSource
};

// Every function is thread-safe and catches everything.
struct Module {
  std::uint32_t version;

  // Describes the visible devices, at most `capacity` of them, and says how many there are. An error: none can be used.
  host::Status (*devices)(DeviceInfo* out, std::size_t capacity, std::size_t* count, Text* why_not) noexcept;

  // `summary` gets the devices' names. Starts no thread and makes no context: that happens at the first use, or here
  // with `verify`, which runs one item on every device.
  host::Status (*create)(const Options* options, bool verify, Pool** pool, Text* summary, Text* why_not) noexcept;
  void (*destroy)(Pool* pool) noexcept;  // waits for what is under way; in a forked child it does nothing

  // Backend::submit. `keys` is a set of this pool or null; it must outlive the batch.
  void (*submit)(Pool* pool, const host::Batch* batch, const Keys* keys, host::Completion done) noexcept;

  host::Status (*prepare)(Pool* pool, const host::Batch* batch, Keys** keys, Text* why_not) noexcept;
  std::size_t (*bytes_per_key)(const Keys* keys) noexcept;
  void (*free_keys)(Keys* keys) noexcept;  // wipes; in a forked child it does nothing

  // Whether host code must not follow this pointer. Makes no context where there is a driver, else none but on a device
  // of the pool.
  bool (*is_device_pointer)(Pool* pool, const void* pointer) noexcept;

  // Device-resident batches, on the current device. The first also makes that device's ring of host randomness large
  // enough where `draw_randomness` is set, so the second allocates nothing.
  host::Status (*resident_workspace)(Pool* pool, const ResidentBatch* batch, std::size_t* bytes,
                                     Text* why_not) noexcept;
  host::Status (*resident_run)(Pool* pool, const ResidentBatch* batch, host::RandomSource random, void* workspace,
                               std::size_t workspace_bytes, CUstream_st* stream, Text* why_not) noexcept;

  // Memory of the current device, or page-locked; freeing wipes, and keeps what cannot be wiped. None of these makes a
  // context on a device that the pool does not drive.
  host::Status (*allocate)(Pool* pool, host::MemoryKind kind, std::size_t bytes, void** memory, Text* why_not) noexcept;
  void (*release)(Pool* pool, host::MemoryKind kind, std::size_t bytes, void* memory) noexcept;
  host::Status (*copy)(Pool* pool, void* to, const void* from, std::size_t bytes, Text* why_not) noexcept;
  host::Status (*synchronize)(Pool* pool, CUstream_st* stream, Text* why_not) noexcept;

  // How much device memory is kept until the process ends, for it could not be wiped.
  std::uint64_t (*kept_bytes)(const Pool* pool) noexcept;
};

// Null unless `version` is the module's own.
using ModuleEntry = const Module* (*)(std::uint32_t version) noexcept;

}  // namespace warpkem::cuda
