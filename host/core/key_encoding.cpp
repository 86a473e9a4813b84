#include "host/core/key_encoding.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "host/core/algorithm_names.hpp"
#include "host/core/hybrids.hpp"
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

// RFC 9935.
template <ParameterSet P>
constexpr std::array<FixedEncoding, 4> encodings_of(const char* oid) noexcept {
  Prefix seed(P::seed_bytes);
  seed.wrap(seed_tag);
  Prefix expanded(P::dk_bytes);
  expanded.wrap(octet_string);
  constexpr std::array<std::uint8_t, 4> middle{octet_string, 0x82, static_cast<std::uint8_t>(P::dk_bytes >> 8),
                                               static_cast<std::uint8_t>(P::dk_bytes & 0xff)};
  Prefix both(P::seed_bytes + middle.size() + P::dk_bytes);
  both.put(P::seed_bytes), both.put(octet_string);
  both.wrap(sequence);
  return {spki(P::id, oid, P::ek_bytes), pkcs8(P::id, oid, KeyEncoding::seed, seed, P::seed_bytes),
          pkcs8(P::id, oid, KeyEncoding::expanded, expanded, P::dk_bytes),
          pkcs8(P::id, oid, KeyEncoding::both, both, P::seed_bytes, middle, P::dk_bytes)};
}

// draft-ietf-lamps-pq-composite-kem.
constexpr std::array<FixedEncoding, 2> encodings_of(const Hybrid& h) noexcept {
  const std::size_t dk_bytes = h.composite_dk().bytes;
  return {spki(h.algorithm, h.names.oid, h.ek().bytes),
          pkcs8(h.algorithm, h.names.oid, KeyEncoding::composite, Prefix(dk_bytes), dk_bytes)};
}

// draft-connolly-cfrg-xwing-kem: another OID of MLKEM768-X25519.
constexpr std::array<FixedEncoding, 2> encodings_of_x_wing() noexcept {
  constexpr const char* oid = "1.3.6.1.4.1.62253.25722";
  constexpr std::size_t seed_bytes = MlKem768X25519::seed_bytes;
  return {spki(MlKem768X25519::id, oid, MlKem768X25519::ek_bytes, KeyEncoding::spki_xwing),
          pkcs8(MlKem768X25519::id, oid, KeyEncoding::seed, Prefix(seed_bytes), seed_bytes)};
}

constexpr bool has_oid(const Hybrid& h) noexcept { return h.names.oid != nullptr; }

constexpr auto encodings = [] {
  constexpr auto num_hybrids = static_cast<std::size_t>(std::ranges::count_if(all_hybrids(), has_oid));
  std::array<FixedEncoding, 3 * 4 + 2 * num_hybrids + 2> all{};
  auto* next = all.data();
  const auto add = [&](const auto& some) { next = std::ranges::copy(some, next).out; };
  add(encodings_of<MlKem512>(names_of_ml_kem[0].oid));
  add(encodings_of<MlKem768>(names_of_ml_kem[1].oid));
  add(encodings_of<MlKem1024>(names_of_ml_kem[2].oid));
  for (const Hybrid& h : all_hybrids()) {
    if (has_oid(h)) add(encodings_of(h));
  }
  add(encodings_of_x_wing());
  return all;
}();
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
