#include "host/engine/pairwise.hpp"

#include <algorithm>

#include "host/core/algorithms.hpp"
#include "host/core/differ.hpp"

namespace warpkem::host {

std::size_t PairwiseTest::item_bytes(const Algorithm& algorithm) noexcept {
  return algorithm.m_bytes + 2 * algorithm.K_bytes + algorithm.c_bytes;
}

void PairwiseTest::begin(const Batch& keygen, const std::vector<std::uint32_t>& items, Random& random) {
  const Algorithm& algorithm = *find_algorithm(keygen.algorithm);
  m_bytes_ = algorithm.m_bytes, K_bytes_ = algorithm.K_bytes, c_bytes_ = algorithm.c_bytes;
  bare_ = {};
  bare_.algorithm = keygen.algorithm;
  bare_.dk_format = keygen.dk_format;
  bare_.on_one_thread = keygen.on_one_thread;
  ek_.resize(items.size());
  dk_.resize(items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    ek_[i] = keygen.ek_out[items[i]];
    dk_[i] = keygen.dk_out[items[i]];
  }
  encaps_statuses_.assign(items.size(), item_pending);
  decaps_statuses_.assign(items.size(), item_pending);
  const std::size_t bytes = items.size() * item_bytes(algorithm);
  if (memory_.size() < bytes) memory_ = SecureBuffer(bytes);
  used_ = bytes;
  random.fill(memory_.data(), items.size() * m_bytes_);
}

Batch PairwiseTest::of_operation(Operation operation, std::vector<std::uint8_t>& statuses) noexcept {
  std::ranges::fill(statuses, item_pending);
  Batch batch = bare_;
  batch.operation = operation;
  batch.count = count();
  batch.statuses = statuses.data();
  return batch;
}

Batch PairwiseTest::encaps() noexcept {
  Batch batch = of_operation(Operation::encaps, encaps_statuses_);
  batch.dk_format = DkFormat::expanded;  // it has none
  std::uint8_t* const K = memory_.data() + count() * m_bytes_;
  batch.m = {memory_.data(), m_bytes_, nullptr};
  batch.ek = {nullptr, 0, ek_.data()};
  batch.K_out = {K, K_bytes_, nullptr};
  batch.c_out = {K + count() * 2 * K_bytes_, c_bytes_, nullptr};
  return batch;
}

Batch PairwiseTest::decaps() noexcept {
  Batch batch = of_operation(Operation::decaps, decaps_statuses_);
  std::uint8_t* const K_prime = memory_.data() + count() * (m_bytes_ + K_bytes_);
  batch.c = {K_prime + count() * K_bytes_, c_bytes_, nullptr};
  batch.dk = {nullptr, 0, dk_.data()};
  batch.K_out = {K_prime, K_bytes_, nullptr};
  return batch;
}

std::size_t PairwiseTest::undone(bool of_decaps) const noexcept {
  return static_cast<std::size_t>(std::ranges::count(of_decaps ? decaps_statuses_ : encaps_statuses_, item_pending));
}

bool PairwiseTest::agrees(std::size_t i) const noexcept {
  if (encaps_statuses_[i] != item_ok || decaps_statuses_[i] != item_ok) return false;
  const std::uint8_t* const K = memory_.data() + count() * m_bytes_ + i * K_bytes_;
  return !differ(K, K + count() * K_bytes_, K_bytes_);
}

void PairwiseTest::wipe_secrets() noexcept {
  if (used_ != 0) wipe(memory_.data(), used_);
  used_ = 0;
}

}  // namespace warpkem::host
