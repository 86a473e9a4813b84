// Hybrid KEMs as their documents write them, one item at a time, of OpenSSL's curves and hashes and of this library's
// ML-KEM on `portable`: what the library's hybrids are held against.
#pragma once

#include <optional>

#include "tests/support/backends.hpp"

namespace warpkem::test {

struct HybridModel {
  explicit HybridModel(warpkem_algorithm algorithm);

  struct KeyPair {
    Bytes ek, dk;
  };
  struct Encapsulated {
    Bytes c, K;
  };

  // Null: the randomness holds no scalar.
  std::optional<KeyPair> keygen(const Bytes& seed, std::uint32_t dk_format) const;
  std::optional<Encapsulated> encaps(const Bytes& ek, const Bytes& m) const;
  // Null: the curve's half of c, or of the dk, is bad.
  std::optional<Bytes> decaps(const Bytes& dk, std::uint32_t dk_format, const Bytes& c) const;

  warpkem_algorithm algorithm, ml_kem;
  bool combines, group_first;
  std::size_t scalar, element, secret, randomness;  // bytes of the curve's records
  Bytes label, before, after;                       // of the combiner; around the scalar of a composite dk
  Set half;                                         // ML-KEM

  // Where the curve's half of a record begins.
  std::size_t in_ek() const { return group_first ? 0 : half.ek; }
  std::size_t in_c() const { return group_first ? 0 : half.c; }
  std::size_t in_dk(std::uint32_t format) const;
  std::size_t ml_kem_in_ek() const { return group_first ? element : 0; }
  std::size_t ml_kem_in_c() const { return group_first ? element : 0; }

 private:
  std::optional<Bytes> scalar_of(const Bytes& randomness) const;
  Bytes public_key(const Bytes& k) const;
  std::optional<Bytes> derive(const Bytes& k, const Bytes& theirs) const;
  Bytes join(const Bytes& ml_kem_part, const Bytes& group_part) const;
  Bytes secret_of(const Bytes& K, const Bytes& shared, const Bytes& in_c, const Bytes& in_ek) const;
};

}  // namespace warpkem::test
