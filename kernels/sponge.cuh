// A warp that hashes 32 messages, one thread, one Keccak state. Blocks pass through shared memory, so that global
// accesses are coalesced.
#pragma once

#include "kernels/keccak.cuh"
#include "kernels/steps.hpp"

namespace warpkem::kernels {

// The address that lane `source` holds.
template <class T>
WARPKEM_FN T* shuffle_pointer(T* pointer, u32 source) {
  const u64 bits = reinterpret_cast<u64>(pointer);
  const u32 lo = __shfl_sync(all_lanes, static_cast<u32>(bits), static_cast<int>(source));
  const u32 hi = __shfl_sync(all_lanes, static_cast<u32>(bits >> 32), static_cast<int>(source));
  return reinterpret_cast<T*>(u64{hi} << 32 | lo);
}

// 8 bytes from global to shared memory, done when wait_for_copies() returns; before 8.0 at once.
WARPKEM_FN void copy_async(uint2* to, const uint2* from) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(static_cast<u32>(__cvta_generic_to_shared(to))),
               "l"(__cvta_generic_to_global(from))
               : "memory");
#else
  *to = *from;
#endif
}
WARPKEM_FN void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

namespace thread {

WARPKEM_FN KeccakState zero_state() {
  KeccakState s;
#pragma unroll
  for (int i = 0; i < 25; ++i) s.lo[i] = s.hi[i] = 0;
  return s;
}

// What a job does with an item besides: 32 bytes that are copied on the way.
WARPKEM_FN void copy_along(const Sponge& job, u32 item) {
  if (job.also_to.data == nullptr) return;
  const uint4* from = reinterpret_cast<const uint4*>(job.also_from[item]);
  uint4* to = reinterpret_cast<uint4*>(job.also_to[item]);
  to[0] = from[0];
  to[1] = from[1];
}

// Fails an item whose digest is not the one that the job expects. That is public (FIPS 203, 7.3).
WARPKEM_FN void check_digest(const Sponge& job, u32 item, bool active, const KeccakState& state, u8* statuses) {
  if (job.expected.data == nullptr) return;
  const uint4* expected = reinterpret_cast<const uint4*>(job.expected[item]);
  u32 difference = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const uint4 v = expected[i];
    difference |=
        (v.x ^ state.lo[2 * i]) | (v.y ^ state.hi[2 * i]) | (v.z ^ state.lo[2 * i + 1]) | (v.w ^ state.hi[2 * i + 1]);
  }
  if (active && difference != 0 && statuses[item] == 0) statuses[item] = job.failure;
}

template <int parts>
WARPKEM_FN void squeeze(const Rows (&out)[parts], u32 item, const KeccakState& state) {
#pragma unroll
  for (int part = 0; part < parts; ++part) {
    if (out[part].data != nullptr) {
      uint4* to = reinterpret_cast<uint4*>(out[part][item]);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int word = 4 * part + 2 * i;
        to[i] = make_uint4(state.lo[word], state.hi[word], state.lo[word + 1], state.hi[word + 1]);
      }
    }
  }
}

// The state before the permutation of G(m || h), where h is what a digest begins with.
WARPKEM_FN void begin_G(Rows m, u32 item, KeccakState& state) {
  const uint4* words = reinterpret_cast<const uint4*>(m[item]);
  const uint4 v0 = words[0], v1 = words[1];
#pragma unroll
  for (int i = 0; i < 4; ++i) state.lo[4 + i] = state.lo[i], state.hi[4 + i] = state.hi[i];
  state.lo[0] = v0.x, state.hi[0] = v0.y, state.lo[1] = v0.z, state.hi[1] = v0.w;
  state.lo[2] = v1.x, state.hi[2] = v1.y, state.lo[3] = v1.z, state.hi[3] = v1.w;
  state.lo[8] = 0x06, state.hi[8] = 0x80000000;
#pragma unroll
  for (int i = 9; i < 25; ++i) state.lo[i] = state.hi[i] = 0;
}

}  // namespace thread

namespace warp {

// The messages of a job for 32 items, block by block through a tile of shared memory: a row for each lane's item.
class Messages {
 public:
  static constexpr int pitch = 17;  // in 8 bytes: odd, so that the lanes' own rows meet every bank

  WARPKEM_FN Messages(const Sponge& job, u32 item, u32 lane, uint2* tile)
      : job_{job},
        lane_{lane},
        tile_{tile},
        body_{reinterpret_cast<const uint2*>(job.body[item])},
        prefix_{job.prefix.data != nullptr ? reinterpret_cast<const uint2*>(job.prefix[item]) : nullptr},
        copy_{job.body_copy.data != nullptr ? reinterpret_cast<uint2*>(job.body_copy[item]) : nullptr},
        prefix_words_{prefix_ != nullptr ? 4u : 0u},
        total_{prefix_words_ + job.body_words} {}

