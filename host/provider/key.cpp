#include "host/provider/key.hpp"

#include <openssl/crypto.h>

#include <cstring>
#include <new>

#include "host/provider/provider.hpp"

namespace warpkem::provider {

namespace {

warpkem_in in(Bytes bytes) noexcept { return {bytes.data(), bytes.size(), 0}; }
warpkem_out out(std::uint8_t* data, std::size_t bytes) noexcept { return {data, bytes, 0}; }

// Randomness or a seed on the stack, wiped at the end.
struct Secret {
  ~Secret() { OPENSSL_cleanse(bytes, sizeof bytes); }
  std::uint8_t bytes[256];
};

}  // namespace

Key* Key::make(Provider& provider, const Kem& kem) noexcept {
  void* const memory = OPENSSL_malloc(sizeof(Key));
  if (memory == nullptr) {
    provider.core().raise(Reason::out_of_memory, "no memory for a key");
    return nullptr;
  }
  return new (memory) Key(provider, kem);
}

void Key::free(Key* key) noexcept {
  if (key == nullptr) return;
  key->~Key();
  OPENSSL_free(key);
}

void Key::clear() noexcept {
  prepared_ek_.clear();
  prepared_dk_.clear();
  OPENSSL_free(ek_);
  OPENSSL_clear_free(dk_, kem_.dk_bytes() + kem_.seed_bytes());
  ek_ = dk_ = nullptr;
  has_seed_ = false;
}

int Key::allocate(bool ek, bool dk) noexcept {
  if (ek) ek_ = static_cast<std::uint8_t*>(OPENSSL_malloc(kem_.ek_bytes()));
  if (dk) dk_ = static_cast<std::uint8_t*>(OPENSSL_malloc(kem_.dk_bytes() + kem_.seed_bytes()));
  if ((!ek || ek_ != nullptr) && (!dk || dk_ != nullptr)) return 1;
  clear();
  return provider_.core().raise(Reason::out_of_memory, "no memory for a key");
}

Key* Key::copy(bool with_ek, bool with_dk) const noexcept {
  Key* const made = make(provider_, kem_);
  if (made == nullptr) return nullptr;
  with_dk = with_dk && has_dk();
  with_ek = (with_ek || with_dk) && has_ek();
  if (made->allocate(with_ek, with_dk) == 0) {
    free(made);
    return nullptr;
  }
  if (with_ek) std::memcpy(made->ek_, ek_, kem_.ek_bytes());
  if (with_dk) {
    std::memcpy(made->dk_, dk_, kem_.dk_bytes() + seed().size());
    made->has_seed_ = has_seed_;
  }
  return made;
}

int Key::check_empty() const noexcept {
  return has_ek() ? provider_.core().raise(Reason::key_is_set, "a key of %s cannot be changed", kem_.name) : 1;
}

int Key::generate() noexcept {
  const std::size_t kem = index_of(kem_);
  const int is_done = take_from_pool() == 1 ? 1 : make_pair_of_keys();
  provider_.statistics().count(kem, is_done == 1 ? Event::keygen : Event::keygen_failed);
  provider_.statistics().write_if_due();
  return is_done;
}

// 0, without an error, where there is none.
int Key::take_from_pool() noexcept {
  if (provider_.pool() == nullptr || has_ek() || allocate(true, true) == 0) return 0;
  has_seed_ = kem_.keeps_seed();
  if (provider_.pool()->take(index_of(kem_), ek_, dk_)) return 1;
  clear();
  return 0;
}

int Key::make_pair_of_keys() noexcept {
  Secret seed;
  if (!provider_.engine().random(seed.bytes, kem_.seed_bytes())) {
    return provider_.core().raise(Reason::random_failed, "OpenSSL's generator failed");
  }
  return set_seed({seed.bytes, kem_.seed_bytes()});
}

int Key::set_seed(Bytes seed) noexcept {
  if (check_empty() == 0) return 0;
  if (seed.size() != kem_.seed_bytes()) {
    return provider_.core().raise(Reason::wrong_length, "a seed of %s has %zu bytes, not %zu", kem_.name,
                                  kem_.seed_bytes(), seed.size());
  }
  if (allocate(true, true) == 0) return 0;
  const int is_done = provider_.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    return warpkem_keygen_derand(engine, kem_.id, kem_.dk_format, 1, in(seed), out(ek_, kem_.ek_bytes()),
                                 out(dk_, kem_.dk_bytes()), status, nullptr);
  });
  if (is_done == 0) {
    clear();
    return 0;
  }
  has_seed_ = kem_.keeps_seed();
  if (has_seed_) std::memcpy(dk_ + kem_.dk_bytes(), seed.data(), seed.size());
  return 1;
}

int Key::set_ek(Bytes ek) noexcept {
  if (check_empty() == 0) return 0;
  if (ek.size() != kem_.ek_bytes()) {
    return provider_.core().raise(Reason::wrong_length, "a public key of %s has %zu bytes, not %zu", kem_.name,
                                  kem_.ek_bytes(), ek.size());
  }
  const int is_good = provider_.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    return warpkem_check_ek(engine, kem_.id, 1, in(ek), status, nullptr);
  });
  if (is_good == 0) provider_.statistics().count(index_of(kem_), Event::share_refused);
  if (is_good == 0 || allocate(true, false) == 0) return 0;
  std::memcpy(ek_, ek.data(), ek.size());
  return 1;
}

