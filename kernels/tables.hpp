// The constants of FIPS 203 and FIPS 202, computed.
#pragma once

#include <array>

#include "kernels/field.hpp"

namespace warpkem::kernels {

constexpr int BitRev7(int i) noexcept {
  int r = 0;
  for (int bit = 0; bit < 7; ++bit) r |= ((i >> bit) & 1) << (6 - bit);
  return r;
}

// zeta^BitRev7(i), centered.
constexpr std::array<int, 128> make_zetas() noexcept {
  std::array<int, 128> zetas{};
  for (int i = 0; i < 128; ++i) zetas[static_cast<std::size_t>(i)] = centered(power(17, BitRev7(i)));
  return zetas;
}
inline constexpr std::array<int, 128> zetas = make_zetas();
static_assert(zetas[0] == 1 && zetas[1] == 1729 - q && zetas[127] == 2154 - q);  // FIPS 203, Appendix A

// Twiddle factors that differ by lane, for 16 lanes of 16 coefficients: those of the three layers within a lane.
// Forward order: layer 8 (one), layer 4 (two), layer 2 (four); inverse order: 2 (four), 4 (two), 8 (one). A pair is (z,
// z / q). Two pairs make a quad; quad i of all lanes is contiguous, so that a warp's load is coalesced. The last pair
// is padding.
struct alignas(16) Quad {
  float v[4];
};
struct LaneFactors {
  Quad quad[4][16];
};
constexpr LaneFactors make_lane_factors(bool inverse) noexcept {
  LaneFactors table{};
  for (int t = 0; t < 16; ++t) {
    const int forward_index[8] = {16 + t, 32 + 2 * t, 33 + 2 * t, 64 + 4 * t, 65 + 4 * t, 66 + 4 * t, 67 + 4 * t, 0};
    const int inverse_index[8] = {127 - 4 * t, 126 - 4 * t, 125 - 4 * t, 124 - 4 * t,
                                  63 - 2 * t,  62 - 2 * t,  31 - t,      0};
    for (int i = 0; i < 8; ++i) {
      const int z = zetas[static_cast<std::size_t>(inverse ? inverse_index[i] : forward_index[i])];
      table.quad[i / 2][t].v[2 * (i % 2)] = static_cast<float>(z);
      table.quad[i / 2][t].v[2 * (i % 2) + 1] = over_q(z);
    }
  }
  return table;
}

// FIPS 202, Algorithm 5: the round constants of Keccak-f[1600].
struct KeccakConstants {
  u32 lo[24], hi[24];
};
constexpr KeccakConstants make_keccak_constants() noexcept {
  KeccakConstants c{};
  u32 lfsr = 1;
  for (int round = 0; round < 24; ++round) {
    u64 value = 0;
    for (int j = 0; j < 7; ++j) {
      if ((lfsr & 1) != 0) value |= u64{1} << ((1 << j) - 1);
      lfsr = (lfsr << 1) ^ ((lfsr >> 7) * 0x171);
    }
    c.lo[round] = static_cast<u32>(value);
    c.hi[round] = static_cast<u32>(value >> 32);
  }
  return c;
}
static_assert(make_keccak_constants().lo[0] == 1 && make_keccak_constants().hi[23] == 0x80000000 &&
              make_keccak_constants().lo[23] == 0x80008008);

struct PowersOfTwo {
  u32 of[32];
};
constexpr PowersOfTwo make_powers_of_two() noexcept {
  PowersOfTwo powers{};
  for (int i = 0; i < 32; ++i) powers.of[i] = u32{1} << i;
  return powers;
}

// Rotation offsets of rho for lane x + 5y: FIPS 202, Algorithm 2.
constexpr std::array<int, 25> make_rho_offsets() noexcept {
  std::array<int, 25> offsets{};
  int x = 1, y = 0;
  for (int t = 0; t < 24; ++t) {
    offsets[static_cast<std::size_t>(x + 5 * y)] = (t + 1) * (t + 2) / 2 % 64;
    const int next = (2 * x + 3 * y) % 5;
    x = y;
    y = next;
  }
  return offsets;
}
static_assert(make_rho_offsets()[1] == 1 && make_rho_offsets()[24] == 14);

}  // namespace warpkem::kernels
