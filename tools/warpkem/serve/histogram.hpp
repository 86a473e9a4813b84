// A histogram of latencies.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace warpkem::tool {

// 32 buckets an octave: quantiles are good to 3 %.
class FineHistogram {
 public:
  void add(std::uint64_t value, std::uint64_t n = 1) {
    buckets_[index(value)] += n;
    count_ += n;
    if (value > max_) max_ = value;
  }
  void merge(const FineHistogram& other) {
    for (std::size_t i = 0; i < buckets_.size(); ++i) buckets_[i] += other.buckets_[i];
    count_ += other.count_;
    if (other.max_ > max_) max_ = other.max_;
  }
  std::uint64_t count() const { return count_; }
  std::uint64_t max() const { return max_; }
  std::uint64_t quantile(double q) const {
    std::uint64_t below = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      below += buckets_[i];
      if (below != 0 && static_cast<double>(below) >= q * static_cast<double>(count_))
        return value(i) < max_ ? value(i) : max_;
    }
    return max_;
  }
  // Of each bucket that is not empty: its largest value, and how many values it has. Each value below 64 has a bucket
  // of its own.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> buckets() const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> all;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      if (buckets_[i] != 0) all.emplace_back(std::min(value(i), max_), buckets_[i]);
    }
    return all;
  }

 private:
  static std::size_t index(std::uint64_t v) {
    if (v < 32) return static_cast<std::size_t>(v);
    const auto octave = static_cast<std::size_t>(std::bit_width(v)) - 6;
    return 32 * (octave + 1) + static_cast<std::size_t>((v >> octave) & 31);
  }
  static std::uint64_t value(std::size_t i) {
    if (i < 32) return i;
    const std::size_t octave = i / 32 - 1;
    return ((std::uint64_t{32} + i % 32 + 1) << octave) - 1;
  }
  std::vector<std::uint64_t> buckets_ = std::vector<std::uint64_t>(32 * 60);
  std::uint64_t count_ = 0, max_ = 0;
};

}  // namespace warpkem::tool
