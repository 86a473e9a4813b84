#include "host/core/key_encoding.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "host/core/oids.hpp"
#include "host/core/secure.hpp"
#include "warpkem/params.hpp"

namespace warpkem::host {

namespace {

enum Tag : std::uint8_t { bit_string = 0x03, octet_string = 0x04, object = 0x06, sequence = 0x30, seed_tag = 0x80 };

// What precedes a body, built from the inside outwards.
class Prefix {
 public:
  explicit constexpr Prefix(std::size_t body_bytes) noexcept : body_bytes_(body_bytes) {}

  constexpr void put(std::uint8_t byte) noexcept { room_[--begin_] = byte; }
  constexpr void put(const Prefix& other) noexcept {
    for (std::size_t i = other.room_.size(); i-- > other.begin_;) put(other.room_[i]);
  }
  // The header of a TLV that holds all there is so far. X.690, 8.1.3 and 10.1: the shortest length.
  constexpr void wrap(Tag tag) noexcept {
    std::size_t length = body_bytes_ + bytes();
    if (length < 0x80) {
      put(static_cast<std::uint8_t>(length));
    } else {
      std::uint8_t num_bytes = 0;
      for (; length != 0; length >>= 8, ++num_bytes) put(static_cast<std::uint8_t>(length));
      put(static_cast<std::uint8_t>(0x80 | num_bytes));
    }
    put(tag);
  }
  constexpr std::size_t bytes() const noexcept { return room_.size() - begin_; }
  constexpr std::array<std::uint8_t, 32> room() const noexcept { return room_; }

