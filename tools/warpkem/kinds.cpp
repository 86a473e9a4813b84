#include "tools/warpkem/kinds.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "tools/warpkem/engine.hpp"

namespace warpkem::tool {
namespace {

constexpr std::uint32_t q = 3329;

std::uint32_t size_code(RecordKind kind) {
  switch (kind) {
    case RecordKind::ek:
      return WARPKEM_SIZE_EK;
    case RecordKind::dk:
      return WARPKEM_SIZE_DK;
    case RecordKind::seed:
      return WARPKEM_SIZE_SEED;
    case RecordKind::c:
      return WARPKEM_SIZE_C;
    case RecordKind::K:
      return WARPKEM_SIZE_K;
    case RecordKind::m:
      return WARPKEM_SIZE_M;
    case RecordKind::composite_dk:
      return WARPKEM_SIZE_DK_COMPOSITE;
    case RecordKind::composite_seed:
      return WARPKEM_SIZE_SEED_COMPOSITE;
    case RecordKind::ikm:
    case RecordKind::bytes:
      break;
  }
  return 0;
}

// 1 if x is 0, else 0.
constexpr std::uint32_t is_zero(std::uint32_t x) { return ((x | (0u - x)) >> 31) ^ 1u; }
// 1 if a < b, else 0; both below 2^31.
constexpr std::uint32_t is_below(std::uint32_t a, std::uint32_t b) { return (a - b) >> 31; }
constexpr std::uint32_t is_between(std::uint32_t x, std::uint32_t least, std::uint32_t most) {
  return is_below(x, most + 1) & (is_below(x, least) ^ 1u);
}

// ---- encapsulation keys ----

// What is counted of the coefficients in a part of a file, without a branch: it may turn out to be a secret.
class Coefficients {
 public:
  void add(const std::uint8_t* data, std::size_t bytes) {
    for (std::size_t i = 0; i + 3 <= bytes; i += 3) {
      add(data[i] | (data[i + 1] & 15u) << 8);
      add(data[i + 1] >> 4 | std::uint32_t{data[i + 2]} << 4);
    }
  }
  // All below q, and not what zeros, counters, text or records that repeat would be in their place. Of random bytes
  // with a probability of 0.81^count; of a key always: it has one in 26 that is among the 128 before it.
  std::uint32_t are_of_a_key() const {
    return is_zero(not_below_q_) & is_between(high_, count_ / 4, count_ * 3 / 4) & is_below(repeated_, count_ / 8);
  }

 private:
  void add(std::uint32_t coefficient) {
    not_below_q_ += is_below(coefficient, q) ^ 1u;
    high_ += is_below(coefficient, q / 2) ^ 1u;
    std::uint32_t is_repeated = 0;
    for (const std::uint32_t earlier : last_) is_repeated |= is_zero(coefficient ^ earlier);
    repeated_ += is_repeated;
    last_[count_++ % last_.size()] = coefficient;
  }

  std::uint32_t count_ = 0, not_below_q_ = 0, high_ = 0, repeated_ = 0;
  std::array<std::uint32_t, 128> last_ = filled_with_none();

