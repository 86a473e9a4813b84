// A line on the terminal that says how far a job is: bar, count, rate, time left, or as much of it as the terminal has
// columns for at that moment. Nothing where standard error is not a terminal.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace warpkem::tool {

class Progress {
 public:
  // `total` items, if that is known.
  Progress(std::string title, std::optional<std::uint64_t> total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // What is known, or guessed, of the total since.
  void expect(std::optional<std::uint64_t> total) { total_ = total; }
  // So many items are done now; redraws at most ten times a second.
  void update(std::uint64_t done);
  // Draws the final state and leaves it standing.
  void finish(std::uint64_t done);

  double seconds() const;

  // The line for a state, without control characters, of at most `width` characters.
  static std::string line(const std::string& title, std::uint64_t done, std::optional<std::uint64_t> total,
                          double seconds, std::size_t width);

 private:
  using Clock = std::chrono::steady_clock;

  std::string title_;
  std::optional<std::uint64_t> total_;
  bool visible_;
  bool drawn_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point next_ = start_;
};

// "83.1 k", "1.20 M"
std::string with_prefix(double value);

}  // namespace warpkem::tool
