// The functions of portable.cpp are its own, so it is compiled in here a second time, under another name: the library
// carries nothing for its tests.
#include "tests/backends/primitives.hpp"

#define portable portable_for_tests
#include "host/backends/portable/portable.cpp"

namespace warpkem::primitives {
namespace {

using namespace portable;

// To one of the types above and back, made canonical.
template <class P>
P from(const Coefficients& f) noexcept {
  P result{};
  std::copy(f.begin(), f.end(), result.f);
  return result;
}

template <class P>
Coefficients to(const P& f) noexcept {
  Coefficients result;
  std::transform(f.f, f.f + n, result.begin(), [](std::int16_t x) { return canonical(x); });  // it must be inlined
  return result;
}

// f(d) with d as a constant.
template <int... ds, class F>
void with_d(int d, F&& f) noexcept {
  ((d == ds ? f(std::integral_constant<int, ds>()) : void()), ...);
}

}  // namespace

Coefficients NTT(const Coefficients& f) noexcept {
  NttPoly f_hat;
  portable::NTT(f_hat, from<Poly>(f));
  return to(f_hat);
}

Coefficients InverseNTT(const Coefficients& f_hat) noexcept {
  Poly f;
  portable::InverseNTT(f, from<NttPoly>(f_hat));
  return to(f);
}

Coefficients MultiplyNTTs(const Coefficients& f_hat, const Coefficients& g_hat) noexcept {
  const auto f = from<NttPoly>(f_hat), g = from<NttPoly>(g_hat);
  NttPoly h_hat;
  inner_product<1>(h_hat, &f, 1, &g);
  return to(h_hat);
}

Coefficients SampleNTT(const uint8_t rho[32], uint8_t j, uint8_t i) noexcept {
  NttPoly a_hat;
  portable::SampleNTT(a_hat, rho, j, i);
  return to(a_hat);
}

Coefficients SamplePolyCBD(int eta, const uint8_t* bytes) noexcept {
  Poly f{};
  with_d<2, 3>(eta, [&](auto e) { portable::SamplePolyCBD<e>(f, bytes); });
  return to(f);
}

void ByteEncode(int d, const Coefficients& f, uint8_t* out) noexcept {
  with_d<1, 4, 5, 10, 11, 12>(d, [&](auto e) { portable::ByteEncode<e>(out, [&](int i) { return f.data()[i]; }); });
}

Coefficients ByteDecode(int d, const uint8_t* in) noexcept {
  NttPoly f{};
  with_d<1, 4, 5, 10, 11, 12>(
      d, [&](auto e) { portable::ByteDecode<e>(in, [&](int i, uint16_t x) { f.f[i] = static_cast<int16_t>(x); }); });
  if (d == 12) ByteDecode12(f, in);
  return to(f);
}

uint16_t Compress(int d, uint16_t x) noexcept {
  uint16_t y = 0;
  with_d<1, 4, 5, 10, 11>(d, [&](auto e) { y = portable::Compress<e>(x); });
  return y;
}

uint16_t Decompress(int d, uint16_t y) noexcept {
  uint16_t x = 0;
  with_d<1, 4, 5, 10, 11>(d, [&](auto e) { x = portable::Decompress<e>(y); });
  return x;
}

namespace {

template <class S>
std::vector<uint8_t> hash(const std::vector<uint8_t>& in, size_t cut, size_t out_bytes) {
  std::vector<uint8_t> out(out_bytes);
  const std::span<const uint8_t> bytes(in);
  S sponge;
  sponge.absorb(bytes.first(cut)).absorb(bytes.subspan(cut));
  sponge.squeeze(std::span(out).first(out_bytes / 3));
  sponge.squeeze(std::span(out).subspan(out_bytes / 3));
  return out;
}

}  // namespace

std::vector<uint8_t> SHAKE128(const std::vector<uint8_t>& in, size_t cut, size_t out_bytes) {
  return hash<Shake128>(in, cut, out_bytes);
}
std::vector<uint8_t> SHAKE256(const std::vector<uint8_t>& in, size_t cut, size_t out_bytes) {
  return hash<Shake256>(in, cut, out_bytes);
}
std::vector<uint8_t> SHA3_256(const std::vector<uint8_t>& in, size_t cut) { return hash<Sha3_256>(in, cut, 32); }
std::vector<uint8_t> SHA3_512(const std::vector<uint8_t>& in, size_t cut) { return hash<Sha3_512>(in, cut, 64); }

}  // namespace warpkem::primitives
