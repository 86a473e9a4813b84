// The seam between an instruction set and the engine: what portable, avx2 and avx512 each provide. Plain data and plain
// functions, for some of them are compiled with flags that others must not meet.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/core/batch.hpp"

namespace warpkem::host {

// Hashes of messages of equal lengths: SHA3-256 and SHAKE256 (FIPS 202), which have the same rate.
enum class HashFunction : std::uint8_t { sha3_256 = 0x06, shake256 = 0x1f };  // the number is what follows a message
struct HashBatch {
  HashFunction function{};
  std::size_t count = 0;
  In message;
  std::size_t message_bytes = 0;
  std::size_t common_bytes = 0;  // with which all messages begin; a backend may absorb them once for all
  Out digest;                    // shares no byte with a message
  std::size_t digest_bytes = 0;
};

struct CpuKernels {
  const char* name;
  std::size_t lanes;  // items that are worked on side by side: chunks of a batch are multiples of it

  // Bytes of scratch memory that `run` needs for any batch of this algorithm: 64-byte aligned, one per running thread.
  // 0: this instruction set does not have that algorithm, and `run` leaves its items pending.
  std::size_t (*workspace_bytes)(std::uint32_t algorithm) noexcept;

  // Bytes of one key's expanded form, a multiple of 64.
  std::size_t (*ek_form_bytes)(std::uint32_t algorithm) noexcept;
  std::size_t (*dk_form_bytes)(std::uint32_t algorithm) noexcept;

  // Does the whole batch on the calling thread, as batch.hpp says. Uses at most 8 KiB of stack, allocates nothing, and
  // leaves no secret in the workspace nor on the stack.
  void (*run)(const Batch& batch, std::uint8_t* workspace) noexcept;

  // The same of hashes, whose messages and digests are secret.
  std::size_t hash_workspace_bytes;
  void (*hash)(const HashBatch& batch, std::uint8_t* workspace) noexcept;
};

}  // namespace warpkem::host
