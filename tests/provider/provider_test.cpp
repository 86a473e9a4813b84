// The provider as programs see it through EVP. The library that the test itself is linked to is the oracle, and a
// second copy of it in one process.
#include <gtest/gtest.h>
#include <openssl/async.h>
#include <openssl/decoder.h>
#include <openssl/encoder.h>
#include <openssl/rand.h>
#include <sys/wait.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

#include "evp.hpp"

namespace {

using evp::errors;
using evp::Key;
using evp::octets;
using evp::Octets;

struct Case {
  const char* name;
  std::vector<const char*> aliases;
  warpkem_algorithm algorithm;
  std::uint32_t dk_format;
  int bits;
};
const std::vector<Case> cases = {
    {"ML-KEM-512", {"MLKEM512", "id-alg-ml-kem-512", "2.16.840.1.101.3.4.4.1"}, WARPKEM_ML_KEM_512, 0, 512},
    {"ML-KEM-768", {"MLKEM768", "id-alg-ml-kem-768", "2.16.840.1.101.3.4.4.2"}, WARPKEM_ML_KEM_768, 0, 768},
    {"ML-KEM-1024", {"MLKEM1024", "id-alg-ml-kem-1024", "2.16.840.1.101.3.4.4.3"}, WARPKEM_ML_KEM_1024, 0, 1024},
    {"X25519MLKEM768", {"x25519mlkem768"}, WARPKEM_X25519MLKEM768, 0, 768},
    {"SecP256r1MLKEM768", {}, WARPKEM_SECP256R1MLKEM768, 0, 768},
    {"SecP384r1MLKEM1024", {}, WARPKEM_SECP384R1MLKEM1024, 0, 1024},
    {"MLKEM768-X25519", {"X-Wing", "1.3.6.1.5.5.7.6.58"}, WARPKEM_MLKEM768_X25519, WARPKEM_DK_SEED, 768},
};
bool is_hybrid(const Case& one) { return one.algorithm > WARPKEM_ML_KEM_1024; }

warpkem_in in(const Octets& octets) { return {octets.data(), octets.size(), 0}; }
warpkem_out out(Octets& octets) { return {octets.data(), octets.size(), 0}; }

// This program's own copy of the library.
class Oracle {
 public:
  Oracle() { EXPECT_EQ(warpkem_engine_new(nullptr, &engine_), WARPKEM_OK); }
  ~Oracle() { warpkem_engine_free(engine_); }

  Octets decaps(const Case& one, const Octets& dk, const Octets& c) {
    Octets K(warpkem_size(one.algorithm, WARPKEM_SIZE_K));
    const auto status =
        warpkem_decaps(engine_, one.algorithm, one.dk_format, 1, in(dk), in(c), out(K), nullptr, nullptr);
    return status == WARPKEM_OK ? K : Octets();
  }
  evp::Sent encaps(const Case& one, const Octets& ek, const Octets& m) {
    evp::Sent sent{Octets(warpkem_size(one.algorithm, WARPKEM_SIZE_C)),
                   Octets(warpkem_size(one.algorithm, WARPKEM_SIZE_K))};
    const auto status =
        warpkem_encaps_derand(engine_, one.algorithm, 1, in(ek), in(m), out(sent.c), out(sent.K), nullptr, nullptr);
    return status == WARPKEM_OK ? sent : evp::Sent();
  }
  Octets public_key(const Case& one, const Octets& seed) {
    Octets ek(warpkem_size(one.algorithm, WARPKEM_SIZE_EK));
    Octets dk(warpkem_size(one.algorithm, one.dk_format == WARPKEM_DK_SEED ? WARPKEM_SIZE_DK_SEED : WARPKEM_SIZE_DK));
    const auto status =
        warpkem_keygen_derand(engine_, one.algorithm, one.dk_format, 1, in(seed), out(ek), out(dk), nullptr, nullptr);
    return status == WARPKEM_OK ? ek : Octets();
  }

