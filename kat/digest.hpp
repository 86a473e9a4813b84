// Hash functions from OpenSSL: the known answers are checked by an implementation other than ours.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string_view>

#include "kat/kem.hpp"

namespace warpkem::kat {

class Digest {
 public:
  explicit Digest(const EVP_MD* md) : context_(EVP_MD_CTX_new()) { EVP_DigestInit_ex(context_.get(), md, nullptr); }

  Digest& update(View bytes) {
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
    return *this;
  }
  Digest& update(std::string_view text) {
    EVP_DigestUpdate(context_.get(), text.data(), text.size());
    return *this;
  }
  // `bytes` is the digest's own length but for SHAKE.
  Bytes finish(std::size_t bytes) {
    Bytes result(bytes);
    if ((EVP_MD_flags(EVP_MD_CTX_get0_md(context_.get())) & EVP_MD_FLAG_XOF) != 0) {
      EVP_DigestFinalXOF(context_.get(), result.data(), bytes);
    } else {
      EVP_DigestFinal_ex(context_.get(), result.data(), nullptr);
    }
    return result;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

inline Bytes shake128(View in, std::size_t bytes) { return Digest(EVP_shake128()).update(in).finish(bytes); }
inline Bytes shake256(View in, std::size_t bytes) { return Digest(EVP_shake256()).update(in).finish(bytes); }
inline Bytes sha3_256(View in) { return Digest(EVP_sha3_256()).update(in).finish(32); }
inline Bytes sha3_512(View in) { return Digest(EVP_sha3_512()).update(in).finish(64); }
inline Bytes sha256(std::string_view text) { return Digest(EVP_sha256()).update(text).finish(32); }

}  // namespace warpkem::kat
