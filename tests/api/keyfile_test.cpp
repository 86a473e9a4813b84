// Keys as DER: the example keys of RFC 9935, every encoding there and back, every rule that an object can break, and
// what only arithmetic tells.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <warpkem/keyfile.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <map>
#include <numeric>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

struct Engine {
  Engine() { EXPECT_EQ(warpkem_engine_new(nullptr, &handle), WARPKEM_OK); }
  ~Engine() { warpkem_engine_free(handle); }
  warpkem_engine* handle = nullptr;
};

warpkem_in in(const Bytes& bytes, std::size_t stride = 0) { return {bytes.data(), bytes.size(), stride}; }
warpkem_out out(Bytes& bytes, std::size_t stride = 0) { return {bytes.data(), bytes.size(), stride}; }

std::string sha256(const Bytes& bytes) {
  std::array<std::uint8_t, 32> digest{};
  unsigned length = 0;
  EXPECT_EQ(EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr), 1);
  std::string text;
  for (const std::uint8_t byte : digest) {
    for (const int nibble : {byte >> 4, byte & 15}) text += "0123456789abcdef"[nibble];
  }
  return text;
}

// A TLV; what it holds may be several things.
Bytes tlv(std::uint8_t tag, std::initializer_list<Bytes> contents) {
  Bytes content;
  for (const Bytes& one : contents) content.insert(content.end(), one.begin(), one.end());
  Bytes all{tag};
  const std::size_t n = content.size();
  if (n < 0x80) {
    all.push_back(static_cast<std::uint8_t>(n));
  } else if (n < 0x100) {
    all.insert(all.end(), {0x81, static_cast<std::uint8_t>(n)});
  } else {
    all.insert(all.end(), {0x82, static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)});
  }
  all.insert(all.end(), content.begin(), content.end());
  return all;
}
Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

const Bytes null = {5, 0}, version_0 = {2, 1, 0}, version_1 = {2, 1, 1}, zero_bits = {0};
Bytes oid_768() { return {6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 2}; }
Bytes algorithm_768() { return tlv(0x30, {oid_768()}); }

// The keys of one algorithm in all forms, made from known seeds.
struct Keys {
  Keys(warpkem_engine* engine, warpkem_algorithm of, std::size_t num, std::uint8_t first = 0)
      : algorithm(of), count(num) {
    seed.resize(count * warpkem_size(of, WARPKEM_SIZE_DK_SEED));
    std::iota(seed.begin(), seed.end(), first);
    ek.resize(count * warpkem_size(of, WARPKEM_SIZE_EK));
    Bytes again(seed.size());
    EXPECT_EQ(
        warpkem_keygen_derand(engine, of, WARPKEM_DK_SEED, count, in(seed), out(ek), out(again), nullptr, nullptr),
        WARPKEM_OK);
    expanded.resize(count * warpkem_size(of, WARPKEM_SIZE_DK));
    if (!expanded.empty()) {
      EXPECT_EQ(warpkem_keygen_derand(engine, of, WARPKEM_DK_EXPANDED, count, in(seed), out(ek), out(expanded), nullptr,
                                      nullptr),
                WARPKEM_OK);
    }
    composite.resize(count * warpkem_size(of, WARPKEM_SIZE_DK_COMPOSITE));
    if (!composite.empty()) {
      composite_ek.resize(ek.size());
      Bytes material(count * warpkem_size(of, WARPKEM_SIZE_SEED_COMPOSITE));
      std::iota(material.begin(), material.end(), 1);
      EXPECT_EQ(warpkem_keygen_derand(engine, of, WARPKEM_DK_COMPOSITE, count, in(material), out(composite_ek),
                                      out(composite), nullptr, nullptr),
                WARPKEM_OK);
    }
  }

