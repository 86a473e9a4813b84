// The portable backend: FIPS 203 in plain C++, and the oracle that all other backends are tested against.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/backends/cpu_kernels.hpp"

namespace warpkem::portable {

const host::CpuKernels& kernels() noexcept;

// A Keccak sponge, FIPS 202: any number of absorb(), then any number of squeeze(). Not wiped when it goes: whoever
// absorbs a secret clears it.
template <std::size_t rate, std::uint8_t suffix>
class Sponge {
 public:
  Sponge& absorb(std::span<const std::uint8_t> in) noexcept;
  void squeeze(std::span<std::uint8_t> out) noexcept;

 private:
  std::array<std::uint64_t, 25> state_{};
  std::size_t position_ = 0;  // bytes of the current block that are absorbed or squeezed
  bool squeezing_ = false;
};

using Shake128 = Sponge<168, 0x1f>;
using Sha3_256 = Sponge<136, 0x06>;

extern template class Sponge<168, 0x1f>;
extern template class Sponge<136, 0x06>;

}  // namespace warpkem::portable
