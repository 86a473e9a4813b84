#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <new>

#include "host/backends/curve/group.hpp"
#include "host/core/gate.hpp"

namespace warpkem::curve {
namespace {

constinit host::Gate gate;
const int not_guarded = host::guard_at_fork<gate>();

// The u-coordinates of low order, below p: 0, 1, those of order 8, and p - 1. RFC 7748, Section 7: with these the
// result is zero for every scalar, for scalars are multiples of 8.
constexpr std::array<std::array<std::uint8_t, 32>, 5> low_order = {{
    {},
    {1},
    {0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
     0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00},
    {0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
     0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57},
    {0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
     0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f},
}};

// Of a public u.
bool has_low_order(const std::uint8_t* u) noexcept {
  std::array<std::uint8_t, 32> reduced;
  std::memcpy(reduced.data(), u, 32);
  reduced[31] &= 0x7f;
  // From p = 2^255 - 19 on: u - p, which is below 19.
  const bool is_reduced = reduced[31] != 0x7f || reduced[0] < 0xed ||
                          std::any_of(reduced.begin() + 1, reduced.end() - 1, [](std::uint8_t b) { return b != 0xff; });
  if (!is_reduced) reduced = {static_cast<std::uint8_t>(reduced[0] - 0xed)};
  return std::ranges::find(low_order, reduced) != low_order.end();
}

class X25519 final : public Group {
 public:
  explicit X25519(const X25519Kernels& kernels) : kernels_(kernels) {}

  std::size_t lanes() const noexcept override { return kernels_.lanes; }
  std::size_t workspace_bytes() const noexcept override { return kernels_.workspace_bytes; }

  void random_scalars(std::size_t count, In randomness, Out k, std::uint8_t*) const override {
    for (std::size_t i = 0; i < count; ++i) std::memcpy(k[i], randomness[i], x25519_bytes);
  }
  void check_scalars(std::size_t, In, std::uint8_t*) const override {}

  void public_keys(std::size_t count, In k, Out element, std::uint8_t* workspace) const override {
    make_table(workspace);
    kernels_.public_key({count, k, element}, workspace);
  }

  void derive(std::size_t count, In k, In element, Out secret, std::uint8_t* good,
              std::uint8_t* workspace) const override {
    std::uint8_t is_zero[256];
    for (std::size_t first = 0; first < count; first += sizeof is_zero) {
      const std::size_t n = std::min(sizeof is_zero, count - first);
      kernels_.derive({n, from(k, first), from(element, first), from(secret, first), is_zero}, workspace);
      for (std::size_t i = 0; i < n; ++i) good[first + i] &= static_cast<std::uint8_t>(is_zero[i] ^ 1);
    }
  }

  void check_elements(std::size_t count, In element, std::uint8_t* good) const override {
    for (std::size_t i = 0; i < count; ++i) {
      if (has_low_order(element[i])) good[i] = 0;
    }
  }

 private:
  // The kernels' first public key in a process computes a table under a lock of the compiler's, which no fork may leave
  // locked.
  void make_table(std::uint8_t* workspace) const noexcept {
    if (has_table_.load(std::memory_order_acquire)) return;
    const host::Gate::Pass pass(gate);
    constexpr std::array<std::uint8_t, x25519_bytes> k{};
    std::array<std::uint8_t, x25519_bytes> element;
    kernels_.public_key({1, {k.data()}, {element.data()}}, workspace);
    has_table_.store(true, std::memory_order_release);
  }

  const X25519Kernels& kernels_;
  mutable std::atomic<bool> has_table_{false};
};

}  // namespace

std::unique_ptr<Group> make_x25519(const X25519Kernels& kernels) {
  if (not_guarded != 0) throw std::bad_alloc();
  return std::make_unique<X25519>(kernels);
}

}  // namespace warpkem::curve