  static constexpr std::array<std::uint32_t, 128> filled_with_none() {
    std::array<std::uint32_t, 128> none{};
    none.fill(0xffff);
    return none;
  }
};

// The modulus check (FIPS 203, 7.2) of all that is there of ek after ek.
bool fits_ek(const Sample& sample, warpkem_algorithm algorithm) {
  const std::size_t ek_bytes = warpkem_size(algorithm, WARPKEM_SIZE_EK), rho_bytes = 32;
  const MlKemPart part = ml_kem_part(algorithm);
  if (sample.bytes < ek_bytes || (sample.total && *sample.total % ek_bytes != 0)) return false;
  Coefficients coefficients;
  for (std::size_t begin = part.in_ek; begin < sample.bytes; begin += ek_bytes) {
    coefficients.add(sample.data + begin, std::min(sample.bytes - begin, part.ek_bytes - rho_bytes));
  }
  return coefficients.are_of_a_key() != 0;
}

// ---- decapsulation keys ----

// The hash check (FIPS 203, 7.3) of the first record, by the library. Before that, what costs less: the ek inside.
bool fits_dk(const Sample& sample, warpkem_algorithm algorithm) {
  const std::size_t dk_bytes = warpkem_size(algorithm, WARPKEM_SIZE_DK);
  if (dk_bytes == 0 || sample.bytes < dk_bytes || (sample.total && *sample.total % dk_bytes != 0)) return false;
  const MlKemPart part = ml_kem_part(algorithm);
  const std::size_t ek_inside = part.in_dk + part.ek_bytes - 32;  // behind dk_PKE
  if (!fits_ek({sample.data + ek_inside, part.ek_bytes, part.ek_bytes}, part.algorithm)) return false;
  const Engine engine("portable", 1);
  return warpkem_check_dk(engine.get(), algorithm, 1, {sample.data, dk_bytes, 0}, nullptr, nullptr) == WARPKEM_OK;
}

// ---- encodings ----

bool begins_with(const Sample& sample, std::string_view beginning) {
  if (sample.bytes < beginning.size()) return false;
  std::uint32_t different = 0;
  for (std::size_t i = 0; i < beginning.size(); ++i)
    different |= sample.data[i] ^ static_cast<std::uint8_t>(beginning[i]);
  return different == 0;
}

constexpr std::string_view pem_beginning = "-----BEGIN ";
// "a PEM text (BEGIN PRIVATE KEY)"
std::string pem(const Sample& sample) {
  if (!begins_with(sample, pem_beginning)) return "";
  std::string label;
  for (std::size_t i = pem_beginning.size(); i < std::min<std::size_t>(sample.bytes, 60); ++i) {
    const char c = static_cast<char>(sample.data[i]);
    if (!(c == ' ' || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))) break;
    label += c;
  }
  return fmt::format("a PEM text (BEGIN {})", label);
}

// Where text says BEGIN, be it at the start or not: OpenSSL puts a description before some.
std::string pem_anywhere(const Sample& sample) {
  const std::string_view text(reinterpret_cast<const char*>(sample.data), sample.bytes);
  const std::size_t at = std::min(text.find(pem_beginning), text.size());
  return pem({sample.data + at, sample.bytes - at, std::nullopt});
}

// What stands at a place of a DER encoding.
struct Element {
  std::uint8_t tag;
  std::size_t begin, length;  // of its contents
  std::size_t end() const { return begin + length; }
};
std::optional<Element> element_at(const Sample& sample, std::size_t at) {
  if (at + 2 > sample.bytes) return std::nullopt;
  Element element{sample.data[at], at + 2, sample.data[at + 1]};
  if (element.length < 0x80) return element;
  const std::size_t octets = element.length - 0x80;
  if (octets < 1 || octets > 3 || element.begin + octets > sample.bytes) return std::nullopt;
  element.length = 0;
  for (std::size_t i = 0; i < octets; ++i) element.length = element.length << 8 | sample.data[element.begin++];
  if (element.length < 0x80) return std::nullopt;
  return element;
}

constexpr std::uint8_t der_integer = 0x02, der_bit_string = 0x03, der_octet_string = 0x04, der_oid = 0x06,
                       der_sequence = 0x30;

// Whether the whole input is one SEQUENCE whose length says so, in its long form, which takes four bytes to hit by
// chance.
bool is_one_sequence(const Sample& sample) {
  if (sample.bytes < 4 || !sample.total || *sample.total < 0x104 || *sample.total > 0x10003) return false;
  const auto length = static_cast<std::uint32_t>(*sample.total - 4);
  const std::uint8_t* const p = sample.data;
  const std::uint32_t other = (p[0] ^ der_sequence) | (p[1] ^ 0x82u) | (p[2] ^ length >> 8) | (p[3] ^ (length & 0xffu));
  return other == 0;
}

// "a DER encoding (SubjectPublicKeyInfo, ML-KEM-768)". The structure must hold together as far as the sample goes.
std::string known_der(const Sample& sample) {
  // Gathered without a branch: of a secret that begins otherwise nothing else is told.
  if (sample.bytes < 16) return "";
  const std::uint8_t* const p = sample.data;
  const auto begins_inside = [p](std::size_t at) {
    const std::uint32_t private_key = is_zero(p[at] ^ der_integer) & is_zero(p[at + 1] ^ 1u) & is_below(p[at + 2], 2) &
                                      is_zero(p[at + 3] ^ der_sequence);
    const std::uint32_t public_key =
        is_zero(p[at] ^ der_sequence) & is_below(p[at + 1], 0x80) & is_zero(p[at + 2] ^ der_oid);
    return private_key | public_key;
  };
  const std::uint32_t begins =
      is_zero(p[0] ^ der_sequence) &
      ((is_below(p[1], 0x80) & begins_inside(2)) | (is_zero(p[1] ^ 0x81u) & begins_inside(3)) |
       (is_zero(p[1] ^ 0x82u) & begins_inside(4)) | (is_zero(p[1] ^ 0x83u) & begins_inside(5)));
  if (begins == 0) return "";

  const auto whole = element_at(sample, 0);
  if (!whole || (sample.total && whole->end() > *sample.total)) return "";
  auto next = element_at(sample, whole->begin);
  const bool is_private = next && next->tag == der_integer;
  if (is_private) next = element_at(sample, next->end());
  if (!next || next->tag != der_sequence || next->end() > whole->end()) return "";
  const auto oid = element_at(sample, next->begin);
  if (!oid || oid->tag != der_oid || oid->length == 0 || oid->end() > next->end() || oid->end() > sample.bytes)
    return "";
  const auto key = element_at(sample, next->end());
  if (!key || key->end() > whole->end()) return "";
  if (key->tag != der_octet_string && (is_private || key->tag != der_bit_string)) return "";

  const std::string_view name(reinterpret_cast<const char*>(p + oid->begin), oid->length);
  constexpr std::string_view ml_kem("\x60\x86\x48\x01\x65\x03\x04\x04", 8);  // 2.16.840.1.101.3.4.4
  std::string algorithm;
  if (name.size() == 9 && name.starts_with(ml_kem)) {
    const std::string dotted = fmt::format("2.16.840.1.101.3.4.4.{}", static_cast<std::uint8_t>(name[8]));
    const warpkem_algorithm known = warpkem_algorithm_by_name(dotted.c_str());
    algorithm = ", " + (known != 0 ? warpkem_algorithm_name(known) : "OID " + dotted);
  }
  return fmt::format("a DER encoding ({}{})",
                     is_private                   ? "PrivateKeyInfo"
                     : key->tag == der_bit_string ? "SubjectPublicKeyInfo"
                                                  : "EncryptedPrivateKeyInfo",
                     algorithm);
}

// How many of the sample's bytes are hexadecimal digits (and which), spaces and line ends, other printable characters.
struct Characters {
  std::uint32_t digits = 0, spaces = 0, others = 0;
  std::uint32_t seen = 0;  // a bit for each value of a digit

