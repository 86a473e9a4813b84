// Encrypted keys (PBES2 by PBKDF2 or scrypt): good ones with edits, cut and lengthened, or the fuzzer's own bytes. What
// is decrypted fits where its encrypted form was; what is not is refused in words.
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.hpp"
#include "tools/warpkem/keys/passphrase.hpp"

using namespace warpkem::fuzz;

namespace {

constexpr char word[] = "correct horse";

warpkem::tool::Passphrase& passphrase() {
  static warpkem::tool::Passphrase& known = *[] {
    int ends[2];
    if (pipe(ends) != 0 || write(ends[1], word, sizeof word - 1) != sizeof word - 1) die("pipe");
    close(ends[1]);
    warpkem::tool::PassphraseOptions options;
    options.descriptor = ends[0];
    return new warpkem::tool::Passphrase(options);
  }();
  return known;
}

// A seed, encrypted as OpenSSL does, with the least work that there is.
Bytes encrypted(bool by_scrypt, const EVP_CIPHER* cipher) {
  const Bytes plain(86, 0x30);
  PKCS8_PRIV_KEY_INFO* const key = PKCS8_PRIV_KEY_INFO_new();
  auto* const copy = static_cast<unsigned char*>(OPENSSL_memdup(plain.data(), plain.size()));
  if (PKCS8_pkey_set0(key, OBJ_nid2obj(NID_X25519), 0, V_ASN1_UNDEF, nullptr, copy, static_cast<int>(plain.size())) !=
      1) {
    die("PKCS#8");
  }
  unsigned char salt[16] = {1}, iv[16] = {2};
  X509_ALGOR* const algorithm = by_scrypt ? PKCS5_pbe2_set_scrypt(cipher, salt, sizeof salt, iv, 2, 1, 1)
                                          : PKCS5_pbe2_set_iv(cipher, 1, salt, sizeof salt, iv, NID_hmacWithSHA256);
  X509_SIG* const object = PKCS8_set0_pbe(word, sizeof word - 1, key, algorithm);
  unsigned char* der = nullptr;
  const int bytes = i2d_X509_SIG(object, &der);
  if (bytes <= 0) die("no encrypted key");
  const Bytes all(der, der + bytes);
  OPENSSL_free(der);
  X509_SIG_free(object);
  PKCS8_PRIV_KEY_INFO_free(key);
  return all;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  static const std::vector<Bytes>& good =
      *new std::vector<Bytes>{encrypted(false, EVP_aes_256_cbc()), encrypted(true, EVP_aes_128_cbc())};
  Input input(data, bytes);
  const std::uint8_t shape = input.byte();
  Bytes der;
  if ((shape & 0x80) != 0) {
    der.assign(data + 1, data + bytes);
  } else {
    der = good[shape % 2];
    if ((shape & 0x40) != 0) der.resize(input.word() % (2 * der.size()));
    input.edit(der);
  }
  Bytes plain(der.size());
  std::string error;
  const std::size_t got = passphrase().decrypt(der, plain.data(), error);
  if ((got == 0) == error.empty()) die("refused without a reason, or taken with one");
  if (got > der.size()) die("longer than what was encrypted");
  if (bytes == 1 && shape < 2 && got == 0) die("a good key is refused: " + error);
  return 0;
}
