// Included by a file for each instruction set; see vector_primitives.hpp.
#pragma once

#include <cstring>

#include "host/backends/x86/sample.hpp"
#include "host/backends/x86/sponge.hpp"
#include "tests/backends/vector_primitives.hpp"

namespace warpkem::vector_primitives {
namespace {

using namespace simd;

const Poly& poly(const i16* f) { return *reinterpret_cast<const Poly*>(f); }
Poly& poly(i16* f) { return *reinterpret_cast<Poly*>(f); }
const NttPoly& ntt_poly(const i16* f) { return *reinterpret_cast<const NttPoly*>(f); }
NttPoly& ntt_poly(i16* f) { return *reinterpret_cast<NttPoly*>(f); }

void multiply_ntts(const i16* a, const i16* b, i16* product) {
  NttPoly as[4], bs[4], b_gammas[4];
  for (int j = 0; j < 4; ++j) {
    as[j] = ntt_poly(a), bs[j] = ntt_poly(b);
    times_gamma(bs[j], b_gammas[j]);
  }
  inner_product<4>(as[0].c, n, bs, b_gammas, ntt_poly(product));
}

int sample_ntt(const u8* bytes, int blocks, i16* a) {
  auto& entry = *reinterpret_cast<MatrixEntry*>(a);
  int have = SampleNTT_first_blocks(bytes, entry);
  for (int block = 3; block < blocks && have < n; ++block) {
    have = SampleNTT_next_block(bytes + 168 * block, entry, have);
  }
  return have;
}

template <class K>
VectorPrimitives list(const char* name) {
  return {
      .name = name,
      .lanes = K::lanes,
      .reduce = [](i16* x) { store(x, simd::reduce(load(x))); },
      .canonical = [](i16* x) { store(x, simd::canonical(load(x))); },
      .multiply_by_zeta = [](i16* x, int i) { store(x, multiply(load(x), vector_tables.zetas[i])); },
      .Compress =
          [](int d, i16* x) {
            const Vector v = load(x);
            store(x, d == 1    ? simd::Compress<1>(v)
                     : d == 4  ? simd::Compress<4>(v)
                     : d == 5  ? simd::Compress<5>(v)
                     : d == 10 ? simd::Compress<10>(v)
                               : simd::Compress<11>(v));
          },
      .NTT = [](const i16* f, i16* f_hat) { simd::NTT(poly(f), ntt_poly(f_hat)); },
      .InverseNTT = [](const i16* f_hat, i16* f) { simd::InverseNTT(ntt_poly(f_hat), poly(f)); },
      .MultiplyNTTs = multiply_ntts,
      .below_q = [](const u8* bytes, int count) { return simd::below_q(bytes, count); },
      .ByteDecode_12 = [](const u8* bytes, i16* f) { simd::ByteDecode<12>(bytes, ntt_poly(f)); },
      .ByteEncode_12 = [](const i16* f, u8* bytes) { simd::ByteEncode<12>(ntt_poly(f), bytes); },
      .encode_compressed =
          [](int d, const i16* f, u8* bytes) {
            const Poly zero{};
            d == 4    ? simd::encode_compressed<4>(poly(f), zero, bytes)
            : d == 5  ? simd::encode_compressed<5>(poly(f), zero, bytes)
            : d == 10 ? simd::encode_compressed<10>(poly(f), zero, bytes)
                      : simd::encode_compressed<11>(poly(f), zero, bytes);
          },
      .decode_compressed =
          [](int d, const u8* bytes, i16* f) {
            d == 4    ? simd::decode_compressed<4>(bytes, poly(f))
            : d == 5  ? simd::decode_compressed<5>(bytes, poly(f))
            : d == 10 ? simd::decode_compressed<10>(bytes, poly(f))
                      : simd::decode_compressed<11>(bytes, poly(f));
          },
      .encode_message = [](const i16* v, const i16* w, u8* m) { simd::encode_message(poly(v), poly(w), m); },
      .add_message = [](const u8* m, i16* f) { simd::add_message(m, poly(f)); },
      .SamplePolyCBD =
          [](int eta, const u8* bytes, i16* f) {
            eta == 2 ? simd::SamplePolyCBD<2>(bytes, poly(f)) : simd::SamplePolyCBD<3>(bytes, poly(f));
          },
      .SampleNTT = sample_ntt,
      .permute =
          [](std::uint64_t* states, int active) {
            LaneStates<K::lanes> lanes;
            std::memcpy(lanes.words, states, sizeof lanes.words);
            K::permute(lanes, active);
            std::memcpy(states, lanes.words, sizeof lanes.words);
          },
  };
}

}  // namespace
}  // namespace warpkem::vector_primitives
