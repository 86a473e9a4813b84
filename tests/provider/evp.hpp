// OpenSSL's EVP as the tests of the provider use it: objects that free themselves, calls that fail loudly.
#pragma once

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace evp {

using Octets = std::vector<std::uint8_t>;

template <auto free>
struct FreeBy {
  template <class T>
  void operator()(T* object) const noexcept {
    free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, FreeBy<EVP_PKEY_free>>;
using Context = std::unique_ptr<EVP_PKEY_CTX, FreeBy<EVP_PKEY_CTX_free>>;

// With the provider that was loaded into it, which goes first.
class LibraryContext {
 public:
  LibraryContext() = default;
  LibraryContext(OSSL_LIB_CTX* library, OSSL_PROVIDER* ours) : library_(library), ours_(ours) {}
  OSSL_LIB_CTX* get() const { return library_.get(); }
  explicit operator bool() const { return library_ != nullptr; }
  void reset() {
    ours_.reset();
    library_.reset();
  }

 private:
  std::unique_ptr<OSSL_LIB_CTX, FreeBy<OSSL_LIB_CTX_free>> library_;
  std::unique_ptr<OSSL_PROVIDER, FreeBy<OSSL_PROVIDER_unload>> ours_;
};

// What OpenSSL 3.5 and later have themselves comes from this provider too with it.
inline constexpr const char* preferred = "default_properties = ?provider=warpkem";

// A library context with the default provider and ours, from a configuration whose section of ours has these lines too.
// Empty, with OpenSSL's errors in the queue, where it does not load.
LibraryContext load(const std::string& settings = "", const std::string& alg_section = preferred,
                    const std::string& module = WARPKEM_MODULES "/warpkem.so");

// All errors of the queue, which is empty afterwards.
std::string errors();

struct Sent {
  Octets c, K;
};
// These give nothing (an empty vector, null) where OpenSSL fails.
Key generate(OSSL_LIB_CTX* library, const char* name, const Octets& seed = {});
Key parameters(OSSL_LIB_CTX* library, const char* name);
Key import(OSSL_LIB_CTX* library, const char* name, const Octets& pub, const Octets& priv, const Octets& seed = {});
Octets octets(const Key& key, const char* name);
Sent encapsulate(OSSL_LIB_CTX* library, const Key& key, const Octets& ikme = {});
Octets decapsulate(OSSL_LIB_CTX* library, const Key& key, const Octets& c);
std::string provider_of(OSSL_LIB_CTX* library, const char* name, const char* query = nullptr);

}  // namespace evp