 private:
  warpkem_engine* engine_ = nullptr;
};

Octets some_octets(std::size_t count) {
  Octets all(count);
  for (std::size_t i = 0; i < count; ++i) all[i] = static_cast<std::uint8_t>(7 * i + 1);
  return all;
}

class Provider : public testing::Test {
 protected:
  void SetUp() override {
    library = evp::load();
    ASSERT_TRUE(library) << errors();
  }
  evp::LibraryContext library;
};

TEST_F(Provider, EveryAlgorithmAgreesWithTheLibrary) {
  Oracle oracle;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name);
    ASSERT_TRUE(key) << errors();
    EXPECT_EQ(octets(key, "pub").size(), warpkem_size(one.algorithm, WARPKEM_SIZE_EK));
    EXPECT_EQ(octets(key, "pub"), octets(key, "encoded-pub-key"));
    const evp::Sent sent = evp::encapsulate(library.get(), key);
    ASSERT_EQ(sent.c.size(), warpkem_size(one.algorithm, WARPKEM_SIZE_C)) << errors();
    EXPECT_EQ(sent.K, evp::decapsulate(library.get(), key, sent.c)) << errors();
    EXPECT_EQ(sent.K, oracle.decaps(one, octets(key, "priv"), sent.c));
    EXPECT_EQ(EVP_PKEY_get_bits(key.get()), one.bits);
    EXPECT_EQ(EVP_PKEY_get_security_bits(key.get()), one.bits / 4);
    EXPECT_EQ(static_cast<std::size_t>(EVP_PKEY_get_size(key.get())), sent.c.size());
    EXPECT_NE(octets(key, "pub"), octets(evp::generate(library.get(), one.name), "pub"));
    EXPECT_NE(sent.K, evp::encapsulate(library.get(), key).K);
  }
}

TEST_F(Provider, EveryAliasLeadsToTheSameAlgorithm) {
  for (const Case& one : cases) {
    for (const char* alias : one.aliases) {
      const Key key = evp::generate(library.get(), alias);
      ASSERT_TRUE(key) << alias << "\n" << errors();
      EXPECT_TRUE(EVP_PKEY_is_a(key.get(), one.name)) << alias;
      EXPECT_EQ(evp::provider_of(library.get(), alias), "warpkem");
    }
  }
  EXPECT_EQ(evp::provider_of(library.get(), "X25519MLKEM768", "provider!=warpkem"),
            OPENSSL_VERSION_NUMBER < 0x30500000 ? "" : "default");
}

TEST_F(Provider, ParametersAloneMakeNoKeyAndTakeAShare) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key peer = evp::generate(library.get(), one.name);
    const Octets share = octets(peer, "pub");
    const Key empty = evp::parameters(library.get(), one.name);
    ASSERT_TRUE(empty) << errors();
    EXPECT_TRUE(octets(empty, "pub").empty());
    EXPECT_TRUE(evp::encapsulate(library.get(), empty).c.empty());
    EXPECT_NE(errors().find("the key is empty"), std::string::npos);
    // As libssl's server does it; and as a client of its parameters would.
    const Key copy(EVP_PKEY_new());
    ASSERT_EQ(EVP_PKEY_copy_parameters(copy.get(), empty.get()), 1) << errors();
    for (const Key* key : {&empty, &copy}) {
      ASSERT_EQ(EVP_PKEY_set1_encoded_public_key(key->get(), share.data(), share.size()), 1) << errors();
      const evp::Sent sent = evp::encapsulate(library.get(), *key);
      EXPECT_EQ(sent.K, evp::decapsulate(library.get(), peer, sent.c));
    }
    EXPECT_EQ(EVP_PKEY_eq(empty.get(), peer.get()), 1);
    // It is set now, and stays as it is.
    EXPECT_NE(EVP_PKEY_set1_encoded_public_key(empty.get(), share.data(), share.size()), 1);
    EXPECT_NE(errors().find("the key is set already"), std::string::npos);
    EXPECT_TRUE(evp::decapsulate(library.get(), empty, Octets(warpkem_size(one.algorithm, WARPKEM_SIZE_C))).empty());
    EXPECT_NE(errors().find("no private part"), std::string::npos);
  }
}

TEST_F(Provider, AGroupOfAnotherNameIsRefused) {
  const evp::Context context(EVP_PKEY_CTX_new_from_name(library.get(), "X25519MLKEM768", nullptr));
  ASSERT_EQ(EVP_PKEY_paramgen_init(context.get()), 1);
  EXPECT_NE(EVP_PKEY_CTX_set_group_name(context.get(), "SecP256r1MLKEM768"), 1);
  EXPECT_NE(errors().find("wrong group name"), std::string::npos);
  EXPECT_EQ(EVP_PKEY_CTX_set_group_name(context.get(), ""), 1);  // as OpenSSL's own entries of KEMs have it
}

