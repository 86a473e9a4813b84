// A key of the provider: empty, public, or a pair. It is filled once and never changed. A handshake uses a key once; a
// key that lives longer is prepared at its second use, so that A is not expanded again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "host/provider/bytes.hpp"
#include "host/provider/kems.hpp"
#include "warpkem/warpkem.h"

namespace warpkem::provider {

class Provider;

class Key {
 public:
  // Null, with an error in the queue, where memory is short.
  static Key* make(Provider& provider, const Kem& kem) noexcept;
  static void free(Key* key) noexcept;
  Key* copy(bool with_ek, bool with_dk) const noexcept;
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;

  Provider& provider() const noexcept { return provider_; }
  const Kem& kem() const noexcept { return kem_; }
  bool has_ek() const noexcept { return ek_ != nullptr; }
  bool has_dk() const noexcept { return dk_ != nullptr; }
  bool has_seed() const noexcept { return has_dk() && has_seed_; }
  Bytes ek() const noexcept { return {ek_, has_ek() ? kem_.ek_bytes() : 0}; }
  Bytes dk() const noexcept { return {dk_, has_dk() ? kem_.dk_bytes() : 0}; }
  Bytes seed() const noexcept { return has_seed() ? Bytes{dk_ + kem_.dk_bytes(), kem_.seed_bytes()} : Bytes{}; }

  // These fill an empty key. 1, or 0 with an error in the queue; the key is empty then.
  int generate() noexcept;
  int set_seed(Bytes seed) noexcept;
  int set_ek(Bytes ek) noexcept;
  // Whatever of these is there; they must belong together.
  int set_pair(Bytes ek, Bytes dk, Bytes seed) noexcept;

  bool equals(const Key& other) const noexcept;  // their public parts

  // Borrowed. Null at the first use, or where the engine could not prepare the key. It may be another engine's: of the
  // process that this one is a child of.
  warpkem_keys* prepared_ek(warpkem_engine* engine) const noexcept;
  warpkem_keys* prepared_dk(warpkem_engine* engine) const noexcept;

 private:
  struct Prepared {
    std::atomic<bool> is_used{false};
    std::atomic<warpkem_keys*> keys{nullptr};

    // `prepare` makes the keys, or null. Threads may come here at once.
    template <class Prepare>
    warpkem_keys* use(const Prepare& prepare) noexcept;
    void clear() noexcept;
  };

  Key(Provider& provider, const Kem& kem) noexcept : provider_(provider), kem_(kem) {}
  ~Key() { clear(); }

  int allocate(bool ek, bool dk) noexcept;
  void clear() noexcept;
  int check_empty() const noexcept;
  int set_dk(Bytes dk) noexcept;
  int check_pair() noexcept;
  int take_from_pool() noexcept;
  int make_pair_of_keys() noexcept;

  Provider& provider_;
  const Kem& kem_;
  std::uint8_t* ek_ = nullptr;
  std::uint8_t* dk_ = nullptr;  // after it, of those that keep it, the seed
  bool has_seed_ = false;
  mutable Prepared prepared_ek_, prepared_dk_;
};

}  // namespace warpkem::provider