 private:
  std::array<std::uint8_t, 32> room_{};
  std::size_t begin_ = 32, body_bytes_;
};

// AlgorithmIdentifier of a dotted OID, without parameters. X.690, 8.19: 40 x + y, then base 128, high digits first.
constexpr Prefix algorithm_identifier(std::string_view dotted) noexcept {
  std::array<std::uint32_t, 16> arcs{};
  std::size_t count = 0;
  for (const char c : dotted) {
    if (c == '.') {
      ++count;
    } else {
      arcs[count] = arcs[count] * 10 + static_cast<std::uint32_t>(c - '0');
    }
  }
  arcs[1] += 40 * arcs[0];
  Prefix result(0);
  for (; count > 0; --count) {
    std::uint8_t goes_on = 0;
    do {
      result.put(static_cast<std::uint8_t>((arcs[count] & 0x7f) | goes_on));
      goes_on = 0x80;
    } while ((arcs[count] >>= 7) != 0);
  }
  result.wrap(object);
  result.wrap(sequence);
  return result;
}

constexpr FixedEncoding spki(std::uint32_t algorithm, const char* oid, std::size_t ek_bytes,
                             KeyEncoding encoding = KeyEncoding::spki) noexcept {
  Prefix prefix(ek_bytes);
  prefix.put(0);  // no unused bits
  prefix.wrap(bit_string);
  prefix.put(algorithm_identifier(oid));
  prefix.wrap(sequence);
  return {algorithm, encoding, oid, prefix.room(), prefix.bytes(), ek_bytes, {}, 0};
}

// PKCS#8 around what `prefix` has already.
constexpr FixedEncoding pkcs8(std::uint32_t algorithm, const char* oid, KeyEncoding encoding, Prefix prefix,
                              std::size_t first_bytes, std::array<std::uint8_t, 4> middle = {},
                              std::size_t second_bytes = 0) noexcept {
  prefix.wrap(octet_string);
  prefix.put(algorithm_identifier(oid));
  prefix.put(0), prefix.put(1), prefix.put(2);  // INTEGER, version 0
  prefix.wrap(sequence);
  return {algorithm, encoding, oid, prefix.room(), prefix.bytes(), first_bytes, middle, second_bytes};
}

template <ParameterSet P>
constexpr FixedEncoding seed_of(const char* oid) noexcept {
  Prefix prefix(P::seed_bytes);
  prefix.wrap(seed_tag);
  return pkcs8(P::id, oid, KeyEncoding::seed, prefix, P::seed_bytes);
}
template <ParameterSet P>
constexpr FixedEncoding expanded_of(const char* oid) noexcept {
  Prefix prefix(P::dk_bytes);
  prefix.wrap(octet_string);
  return pkcs8(P::id, oid, KeyEncoding::expanded, prefix, P::dk_bytes);
}
template <ParameterSet P>
constexpr FixedEncoding both_of(const char* oid) noexcept {
  constexpr std::array<std::uint8_t, 4> middle{octet_string, 0x82, static_cast<std::uint8_t>(P::dk_bytes >> 8),
                                               static_cast<std::uint8_t>(P::dk_bytes & 0xff)};
  Prefix prefix(P::seed_bytes + middle.size() + P::dk_bytes);
  prefix.put(P::seed_bytes), prefix.put(octet_string);
  prefix.wrap(sequence);
  return pkcs8(P::id, oid, KeyEncoding::both, prefix, P::seed_bytes, middle, P::dk_bytes);
}
template <class H>
constexpr FixedEncoding composite_of(const char* oid) noexcept {
  return pkcs8(H::id, oid, KeyEncoding::composite, Prefix(H::composite_dk_bytes), H::composite_dk_bytes);
}

constexpr std::array encodings{
    spki(MlKem512::id, oids::ml_kem_512, MlKem512::ek_bytes),
    seed_of<MlKem512>(oids::ml_kem_512),
    expanded_of<MlKem512>(oids::ml_kem_512),
    both_of<MlKem512>(oids::ml_kem_512),
    spki(MlKem768::id, oids::ml_kem_768, MlKem768::ek_bytes),
    seed_of<MlKem768>(oids::ml_kem_768),
    expanded_of<MlKem768>(oids::ml_kem_768),
    both_of<MlKem768>(oids::ml_kem_768),
    spki(MlKem1024::id, oids::ml_kem_1024, MlKem1024::ek_bytes),
    seed_of<MlKem1024>(oids::ml_kem_1024),
    expanded_of<MlKem1024>(oids::ml_kem_1024),
    both_of<MlKem1024>(oids::ml_kem_1024),
    spki(MlKem768X25519::id, oids::mlkem768_x25519, MlKem768X25519::ek_bytes),
    composite_of<MlKem768X25519>(oids::mlkem768_x25519),
    spki(MlKem768X25519::id, oids::x_wing, MlKem768X25519::ek_bytes, KeyEncoding::spki_xwing),
    pkcs8(MlKem768X25519::id, oids::x_wing, KeyEncoding::seed, Prefix(MlKem768X25519::seed_bytes),
          MlKem768X25519::seed_bytes),
    spki(MlKem768P256::id, oids::mlkem768_p256, MlKem768P256::ek_bytes),
    composite_of<MlKem768P256>(oids::mlkem768_p256),
    spki(MlKem1024P384::id, oids::mlkem1024_p384, MlKem1024P384::ek_bytes),
    composite_of<MlKem1024P384>(oids::mlkem1024_p384),
};
// RFC 9935, Sections 4 and 6, and Appendix C: sizes of the objects.
static_assert(encodings[0].bytes() == 822 && encodings[4].bytes() == 1206 && encodings[8].bytes() == 1590);
static_assert(encodings[1].bytes() == 86 && encodings[5].bytes() == 86 && encodings[9].bytes() == 86);
static_assert(encodings[3].bytes() == 1730 && encodings[2].bytes() == 1660);  // of the examples

void put_part(DecodedKey& key, KeyEncoding encoding, const std::uint8_t* first, const std::uint8_t* second) noexcept {
  switch (encoding) {
    case KeyEncoding::spki:
    case KeyEncoding::spki_xwing:
      key.ek = first;
      break;
    case KeyEncoding::seed:
      key.seed = first;
      break;
    case KeyEncoding::expanded:
      key.expanded = first;
      break;
    case KeyEncoding::both:
      key.seed = first, key.expanded = second;
      break;
    case KeyEncoding::composite:
      key.composite = first;
      break;
    default:
      break;
  }
}

}  // namespace

std::span<const FixedEncoding> all_fixed_encodings() noexcept { return encodings; }

const FixedEncoding* find_fixed_encoding(std::uint32_t algorithm, KeyEncoding encoding) noexcept {
  const auto* const found = std::ranges::find_if(
      encodings, [=](const FixedEncoding& e) { return e.algorithm == algorithm && e.encoding == encoding; });
  return found != encodings.end() ? found : nullptr;
}

void encode_keys(const FixedEncoding& encoding, std::size_t count, const In& key, const In& expanded,
                 const Out& der) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    std::uint8_t* const out = der[i];
    std::memcpy(out, encoding.prefix().data(), encoding.prefix_bytes);
    std::memcpy(out + encoding.prefix_bytes, key[i], encoding.first_bytes);
    if (encoding.second_bytes == 0) continue;
    std::memcpy(out + encoding.prefix_bytes + encoding.first_bytes, encoding.middle.data(), encoding.middle.size());
    std::memcpy(out + encoding.second_at(), expanded[i], encoding.second_bytes);
  }
  clear_vector_registers();
}

bool decode_fixed(std::span<const std::uint8_t> der, DecodedKey& key) noexcept {
  for (const FixedEncoding& e : encodings) {
    if (e.bytes() != der.size() || std::memcmp(der.data(), e.prefix().data(), e.prefix_bytes) != 0) continue;
    const std::uint8_t* const first = der.data() + e.prefix_bytes;
    if (std::memcmp(first + e.first_bytes, e.middle.data(), e.middle_bytes()) != 0) continue;
    key = {e.algorithm, e.encoding};
    put_part(key, e.encoding, first, der.data() + e.second_at());
    return true;
  }
  return false;
}

}  // namespace warpkem::host
