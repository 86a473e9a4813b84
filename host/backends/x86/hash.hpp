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
  LaneStates<K::lanes> state, start;
  alignas(64) u8 block[K::lanes][8 * shake256_rate + 24];  // copy_out() may write three words more
};
static_assert(shake256_rate == sha3_256_rate);

// The state after the whole blocks with which all messages begin, in every lane. Returns their number of words, perhaps
// 0.
template <class K>
[[gnu::noinline]] int absorb_common(const host::HashBatch& batch, HashWorkspace<K>& space) noexcept {
  const int words = static_cast<int>(batch.common_bytes / 8) / shake256_rate * shake256_rate;
  const u8* message[K::lanes];
  for (const u8*& one : message) one = batch.message[0];
  Sponge<K> sponge(space.start, shake256_rate, K::lanes);
  sponge.absorb(message, words);
  if (words != 0) sponge.next_block();
  return words;
}

// Goes on from absorb_common(), whose words are `common`.
template <class K>
[[gnu::noinline]] void hash_group(const host::HashBatch& batch, HashWorkspace<K>& space, std::size_t first, int size,
                                  int common) noexcept {
  constexpr int W = K::lanes;
  const int words = static_cast<int>(batch.message_bytes / 8) - common;
  const std::size_t rest = batch.message_bytes % 8;
  const u8* message[W];
  u64 last[W];
  for (int l = 0; l < W; ++l) {
    message[l] = batch.message[first + static_cast<std::size_t>(l < size ? l : 0)] + 8 * common;
    last[l] = 0;
    __builtin_memcpy(&last[l], message[l] + 8 * words, rest);
    last[l] |= static_cast<u64>(batch.function) << (8 * rest);
  }
  Sponge<K> sponge(space.state, shake256_rate, size, space.start);
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
