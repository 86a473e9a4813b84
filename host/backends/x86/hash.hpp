// SHA3-256 and SHAKE256 (FIPS 202) of messages of equal lengths, a message to a lane.
#pragma once

#include <cstddef>

#include "host/backends/cpu_kernels.hpp"
#include "host/backends/x86/sponge.hpp"

namespace warpkem::simd {
namespace {

// All secret.
template <class K>
struct HashWorkspace {
  LaneStates<K::lanes> state;
  alignas(64) u8 block[K::lanes][8 * shake256_rate + 24];  // copy_out() may write three words more
};
static_assert(shake256_rate == sha3_256_rate);

template <class K>
[[gnu::noinline]] void hash_group(const host::HashBatch& batch, HashWorkspace<K>& space, std::size_t first,
                                  int size) noexcept {
  constexpr int W = K::lanes;
  const int words = static_cast<int>(batch.message_bytes / 8);
  const std::size_t rest = batch.message_bytes % 8;
  const u8* message[W];
  u64 last[W];
  for (int l = 0; l < W; ++l) {
    message[l] = batch.message[first + static_cast<std::size_t>(l < size ? l : 0)];
    last[l] = 0;
    __builtin_memcpy(&last[l], message[l] + 8 * words, rest);
    last[l] |= static_cast<u64>(batch.function) << (8 * rest);
  }
  Sponge<K> sponge(space.state, shake256_rate, size);
  sponge.absorb(message, words);
  sponge.finish(last);
  u8* block[W];
  for (int l = 0; l < W; ++l) block[l] = space.block[l];
  constexpr std::size_t block_bytes = std::size_t{8} * shake256_rate;
  for (std::size_t done = 0; done < batch.digest_bytes; done += block_bytes) {
    if (done != 0) sponge.next_block();
    const std::size_t left = batch.digest_bytes - done, bytes = left < block_bytes ? left : block_bytes;
    sponge.copy_out(block, static_cast<int>((bytes + 7) / 8));
    for (int l = 0; l < size; ++l) {
      __builtin_memcpy(batch.digest[first + static_cast<std::size_t>(l)] + done, block[l], bytes);
    }
  }
}

}  // namespace
}  // namespace warpkem::simd
