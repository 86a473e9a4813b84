// Keccak-f[1600], FIPS 202: one thread, one state, in registers, as 32-bit halves of the 25 lanes.
//
// Instructions per round: theta 20 LOP3 + 10 SHF + 50 LOP3 (D is never formed: a ^ C[x-1] ^ rot(C[x+1]) is one LOP3),
// rho 48 SHF, chi 50 LOP3, iota 2: 4320 a permutation. Four rounds a loop iteration keep the code (12 kB) inside the
// instruction cache, which 24 (69 kB) leave.
//
// LOP3 and SHF share a pipe that this keeps full. A rotation can also be done in the multiplier: two products of 64
// bits and two sums. That does not pay on a Hopper: IMAD.WIDE and IMAD.HI hold up the other pipe for as long as the SHF
// that they replace (bench/results/README.md). Which rotations go that way is policy::rotations_in_multiplier;
// pipes_bench asks a chip.
#pragma once

#include "kernels/policy.hpp"
#include "kernels/tables.hpp"

namespace warpkem::kernels::thread {

struct KeccakState {
  u32 lo[25], hi[25];
};

static __constant__ const KeccakConstants keccak_constants = make_keccak_constants();

template <int truth_table>
WARPKEM_FN u32 lop3(u32 a, u32 b, u32 c) {
  u32 d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(truth_table));
  return d;
}
WARPKEM_FN u32 xor3(u32 a, u32 b, u32 c) { return lop3<0x96>(a, b, c); }
WARPKEM_FN u32 chi(u32 a, u32 b, u32 c) { return lop3<0xD2>(a, b, c); }  // a ^ (~b & c)

// Factors that the compiler does not know, or it would turn the products back into shifts: 2^i, of which 2^0 makes a
// sum a product too. Nothing writes to them.
static __constant__ PowersOfTwo powers_of_two = make_powers_of_two();