  const Bytes& records(std::uint32_t encoding) const {
    switch (encoding) {
      case WARPKEM_ENCODING_PUBLIC:
      case WARPKEM_ENCODING_PUBLIC_XWING:
        return ek;
      case WARPKEM_ENCODING_EXPANDED:
        return expanded;
      case WARPKEM_ENCODING_COMPOSITE:
        return composite;
      default:
        return seed;
    }
  }
  Bytes encode(std::uint32_t encoding) const {
    const std::size_t bytes = warpkem_encoded_bytes(algorithm, encoding);
    Bytes der(count * bytes);
    const warpkem_in none{nullptr, 0, 0};
    EXPECT_EQ(warpkem_encode_keys(algorithm, encoding, count, in(records(encoding)),
                                  encoding == WARPKEM_ENCODING_BOTH ? in(expanded) : none, out(der)),
              WARPKEM_OK)
        << warpkem_last_error();
    return der;
  }

  warpkem_algorithm algorithm;
  std::size_t count;
  Bytes seed, ek, expanded, composite, composite_ek;
};

warpkem_decoded_key fresh() {
  warpkem_decoded_key key{};
  key.struct_size = sizeof key;
  return key;
}
warpkem_decoded_key decode(const Bytes& der, warpkem_status wanted = WARPKEM_OK) {
  warpkem_decoded_key key = fresh();
  EXPECT_EQ(warpkem_decode_key(der.data(), der.size(), &key), wanted) << warpkem_last_error();
  return key;
}
// That an object is refused at an offset, by a rule of which the text has these words.
void refused(const Bytes& der, std::size_t at, const std::string& words,
             warpkem_status status = WARPKEM_INVALID_ENCODING) {
  const warpkem_decoded_key key = decode(der, status);
  const std::string text = warpkem_last_error();
  EXPECT_EQ(key.error_at, at) << text;
  EXPECT_NE(text.find("byte offset " + std::to_string(at) + ": "), std::string::npos) << text;
  EXPECT_NE(text.find(words), std::string::npos) << text;
  EXPECT_TRUE(key.algorithm == 0 && key.encoding == 0 && key.ek == nullptr && key.seed == nullptr &&
              key.expanded == nullptr && key.composite == nullptr);
}
std::uint8_t checked(const Engine& engine, const Bytes& der) {
  const warpkem_decoded_key key = decode(der);
  std::uint8_t status = 0xee;
  std::size_t failed = 7;
  const warpkem_status answer = warpkem_check_keys(engine.handle, 1, &key, &status, &failed);
  EXPECT_EQ(answer, status == WARPKEM_OK ? WARPKEM_OK : WARPKEM_ITEM_FAILED);
  EXPECT_EQ(failed, status == WARPKEM_OK ? 0u : 1u);
  return status;
}

// Appendix C of RFC 9935: keys of the seed 00, 01 ... 3f. SHA-256 of the objects of its working group's example files.
TEST(KeyFile, ExampleKeysOfTheStandard) {
  const Engine engine;
  const std::map<std::pair<warpkem_algorithm, std::uint32_t>, const char*> published = {
      {{1, WARPKEM_ENCODING_PUBLIC}, "0e3c8b89b54202d2545f7aba2e2aaa3cffa7b6191919ad738fab35b4f313cf71"},
      {{1, WARPKEM_ENCODING_SEED}, "0fc934e3fb800359c219f4ede9fe4a1ae14018a20db779dcbaf2c8aba4fd6156"},
      {{1, WARPKEM_ENCODING_EXPANDED}, "38be7feecbbe6e6e466a0d7b5bb53e09040c3678e22fb2c0772c701c2372c858"},
      {{1, WARPKEM_ENCODING_BOTH}, "8426d7497a2ff1a4854b7d1ece4e8f976c721f314c3f653189f8e4b2a2bc5b0d"},
      {{2, WARPKEM_ENCODING_PUBLIC}, "c23e23dd3d485a9256cda09358a4a286e00b373db10761eadf99f710649ca31c"},
      {{2, WARPKEM_ENCODING_SEED}, "67d4dc57d8f9e28816f4a3495abc48dd416b0da9bd1e1de4716ad0883b9ad6b8"},
      {{2, WARPKEM_ENCODING_EXPANDED}, "994f7473b34fad03c2b36a500af9002dad15afa50473cef5ea217325c7156f9e"},
      {{2, WARPKEM_ENCODING_BOTH}, "95738d2a0b7252a16b1474b9fb4e0c8ddaa6fe70db7903ade4a385909ee0d165"},
      {{3, WARPKEM_ENCODING_PUBLIC}, "d2b7480ae006a14b37c1e8a8e45ea39022e32a9b1a7b90d594c84d869c6ac420"},
      {{3, WARPKEM_ENCODING_SEED}, "2c19d9d89d8c36ffb9eab0f3bb18dd90a47aaca3653bede67953173514d61234"},
      {{3, WARPKEM_ENCODING_EXPANDED}, "9cded660a340a6e7fdb93a4984e1e67764ade8e59be4db48b6921aeee5e6c795"},
      {{3, WARPKEM_ENCODING_BOTH}, "91004b1817d798dd3972439b8332a3a1b862f89c4e98b4ca2accd4f21afb9abb"}};
  for (const auto& [what, digest] : published) {
    const auto& [algorithm, encoding] = what;
    const Bytes der = Keys(engine.handle, algorithm, 1).encode(encoding);
    EXPECT_EQ(sha256(der), digest) << algorithm << " " << encoding;
    EXPECT_EQ(checked(engine, der), WARPKEM_OK);
  }
}

