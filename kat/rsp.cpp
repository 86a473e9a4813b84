#include "kat/rsp.hpp"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <stdexcept>

namespace warpkem::kat {

CtrDrbg::CtrDrbg(std::span<const std::uint8_t, 48> entropy) { update(entropy); }

void CtrDrbg::increment() {
  for (std::size_t i = 16; i-- > 0 && ++v_[i] == 0;) {
  }
}

void CtrDrbg::encrypt(std::uint8_t out[16]) const {
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  const std::unique_ptr<EVP_CIPHER_CTX, Free> context(EVP_CIPHER_CTX_new());
  int bytes = 0;
  if (EVP_EncryptInit_ex(context.get(), EVP_aes_256_ecb(), nullptr, key_, nullptr) != 1 ||
      EVP_EncryptUpdate(context.get(), out, &bytes, v_, 16) != 1 || bytes != 16) {
    throw std::runtime_error("AES-256 failed");
  }
}

void CtrDrbg::update(std::span<const std::uint8_t, 48> data) {
  std::uint8_t next[48];
  for (std::size_t block = 0; block < 48; block += 16) {
    increment();
    encrypt(next + block);
  }
  for (std::size_t i = 0; i < 48; ++i) next[i] ^= data[i];
  std::copy_n(next, 32, key_);
  std::copy_n(next + 32, 16, v_);
}

Bytes CtrDrbg::generate(std::size_t bytes) {
  Bytes result;
  while (result.size() < bytes) {
    std::uint8_t block[16];
    increment();
    encrypt(block);
    result.insert(result.end(), block, block + 16);
  }
  result.resize(bytes);
  const std::uint8_t nothing[48] = {};
  update(nothing);
  return result;
}

std::string rsp_text(const Kem& kem, std::size_t vectors) {
  std::uint8_t entropy[48];
  std::iota(entropy, entropy + 48, std::uint8_t{0});
  CtrDrbg outer(entropy);
  Bytes entropies, seeds, m;
  for (std::size_t i = 0; i < vectors; ++i) {
    const Bytes seed = outer.generate(48);
    CtrDrbg inner(std::span<const std::uint8_t, 48>(seed.data(), 48));
    const Bytes d_z = inner.generate(64), random = inner.generate(32);
    entropies.insert(entropies.end(), seed.begin(), seed.end());
    seeds.insert(seeds.end(), d_z.begin(), d_z.end());
    m.insert(m.end(), random.begin(), random.end());
  }
  const auto [ek, dk] = kem.keygen(seeds);
  const auto [c, K] = kem.encaps(ek, m);
  if (kem.decaps(dk, c) != K) throw std::runtime_error("Decaps(dk, c) is not K");

  std::string text;
  for (std::size_t i = 0; i < vectors; ++i) {
    if (i != 0) text += "\n";
    text += "count = " + std::to_string(i) + "\n";
    text += "seed = " + hex(record(entropies, 48, i), true) + "\n";
    text += "pk = " + hex(record(ek, kem.ek_bytes, i), true) + "\n";
    text += "sk = " + hex(record(dk, kem.dk_bytes, i), true) + "\n";
    text += "ct = " + hex(record(c, kem.c_bytes, i), true) + "\n";
    text += "ss = " + hex(record(K, 32, i), true) + "\n";
  }
  return text;
}

}  // namespace warpkem::kat
