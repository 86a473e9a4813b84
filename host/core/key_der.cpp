// OpenSSL's d2i_ functions copy what they read, secrets too, accept more than DER, and do not say where something is
// wrong. So the objects are walked with its reader of headers, ASN1_get_object(), of which they are made. Certificates
// are read with d2i_X509() first: they are public.
#include "host/core/key_der.hpp"

#ifdef WARPKEM_HAVE_OPENSSL
#include <limits.h>
#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <memory>
#include <new>

#include "host/core/algorithms.hpp"
#include "host/core/openssl.hpp"
#endif

namespace warpkem::host {

#ifdef WARPKEM_HAVE_OPENSSL

namespace {

[[noreturn]] void refuse(std::size_t at, const std::string& rule) {
  throw EncodingError(Status::invalid_encoding, at, rule);
}

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

struct Element;

// The elements between two places of an object, one after the other.
class Elements {
 public:
  Elements(const std::uint8_t* object, const std::uint8_t* begin, const std::uint8_t* end) noexcept
      : object_(object), next_(begin), end_(end) {}

  bool at_end() const noexcept { return next_ == end_; }
  std::size_t offset() const noexcept { return static_cast<std::size_t>(next_ - object_); }
  // The tag of the next one, as its first byte; -1 at the end.
  int peek() const noexcept { return at_end() ? -1 : *next_; }
  // The next one, whatever it is; `name` is for texts.
  Element any(const std::string& name);
  // The next one, which has that first byte.
  Element expect(int tag, const std::string& name);
  void expect_end(const std::string& of) const {
    if (!at_end()) refuse(offset(), bytes_text(static_cast<std::size_t>(end_ - next_)) + " after the end of " + of);
  }

 private:
  const std::uint8_t* object_;
  const std::uint8_t* next_;
  const std::uint8_t* end_;
};

struct Element {
  const std::uint8_t* object;
  const std::uint8_t *begin, *content;
  std::size_t bytes;  // of the content