  explicit Characters(const Sample& sample) {
    for (std::size_t i = 0; i < sample.bytes; ++i) {
      const std::uint32_t c = sample.data[i], lower = c | 0x20u;
      const std::uint32_t decimal = is_between(c, '0', '9'), letter = is_between(lower, 'a', 'f');
      const std::uint32_t space = is_zero(c ^ ' ') | is_zero(c ^ '\n') | is_zero(c ^ '\r') | is_zero(c ^ '\t');
      digits += decimal | letter;
      spaces += space;
      others += is_between(c, '!', '~') & (decimal ^ 1u) & (letter ^ 1u);
      const std::uint32_t value = ((c & 15u) + 9 * letter) & 15u;
      seen |= (decimal | letter) << value;
    }
  }
};

// "hexadecimal text". At least 32 digits of at least 6 values: of random bytes less than one in 10^30.
std::string text(const Sample& sample) {
  const Characters characters(sample);
  std::uint32_t values = 0;
  for (std::uint32_t bit = 0; bit < 16; ++bit) values += characters.seen >> bit & 1u;
  const std::uint32_t hexadecimal =
      is_zero(static_cast<std::uint32_t>(sample.bytes) - characters.digits - characters.spaces) &
      is_below(31, characters.digits) & is_below(5, values);
  return hexadecimal != 0 ? "hexadecimal text" : "";
}

// Two SEQUENCEs, each within the one before it, and then the [0] or the INTEGER that a certificate begins with.
bool begins_as_certificate(const Sample& sample) {
  if (sample.bytes < 16) return false;
  const std::uint8_t* const p = sample.data;
  const std::uint32_t begins = is_zero(p[0] ^ der_sequence) & is_zero(p[1] ^ 0x82u) & is_zero(p[4] ^ der_sequence) &
                               is_zero(p[5] ^ 0x82u) & (is_zero(p[8] ^ 0xa0u) | is_zero(p[8] ^ der_integer));
  if (begins == 0) return false;
  const auto whole = element_at(sample, 0), body = element_at(sample, 4);
  return whole && body && body->end() < whole->end() && (!sample.total || whole->end() <= *sample.total);
}

// Whether there is no control character that text does not have. Any encoding of characters beyond ASCII will do.
bool may_be_text(const Sample& sample) {
  std::uint32_t controls = 0;
  for (std::size_t i = 0; i < sample.bytes; ++i) {
    const std::uint32_t c = sample.data[i];
    controls |= (is_below(c, ' ') & (is_between(c, '\t', '\r') ^ 1u)) | is_zero(c ^ 0x7fu);
  }
  return controls == 0;
}

// "gzip-compressed data". Random bytes look so once in 2^32 files or less.
std::string compressed(const Sample& sample) {
  constexpr std::pair<std::string_view, const char*> magics[] = {{std::string_view("\xfd\x37zXZ\0", 6), "xz"},
                                                                 {"\x28\xb5\x2f\xfd", "zstd"},
                                                                 {"BZh91AY&SY", "bzip2"},
                                                                 {"PK\3\4", "zip"}};
  for (const auto& [magic, name] : magics) {
    if (begins_with(sample, magic)) return fmt::format("{}-compressed data", name);
  }
  if (sample.bytes < 10) return "";
  const std::uint8_t* const p = sample.data;
  // RFC 1952: no reserved flag, a known compression level, a known system.
  const std::uint32_t gzip = is_zero(p[0] ^ 0x1fu) & is_zero(p[1] ^ 0x8bu) & is_zero(p[2] ^ 8u) & is_below(p[3], 0x20) &
                             (is_zero(p[8]) | is_zero(p[8] ^ 2u) | is_zero(p[8] ^ 4u)) &
                             (is_below(p[9], 14) | is_zero(p[9] ^ 0xffu));
  return gzip != 0 ? "gzip-compressed data" : "";
}

constexpr std::string_view byte_order_mark("\xef\xbb\xbf");

// Behind a byte order mark: of UTF-16 what PEM begins with, of UTF-8 that or DER.
std::string marked(const Sample& sample) {
  for (const std::string_view dashes : {std::string_view("\xff\xfe-\0-\0", 6), std::string_view("\xfe\xff\0-\0-", 6)}) {
    if (begins_with(sample, dashes)) return "text in UTF-16";
  }
  for (const auto& [beginning, what] :
       {std::pair("\xef\xbb\xbf-----BEGIN ", "a PEM text"), std::pair("\xef\xbb\xbf\x30\x82", "a DER encoding")}) {
    if (begins_with(sample, beginning)) return fmt::format("{} behind a byte order mark of UTF-8", what);
  }
  return "";
}

std::string der(const Sample& sample) {
  const std::string known = known_der(sample);
  return known.empty() && is_one_sequence(sample) ? "a DER encoding" : known;
}

std::string encoding(const Sample& sample) {
  for (const auto look : {pem, der, text, compressed, marked}) {
    if (std::string found = look(sample); !found.empty()) return found;
  }
  return "";
}

template <class Do>
void each_algorithm(const Do& act) {
  for (warpkem_algorithm id = 1; warpkem_algorithm_name(id) != nullptr; ++id) act(id);
}

// Records of another kind or set that the content proves.
std::string records(const Sample& sample, const Content& wanted) {
  // Keys as wanted may look like others from their first bytes on, but not the other way round.
  if (wanted.kind == RecordKind::ek && fits_ek(sample, wanted.algorithm)) return "";
  if (wanted.kind == RecordKind::dk && fits_dk(sample, wanted.algorithm)) return "";
  std::string found;
  each_algorithm([&](warpkem_algorithm id) {
    const Content dk{RecordKind::dk, id}, ek{RecordKind::ek, id};
    if (!found.empty()) return;
    if (dk != wanted && fits_dk(sample, id)) {
      found = dk.name() + " (the hash of ek inside the first record is right)";
    } else if (ek != wanted && fits_ek(sample, id)) {
      found = ek.name() + " (every coefficient is below q)";
    }
  });
  return found;
}

}  // namespace

