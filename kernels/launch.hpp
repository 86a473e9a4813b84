// The only door to the device code: a batch of ML-KEM operations (FIPS 203) on device memory, enqueued on a stream.
// Plain C++; the caller needs no CUDA compiler.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/status.hpp"

namespace warpkem::kernels {

// The numbers are those of host::Operation.
enum class Operation : std::uint32_t { keygen = 1, encaps, decaps, check_ek, check_dk, prepare_ek, prepare_dk };
enum class DkFormat : std::uint32_t { expanded = 0, seed = 1 };
enum class KeyKind : std::uint32_t { ek = 0, dk = 1 };

// Item i lies at table[i] (a device array of device pointers) where there is a table, else at data + i * stride. Any
// alignment, any stride that keeps records apart; arrays at multiples of 16 bytes, with such a stride, are read in
// place, all others are gathered into the workspace first.
struct In {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  const std::uint8_t* const* table = nullptr;
  bool operator==(const In&) const = default;
};

struct Out {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  std::uint8_t* const* table = nullptr;
  bool operator==(const Out&) const = default;
};

// A prepared set, written by prepare_ek or prepare_dk: key i at data + i * stride. `data` and `stride` are multiples of
// form_alignment, `stride` at least form_bytes(). Forms made from a dk hold secrets: the owner wipes them.
struct Keys {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  std::size_t num_keys = 0;
  const std::uint8_t* statuses = nullptr;  // one per key, as prepare_* wrote them; null: every key is good
  KeyKind kind = KeyKind::ek;              // encaps takes both kinds, decaps those made from a dk
  bool operator==(const Keys&) const = default;
};

// Everything is device memory (or memory that the device can reach) of the current device; only this struct is not.
// Equal batches on equal workspaces are enqueued as the same kernels with the same arguments.
struct DeviceBatch {
  Operation operation = Operation::keygen;
  std::uint32_t algorithm = 0;  // 1, 2, 3: ML-KEM-512, -768, -1024
  DkFormat dk_format = DkFormat::expanded;
  bool zero_failed = true;  // the outputs of failed items become zero; otherwise what they hold is unspecified
  std::size_t count = 0;

  In seeds;            // keygen: d || z
  In m;                // encaps
  In ek;               // encaps without keys, check_ek, prepare_ek
  In dk;               // decaps without keys, check_dk (expanded only), prepare_dk
  In c;                // decaps
  Out ek_out, dk_out;  // keygen
  Out c_out;           // encaps
  Out K_out;           // encaps, decaps

  bool prepared = false;  // encaps, decaps: use `keys` and `index` in place of ek or dk
  Keys keys;
  const std::uint32_t* index = nullptr;  // item i uses key index[i]; null: key 0. Beyond the set: invalid_key_index

  std::uint8_t* forms = nullptr;  // prepare_*: where the forms go, as in Keys
  std::size_t forms_stride = 0;

  // Which lanes share a Keccak state: chosen from the number of states, or as told, for measurements and tests.
  enum class Hashing : std::uint32_t { chosen = 0, by_thread, by_warp } hashing = Hashing::chosen;

  std::uint8_t* statuses = nullptr;  // one ItemStatus per item, or null
  std::uint64_t* failed = nullptr;   // how many items failed, or null; 8-byte aligned

  bool operator==(const DeviceBatch&) const = default;
};

inline constexpr std::size_t form_alignment = 128;

// Bytes of one prepared key, a multiple of form_alignment; 0 for an unknown algorithm.
std::size_t form_bytes(std::uint32_t algorithm, KeyKind kind) noexcept;

// Scratch memory that launch() needs for this batch; depends on operation, algorithm, dk_format, count, on which arrays
// are present and on their layout (a batch with a table for every array needs the most), and grows with count up to a
// limit of its own plus a few bytes per item. No device call.
std::size_t workspace_bytes(const DeviceBatch& batch) noexcept;

// Loads every kernel on the current device, which a first launch does otherwise and a capture may forbid, and asks for
// the most shared memory where occupancy depends on it. Takes a while, once for each device; launches are right
// without.
cudaError_t load_kernels() noexcept;

// Enqueues the whole batch on `stream`: kernels and memsets only, so it can be captured into a graph; no allocation, no
// event, no synchronisation. `workspace` (any alignment, contents ignored) belongs to the call until the stream has
// passed it; its secret parts are zero from then on. Bytes between records are never written. count 0 writes *failed.
// The inputs of a failed item cause no harm: other items are complete. Returns what the enqueueing returned;
// cudaErrorInvalidValue: the batch makes no sense or the workspace is too small, and nothing was enqueued.
cudaError_t launch(const DeviceBatch& batch, void* workspace, std::size_t workspace_bytes,
                   cudaStream_t stream) noexcept;

}  // namespace warpkem::kernels