// Appendix C's bad keys 2 to 4, which differ from the good ones in a bit or two: in a coefficient of s, in H(ek), in z.
// SHA-256 of the published files.
TEST(KeyFile, BadExampleKeysOfTheStandard) {
  const Engine engine;
  const Keys keys(engine.handle, WARPKEM_ML_KEM_512, 1);
  const struct {
    std::uint32_t encoding;
    std::size_t at;
    std::uint8_t change;
    const char* digest;
    std::uint8_t status;
  } all[] = {
      {WARPKEM_ENCODING_EXPANDED, 28, 1, "0a37bb485c9cd02823cb6c9b8563f14f71a1940078d5fdc3ef58590acdaaf717",
       WARPKEM_KEY_MISMATCH},
      {WARPKEM_ENCODING_EXPANDED, 1596, 1, "d46441fb4354c3e4851bb30968ffe1af12497c683978e3fcebc197106e2f44a2",
       WARPKEM_INVALID_DK},
      {WARPKEM_ENCODING_BOTH, 1729, 1, "c59c17843f613fc921644b09e3bbf1035e4857c5cdd35af38ff536ee991b5793",
       WARPKEM_KEY_MISMATCH},
  };
  for (const auto& bad : all) {
    Bytes der = keys.encode(bad.encoding);
    der[bad.at] ^= bad.change;
    EXPECT_EQ(sha256(der), bad.digest);
    EXPECT_EQ(checked(engine, der), bad.status);
  }
}