// From a decapsulation key alone. That of ML-KEM has its ek inside. That of X-Wing is a seed. Those of the other
// hybrids hold a scalar, whose element comes from a seed with this scalar and any ML-KEM half.
int Key::set_dk(Bytes dk) noexcept {
  const Core& core = provider_.core();
  if (dk.size() != kem_.dk_bytes()) {
    return core.raise(Reason::wrong_length, "a private key of %s has %zu bytes, not %zu", kem_.name, kem_.dk_bytes(),
                      dk.size());
  }
  if (kem_.dk_format == WARPKEM_DK_SEED) return set_seed(dk);
  const int is_good = provider_.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    return warpkem_check_dk(engine, kem_.id, 1, in(dk), status, nullptr);
  });
  if (is_good == 0 || allocate(true, true) == 0) return 0;
  const Halves halves = halves_of(kem_);
  if (kem_.is_hybrid) {
    Secret seed{};
    std::memcpy(seed.bytes + 64, dk.data() + halves.scalar, halves.scalar_bytes);
    const int is_made = provider_.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
      return warpkem_keygen_derand(engine, kem_.id, kem_.dk_format, 1, in({seed.bytes, kem_.seed_bytes()}),
                                   out(ek_, kem_.ek_bytes()), out(dk_, kem_.dk_bytes()), status, nullptr);
    });
    if (is_made == 0) {
      clear();
      return 0;
    }
  }
  std::memcpy(ek_ + halves.ml_kem_in_ek, dk.data() + halves.ml_kem_ek_in_dk, halves.ml_kem_ek_bytes);
  std::memcpy(dk_, dk.data(), dk.size());
  return check_pair();
}

// That what is encapsulated to ek_ decapsulates with dk_. A damaged secret vector shows nowhere else: the checks of
// FIPS 203, Section 7.3, are about the public part of dk.
int Key::check_pair() noexcept {
  Secret sent, received;
  std::uint8_t c[2048];
  const std::size_t K_bytes = kem_.K_bytes();
  const int is_done = provider_.engine().run([&](warpkem_engine* engine, std::uint8_t* status) {
    const warpkem_out c_out{c, kem_.c_bytes(), 0};
    const warpkem_status done =
        warpkem_encaps(engine, kem_.id, 1, in(ek()), c_out, out(sent.bytes, K_bytes), status, nullptr);
    if (done != WARPKEM_OK) return done;
    return warpkem_decaps(engine, kem_.id, kem_.dk_format, 1, in(dk()), {c, kem_.c_bytes(), 0},
                          out(received.bytes, K_bytes), status, nullptr);
  });
  const bool is_same = is_done == 1 && CRYPTO_memcmp(sent.bytes, received.bytes, K_bytes) == 0;
  if (is_same) return 1;
  clear();
  if (is_done == 0) return 0;
  return provider_.core().raise(Reason::bad_private_key, "%s: it opens nothing that is sealed to its public key",
                                kem_.name);
}

int Key::set_pair(Bytes ek, Bytes dk, Bytes seed) noexcept {
  if (check_empty() == 0) return 0;
  const Core& core = provider_.core();
  if (seed.empty() && dk.empty()) {
    return ek.empty() ? core.raise(Reason::no_key, "neither pub, priv nor seed is given") : set_ek(ek);
  }
  if ((seed.empty() ? set_dk(dk) : set_seed(seed)) == 0) return 0;
  const bool same_ek = ek.empty() || (ek.size() == kem_.ek_bytes() && CRYPTO_memcmp(ek.data(), ek_, ek.size()) == 0);
  const bool same_dk = dk.empty() || (dk.size() == kem_.dk_bytes() && CRYPTO_memcmp(dk.data(), dk_, dk.size()) == 0);
  if (same_ek && same_dk) return 1;
  clear();
  return core.raise(Reason::not_a_pair, "%s", kem_.name);
}

bool Key::equals(const Key& other) const noexcept {
  if (&kem_ != &other.kem_ || has_ek() != other.has_ek()) return false;
  return !has_ek() || CRYPTO_memcmp(ek_, other.ek_, kem_.ek_bytes()) == 0;
}

template <class Prepare>
warpkem_keys* Key::Prepared::use(const Prepare& prepare) noexcept {
  if (!is_used.load(std::memory_order_relaxed)) {
    is_used.store(true, std::memory_order_relaxed);
    return nullptr;
  }
  warpkem_keys* found = keys.load(std::memory_order_acquire);
  if (found != nullptr) return found;
  warpkem_keys* const made = prepare();
  if (keys.compare_exchange_strong(found, made, std::memory_order_acq_rel)) return made;
  warpkem_keys_release(made);  // another thread was first
  return found;
}

void Key::Prepared::clear() noexcept {
  warpkem_keys_release(keys.exchange(nullptr));
  is_used.store(false);
}

warpkem_keys* Key::prepared_ek(warpkem_engine* engine) const noexcept {
  return prepared_ek_.use([&] {
    warpkem_keys* keys = nullptr;
    const warpkem_status status = warpkem_prepare_ek(engine, kem_.id, 1, in(ek()), nullptr, nullptr, &keys);
    return status == WARPKEM_OK ? keys : nullptr;
  });
}

warpkem_keys* Key::prepared_dk(warpkem_engine* engine) const noexcept {
  return prepared_dk_.use([&] {
    warpkem_keys* keys = nullptr;
    const warpkem_status status =
        warpkem_prepare_dk(engine, kem_.id, kem_.dk_format, 1, in(dk()), nullptr, nullptr, &keys);
    return status == WARPKEM_OK ? keys : nullptr;
  });
}

}  // namespace warpkem::provider