  std::size_t offset() const noexcept { return static_cast<std::size_t>(begin - object); }
  Elements inside() const noexcept { return {object, content, content + bytes}; }
  void expect_bytes(std::size_t wanted, const std::string& name, const std::string& rule) const {
    if (bytes != wanted)
      refuse(offset(), name + " has " + bytes_text(bytes) + ", not " + std::to_string(wanted) + rule);
  }
};

constexpr int indefinite_bit = 0x01, constructed_bit = 0x20;
constexpr int tag_integer = 0x02, tag_bits = 0x03, tag_octets = 0x04, tag_object = 0x06, tag_sequence = 0x30,
              tag_seed = 0x80, tag_attributes = 0xa0, tag_public_key = 0x81, tag_version = 0xa0;

Element Elements::any(const std::string& name) {
  if (at_end()) refuse(offset(), "ends where " + name + " is wanted");
  const std::uint8_t* content = next_;
  long bytes = 0;
  int tag = 0, tag_class = 0;
  const int flags = ASN1_get_object(&content, &bytes, &tag, &tag_class, static_cast<long>(end_ - next_));
  if ((flags & indefinite_bit) != 0)
    refuse(offset(), name + " has an indefinite length, which DER does not (X.690, 10.1)");
  if ((flags & 0x80) != 0) {
    if (content == next_) refuse(offset(), name + " has no header that can be read");
    refuse(offset(), name + " of " + std::to_string(bytes) + " bytes goes beyond the end, " +
                         bytes_text(static_cast<std::size_t>(end_ - content)) + " after its header");
  }
  // X.690, 10.1: there is one way to write a length.
  std::array<std::uint8_t, 16> header{};
  std::uint8_t* written = header.data();
  ASN1_put_object(&written, (flags & constructed_bit) != 0 ? 1 : 0, static_cast<int>(bytes), tag, tag_class);
  if (!std::equal(header.data(), written, next_, content)) {
    refuse(offset(), name + " has a length that is not written the shortest way (X.690, 10.1)");
  }
  const Element element{object_, next_, content, static_cast<std::size_t>(bytes)};
  next_ = content + bytes;
  return element;
}

Element Elements::expect(int tag, const std::string& name) {
  if (peek() != tag) {
    if (at_end()) refuse(offset(), "ends where " + name + " is wanted");
    constexpr std::string_view digits = "0123456789abcdef";
    const auto hex = [digits](int byte) {
      return std::string("0x") + digits[static_cast<std::size_t>(byte >> 4)] +
             digits[static_cast<std::size_t>(byte & 15)];
    };
    refuse(offset(), "tag " + hex(peek()) + " where " + name + " is wanted, tag " + hex(tag));
  }
  return any(name);
}

// ---- AlgorithmIdentifier ----

std::string dotted_text(const Element& oid) {
  const std::uint8_t* at = oid.begin;
  const std::unique_ptr<ASN1_OBJECT, FreeBy<ASN1_OBJECT_free>> read(
      d2i_ASN1_OBJECT(nullptr, &at, static_cast<long>(oid.content + oid.bytes - oid.begin)));
  std::array<char, 128> dotted{};
  if (!read || OBJ_obj2txt(dotted.data(), dotted.size(), read.get(), 1) <= 0) return "that cannot be read";
  const char* const name = OBJ_nid2ln(OBJ_obj2nid(read.get()));
  const bool has_name = OBJ_obj2nid(read.get()) != NID_undef && name != nullptr;
  return std::string(dotted.data()) + (has_name ? std::string(" (") + name + ")" : "");
}

// Whether the prefix of a fixed encoding holds this object identifier.
bool is_oid_of(const FixedEncoding& encoding, const Element& oid) {
  const auto prefix = encoding.prefix();
  return std::search(prefix.begin(), prefix.end(), oid.begin, oid.content + oid.bytes) != prefix.end();
}

// The algorithm of an identifier, as one of its encodings. `wanted` says which of an algorithm's are meant.
template <class Wanted>
const FixedEncoding& read_algorithm(Elements& from, Wanted wanted) {
  Elements inside = from.expect(tag_sequence, "the algorithm").inside();
  const Element oid = inside.expect(tag_object, "the algorithm's OID");
  const auto all = all_fixed_encodings();
  const auto found =
      std::ranges::find_if(all, [&](const FixedEncoding& e) { return wanted(e.encoding) && is_oid_of(e, oid); });
  if (found == all.end()) {
    throw EncodingError(Status::unsupported, oid.offset(),
                        "a key of algorithm " + dotted_text(oid) + ", of which WarpKEM has none");
  }
  if (!inside.at_end()) {
    refuse(inside.offset(), std::string("the algorithm has parameters, and ") + find_algorithm(found->algorithm)->name +
                                " has none (RFC 9935, Section 3)");
  }
  return *found;
}

std::string of(const FixedEncoding& encoding, const char* rule) {
  return std::string(" as in ") + find_algorithm(encoding.algorithm)->name + rule;
}

// ---- the objects ----

const std::uint8_t* read_ek(const Element& bits, std::size_t ek_bytes, const std::string& rule) {
  if (bits.bytes == 0 || bits.content[0] != 0) refuse(bits.offset(), "the public key is not of whole bytes");
  if (bits.bytes - 1 != ek_bytes) {
    refuse(bits.offset(), "ek has " + bytes_text(bits.bytes - 1) + ", not " + std::to_string(ek_bytes) + rule);
  }
  return bits.content + 1;
}

constexpr bool is_public(KeyEncoding encoding) noexcept {
  return encoding == KeyEncoding::spki || encoding == KeyEncoding::spki_xwing;
}

DecodedKey read_spki(Elements inside) {
  const FixedEncoding& encoding = read_algorithm(inside, is_public);
  const Element bits = inside.expect(tag_bits, "the public key");
  inside.expect_end("the public key");
  DecodedKey key{encoding.algorithm, encoding.encoding};
  key.ek = read_ek(bits, encoding.first_bytes, of(encoding, " (RFC 9935, Section 4)"));
  return key;
}

// RFC 9935, Section 6: the tag tells the form.
void read_ml_kem(Elements inside, const Algorithm& algorithm, DecodedKey& key) {
  const std::size_t seed_bytes = algorithm.dk_record(DkFormat::seed),
                    dk_bytes = algorithm.dk_record(DkFormat::expanded);
  const std::string rule = std::string(" as in ") + algorithm.name + " (RFC 9935, Section 6)";
  const auto read = [&](Elements& from, int tag, std::size_t bytes, const char* name) {
    const Element element = from.expect(tag, name);
    element.expect_bytes(bytes, name, rule);
    return element.content;
  };
  switch (inside.peek()) {
    case tag_seed:
      key.encoding = KeyEncoding::seed;
      key.seed = read(inside, tag_seed, seed_bytes, "the seed");
      break;
    case tag_octets:
      key.encoding = KeyEncoding::expanded;
      key.expanded = read(inside, tag_octets, dk_bytes, "expandedKey");
      break;
    case tag_sequence: {
      Elements parts = inside.expect(tag_sequence, "both").inside();
      key.encoding = KeyEncoding::both;
      key.seed = read(parts, tag_octets, seed_bytes, "the seed");
      key.expanded = read(parts, tag_octets, dk_bytes, "expandedKey");
      parts.expect_end("expandedKey");
      break;
    }
    default:
      refuse(inside.offset(), "the private key is none of seed, expandedKey and both (RFC 9935, Section 6)");
  }
  inside.expect_end("the private key");
}

// RFC 5958, Section 2: OneAsymmetricKey, of which PKCS#8's PrivateKeyInfo is version 0.
DecodedKey read_private(Elements inside) {
  const Element version = inside.expect(tag_integer, "the version");
  if (version.bytes != 1 || version.content[0] > 1) {
    refuse(version.offset(), "the version is neither 0 nor 1 (RFC 5958, Section 2)");
  }
  const FixedEncoding& encoding = read_algorithm(inside, [](KeyEncoding e) { return !is_public(e); });
  const Algorithm& algorithm = *find_algorithm(encoding.algorithm);
  const Element octets = inside.expect(tag_octets, "the private key");
  DecodedKey key{encoding.algorithm, encoding.encoding};
  if (algorithm.dk_record(DkFormat::expanded) != 0) {
    read_ml_kem(octets.inside(), algorithm, key);
  } else {
    octets.expect_bytes(encoding.first_bytes, "the private key", of(encoding, ""));
    (encoding.encoding == KeyEncoding::seed ? key.seed : key.composite) = octets.content;
  }
  if (inside.peek() == tag_attributes) inside.any("the attributes");
  if (inside.peek() == tag_public_key) {
    if (version.content[0] == 0) refuse(inside.offset(), "publicKey needs version 1 (RFC 5958, Section 2)");
    key.ek = read_ek(inside.any("publicKey"), algorithm.ek_bytes, of(encoding, " (RFC 9935, Section 6)"));
  }
  inside.expect_end("the private key");
  return key;
}

// RFC 5280, Section 4.1.
DecodedKey read_certificate(std::span<const std::uint8_t> der, Elements inside) {
  const std::uint8_t* at = der.data();
  const std::unique_ptr<X509, FreeBy<X509_free>> certificate(d2i_X509(nullptr, &at, static_cast<long>(der.size())));
  if (!certificate) {
    const unsigned long code = ERR_peek_last_error();
    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
    const char* const reason = ERR_reason_error_string(code);
    refuse(0, std::string("no certificate that OpenSSL can read: ") + (reason != nullptr ? reason : "no reason given"));
  }
  Elements signed_part = inside.expect(tag_sequence, "the certificate").inside();
  if (signed_part.peek() == tag_version) signed_part.any("the version");
  signed_part.expect(tag_integer, "the serial number");
  for (const char* const name : {"the signature's algorithm", "the issuer", "the validity", "the subject"}) {
    signed_part.expect(tag_sequence, name);
  }
  const Element spki = signed_part.expect(tag_sequence, "the public key");
  DecodedKey key = read_spki(spki.inside());
  key.encoding = KeyEncoding::certificate;
  const std::uint32_t usage = X509_get_key_usage(certificate.get());
  if (usage != UINT32_MAX && usage != KU_KEY_ENCIPHERMENT) {
    refuse(spki.offset(), "the certificate's keyUsage is not keyEncipherment alone (RFC 9935, Section 5)");
  }
  return key;
}

DecodedKey decode_der(std::span<const std::uint8_t> der) {
  if (der.size() > INT_MAX) refuse(0, "no key is that long: " + bytes_text(der.size()));
  Elements whole(der.data(), der.data(), der.data() + der.size());
  const Element outer = whole.expect(tag_sequence, "a key");
  whole.expect_end("the object");
  Elements inside = outer.inside();
  if (inside.peek() == tag_integer) return read_private(inside);
  // What comes second tells the others apart.
  Elements second = inside;
  second.expect(tag_sequence, "the algorithm");
  switch (second.peek()) {
    case tag_octets:
      return {0, KeyEncoding::encrypted};
    case tag_sequence:
      return read_certificate(der, inside);
    default:
      return read_spki(inside);
  }
}

}  // namespace

#endif

DecodedKey decode_key(std::span<const std::uint8_t> der) {
  DecodedKey key;
  if (decode_fixed(der, key)) return key;
#ifdef WARPKEM_HAVE_OPENSSL
  start_openssl();
  const OpenSslUse openssl;
  if (openssl) return decode_der(der);
  constexpr const char* why = "OpenSSL, which reads all others, has ended";
#else
  constexpr const char* why = "this build has no OpenSSL, which reads all others";
#endif
  throw EncodingError(Status::unsupported, 0, std::string("not a key in its usual encoding; ") + why);
}

}  // namespace warpkem::host
