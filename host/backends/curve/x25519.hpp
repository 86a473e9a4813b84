// X25519 (RFC 7748) in batches: the seam between the instruction sets that compute it and their callers. Plain data and
// plain functions, for some of them are compiled with flags that others must not meet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace warpkem::curve {

inline constexpr std::size_t x25519_bytes = 32;  // of a scalar, of a u-coordinate, and of a result

// Item i has its 32 bytes at table[i] + offset where there is a table, else at data + i * stride.
template <class Byte>
struct Records {
  Byte* data = nullptr;
  std::size_t stride = x25519_bytes;
  Byte* const* table = nullptr;
  std::size_t offset = 0;

  [[gnu::always_inline]] Byte* operator[](std::size_t i) const noexcept {
    return table != nullptr ? table[i] + offset : data + i * stride;
  }
};
using In = Records<const std::uint8_t>;
using Out = Records<std::uint8_t>;

constexpr In to_const(const Out& records) noexcept {
  return {records.data, records.stride, records.table, records.offset};
}

// The same from item `first` on.
template <class Byte>
constexpr Records<Byte> from(Records<Byte> records, std::size_t first) noexcept {
  if (records.table != nullptr) {
    records.table += first;
  } else if (records.data != nullptr) {
    records.data += first * records.stride;
  }
  return records;
}

// result[i] = X25519(k[i], u[i]). Scalars are taken as they are stored and clamped in the multiplication; the top bit
// of u is ignored, and a u that is not below p stands for its residue. A result may be written over the k or the u of
// the same item; else arrays share no byte.
struct Derive {
  std::size_t count = 0;
  In k, u;
  Out result;
  std::uint8_t* is_zero = nullptr;  // or null: per item 1 if the result is all zero (u has low order), else 0; secret
};

// result[i] = X25519(k[i], 9), which is never zero.
struct PublicKey {
  std::size_t count = 0;
  In k;
  Out result;
};

struct X25519Kernels {
  const char* name;
  std::size_t lanes;            // items side by side
  std::size_t workspace_bytes;  // scratch memory that the two need: 64-byte aligned, one per running thread

  // The whole batch on the calling thread. Uses at most 8 KiB of stack, allocates nothing, leaves no secret in the
  // workspace, in vector registers or on the stack, and leaves the floating-point environment as it was. No branch and
  // no address depends on a scalar, a u-coordinate or a result. The first call of public_key() in a process computes
  // a table, which takes less than a millisecond.
  void (*derive)(const Derive& batch, std::uint8_t* workspace) noexcept;
  void (*public_key)(const PublicKey& batch, std::uint8_t* workspace) noexcept;
};

// In order of preference, `portable` last; ends with null. `usable` says whether this CPU can run one.
struct Implementation {
  const X25519Kernels& (*kernels)() noexcept;  // only where usable() says yes
  bool (*usable)() noexcept;
  const char* needs;  // for messages
};
const Implementation* implementations() noexcept;

const X25519Kernels& portable() noexcept;
const X25519Kernels& avx2() noexcept;         // four lanes, in double precision
const X25519Kernels& avx512() noexcept;       // eight lanes, in double precision
const X25519Kernels& avx512_ifma() noexcept;  // eight lanes, in 52-bit integers

}  // namespace warpkem::curve