WARPKEM_FN u64 multiply_wide(u32 a, u32 b) {
  u64 d;
  asm("mul.wide.u32 %0, %1, %2;" : "=l"(d) : "r"(a), "r"(b));
  return d;
}
WARPKEM_FN u32 multiply_add(u32 a, u32 b, u32 c) {
  u32 d;
  asm("mad.lo.u32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}

// (hi, lo) rotated to the left by `offset`. All but the words are known when this is compiled.
WARPKEM_FN void rotate(u32& lo, u32& hi, int offset, bool in_multiplier) {
  if (offset == 0) return;
  const u32 a = offset < 32 ? lo : hi, b = offset < 32 ? hi : lo;
  if (in_multiplier) {
    const u32 factor = powers_of_two.of[offset % 32], one = powers_of_two.of[0];
    const u64 low = multiply_wide(a, factor), high = multiply_wide(b, factor);
    // No bit is set in both terms: the sum is their OR.
    lo = multiply_add(static_cast<u32>(high >> 32), one, static_cast<u32>(low));
    hi = multiply_add(static_cast<u32>(low >> 32), one, static_cast<u32>(high));
  } else {
    lo = __funnelshift_l(b, a, offset % 32);
    hi = __funnelshift_l(a, b, offset % 32);
  }
}

template <policy::Rotations in_multiplier>
WARPKEM_FN void keccak_round(KeccakState& a, u32 constant_lo, u32 constant_hi) {
  constexpr std::array<int, 25> offsets = make_rho_offsets();
  u32 c_lo[5], c_hi[5], r_lo[5], r_hi[5];  // column parities, and those rotated by one
#pragma unroll
  for (int x = 0; x < 5; ++x) {
    c_lo[x] = xor3(xor3(a.lo[x], a.lo[x + 5], a.lo[x + 10]), a.lo[x + 15], a.lo[x + 20]);
    c_hi[x] = xor3(xor3(a.hi[x], a.hi[x + 5], a.hi[x + 10]), a.hi[x + 15], a.hi[x + 20]);
  }
#pragma unroll
  for (int x = 0; x < 5; ++x) {
    r_lo[x] = c_lo[x], r_hi[x] = c_hi[x];
    rotate(r_lo[x], r_hi[x], 1, (in_multiplier.theta >> x & 1) != 0);
  }
  KeccakState e;
#pragma unroll
  for (int y = 0; y < 5; ++y) {
    u32 b_lo[5], b_hi[5];
#pragma unroll
    for (int x = 0; x < 5; ++x) {
      const int from = (x + 3 * y) % 5 + 5 * x;  // pi: lane (x, y) comes from (x + 3y, x)
      const int column = from % 5;
      b_lo[x] = xor3(a.lo[from], c_lo[(column + 4) % 5], r_lo[(column + 1) % 5]);
      b_hi[x] = xor3(a.hi[from], c_hi[(column + 4) % 5], r_hi[(column + 1) % 5]);
      rotate(b_lo[x], b_hi[x], offsets[static_cast<unsigned>(from)], (in_multiplier.rho >> from & 1) != 0);
    }
#pragma unroll
    for (int x = 0; x < 5; ++x) {
      e.lo[x + 5 * y] = chi(b_lo[x], b_lo[(x + 1) % 5], b_lo[(x + 2) % 5]);
      e.hi[x + 5 * y] = chi(b_hi[x], b_hi[(x + 1) % 5], b_hi[(x + 2) % 5]);
    }
  }
  e.lo[0] ^= constant_lo;
  e.hi[0] ^= constant_hi;
  a = e;
}

template <policy::Rotations in_multiplier = policy::rotations_in_multiplier, int rounds_a_turn = 4>
WARPKEM_FN void KeccakF1600(KeccakState& state) {
#pragma unroll 1
  for (int round = 0; round < 24; round += rounds_a_turn) {
#pragma unroll
    for (int i = 0; i < rounds_a_turn; ++i) {
      keccak_round<in_multiplier>(state, keccak_constants.lo[round + i], keccak_constants.hi[round + i]);
    }
  }
}

}  // namespace warpkem::kernels::thread

namespace warpkem::kernels::warp {

// One warp, one state: lane l < 25 of the warp holds lane (l % 5, l / 5) of the state. Every step of a round waits for
// a shuffle, 18 of them and 16 other instructions a round: half the time of a thread with a whole state, at a sixth of
// its throughput. For batches too small to fill the device.
struct KeccakLane {
  u32 lo, hi;
};

struct KeccakLanes {
  int column[4];      // the others of this column
  int before, after;  // columns x - 1 and x + 1
  int source[3];      // where pi brings (x, y), (x + 1, y) and (x + 2, y) from
  int offset;         // of rho
  u32 first;          // all ones in lane 0, which iota changes
};

WARPKEM_FN KeccakLanes keccak_lanes(u32 lane) {
  const int l = lane < 25 ? static_cast<int>(lane) : 0, x = l % 5, y = l / 5;
  KeccakLanes lanes;
#pragma unroll
  for (int i = 0; i < 4; ++i) lanes.column[i] = (l + 5 * (i + 1)) % 25;
  lanes.before = (x + 4) % 5 + 5 * y;
  lanes.after = (x + 1) % 5 + 5 * y;
#pragma unroll
  for (int i = 0; i < 3; ++i) {
    const int column = (x + i) % 5;
    lanes.source[i] = (column + 3 * y) % 5 + 5 * column;
  }
  // rho along the orbit of (1, 0), as Algorithm 2 of FIPS 202 goes.
  lanes.offset = 0;
  int at_x = 1, at_y = 0;
  for (int t = 0; t < 24; ++t) {
    if (at_x == x && at_y == y) lanes.offset = (t + 1) * (t + 2) / 2 % 64;
    const int next = (2 * at_x + 3 * at_y) % 5;
    at_x = at_y;
    at_y = next;
  }
  lanes.first = lane == 0 ? 0xFFFFFFFF : 0;
  return lanes;
}

WARPKEM_FN KeccakLane from_lane(const KeccakLane& a, int lane) {
  return {__shfl_sync(all_lanes, a.lo, lane), __shfl_sync(all_lanes, a.hi, lane)};
}

WARPKEM_FN void KeccakF1600(KeccakLane& a, const KeccakLanes& lanes) {
  const bool swap = lanes.offset >= 32;
#pragma unroll 1
  for (int round = 0; round < 24; ++round) {
    KeccakLane parity = a;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const KeccakLane other = from_lane(a, lanes.column[i]);
      parity.lo ^= other.lo;
      parity.hi ^= other.hi;
    }
    const KeccakLane before = from_lane(parity, lanes.before), after = from_lane(parity, lanes.after);
    const u32 lo = thread::xor3(a.lo, before.lo, __funnelshift_l(after.hi, after.lo, 1));
    const u32 hi = thread::xor3(a.hi, before.hi, __funnelshift_l(after.lo, after.hi, 1));
    const u32 low = swap ? hi : lo, high = swap ? lo : hi;
    const KeccakLane turned = {__funnelshift_l(high, low, lanes.offset), __funnelshift_l(low, high, lanes.offset)};
    const KeccakLane b0 = from_lane(turned, lanes.source[0]);
    const KeccakLane b1 = from_lane(turned, lanes.source[1]);
    const KeccakLane b2 = from_lane(turned, lanes.source[2]);
    a.lo = thread::chi(b0.lo, b1.lo, b2.lo) ^ (thread::keccak_constants.lo[round] & lanes.first);
    a.hi = thread::chi(b0.hi, b1.hi, b2.hi) ^ (thread::keccak_constants.hi[round] & lanes.first);
  }
}

}  // namespace warpkem::kernels::warp
