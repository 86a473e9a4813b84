// The pairwise consistency test of key pairs (FIPS 140-3 IG 10.3.A): what is encapsulated to ek is what dk gives back.
// The test is two batches, which any backend may do. Their results are compared at the end.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "host/core/algorithms.hpp"
#include "host/core/batch.hpp"
#include "host/core/random.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

// Which of an engine's key pairs are tested: every one, or one of so many, counted over all calls. Thread-safe.
class PairwiseChoice {
 public:
  explicit PairwiseChoice(std::size_t every) noexcept : every_(every) {}

  bool any() const noexcept { return every_ != 0; }
  // The number of the first of `count` new pairs.
  std::uint64_t take(std::size_t count) noexcept { return next_.fetch_add(count, std::memory_order_relaxed); }
  bool is_chosen(std::uint64_t pair) const noexcept { return every_ != 0 && pair % every_ == 0; }
  // Whether any of `count` pairs from `first` on is.
  bool chooses_among(std::uint64_t first, std::size_t count) const noexcept {
    return every_ != 0 && (is_chosen(first) || first % every_ + count > every_);
  }

 private:
  const std::size_t every_;  // 0: none
  std::atomic<std::uint64_t> next_{0};
};

class PairwiseTest {
 public:
  // Memory of an item, besides its keys.
  static std::size_t item_bytes(const Algorithm& algorithm) noexcept;

  // Lays out the test of these items of a key generation that is done, and draws messages. Throws Error,
  // std::bad_alloc.
  void begin(const Batch& keygen, const std::vector<std::uint32_t>& items, Random& random);
  // The batches, encapsulation first. Every item is pending in them whenever they are asked for.
  Batch encaps() noexcept;
  Batch decaps() noexcept;
  // How many items of the batch that was asked for last a backend has left undone.
  std::size_t undone(bool of_decaps) const noexcept;
  // Of item number i of begin(). In constant time.
  bool agrees(std::size_t i) const noexcept;

  std::size_t count() const noexcept { return encaps_statuses_.size(); }
  void wipe_secrets() noexcept;

 private:
  Batch of_operation(Operation operation, std::vector<std::uint8_t>& statuses) noexcept;

  Batch bare_;  // without arrays
  std::vector<const std::uint8_t*> ek_, dk_;
  std::vector<std::uint8_t> encaps_statuses_, decaps_statuses_;
  SecureBuffer memory_;  // m, K and K_prime of all items, then c
  std::size_t used_ = 0, m_bytes_ = 0, K_bytes_ = 0, c_bytes_ = 0;
};

}  // namespace warpkem::host