TEST_F(Provider, KeysAreCopiedMovedAndCompared) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name), other = evp::generate(library.get(), one.name);
    const Key copy(EVP_PKEY_dup(key.get()));
    ASSERT_TRUE(copy) << errors();
    EXPECT_EQ(EVP_PKEY_eq(key.get(), copy.get()), 1);
    EXPECT_NE(EVP_PKEY_eq(key.get(), other.get()), 1);
    EXPECT_EQ(octets(copy, "priv"), octets(key, "priv"));
    const evp::Sent sent = evp::encapsulate(library.get(), copy);
    EXPECT_EQ(sent.K, evp::decapsulate(library.get(), key, sent.c));
    const Octets pub = octets(key, "pub"), priv = octets(key, "priv");
    const Key in_public = evp::import(library.get(), one.name, pub, {});
    const Key pair = evp::import(library.get(), one.name, pub, priv);
    const Key in_private = evp::import(library.get(), one.name, {}, priv);
    ASSERT_TRUE(in_public && pair && in_private) << errors();
    for (const Key* moved : {&in_public, &pair, &in_private}) EXPECT_EQ(EVP_PKEY_eq(key.get(), moved->get()), 1);
    EXPECT_TRUE(octets(in_public, "priv").empty());
    EXPECT_EQ(octets(in_private, "priv"), priv);
    EXPECT_EQ(evp::decapsulate(library.get(), in_private, sent.c), sent.K);
    EXPECT_EQ(octets(in_private, "pub"), pub);  // computed again, of a hybrid from its scalar
    EXPECT_FALSE(evp::import(library.get(), one.name, octets(other, "pub"), priv));
    EXPECT_NE(errors().find("do not belong together"), std::string::npos);
  }
}

TEST_F(Provider, KeysOfMlKemKeepTheirSeed) {
  Oracle oracle;
  for (const Case& one : cases) {
    if (is_hybrid(one)) continue;
    SCOPED_TRACE(one.name);
    const Octets seed = some_octets(64);
    const Key key = evp::generate(library.get(), one.name, seed);
    ASSERT_TRUE(key) << errors();
    EXPECT_EQ(octets(key, "seed"), seed);
    EXPECT_EQ(octets(key, "pub"), oracle.public_key(one, seed));
    const Key again = evp::import(library.get(), one.name, {}, {}, seed);
    EXPECT_EQ(octets(again, "priv"), octets(key, "priv"));
    const Key without = evp::import(library.get(), one.name, {}, octets(key, "priv"));
    EXPECT_TRUE(octets(without, "seed").empty());
    Octets wrong = seed;
    wrong[40] ^= 1;  // of z, which is in the private key alone
    EXPECT_FALSE(evp::import(library.get(), one.name, octets(key, "pub"), octets(key, "priv"), wrong));
    EXPECT_FALSE(evp::generate(library.get(), one.name, some_octets(63)));
    const Key drawn = evp::generate(library.get(), one.name);
    EXPECT_EQ(octets(drawn, "pub"), oracle.public_key(one, octets(drawn, "seed")));
  }
}

TEST_F(Provider, GivenRandomnessDecidesAnEncapsulation) {
  Oracle oracle;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name);
    const Octets m = some_octets(warpkem_size(one.algorithm, WARPKEM_SIZE_M));
    const evp::Sent sent = evp::encapsulate(library.get(), key, m),
                    expected = oracle.encaps(one, octets(key, "pub"), m);
    EXPECT_EQ(sent.c, expected.c) << errors();
    EXPECT_EQ(sent.K, expected.K);
    EXPECT_TRUE(evp::encapsulate(library.get(), key, some_octets(5)).c.empty());
  }
}

