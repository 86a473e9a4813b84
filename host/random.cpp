#include "host/random.hpp"

#include <string.h>

#include "host/status.hpp"
#include "host/thread_number.hpp"

#ifdef WARPKEM_HAVE_OPENSSL
#include <openssl/evp.h>
#include <openssl/rand.h>
#else
#include <errno.h>
#include <sys/random.h>
#endif

namespace warpkem::host {

namespace {

#ifdef WARPKEM_HAVE_OPENSSL
// The thread's private DRBG, asked directly: RAND_bytes and its kin may be replaced by the program or by a RAND method.
// OpenSSL reseeds it after a fork.
int system_random(void*, std::uint8_t* out, std::size_t bytes) {
  constexpr unsigned strength = 256;
  EVP_RAND_CTX* drbg = RAND_get0_private(nullptr);
  return drbg != nullptr && EVP_RAND_generate(drbg, out, bytes, strength, 0, nullptr, 0) == 1 ? 0 : -1;
}
#else
int system_random(void*, std::uint8_t* out, std::size_t bytes) {
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
#endif

}  // namespace

Random::Random(RandomFunction function, void* context) noexcept
    : function_(function != nullptr ? function : system_random),
      context_(function != nullptr ? context : nullptr),
      draws_ahead_(function == nullptr) {}

void Random::draw(std::uint8_t* out, std::size_t bytes) {
  if (function_(context_, out, bytes) != 0) {
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
