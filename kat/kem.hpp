// Batches of one algorithm through the C ABI, for what the known answers are made of: everything derandomised, in
// packed arrays. A dk is expanded, or a seed where the algorithm has none that is expanded. Throws std::runtime_error
// where a call or an item fails.
#pragma once

#include <warpkem/warpkem.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace warpkem::kat {

using Bytes = std::vector<std::uint8_t>;
using View = std::span<const std::uint8_t>;

class Kem {
 public:
  Kem(warpkem_engine* engine, warpkem_algorithm algorithm);

  struct KeyPairs {
    Bytes ek, dk;
  };
  struct Encapsulated {
    Bytes c, K;
  };
  KeyPairs keygen(const Bytes& seeds) const;
  Encapsulated encaps(const Bytes& ek, const Bytes& m) const;
  Bytes decaps(const Bytes& dk, const Bytes& c) const;
  Bytes decaps_seed(const Bytes& seeds, const Bytes& c) const;

  warpkem_algorithm algorithm;
  std::size_t ek_bytes, dk_bytes, c_bytes, K_bytes, m_bytes, seed_bytes;
  std::uint32_t dk_format;

 private:
  warpkem_engine* engine_;
};

inline View record(const Bytes& packed, std::size_t bytes, std::size_t i) {
  return View(packed).subspan(i * bytes, bytes);
}

std::string hex(View bytes, bool upper = false);
Bytes from_hex(const std::string& text);  // throws on anything but pairs of hex digits

}  // namespace warpkem::kat