TEST_F(Provider, BadKeysAreRefusedWhereTheyComeIn) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name);
    const Octets pub = octets(key, "pub"), priv = octets(key, "priv");
    const auto refused = [&](Octets bad, const char* why) {
      const Key empty = evp::parameters(library.get(), one.name);
      errors();
      EXPECT_NE(EVP_PKEY_set1_encoded_public_key(empty.get(), bad.data(), bad.size()), 1);
      EXPECT_NE(errors().find(why), std::string::npos) << why;
      EXPECT_FALSE(evp::import(library.get(), one.name, bad, {}));
    };
    for (const std::size_t bytes : {std::size_t{1}, pub.size() - 1, pub.size() + 1}) {
      Octets bad = pub;
      bad.resize(bytes);
      refused(bad, "wrong length");
    }
    const bool curve_first = one.algorithm == WARPKEM_SECP256R1MLKEM768 || one.algorithm == WARPKEM_SECP384R1MLKEM1024;
    const std::size_t element = one.algorithm == WARPKEM_SECP256R1MLKEM768 ? 65 : 97;
    Octets bad = pub;
    const std::size_t at = curve_first ? element : 0;
    bad[at] = 0xff, bad[at + 1] |= 0x0f;  // a coefficient of 4095
    refused(bad, "bad public key");
    if (curve_first) {
      bad = pub, bad[10] ^= 1;
      refused(bad, "bad public key");
    } else if (one.algorithm == WARPKEM_X25519MLKEM768) {
      bad = pub, std::fill(bad.end() - 32, bad.end(), std::uint8_t{0});
      refused(bad, "bad public key");
    }
    Octets short_priv = priv;
    short_priv.pop_back();
    EXPECT_FALSE(evp::import(library.get(), one.name, {}, short_priv));
    EXPECT_NE(errors().find("wrong length"), std::string::npos);
    if (one.dk_format == WARPKEM_DK_SEED) continue;
    // Of H(ek), which is before z and, of X25519's hybrid, the scalar; of the secret vector.
    const std::size_t hash_at = priv.size() - 33 - (one.algorithm == WARPKEM_X25519MLKEM768 ? 32 : 0);
    for (const std::size_t place : {hash_at, std::size_t{100}}) {
      Octets bad_priv = priv;
      bad_priv[place] ^= 1;
      EXPECT_FALSE(evp::import(library.get(), one.name, {}, bad_priv)) << place;
      EXPECT_NE(errors().find("bad private key"), std::string::npos);
    }
  }
}

TEST_F(Provider, WrongCiphertextsAreRejectedImplicitlyAndWrongPointsAloud) {
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name);
    const evp::Sent sent = evp::encapsulate(library.get(), key);
    const bool curve_first = one.algorithm == WARPKEM_SECP256R1MLKEM768 || one.algorithm == WARPKEM_SECP384R1MLKEM1024;
    Octets c = sent.c;
    c[curve_first ? c.size() - 1 : 0] ^= 1;
    const Octets other = evp::decapsulate(library.get(), key, c);
    EXPECT_EQ(other.size(), sent.K.size()) << errors();
    EXPECT_NE(other, sent.K);
    EXPECT_EQ(evp::decapsulate(library.get(), key, c), other);
    c.pop_back();
    EXPECT_TRUE(evp::decapsulate(library.get(), key, c).empty());
    EXPECT_NE(errors().find("wrong length"), std::string::npos);
    c = sent.c;
    if (curve_first) c[10] ^= 1;
    if (one.algorithm == WARPKEM_X25519MLKEM768) std::fill(c.end() - 32, c.end(), std::uint8_t{0});
    if (c == sent.c) continue;
    EXPECT_TRUE(evp::decapsulate(library.get(), key, c).empty());
    EXPECT_NE(errors().find("bad ciphertext"), std::string::npos);
  }
}

TEST_F(Provider, BuffersThatAreTooSmallAreRefused) {
  const Key key = evp::generate(library.get(), "ML-KEM-768");
  const evp::Context context(EVP_PKEY_CTX_new_from_pkey(library.get(), key.get(), nullptr));
  ASSERT_EQ(EVP_PKEY_encapsulate_init(context.get(), nullptr), 1);
  Octets c(1088), K(32);
  std::size_t c_bytes = 1087, K_bytes = 32;
  EXPECT_NE(EVP_PKEY_encapsulate(context.get(), c.data(), &c_bytes, K.data(), &K_bytes), 1);
  EXPECT_NE(errors().find("buffer too small"), std::string::npos);
}

