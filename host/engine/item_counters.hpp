// What a backend has done, by operation and algorithm: two additions for each batch. Nothing secret is in it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "host/core/kinds.hpp"

namespace warpkem::host {

class ItemCounters {
 public:
  struct Row {
    std::atomic<std::uint64_t> items{0};
    std::atomic<std::uint64_t> batches{0};
  };

  explicit ItemCounters(const Kinds& kinds = Kinds()) : kinds_(kinds), rows_(kinds.size()) {}

  void add(Operation operation, std::uint32_t algorithm, std::size_t items) noexcept {
    if (items == 0) return;
    Row& row = rows_[kinds_.row(operation, algorithm)];
    row.items.fetch_add(items, std::memory_order_relaxed);
    row.batches.fetch_add(1, std::memory_order_relaxed);
  }
  const Row& of(Operation operation, std::uint32_t algorithm) const noexcept {
    return rows_[kinds_.row(operation, algorithm)];
  }
  std::uint64_t items() const noexcept {
    std::uint64_t sum = 0;
    for (const Row& row : rows_) sum += row.items.load(std::memory_order_relaxed);
    return sum;
  }

 private:
  const Kinds kinds_;
  std::vector<Row> rows_;
};

}  // namespace warpkem::host