  WARPKEM_FN u32 num_blocks() const { return total_ / job_.rate_words + 1; }

  // Starts copying block `block` to the tile. What lies in memory is copied asynchronously, while the block before it
  // is permuted. Eight lanes an item take columns 0 to 7 and 8 to 15, then each item's own lane the last. The
  // multiple of four that is added to lane_ / 8 is a constant of the code, and so are all offsets in shared memory.
  WARPKEM_FN void fetch(u32 block) {
    uint2* const to = tile_ + lane_ / 8 * pitch + lane_ % 8;
    const u32 first =
        block * job_.rate_words - prefix_words_;  // of the body; negative in the first block after a prefix
    if (is_inside(block)) {
#pragma unroll
      for (int row = 0; row < 32; row += 4) {
        const uint2* from = shuffle_pointer(body_, row + lane_ / 8) + first + lane_ % 8;
        copy_async(to + row * pitch, from);
        copy_async(to + row * pitch + 8, from + 8);
      }
      copy_async(tile_ + lane_ * pitch + 16, body_ + first + 16);
    } else {
#pragma unroll 1
      for (u32 row = lane_ / 8; row < 32; row += 4) {
        const uint2* prefix_row = shuffle_pointer(prefix_, row);
        const uint2* body_row = shuffle_pointer(body_, row);
        fetch_word(block, row, lane_ % 8, prefix_row, body_row);
        if (job_.rate_words > 9) fetch_word(block, row, lane_ % 8 + 8, prefix_row, body_row);
      }
      fetch_word(block, lane_, job_.rate_words - 1, prefix_, body_);
    }
  }

  // Waits for the block, adds it to the states, and lets the tile be used again.
  WARPKEM_FN void absorb(u32 block, thread::KeccakState& state) {
    wait_for_copies();
    if (copy_ != nullptr) copy_out(block);
    __syncwarp();
    // The words above a rate of 9 are never fetched: they stay as they are.
#pragma unroll
    for (int i = 0; i < 17; ++i) {
      if (i < 9 || job_.rate_words > 9) {
        const uint2 value = tile_[lane_ * pitch + i];
        state.lo[i] ^= value.x;
        state.hi[i] ^= value.y;
      }
    }
    __syncwarp();
  }

  // The last bit of the padding.
  WARPKEM_FN void pad(thread::KeccakState& state) const {
    const u32 last_bit = 0x80000000;
    state.hi[8] ^= job_.rate_words > 9 ? 0 : last_bit;
    state.hi[16] ^= job_.rate_words > 9 ? last_bit : 0;
  }

  WARPKEM_FN void wipe() {
#pragma unroll
    for (int i = 0; i < 17; ++i) {
      if (i < 9 || job_.rate_words > 9) tile_[lane_ * pitch + i] = make_uint2(0, 0);
    }
  }

 private:
  // Whether every word of the block is the body's.
  WARPKEM_FN bool is_inside(u32 block) const {
    return job_.rate_words == 17 && block * 17 >= prefix_words_ && (block + 1) * 17 <= total_;
  }
  WARPKEM_FN void fetch_word(u32 block, u32 row, u32 column, const uint2* prefix_row, const uint2* body_row) {
    const u32 word = block * job_.rate_words + column;
    uint2* const place = tile_ + row * pitch + column;
    if (word < prefix_words_) {
      copy_async(place, prefix_row + word);
    } else if (word < total_) {
      copy_async(place, body_row + (word - prefix_words_));
    } else {
      *place =
          word == total_ ? make_uint2(static_cast<u32>(job_.pad), static_cast<u32>(job_.pad >> 32)) : make_uint2(0, 0);
    }
  }
  // Each lane copies what it has fetched itself. Only H(ek) has a copy, and no prefix.
  WARPKEM_FN void copy_out(u32 block) {
    const u32 first = block * job_.rate_words;
#pragma unroll 4
    for (u32 row = lane_ / 8; row < 32; row += 4) {
      uint2* copy_to = shuffle_pointer(copy_, row) + first;
      const uint2* from = tile_ + row * pitch;
#pragma unroll
      for (u32 column = lane_ % 8; column < 16; column += 8) {
        if (first + column < total_) copy_to[column] = from[column];
      }
    }
    if (first + 16 < total_) copy_[first + 16] = tile_[lane_ * pitch + 16];
  }

  const Sponge& job_;
  const u32 lane_;
  uint2* const tile_;
  const uint2* const body_;
  const uint2* const prefix_;
  uint2* const copy_;
  const u32 prefix_words_, total_;
};

}  // namespace warp
}  // namespace warpkem::kernels
