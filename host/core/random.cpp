#include "host/core/random.hpp"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <string>

#include "host/core/status.hpp"
#include "host/core/thread_number.hpp"

#ifdef WARPKEM_HAVE_OPENSSL
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include "host/core/openssl.hpp"
#endif

namespace warpkem::host {

namespace {

int kernel_random(void*, std::uint8_t* out, std::size_t bytes) {
  while (bytes != 0) {
    const ssize_t got = getrandom(out, bytes, 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      return -1;
    }
    out += got;
    bytes -= static_cast<std::size_t>(got);
  }
  return 0;
}

#ifdef WARPKEM_HAVE_OPENSSL

// The thread's private DRBG, asked directly: RAND_bytes and its kin may be replaced by the program or by a RAND method.
// OpenSSL reseeds it after a fork.
int openssl_random(std::uint8_t* out, std::size_t bytes) noexcept {
  constexpr unsigned strength = 256;
  EVP_RAND_CTX* drbg = RAND_get0_private(nullptr);
  return drbg != nullptr && EVP_RAND_generate(drbg, out, bytes, strength, 0, nullptr, 0) == 1 ? 0 : -1;
}

bool gives_random() noexcept {
  std::uint8_t sample[32];
  const bool given = openssl_random(sample, sizeof sample) == 0;
  wipe(sample, sizeof sample);
  return given;
}

// Whether the default provider is active and yet lacks what generators are made of: what an allocation that fails at
// OpenSSL's start leaves behind, for good.
bool lacks_parts() noexcept {
  if (OSSL_PROVIDER_available(nullptr, "default") != 1) return false;
  bool lacks = false;
  for (const char* const name : {"SEED-SRC", "CTR-DRBG"}) {
    EVP_RAND* const found = EVP_RAND_fetch(nullptr, name, nullptr);
    lacks = lacks || found == nullptr;
    EVP_RAND_free(found);
  }
  for (const char* const name : {"AES-256-CTR", "AES-256-ECB"}) {
    EVP_CIPHER* const found = EVP_CIPHER_fetch(nullptr, name, nullptr);
    lacks = lacks || found == nullptr;
    EVP_CIPHER_free(found);
  }
  return lacks;
}

// Starts OpenSSL and proves that it has a generator. Where its own start fails half-way it follows null pointers later,
// so each step is looked at before the next. Throws Error or std::bad_alloc.
void start_generator() {
  start_openssl();
  const OpenSslUse openssl;
  if (!openssl) return;
  // Where memory is short OpenSSL may fail once, and says all kinds of things about it.
  if (gives_random() || gives_random()) return;
  const unsigned long code = ERR_peek_last_error();
  const char* const text = ERR_reason_error_string(code);
  const std::string reason = text != nullptr ? text : "error " + std::to_string(code);
  if (code == 0 || ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE || lacks_parts()) {
    throw Error(Status::out_of_memory, "OpenSSL ran out of memory when it started: " + reason);
  }
  throw Error(Status::rng_failed, "no random generator: is the default provider active? OpenSSL says: " + reason);
}

int system_random(void*, std::uint8_t* out, std::size_t bytes) {
  {
    const OpenSslUse openssl;
    if (openssl) return openssl_random(out, bytes);
  }
  return kernel_random(nullptr, out, bytes);
}

#else
constexpr RandomFunction system_random = kernel_random;
#endif

}  // namespace

Random::Random(RandomFunction function, void* context)
    : function_(function != nullptr ? function : system_random),
      context_(function != nullptr ? context : nullptr),
      draws_ahead_(function == nullptr) {
#ifdef WARPKEM_HAVE_OPENSSL
  if (function == nullptr) start_generator();
#endif
}

void Random::draw(std::uint8_t* out, std::size_t bytes) {
  bool is_good = false;
  try {
    is_good = function_(context_, out, bytes) == 0;
  } catch (...) {  // a program's function that throws has failed
  }
  if (!is_good) {
    wipe(out, bytes);
    throw Error(Status::rng_failed, "the random number generator failed");
  }
}

void Random::fill(std::uint8_t* out, std::size_t bytes) {
  if (!draws_ahead_ || bytes >= piece_bytes) return draw(out, bytes);
  Shard& shard = shards_[this_thread_number() % shards_.size()];
  const std::scoped_lock lock(shard.mutex);
  if (!shard.bytes) shard.bytes = SecureBuffer(piece_bytes);
  std::size_t left = bytes;
  while (left != 0) {
    if (shard.used == piece_bytes) {
      try {
        draw(shard.bytes.data(), piece_bytes);
      } catch (...) {
        wipe(out, bytes);
        throw;
      }
      shard.used = 0;
    }
    const std::size_t now = std::min(left, piece_bytes - shard.used);
    memcpy(out + (bytes - left), shard.bytes.data() + shard.used, now);
    wipe(shard.bytes.data() + shard.used, now);
    shard.used += now;
    left -= now;
  }
}

}  // namespace warpkem::host