// Every algorithm and encoding there and back, with strides, and the statuses of a mixed batch.
TEST(KeyFile, EveryEncodingThereAndBack) {
  const Engine engine;
  std::size_t seen = 0;
  std::vector<Bytes> all;
  for (warpkem_algorithm a = 1; warpkem_algorithm_name(a) != nullptr; ++a) {
    const Keys keys(engine.handle, a, 5);
    for (std::uint32_t encoding = 0; encoding < 12; ++encoding) {
      const std::size_t bytes = warpkem_encoded_bytes(a, encoding);
      if (bytes == 0) continue;
      ++seen;
      const Bytes packed = keys.encode(encoding);
      const std::size_t stride = bytes + 13;
      Bytes apart(5 * stride, 0xa5);
      const warpkem_in none{nullptr, 0, 0};
      ASSERT_EQ(warpkem_encode_keys(a, encoding, 5, in(keys.records(encoding)),
                                    encoding == WARPKEM_ENCODING_BOTH ? in(keys.expanded) : none, out(apart, stride)),
                WARPKEM_OK);
      for (std::size_t i = 0; i < 5; ++i) {
        const Bytes der(packed.begin() + static_cast<std::ptrdiff_t>(i * bytes),
                        packed.begin() + static_cast<std::ptrdiff_t>((i + 1) * bytes));
        EXPECT_TRUE(std::equal(der.begin(), der.end(), apart.begin() + static_cast<std::ptrdiff_t>(i * stride)));
        EXPECT_EQ(apart[i * stride + bytes], 0xa5);
        const warpkem_decoded_key key = decode(der);
        EXPECT_EQ(key.algorithm, a);
        EXPECT_EQ(key.encoding, encoding);
        const auto is = [&](const std::uint8_t* part, const Bytes& records, bool wanted) {
          if (!wanted) return part == nullptr;
          const std::size_t record = records.size() / 5;
          return part != nullptr && part >= der.data() && part + record <= der.data() + der.size() &&
                 std::equal(part, part + record, records.begin() + static_cast<std::ptrdiff_t>(i * record));
        };
        const bool both = encoding == WARPKEM_ENCODING_BOTH;
        EXPECT_TRUE(is(key.ek, keys.ek, encoding <= WARPKEM_ENCODING_PUBLIC_XWING));
        EXPECT_TRUE(is(key.seed, keys.seed, encoding == WARPKEM_ENCODING_SEED || both));
        EXPECT_TRUE(is(key.expanded, keys.expanded, encoding == WARPKEM_ENCODING_EXPANDED || both));
        EXPECT_TRUE(is(key.composite, keys.composite, encoding == WARPKEM_ENCODING_COMPOSITE));
        all.push_back(der);
      }
    }
  }
  EXPECT_EQ(seen, 20u);

  std::vector<warpkem_decoded_key> decoded;
  all[17][700] = all[17][701] = all[17][702] = 0xff;  // a coefficient of 4095 in an expanded dk or an ek
  for (const Bytes& der : all) decoded.push_back(decode(der));
  Bytes statuses(all.size(), 0xee);
  std::size_t failed = 0;
  EXPECT_EQ(warpkem_check_keys(engine.handle, all.size(), decoded.data(), statuses.data(), &failed),
            WARPKEM_ITEM_FAILED);
  EXPECT_EQ(failed, 1u);
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(statuses[i] != WARPKEM_OK, i == 17) << i;
  EXPECT_NE(std::string(warpkem_last_error()).find("key 17: "), std::string::npos) << warpkem_last_error();
}

TEST(KeyFile, SizesAreThoseOfTheStandards) {
  EXPECT_EQ(warpkem_encoded_bytes(WARPKEM_ML_KEM_768, WARPKEM_ENCODING_PUBLIC), 1206u);
  EXPECT_EQ(warpkem_encoded_bytes(WARPKEM_ML_KEM_768, WARPKEM_ENCODING_SEED), 86u);
  EXPECT_EQ(warpkem_encoded_bytes(WARPKEM_MLKEM768_X25519, WARPKEM_ENCODING_COMPOSITE), 115u);
  for (const std::uint32_t none : {0u, 7u, 8u, 9u, 0xffffffffu}) EXPECT_EQ(warpkem_encoded_bytes(2, none), 0u);
  EXPECT_EQ(warpkem_encoded_bytes(WARPKEM_X25519MLKEM768, WARPKEM_ENCODING_PUBLIC), 0u);
  EXPECT_EQ(warpkem_encoded_bytes(0, WARPKEM_ENCODING_PUBLIC), 0u);
  EXPECT_EQ(warpkem_encoded_bytes(WARPKEM_MLKEM768_P256, WARPKEM_ENCODING_SEED), 0u);
}

