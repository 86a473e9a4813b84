// How often what was done, in Prometheus's text form, in a file that the setting statistics_file names. No key is
// counted by itself, and nothing here is secret.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "host/provider/kems.hpp"
#include "host/provider/living.hpp"
#include "host/provider/wiped_memory.hpp"

namespace warpkem::provider {

enum class Event : std::uint8_t {
  keygen,
  encaps,
  decaps,
  keygen_failed,
  encaps_failed,
  decaps_failed,
  share_refused,
  pool_taken,
  pool_missed,
  pool_made,
  pool_expired,
};
inline constexpr std::size_t num_events = 11;

class Statistics {
 public:
  // "" as path: nothing is counted. Opens nothing.
  explicit Statistics(const std::string& path) noexcept;
  Statistics(const Statistics&) = delete;
  Statistics& operator=(const Statistics&) = delete;
  ~Statistics();  // writes the file a last time

  void count(std::size_t kem, Event event, std::uint64_t times = 1) noexcept;
  void set_stock(std::size_t kem, std::size_t keys) noexcept;
  // Writes the file if that was not done for some seconds. The thread that comes first does it.
  void write_if_due() noexcept;

 private:
  // In memory that a forked child finds zeroed: it counts for itself.
  struct Counters {
    std::atomic<std::uint64_t> written;  // second; 0: nothing was counted yet
    std::array<std::array<std::atomic<std::uint64_t>, num_events>, num_kems> events;
    std::array<std::atomic<std::uint64_t>, num_kems> stock;
  };
  Counters* counters() const noexcept { return static_cast<Counters*>(memory_.data()); }
  bool is_on() const noexcept { return !path_.empty() && memory_.data() != nullptr; }
  void write() const noexcept;
  void write_last() const noexcept;

  // Of a program that does not free its SSL_CTX the provider is never torn down: those are written when the program
  // exits.
  struct AtExit {
    ~AtExit();
  };
  static AtExit at_exit;
  friend Living<Statistics>;
  static Living<Statistics> living;

  const std::string& path_;
  const WipedMemory memory_;
  Statistics* next_ = nullptr;
};

}  // namespace warpkem::provider