void use_all(OSSL_LIB_CTX* library) {
  for (const Case& one : cases) {
    const Key key = evp::generate(library, one.name);
    const evp::Sent sent = evp::encapsulate(library, key);
    ASSERT_EQ(sent.K.size(), warpkem_size(one.algorithm, WARPKEM_SIZE_K)) << one.name << errors();
    ASSERT_EQ(sent.K, evp::decapsulate(library, key, sent.c)) << one.name << errors();
  }
}

TEST_F(Provider, ManyThreadsMayBeginAtOnce) {
  std::vector<std::jthread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([this] {
      for (int round = 0; round < 5; ++round) use_all(library.get());
    });
  }
}

// The child's status: 0 if `body` had no failure.
int in_child(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

TEST_F(Provider, AForkedChildGoesOnWithItsParentsKeys) {
  const Key key = evp::generate(library.get(), "X25519MLKEM768");
  const evp::Sent sent = evp::encapsulate(library.get(), key);
  for (int generation = 0; generation < 3; ++generation) {
    EXPECT_EQ(in_child([&] {
                EXPECT_EQ(evp::decapsulate(library.get(), key, sent.c), sent.K) << errors();
                use_all(library.get());
                // A child of the child; threads of the child.
                EXPECT_EQ(in_child([&] { use_all(library.get()); }), 0);
                const std::jthread one([&] { use_all(library.get()); }), two([&] { use_all(library.get()); });
              }),
              0);
  }
  use_all(library.get());
}

// It is prepared at its second use. Whichever way it is used, the same comes out; keys that a process prepared are not
// its child's.
TEST_F(Provider, AKeyThatIsUsedOftenAgreesWithTheLibraryEachTime) {
  Oracle oracle;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key pair = evp::generate(library.get(), one.name);
    const Octets pub = octets(pair, "pub"), priv = octets(pair, "priv");
    const Key in_public = evp::import(library.get(), one.name, pub, {});
    const Octets m = some_octets(warpkem_size(one.algorithm, WARPKEM_SIZE_M));
    const auto use = [&] {
      for (const Octets& ikme : {Octets(), m, Octets(), m}) {
        const evp::Sent sent = evp::encapsulate(library.get(), in_public, ikme);
        ASSERT_FALSE(sent.K.empty()) << errors();
        EXPECT_EQ(evp::decapsulate(library.get(), pair, sent.c), sent.K) << errors();
        EXPECT_EQ(oracle.decaps(one, priv, sent.c), sent.K);
        if (!ikme.empty()) {
          EXPECT_EQ(sent.c, oracle.encaps(one, pub, m).c);
        }
      }
    };
    use();
    EXPECT_EQ(in_child([&] {
                const Key own = evp::import(library.get(), one.name, pub, priv);
                for (const Key* key : {&in_public, &pair, &own, &own, &own}) {
                  const evp::Sent sent = evp::encapsulate(library.get(), *key);
                  EXPECT_EQ(evp::decapsulate(library.get(), pair, sent.c), sent.K) << errors();
                  EXPECT_EQ(evp::decapsulate(library.get(), own, sent.c), sent.K) << errors();
                }
              }),
              0);
    use();
  }
}

TEST_F(Provider, ThreadsShareAKey) {
  for (int round = 0; round < 20; ++round) {
    const Key key = evp::generate(library.get(), "ML-KEM-512");
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 5; ++n) {
          const evp::Sent sent = evp::encapsulate(library.get(), key);
          EXPECT_EQ(evp::decapsulate(library.get(), key, sent.c), sent.K) << errors();
        }
      });
    }
  }
}

// The threads do nothing but the provider's own work: of EVP and of OpenSSL's generators, locks may stay locked.
TEST_F(Provider, AForkAmidOperationsLeavesTheChildUsable) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "AddressSanitizer's allocator may stay locked in the child; the C library's does not";
#endif
  use_all(library.get());
  const Key key = evp::generate(library.get(), "X25519MLKEM768");
  const evp::Sent sent = evp::encapsulate(library.get(), key);
  std::atomic<bool> over{false};
  std::vector<std::jthread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      const evp::Context context(EVP_PKEY_CTX_new_from_pkey(library.get(), key.get(), nullptr));
      EXPECT_EQ(EVP_PKEY_decapsulate_init(context.get(), nullptr), 1);
      Octets K(64);
      std::size_t bytes = K.size();
      while (!over) {
        EXPECT_EQ(EVP_PKEY_decapsulate(context.get(), K.data(), &bytes, sent.c.data(), sent.c.size()), 1);
      }
    });
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(in_child([&] {
                alarm(60);
                use_all(library.get());
              }),
              0);
  }
  over = true;
}

