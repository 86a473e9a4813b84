// The one door to randomness: a vetted generator of the system, or the caller's. Bytes drawn ahead serve small
// requests.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>

#include "host/core/secure.hpp"

namespace warpkem::host {

// Fills `out`, 0 for success; thread-safe.
using RandomFunction = int (*)(void* context, std::uint8_t* out, std::size_t bytes);

class Random {
 public:
  // A null function: OpenSSL's private DRBG, which is started and tried here; getrandom where built without OpenSSL, or
  // where OpenSSL has ended, as at exit. Throws Error(rng_failed) or std::bad_alloc.
  Random(RandomFunction function, void* context);

  // Thread-safe. Throws Error(rng_failed); then `out` is zero.
  void fill(std::uint8_t* out, std::size_t bytes);

 private:
  static constexpr std::size_t piece_bytes = std::size_t{32} * 1024;

  // Bytes that were drawn ahead, spread over a few shards so that threads seldom meet. What is handed out is wiped
  // here.
  struct alignas(64) Shard {
    std::mutex mutex;
    SecureBuffer bytes;
    std::size_t used = piece_bytes;
  };

  void draw(std::uint8_t* out, std::size_t bytes);

  RandomFunction function_;
  void* context_;
  bool draws_ahead_;  // not from the caller's function, which may be slow or counted
  std::array<Shard, 8> shards_;
};

}  // namespace warpkem::host
