// The standard's algorithms one by one, as `portable` has them: for tests of it and of other backends, primitive by
// primitive, and for the vectors in kat/. Coefficients are in the standard's order and canonical: 0 <= f_i < q.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpkem::primitives {

using Coefficients = std::array<std::uint16_t, 256>;

Coefficients NTT(const Coefficients& f) noexcept;
Coefficients InverseNTT(const Coefficients& f_hat) noexcept;
Coefficients MultiplyNTTs(const Coefficients& f_hat, const Coefficients& g_hat) noexcept;

// A_hat[i][j] = SampleNTT(rho || j || i).
Coefficients SampleNTT(const std::uint8_t rho[32], std::uint8_t j, std::uint8_t i) noexcept;

// From 64 * eta bytes, eta 2 or 3.
Coefficients SamplePolyCBD(int eta, const std::uint8_t* bytes) noexcept;

// d: 1, 4, 5, 10, 11, 12; 32 * d bytes. ByteDecode_12 reduces mod q.
void ByteEncode(int d, const Coefficients& f, std::uint8_t* out) noexcept;
Coefficients ByteDecode(int d, const std::uint8_t* in) noexcept;

// d: 1, 4, 5, 10, 11; x below q, y below 2^d.
std::uint16_t Compress(int d, std::uint16_t x) noexcept;
std::uint16_t Decompress(int d, std::uint16_t y) noexcept;

// The hash functions, fed the first `cut` bytes and then the rest, their output drawn in two pieces as well.
std::vector<std::uint8_t> SHAKE128(const std::vector<std::uint8_t>& in, std::size_t cut, std::size_t out_bytes);
std::vector<std::uint8_t> SHAKE256(const std::vector<std::uint8_t>& in, std::size_t cut, std::size_t out_bytes);
std::vector<std::uint8_t> SHA3_256(const std::vector<std::uint8_t>& in, std::size_t cut = 0);
std::vector<std::uint8_t> SHA3_512(const std::vector<std::uint8_t>& in, std::size_t cut = 0);

}  // namespace warpkem::primitives