TEST_F(Provider, ParentAndChildDrawDifferentKeys) {
  use_all(library.get());
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  EXPECT_EQ(in_child([&] {
              const Octets pub = octets(evp::generate(library.get(), "ML-KEM-768"), "pub");
              EXPECT_EQ(write(pipes[1], pub.data(), pub.size()), static_cast<ssize_t>(pub.size()));
            }),
            0);
  Octets of_child(1184);
  ASSERT_EQ(read(pipes[0], of_child.data(), of_child.size()), 1184);
  EXPECT_NE(of_child, octets(evp::generate(library.get(), "ML-KEM-768"), "pub"));
  close(pipes[0]);
  close(pipes[1]);
}

// Of a key, as DER: through the provider's encoder.
Octets written(const Key& key, int selection, const char* structure) {
  OSSL_ENCODER_CTX* const encoder = OSSL_ENCODER_CTX_new_for_pkey(key.get(), selection, "DER", structure, nullptr);
  unsigned char* data = nullptr;
  std::size_t bytes = 0;
  const int done = OSSL_ENCODER_to_data(encoder, &data, &bytes);
  OSSL_ENCODER_CTX_free(encoder);
  const Octets all(data, data + (done == 1 ? bytes : 0));
  OPENSSL_free(data);
  return all;
}
Key read(OSSL_LIB_CTX* library, const Octets& der, const char* structure) {
  EVP_PKEY* key = nullptr;
  OSSL_DECODER_CTX* const decoder =
      OSSL_DECODER_CTX_new_for_pkey(&key, "DER", structure, nullptr, EVP_PKEY_KEYPAIR, library, nullptr);
  const unsigned char* data = der.data();
  std::size_t bytes = der.size();
  OSSL_DECODER_from_data(decoder, &data, &bytes);
  OSSL_DECODER_CTX_free(decoder);
  return Key(key);
}

// Any bytes may come as a share or as a file: they are refused, or they are a key that works.
TEST_F(Provider, MutatedSharesAndFilesAreRefusedOrWork) {
  const bool is_long = getenv("WARPKEM_LONG_TESTS") != nullptr;
  std::mt19937 random(1);
  const auto mutate = [&random](Octets octets) {
    for (auto changes = 1 + random() % 3; changes != 0 && !octets.empty(); --changes) {
      const std::size_t at = random() % (random() % 4 == 0 ? octets.size() : std::min<std::size_t>(octets.size(), 40));
      switch (random() % 4) {
        case 0:
          octets[at] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          octets[at] ^= static_cast<std::uint8_t>(1u << random() % 8);
          break;
        case 2:
          octets.erase(octets.begin() + static_cast<std::ptrdiff_t>(at));
          break;
        default:
          octets.insert(octets.begin() + static_cast<std::ptrdiff_t>(at), static_cast<std::uint8_t>(random()));
      }
    }
    return octets;
  };
  std::size_t refused = 0, taken = 0;
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    const Key key = evp::generate(library.get(), one.name);
    const Octets share = octets(key, "pub");
    for (int i = 0; i < (is_long ? 20000 : 100); ++i) {
      const Octets mutated = mutate(share);
      const Key empty = evp::parameters(library.get(), one.name);
      if (EVP_PKEY_set1_encoded_public_key(empty.get(), mutated.data(), mutated.size()) != 1) {
        ++refused;
        EXPECT_TRUE(octets(empty, "pub").empty());
      } else {
        ++taken;
        EXPECT_FALSE(evp::encapsulate(library.get(), empty).c.empty()) << errors();
      }
      ERR_clear_error();
    }
    if (is_hybrid(one)) continue;
    const Octets files[] = {written(key, EVP_PKEY_PUBLIC_KEY, "SubjectPublicKeyInfo"),
                            written(key, EVP_PKEY_KEYPAIR, "PrivateKeyInfo")};
    for (const Octets& file : files) {
      const char* const structure = &file == files ? "SubjectPublicKeyInfo" : "PrivateKeyInfo";
      ASSERT_EQ(EVP_PKEY_eq(read(library.get(), file, structure).get(), key.get()), 1) << errors();
      for (int i = 0; i < (is_long ? 20000 : 100); ++i) {
        const Key found = read(library.get(), mutate(file), structure);
        EXPECT_TRUE(!found || !evp::encapsulate(library.get(), found).c.empty()) << errors();
        ++(found ? taken : refused);
        ERR_clear_error();
      }
    }
  }
  EXPECT_GT(refused, 100u);
  EXPECT_GT(taken, 10u);
}