MlKemPart ml_kem_part(warpkem_algorithm algorithm) {
  const warpkem_algorithm_info info = describe(algorithm);
  return {.algorithm = info.ml_kem,
          .ek_bytes = warpkem_size(info.ml_kem, WARPKEM_SIZE_EK),
          .dk_bytes = warpkem_size(info.ml_kem, WARPKEM_SIZE_DK),
          .c_bytes = warpkem_size(info.ml_kem, WARPKEM_SIZE_C),
          .in_ek = info.ml_kem_in_ek,
          .in_dk = info.ml_kem_in_dk,
          .in_c = info.ml_kem_in_c};
}

std::size_t Content::record_bytes() const {
  if (kind == RecordKind::bytes) return 1;
  return kind == RecordKind::ikm ? ikm_bytes : warpkem_size(algorithm, size_code(kind));
}

std::string Content::name() const {
  const char* const set = warpkem_algorithm_name(algorithm);
  switch (kind) {
    case RecordKind::ek:
      return fmt::format("ek of {}", set);
    case RecordKind::dk:
      return fmt::format("expanded dk of {}", set);
    case RecordKind::seed:
      return is_hybrid(algorithm) ? fmt::format("seeds of {}", set) : "seeds d || z";
    case RecordKind::c:
      return fmt::format("ciphertexts of {}", set);
    case RecordKind::K:
      return "shared secrets";
    case RecordKind::m:
      return "messages m";
    case RecordKind::composite_dk:
      return fmt::format("composite dk of {}", set);
    case RecordKind::composite_seed:
      return fmt::format("seeds d || z || T of {}", set);
    case RecordKind::ikm:
      return "key material of HPKE";
    case RecordKind::bytes:
      return "keys in PEM or DER";
  }
  return "";
}

