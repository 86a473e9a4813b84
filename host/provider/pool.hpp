// Key pairs made ahead of use, in batches, by a thread of their own: for clients, whose every ClientHello takes one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/provider/engine.hpp"
#include "host/provider/kems.hpp"
#include "host/provider/living.hpp"
#include "host/provider/settings.hpp"
#include "host/provider/statistics.hpp"
#include "host/provider/wiped_memory.hpp"

namespace warpkem::provider {

// Everything that changes is in memory that a forked child finds zeroed, which is how an empty pool without a thread
// looks: no key of the parent's is ever used there, and no lock of the parent's is held.
class Pool {
 public:
  // Starts nothing.
  Pool(const Settings& settings, Engine& engine, Statistics& statistics) noexcept;
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool();

  // Moves a key pair out, ek and then dk with its seed, which are as long as those of `kem`. False if there is none:
  // then the thread, which starts here, makes some.
  bool take(std::size_t kem, std::uint8_t* ek, std::uint8_t* dk) noexcept;

 private:
  struct Shelf;
  struct State;

  static std::size_t record_bytes(const Kem& kem) noexcept;
  State* state() const noexcept { return static_cast<State*>(memory_.data()); }
  std::uint8_t* record(std::size_t kem, std::size_t slot) const noexcept;
  std::uint8_t* batch() const noexcept;
  void discard_old(std::size_t kem) noexcept;
  void wake() noexcept;
  void work() noexcept;
  bool fill(std::size_t kem) noexcept;
  void stop() noexcept;

  // OpenSSL frees its generators before it tears providers down: the threads have to be gone when it begins to end.
  static bool stop_all_at_end() noexcept;
  friend Living<Pool>;
  static Living<Pool> living;

  const Settings& settings_;
  Engine& engine_;
  Statistics& statistics_;
  std::size_t offsets_[num_kems + 1] = {};  // of each shelf's records; last: of the batch that is being made
  const bool guards_forks_;
  const WipedMemory memory_;
  Pool* next_ = nullptr;
};

}  // namespace warpkem::provider