std::size_t entries(const char* folder) {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(folder), {}));
}

TEST(ProviderLoaded, StartsNoThreadAndOpensNoFile) {
  const std::size_t threads = entries("/proc/self/task"), files = entries("/proc/self/fd");
  const evp::LibraryContext library = evp::load("statistics_file = /nowhere/that/exists\npool_size = 0");
  ASSERT_TRUE(library) << errors();
  EXPECT_EQ(entries("/proc/self/task"), threads);
  EXPECT_EQ(entries("/proc/self/fd"), files);
  use_all(library.get());
  EXPECT_EQ(entries("/proc/self/task"), threads);
}

TEST(ProviderLoaded, WrongSettingsAreRefusedWithAReason) {
  for (const char* line : {"backend = fast", "backend = AVX2", "threads = many", "threads = -1", "threads = 100000",
                           "policy = strong", "policy = ML-KEM-768,nothing", "pool_size = 1k"}) {
    errors();
    EXPECT_FALSE(evp::load(line)) << line;
    EXPECT_NE(errors().find("wrong setting"), std::string::npos) << line;
  }
  for (const char* line : {"backend = portable", "backend = auto", "threads = 2", "policy = hybrid-only"}) {
    const evp::LibraryContext library = evp::load(line);
    ASSERT_TRUE(library) << line << errors();
    EXPECT_EQ(evp::generate(library.get(), "X25519MLKEM768") != nullptr, true) << errors();
  }
}

TEST(ProviderLoaded, ABackendThatThisMachineLacksSaysSoAtFirstUse) {
  const evp::LibraryContext library = evp::load("backend = cuda");
  ASSERT_TRUE(library) << errors();
  if (evp::generate(library.get(), "ML-KEM-768")) GTEST_SKIP() << "there is a GPU";
  EXPECT_NE(errors().find("no engine could be made"), std::string::npos);
}

TEST(ProviderLoaded, APolicyHidesWhatItForbids) {
  const evp::LibraryContext library = evp::load("policy = CNSA-2.0");
  ASSERT_TRUE(library) << errors();
  EXPECT_TRUE(evp::generate(library.get(), "ML-KEM-1024")) << errors();
  EXPECT_NE(evp::provider_of(library.get(), "X25519MLKEM768"), "warpkem");
  EXPECT_NE(evp::provider_of(library.get(), "ML-KEM-768"), "warpkem");
}

TEST(ProviderLoaded, TheEnvironmentAloneDecidesNothing) {
  setenv("WARPKEM_BACKEND", "nonsense", 1);
  const evp::LibraryContext library = evp::load();
  ASSERT_TRUE(library);
  EXPECT_TRUE(evp::generate(library.get(), "ML-KEM-768")) << errors();
  unsetenv("WARPKEM_BACKEND");
}

TEST(ProviderLoaded, AQueryThatPrefersItDoesNotLeadBackToIt) {
  for (const char* query : {evp::preferred, "default_properties = provider!=nothing"}) {
    const evp::LibraryContext library = evp::load("", query);
    ASSERT_TRUE(library) << errors();
    if (query == evp::preferred) {
      EXPECT_EQ(evp::provider_of(library.get(), "X25519MLKEM768"), "warpkem");
    }
    use_all(library.get());
    std::uint8_t byte = 0;
    EXPECT_EQ(RAND_bytes_ex(library.get(), &byte, 1, 0), 1);
  }
}