std::string proven_other(const Sample& sample, const Content& wanted) {
  if (wanted.kind == RecordKind::bytes) return "";
  const std::string encoded = encoding(sample);
  return encoded.empty() ? records(sample, wanted) : encoded;
}

std::string proven_secret(const Sample& sample) {
  std::string found = pem(sample);
  if (found.empty()) found = known_der(sample);
  if (found.find("PRIVATE KEY") != std::string::npos || found.find("PrivateKeyInfo") != std::string::npos) return found;
  found.clear();
  each_algorithm([&](warpkem_algorithm id) {
    if (found.empty() && fits_dk({sample.data, sample.bytes, std::nullopt}, id))
      found = Content{RecordKind::dk, id}.name();
  });
  return found;
}

std::string proven_encoding(const Sample& sample) { return encoding(sample); }

std::string proven_wrapping(const Sample& sample) {
  std::string found = compressed(sample);
  if (!found.empty()) return found + "; decompress it first";
  found = marked(sample);
  if (found.starts_with("text")) return found + ", and PEM is ASCII: convert it first, by iconv -f UTF-16 -t ASCII";
  return found.starts_with("a DER") ? found + ", which DER does not have: take away the first 3 bytes" : "";
}

KeyFormat format_of_keys(const Sample& sample) {
  if (may_be_text(sample) && !pem_anywhere(sample).empty()) return KeyFormat::pem;
  return !der(sample).empty() || begins_as_certificate(sample) ? KeyFormat::der : KeyFormat::raw;
}

