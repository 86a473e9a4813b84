#include "kat/kem.hpp"

#include <stdexcept>

namespace warpkem::kat {
namespace {

warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }

void check(warpkem_status status) {
  if (status != WARPKEM_OK) throw std::runtime_error(warpkem_last_error());
}

}  // namespace

Kem::Kem(warpkem_engine* engine, warpkem_algorithm id)
    : algorithm(id),
      ek_bytes(warpkem_size(id, WARPKEM_SIZE_EK)),
      dk_bytes(warpkem_size(id, WARPKEM_SIZE_DK)),
      c_bytes(warpkem_size(id, WARPKEM_SIZE_C)),
      K_bytes(warpkem_size(id, WARPKEM_SIZE_K)),
      m_bytes(warpkem_size(id, WARPKEM_SIZE_M)),
      seed_bytes(warpkem_size(id, WARPKEM_SIZE_SEED)),
      dk_format(dk_bytes != 0 ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED),
      engine_(engine) {
  if (dk_format == WARPKEM_DK_SEED) dk_bytes = warpkem_size(id, WARPKEM_SIZE_DK_SEED);
}

Kem::KeyPairs Kem::keygen(const Bytes& seeds) const {
  const std::size_t count = seeds.size() / seed_bytes;
  KeyPairs keys{Bytes(count * ek_bytes), Bytes(count * dk_bytes)};
  check(warpkem_keygen_derand(engine_, algorithm, dk_format, count, in(seeds), out(keys.ek), out(keys.dk), nullptr,
                              nullptr));
  return keys;
}

Kem::Encapsulated Kem::encaps(const Bytes& ek, const Bytes& m) const {
  const std::size_t count = m.size() / m_bytes;
  Encapsulated result{Bytes(count * c_bytes), Bytes(count * K_bytes)};
  check(
      warpkem_encaps_derand(engine_, algorithm, count, in(ek), in(m), out(result.c), out(result.K), nullptr, nullptr));
  return result;
}

Bytes Kem::decaps(const Bytes& dk, const Bytes& c) const {
  Bytes K(c.size() / c_bytes * K_bytes);
  check(warpkem_decaps(engine_, algorithm, dk_format, c.size() / c_bytes, in(dk), in(c), out(K), nullptr, nullptr));
  return K;
}

Bytes Kem::decaps_seed(const Bytes& seeds, const Bytes& c) const {
  Bytes K(c.size() / c_bytes * K_bytes);
  check(warpkem_decaps(engine_, algorithm, WARPKEM_DK_SEED, c.size() / c_bytes, in(seeds), in(c), out(K), nullptr,
                       nullptr));
  return K;
}

std::string hex(View bytes, bool upper) {
  const char* digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::uint8_t byte : bytes) {
    text.push_back(digits[byte >> 4]);
    text.push_back(digits[byte & 15]);
  }
  return text;
}

Bytes from_hex(const std::string& text) {
  const auto digit = [&](char letter) {
    if (letter >= '0' && letter <= '9') return letter - '0';
    if (letter >= 'a' && letter <= 'f') return letter - 'a' + 10;
    if (letter >= 'A' && letter <= 'F') return letter - 'A' + 10;
    throw std::runtime_error("not a hex digit: " + std::string(1, letter));
  };
  if (text.size() % 2 != 0) throw std::runtime_error("an odd number of hex digits");
  Bytes bytes;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    bytes.push_back(static_cast<std::uint8_t>(16 * digit(text[i]) + digit(text[i + 1])));
  }
  return bytes;
}

}  // namespace warpkem::kat