TEST(ProviderLoaded, KeysOutliveItsUnloading) {
  const std::unique_ptr<OSSL_LIB_CTX, evp::FreeBy<OSSL_LIB_CTX_free>> library(OSSL_LIB_CTX_new());
  ASSERT_EQ(OSSL_PROVIDER_set_default_search_path(library.get(), WARPKEM_MODULES), 1);
  ASSERT_EQ(EVP_set_default_properties(library.get(), "?provider=warpkem"), 1);  // OpenSSL 3.5 has the group itself
  for (int round = 0; round < 3; ++round) {
    OSSL_PROVIDER* const standard = OSSL_PROVIDER_load(library.get(), "default");
    OSSL_PROVIDER* const ours = OSSL_PROVIDER_load(library.get(), "warpkem");
    ASSERT_NE(ours, nullptr) << errors();
    use_all(library.get());
    Key key = evp::generate(library.get(), "X25519MLKEM768");
    ASSERT_TRUE(key);
    EXPECT_EQ(OSSL_PROVIDER_unload(ours), 1);
    const Octets pub = octets(key, "pub");
    EXPECT_EQ(pub.size(), 1216u);
    key.reset();
    EXPECT_EQ(OSSL_PROVIDER_unload(standard), 1);
  }
}

TEST(ProviderLoaded, TwoCopiesInOneProcessDoNotMeet) {
  const std::filesystem::path copy =
      std::filesystem::path(testing::TempDir()) / ("copy-" + std::to_string(getpid()) + ".so");
  std::filesystem::copy_file(WARPKEM_MODULES "/warpkem.so", copy);
  const evp::LibraryContext first = evp::load(), second = evp::load("backend = portable", evp::preferred, copy);
  std::filesystem::remove(copy);
  ASSERT_TRUE(first && second) << errors();
  use_all(first.get());
  use_all(second.get());
  const Key key = evp::generate(first.get(), "X25519MLKEM768");
  const Key moved = evp::import(second.get(), "X25519MLKEM768", octets(key, "pub"), octets(key, "priv"));
  const evp::Sent sent = evp::encapsulate(second.get(), moved);
  EXPECT_EQ(evp::decapsulate(first.get(), key, sent.c), sent.K);
}

// Into OpenSSL's default library context, and never unloaded.
bool load_for_good() {
  OSSL_PROVIDER_set_default_search_path(nullptr, WARPKEM_MODULES);
  static OSSL_PROVIDER* const standard = OSSL_PROVIDER_load(nullptr, "default");
  static OSSL_PROVIDER* const ours = OSSL_PROVIDER_load(nullptr, "warpkem");
  return standard != nullptr && ours != nullptr;
}

[[noreturn]] void end_by_cleanup() {
  bool is_good = load_for_good();
  use_all(nullptr);
  {
    const Key key = evp::generate(nullptr, "SecP384r1MLKEM1024");
    is_good = is_good && key;
  }
  OPENSSL_cleanup();
  exit(is_good && !testing::Test::HasFailure() ? 0 : 1);
}

// The key is freed by exit(), before OpenSSL ends.
[[noreturn]] void end_by_exit() {
  const bool is_good = load_for_good();
  static const Key kept = evp::generate(nullptr, "X25519MLKEM768");
  exit(is_good && kept && !testing::Test::HasFailure() ? 0 : 1);
}

// In processes of their own.
TEST(ProviderAtTheEnd, EveryOrderIsFine) {
  EXPECT_EXIT(end_by_cleanup(), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(end_by_exit(), testing::ExitedWithCode(0), "");
}

#ifndef WARPKEM_SANITIZED
// An asynchronous job of OpenSSL has a stack of 32 KiB.
TEST_F(Provider, AnOperationFitsTheStackOfAJob) {
  if (ASYNC_is_capable() != 1) GTEST_SKIP() << "no asynchronous jobs here";
  struct Arguments {
    OSSL_LIB_CTX* library;
  } arguments{library.get()};
  ASYNC_WAIT_CTX* const wait = ASYNC_WAIT_CTX_new();
  ASYNC_JOB* job = nullptr;
  int result = 0;
  const auto run = [](void* given) {
    use_all(static_cast<Arguments*>(given)->library);
    return testing::Test::HasFailure() ? 0 : 1;
  };
  EXPECT_EQ(ASYNC_start_job(&job, wait, &result, run, &arguments, sizeof arguments), ASYNC_FINISH);
  EXPECT_EQ(result, 1);
  ASYNC_WAIT_CTX_free(wait);
  ASYNC_cleanup_thread();
}
#endif

}  // namespace