TEST(KeyFile, PublicKeysBreakEveryRule) {
  const Engine engine;
  const Keys keys(engine.handle, WARPKEM_ML_KEM_768, 1);
  const Bytes good = keys.encode(WARPKEM_ENCODING_PUBLIC);
  const Bytes bits = tlv(3, {zero_bits, keys.ek});
  ASSERT_EQ(good, tlv(0x30, {algorithm_768(), bits}));

  for (std::size_t cut = 0; cut < good.size(); cut += cut < 30 ? 1 : 97) {
    const Bytes der(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(cut));
    EXPECT_NE(decode(der, WARPKEM_INVALID_ENCODING).error_at, SIZE_MAX) << cut;
  }
  refused({}, 0, "ends where a key is wanted");
  refused(joined({good, {0}}), good.size(), "1 byte after the end of the object");
  refused(joined({good, good}), good.size(), "1206 bytes after the end of the object");
  refused(tlv(0x30, {tlv(0x30, {oid_768(), null}), bits}), 17, "the algorithm has parameters");
  refused(tlv(0x30, {algorithm_768(), bits, null}), good.size(), "2 bytes after the end of the public key");
  Bytes short_ek = keys.ek, long_ek = keys.ek;
  short_ek.pop_back(), long_ek.push_back(0);
  refused(tlv(0x30, {algorithm_768(), tlv(3, {zero_bits, short_ek})}), 17, "ek has 1183 bytes, not 1184");
  refused(tlv(0x30, {algorithm_768(), tlv(3, {zero_bits, long_ek})}), 17, "ek has 1185 bytes, not 1184");
  refused(tlv(0x30, {algorithm_768(), tlv(3, {{1}, keys.ek})}), 17, "not of whole bytes");
  refused(tlv(0x30, {algorithm_768(), tlv(3, {})}), 15, "not of whole bytes");
  refused(tlv(0x30, {algorithm_768(), tlv(0x30, {keys.ek})}), 0, "no certificate that OpenSSL can read");
  refused(tlv(0x31, {algorithm_768(), bits}), 0, "tag 0x31 where a key is wanted");
  refused(tlv(0x30, {tlv(0x30, {oid_768()})}), 15, "ends where the public key is wanted");
  refused(tlv(0x30, {tlv(0x30, {null}), bits}), 6, "tag 0x05 where the algorithm's OID is wanted");
  refused(tlv(0x30, {}), 2, "ends where the algorithm is wanted");

  // X.690, 10.1: one way to write a length.
  Bytes indefinite = joined({{0x30, 0x80}, algorithm_768(), bits, {0, 0}});
  refused(indefinite, 0, "indefinite length");
  const Bytes inner_indefinite = tlv(0x30, {joined({{0x30, 0x80}, oid_768(), {0, 0}}), bits});
  refused(inner_indefinite, 4, "indefinite length");
  Bytes longer = joined({{0x30, 0x83, 0x00, 0x04, 0xb2}, algorithm_768(), bits});
  refused(longer, 0, "not written the shortest way");
  const Bytes long_oid = tlv(0x30, {tlv(0x30, {{6, 0x81, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 4, 2}}), bits});
  refused(long_oid, 6, "not written the shortest way");
  refused({0x30, 0x84, 0x7f, 0xff, 0xff, 0xf0, 1, 2}, 0, "goes beyond the end");
  refused({0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 0, "no header");
  refused({0x30, 0xff, 1, 2, 3}, 0, "no header");
  refused({0x30, 0x7f, 1, 2, 3}, 0, "goes beyond the end, 3 bytes after its header");

  // Other algorithms, by name where OpenSSL has one.
  const Bytes rsa = {6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1};
  refused(tlv(0x30, {tlv(0x30, {rsa, null}), bits}), 6, "1.2.840.113549.1.1.1 (rsaEncryption)", WARPKEM_UNSUPPORTED);
  Bytes other = good;
  other[16] = 4;  // 2.16.840.1.101.3.4.4.4
  refused(other, 6, "2.16.840.1.101.3.4.4.4", WARPKEM_UNSUPPORTED);
  other[16] = 1;  // ML-KEM-512's
  refused(other, 17, "ek has 1184 bytes, not 800 as in ML-KEM-512");
}

TEST(KeyFile, PrivateKeysBreakEveryRule) {
  const Engine engine;
  const Keys keys(engine.handle, WARPKEM_ML_KEM_768, 1);
  const Bytes seed = tlv(0x80, {keys.seed}), expanded = tlv(4, {keys.expanded});
  const Bytes both = tlv(0x30, {tlv(4, {keys.seed}), expanded});
  const auto pkcs8 = [](const Bytes& key, const Bytes& version = version_0, const Bytes& more = {}) {
    return tlv(0x30, {version, algorithm_768(), tlv(4, {key}), more});
  };
  ASSERT_EQ(keys.encode(WARPKEM_ENCODING_SEED), pkcs8(seed));
  ASSERT_EQ(keys.encode(WARPKEM_ENCODING_EXPANDED), pkcs8(expanded));
  ASSERT_EQ(keys.encode(WARPKEM_ENCODING_BOTH), pkcs8(both));

  const Bytes public_key = tlv(0x81, {zero_bits, keys.ek}),
              attributes = tlv(0xa0, {tlv(0x30, {oid_768(), tlv(0x31, {null})})});
  for (const Bytes& key : {seed, expanded, both}) {
    for (const Bytes& more : {Bytes{}, attributes, public_key, joined({attributes, public_key})}) {
      const bool has_ek = more.size() > public_key.size() - 1;
      const Bytes der = pkcs8(key, has_ek ? version_1 : version_0, more);
      const warpkem_decoded_key decoded = decode(der);
      EXPECT_EQ(decoded.ek != nullptr, has_ek);
      EXPECT_EQ(checked(engine, der), WARPKEM_OK);
    }
    Bytes wrong = pkcs8(key, version_1, public_key);
    wrong.back() ^= 1;
    EXPECT_EQ(checked(engine, wrong), WARPKEM_KEY_MISMATCH);
    const Bytes older = pkcs8(key, version_0, public_key);
    refused(older, older.size() - public_key.size(), "publicKey needs version 1");
    EXPECT_EQ(decode(pkcs8(key, version_1)).ek, nullptr);
    refused(pkcs8(key, version_0, null), pkcs8(key).size(), "2 bytes after the end of the private key");
    refused(pkcs8(joined({key, null})), pkcs8(key).size(), "2 bytes after the end of the private key");
    for (const Bytes& version : {Bytes{2, 1, 2}, Bytes{2, 2, 0, 0}, Bytes{2, 0}}) {
      refused(pkcs8(key, version), pkcs8(key).size() > 0x84 ? 4 : 2, "the version is neither 0 nor 1");
    }
  }
  const std::string none_of = "none of seed, expandedKey and both";
  refused(pkcs8(keys.seed), 20, none_of);                         // as it is, without a tag
  refused(pkcs8(tlv(0xa0, {tlv(4, {keys.seed})})), 20, none_of);  // explicit
  refused(pkcs8(tlv(5, {})), 20, none_of);
  refused(pkcs8({}), 20, none_of);
  refused(pkcs8(tlv(4, {keys.seed})), 20, "expandedKey has 64 bytes, not 2400");  // the tag tells, not the length
  refused(pkcs8(tlv(0x80, {keys.expanded})), 24, "the seed has 2400 bytes, not 64");
  refused(pkcs8(tlv(4, {keys.expanded, keys.ek})), 24, "expandedKey has 3584 bytes, not 2400");
  refused(pkcs8(tlv(0x30, {expanded, tlv(4, {keys.seed})})), 28, "the seed has 2400 bytes, not 64");
  refused(pkcs8(tlv(0x30, {seed, expanded})), 28, "tag 0x80 where the seed is wanted, tag 0x04");
  refused(pkcs8(tlv(0x30, {tlv(4, {keys.seed})})), 88, "ends where expandedKey is wanted");
  refused(pkcs8(tlv(0x30, {tlv(4, {keys.seed}), expanded, null})), 28 + 66 + 2404,
          "2 bytes after the end of expandedKey");
  refused(tlv(0x30, {version_0, tlv(0x30, {oid_768(), null}), tlv(4, {seed})}), 18, "the algorithm has parameters");
  refused(tlv(0x30, {version_0, algorithm_768(), tlv(3, {zero_bits, seed})}), 18,
          "tag 0x03 where the private key is wanted");
  const Bytes encrypted =
      tlv(0x30, {tlv(0x30, {{6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5, 13}, null}), tlv(4, {seed})});
  EXPECT_EQ(decode(encrypted).encoding, WARPKEM_ENCODING_ENCRYPTED);
  EXPECT_EQ(checked(engine, encrypted), WARPKEM_UNSUPPORTED);
}

TEST(KeyFile, HybridsHaveTheirOwnRules) {
  const Engine engine;
  for (const warpkem_algorithm a : {WARPKEM_MLKEM768_X25519, WARPKEM_MLKEM768_P256, WARPKEM_MLKEM1024_P384}) {
    const Keys keys(engine.handle, a, 1);
    Bytes der = keys.encode(WARPKEM_ENCODING_COMPOSITE);
    der.push_back(0);
    refused(der, der.size() - 1, "1 byte after the end of the object");
    der.pop_back();
    // With a publicKey, which is made again of the parts.
    const Bytes algorithm(der.begin() + (der[1] < 0x80 ? 5 : 6), der.begin() + (der[1] < 0x80 ? 17 : 18));
    const Bytes octets(
        der.end() - static_cast<std::ptrdiff_t>(keys.composite.size() + (keys.composite.size() < 0x80 ? 2 : 3)),
        der.end());
    for (const bool is_right : {true, false}) {
      const Bytes whole =
          tlv(0x30, {version_1, algorithm, octets, tlv(0x81, {zero_bits, is_right ? keys.composite_ek : keys.ek})});
      EXPECT_EQ(checked(engine, whole), is_right ? WARPKEM_OK : WARPKEM_KEY_MISMATCH) << a;
    }
    if (a == WARPKEM_MLKEM768_X25519) continue;
    der[der.size() - 20] ^= 0x80;  // the curve's part
    der[der.size() - 1] ^= 1;      // of its name
    EXPECT_EQ(checked(engine, der), WARPKEM_INVALID_DK) << a;
  }
  const Keys x_wing(engine.handle, WARPKEM_MLKEM768_X25519, 1);
  const Bytes seed = x_wing.encode(WARPKEM_ENCODING_SEED);
  refused(tlv(0x30, {version_0, Bytes(seed.begin() + 5, seed.end() - 34), tlv(4, {tlv(4, {x_wing.seed})})}), 20,
          "the private key has 34 bytes, not 32 as in MLKEM768-X25519");
  Bytes other = x_wing.encode(WARPKEM_ENCODING_PUBLIC);
  other[15] = 60;  // ML-KEM-768 with P-384, which WarpKEM does not have
  refused(other, 6, "1.3.6.1.5.5.7.6.60", WARPKEM_UNSUPPORTED);
}

// An X.509 certificate without a valid signature; it has a keyUsage of these bits, or none.
Bytes certificate(const Bytes& spki, const Bytes& key_usage) {
  const Bytes name = tlv(0x30, {}),
              time = tlv(0x17, {Bytes{'2', '6', '0', '1', '0', '1', '0', '0', '0', '0', '0', '0', 'Z'}});
  const Bytes signer = tlv(0x30, {{6, 3, 0x2b, 0x65, 0x70}});  // Ed25519
  Bytes extensions;
  if (!key_usage.empty()) {
    extensions = tlv(0xa3, {tlv(0x30, {tlv(0x30, {{6, 3, 0x55, 0x1d, 0x0f}, tlv(4, {tlv(3, {key_usage})})})})});
  }
  const Bytes tbs =
      tlv(0x30, {tlv(0xa0, {{2, 1, 2}}), {2, 1, 9}, signer, name, tlv(0x30, {time, time}), name, spki, extensions});
  return tlv(0x30, {tbs, signer, tlv(3, {zero_bits, Bytes(64, 1)})});
}

TEST(KeyFile, CertificatesGiveTheirKey) {
  const Engine engine;
  for (const warpkem_algorithm a :
       {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024, WARPKEM_MLKEM768_X25519}) {
    const Keys keys(engine.handle, a, 1);
    const Bytes spki = keys.encode(WARPKEM_ENCODING_PUBLIC);
    for (const Bytes& usage : {Bytes{}, Bytes{5, 0x20}}) {
      const Bytes der = certificate(spki, usage);
      const warpkem_decoded_key key = decode(der);
      EXPECT_EQ(key.encoding, WARPKEM_ENCODING_CERTIFICATE);
      EXPECT_EQ(key.algorithm, a);
      ASSERT_NE(key.ek, nullptr);
      EXPECT_TRUE(std::equal(keys.ek.begin(), keys.ek.end(), key.ek));
      EXPECT_EQ(checked(engine, der), WARPKEM_OK);
    }
    const Bytes signs = certificate(spki, {7, 0x80});
    EXPECT_NE(decode(signs, WARPKEM_INVALID_ENCODING).error_at, 0u);
    EXPECT_NE(std::string(warpkem_last_error()).find("keyEncipherment alone"), std::string::npos);
  }
  const Keys keys(engine.handle, WARPKEM_ML_KEM_768, 1);
  Bytes broken = certificate(keys.encode(WARPKEM_ENCODING_PUBLIC), {});
  broken[8] = 0x31;
  refused(broken, 0, "no certificate");
}

TEST(KeyFile, ArgumentsAreChecked) {
  const Engine engine;
  const Keys keys(engine.handle, WARPKEM_ML_KEM_768, 2);
  Bytes der(2 * 1206, 0x77);
  const warpkem_in none{nullptr, 0, 0};
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_PUBLIC, 2, in(keys.ek), in(keys.seed), out(der)),
            WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_PUBLIC, 3, in(keys.ek), none, out(der)), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_PUBLIC, 2, none, none, out(der)), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_CERTIFICATE, 2, in(keys.ek), none, out(der)), WARPKEM_UNSUPPORTED);
  EXPECT_EQ(warpkem_encode_keys(4, WARPKEM_ENCODING_PUBLIC, 2, in(keys.ek), none, out(der)), WARPKEM_UNSUPPORTED);
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_BOTH, 2, in(keys.seed), none, out(der)), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(der, Bytes(der.size(), 0x77));
  EXPECT_EQ(warpkem_encode_keys(2, WARPKEM_ENCODING_PUBLIC, 0, none, none, {nullptr, 0, 0}), WARPKEM_OK);
  Bytes overlapping = keys.ek;
  overlapping.resize(2 * 1206);
  EXPECT_EQ(
      warpkem_encode_keys(2, WARPKEM_ENCODING_PUBLIC, 2, {overlapping.data(), 2 * 1184, 0}, none, out(overlapping)),
      WARPKEM_INVALID_ARGUMENT);

  warpkem_decoded_key key{};
  EXPECT_EQ(warpkem_decode_key(der.data(), der.size(), &key), WARPKEM_INVALID_ARGUMENT);  // without struct_size
  EXPECT_EQ(warpkem_decode_key(der.data(), der.size(), nullptr), WARPKEM_INVALID_ARGUMENT);
  key = fresh();
  EXPECT_EQ(warpkem_decode_key(nullptr, 5, &key), WARPKEM_INVALID_ARGUMENT);
  EXPECT_EQ(warpkem_decode_key(nullptr, 0, &key), WARPKEM_INVALID_ENCODING);

  std::size_t failed = 9;
  EXPECT_EQ(warpkem_check_keys(engine.handle, 0, nullptr, nullptr, &failed), WARPKEM_OK);
  EXPECT_EQ(failed, 0u);
  EXPECT_EQ(warpkem_check_keys(engine.handle, 1, nullptr, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
  key = fresh();
  EXPECT_EQ(warpkem_check_keys(engine.handle, 1, &key, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);  // nothing in it
  key.algorithm = WARPKEM_MLKEM768_P256, key.expanded = keys.expanded.data();
  EXPECT_EQ(warpkem_check_keys(engine.handle, 1, &key, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
  key.algorithm = 77, key.expanded = nullptr, key.ek = keys.ek.data();
  EXPECT_EQ(warpkem_check_keys(engine.handle, 1, &key, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
}

// A key whose algorithm the policy forbids gets its own status. The other keys of the batch are checked.
TEST(KeyFile, PolicyIsOfItems) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.policy = "ML-KEM-1024";
  warpkem_engine* restricted = nullptr;
  ASSERT_EQ(warpkem_engine_new(&options, &restricted), WARPKEM_OK);
  const Engine engine;
  const Bytes small = Keys(engine.handle, WARPKEM_ML_KEM_512, 1).encode(WARPKEM_ENCODING_BOTH),
              large = Keys(engine.handle, WARPKEM_ML_KEM_1024, 1).encode(WARPKEM_ENCODING_EXPANDED);
  const warpkem_decoded_key keys[] = {decode(large), decode(small), decode(large)};
  std::uint8_t statuses[3];
  std::size_t failed = 0;
  EXPECT_EQ(warpkem_check_keys(restricted, 3, keys, statuses, &failed), WARPKEM_ITEM_FAILED);
  EXPECT_EQ(failed, 1u);
  EXPECT_EQ(statuses[0], WARPKEM_OK);
  EXPECT_EQ(statuses[1], WARPKEM_UNSUPPORTED);
  EXPECT_EQ(statuses[2], WARPKEM_OK);
  warpkem_engine_free(restricted);
}

}  // namespace