std::string encoding_of_keys(const Sample& sample) {
  const std::string proven = encoding(sample);
  if (!proven.empty()) return proven;
  return format_of_keys(sample) == KeyFormat::pem ? pem_anywhere(sample) : "a DER encoding";
}

bool tells_format_of_keys(const Sample& sample) {
  constexpr std::size_t header_bytes = 16;  // of DER
  if (sample.bytes < header_bytes || sample.data[0] == der_sequence) return false;
  return !may_be_text(sample);
}

std::vector<Content> proven_records(const Sample& sample) {
  std::vector<Content> found;
  each_algorithm([&](warpkem_algorithm id) {
    if (fits_dk(sample, id)) found.push_back({RecordKind::dk, id});
  });
  if (!found.empty()) return found;  // there is an ek inside, but not everywhere
  each_algorithm([&](warpkem_algorithm id) {
    if (fits_ek(sample, id)) found.push_back({RecordKind::ek, id});
  });
  return found;
}

std::vector<Content> fitting_records(std::uint64_t bytes) {
  std::vector<Content> found;
  for (const RecordKind kind :
       {RecordKind::ek, RecordKind::dk, RecordKind::composite_dk, RecordKind::c, RecordKind::seed, RecordKind::K}) {
    each_algorithm([&](warpkem_algorithm id) {
      const Content content{kind, id};
      const std::size_t record = content.record_bytes();
      const bool is_new = std::ranges::none_of(found, [&](const Content& c) { return c.name() == content.name(); });
      if (record != 0 && bytes != 0 && bytes % record == 0 && is_new) found.push_back(content);
    });
  }
  return found;
}

std::uint64_t likely_shared_secrets(const Sample& sample) {
  constexpr std::size_t K_bytes = 32;
  if (!sample.total || *sample.total == 0 || *sample.total % K_bytes != 0 || may_be_text(sample)) return 0;
  bool fits_public = false;
  each_algorithm([&](warpkem_algorithm id) {
    for (const std::uint32_t what : {WARPKEM_SIZE_C, WARPKEM_SIZE_EK})
      fits_public = fits_public || *sample.total % warpkem_size(id, what) == 0;
  });
  return fits_public ? 0 : *sample.total / K_bytes;
}

bool is_proven_public(const Sample& sample) {
  std::uint32_t not_statuses = 0;
  for (std::size_t i = 0; i < sample.bytes; ++i) not_statuses |= is_below(sample.data[i], 32) ^ 1u;
  bool found = not_statuses == 0;
  each_algorithm([&](warpkem_algorithm id) { found = found || fits_ek(sample, id); });
  return found;
}

std::string likely_other(const Sample& sample, const Content& wanted) {
  if (const std::string proven = proven_other(sample, wanted); !proven.empty()) return "it is " + proven;
  if (begins_with(sample, byte_order_mark)) return "it begins with a byte order mark of UTF-8, as text does";
  if (!sample.total || *sample.total == 0) return "";
  if (const Characters characters(sample);
      sample.bytes > 0 && characters.digits + characters.spaces + characters.others == sample.bytes) {
    const std::string found = pem_anywhere(sample);
    return "it looks like " + (found.empty() ? "text" : found);
  }
  if (const auto whole = element_at(sample, 0); whole && whole->tag == der_sequence && whole->end() == *sample.total)
    return "it looks like a DER encoding";
  std::string fitting;
  const auto add = [&](const Content& content) {
    const std::size_t record = content.record_bytes();
    if (record == 0 || *sample.total % record != 0 || content == wanted) return;
    fitting += fmt::format("{}{} {}", fitting.empty() ? "its length is that of " : " or of ", *sample.total / record,
                           content.name());
  };
  for (const RecordKind kind : {RecordKind::ek, RecordKind::dk, RecordKind::c})
    each_algorithm([&](warpkem_algorithm id) { add({kind, id}); });
  if (!fitting.empty()) return fitting;
  for (const RecordKind kind : {RecordKind::seed, RecordKind::K}) add({kind, wanted.algorithm});
  return fitting;
}

}  // namespace warpkem::tool
