// WarpKEM for C++20: RAII and typed algorithms over warpkem.h, header-only. What warpkem.h says of a call (blocking,
// thread-safety, checks, zeroed outputs) holds here too.
//
// A call returns a Result. Its data can only be reached through its status: value() throws warpkem::Error unless every
// item is good, values() returns an expected for each item. value() of a temporary Result returns by value, so
// `const auto& keys = engine.keygen<P>(n).value();` does not dangle.
//
// @code{.cpp}
// const warpkem::Engine engine;
// const auto pairs = engine.keygen<warpkem::MlKem768>(100).value();
// const auto sent = engine.encaps<warpkem::MlKem768>(pairs.ek);  // a BatchResult: some items may be bad
// if (!sent.all_ok()) return 1;
// const auto received = engine.decaps<warpkem::MlKem768>(pairs.dk, sent.value().c).value();
// if (!std::ranges::equal(received.bytes(), sent.value().K.bytes())) return 1;
// @endcode
#pragma once

#if !defined(__cplusplus) || __cplusplus < 201709L  // gcc 10 says that of its C++20
#error "warpkem.hpp needs C++20, as with -std=c++20; for C and older C++ there is warpkem.h"
#else

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "warpkem/params.hpp"
#include "warpkem/warpkem.h"

#if defined(__clang__)
#define WARPKEM_BORROWS [[clang::lifetimebound]]
#else
#define WARPKEM_BORROWS
#endif

namespace warpkem {

/// The error of a call or item: its status and, for a call, the text that names argument, item and rule.
class Error : public std::runtime_error {
 public:
  Error(warpkem_status status, const std::string& text)
      : std::runtime_error(std::string(warpkem_status_name(status)) + (text.empty() ? "" : ": ") + text),
        status_(status) {}
  warpkem_status status() const noexcept { return status_; }

 private:
  warpkem_status status_;
};

/// A value or an Error, with the member names of std::expected.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return has_value(); }
  /// Throws the Error if there is no value.
  T& value() & { return checked(), std::get<0>(state_); }
  const T& value() const& { return checked(), std::get<0>(state_); }
  T value() && { return checked(), std::move(std::get<0>(state_)); }
  T value() const&& { return checked(), std::get<0>(state_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T operator*() && { return std::move(*this).value(); }
  T operator*() const&& { return std::move(*this).value(); }
  T* operator->() & { return &value(); }
  const T* operator->() const& { return &value(); }
  T* operator->() && = delete;  // it would point into a temporary
  const T* operator->() const&& = delete;
  const Error& error() const& { return std::get<1>(state_); }
  Error error() && { return std::move(std::get<1>(state_)); }
  Error error() const&& { return std::get<1>(state_); }

 private:
  void checked() const {
    if (!has_value()) throw std::get<1>(state_);
  }
  std::variant<T, Error> state_;
};

/// Packed records of one kind, `Bytes` bytes each. The destructor wipes secret ones.
template <std::size_t Bytes, bool Secret>
class Records {
 public:
  static constexpr std::size_t record_bytes = Bytes;

  Records() = default;
  explicit Records(std::size_t count) : bytes_(count * Bytes) {}
  Records(const Records&) = default;
  Records(Records&&) noexcept = default;
  Records& operator=(Records other) noexcept {
    bytes_.swap(other.bytes_);
    return *this;
  }
  ~Records() {
    if constexpr (Secret) {
      volatile std::uint8_t* p = bytes_.data();
      for (std::size_t i = 0; i < bytes_.size(); ++i) p[i] = 0;
    }
  }

  std::size_t size() const noexcept { return bytes_.size() / Bytes; }
  // Spans into the records' memory: valid as long as the records live.
  std::span<const std::uint8_t, Bytes> operator[](std::size_t i) const noexcept WARPKEM_BORROWS {
    return std::span<const std::uint8_t, Bytes>(bytes_.data() + i * Bytes, Bytes);
  }
  std::span<const std::uint8_t> bytes() const noexcept WARPKEM_BORROWS { return bytes_; }
  std::span<std::uint8_t> bytes() noexcept WARPKEM_BORROWS { return bytes_; }

 private:
  std::vector<std::uint8_t> bytes_;
};

/// The result of a batch: its data can only be reached together with its items' statuses.
template <class T>
class [[nodiscard]] BatchResult {
 public:
  BatchResult(T data, std::vector<std::uint8_t> statuses, std::size_t failed, std::string text)
      : data_(std::move(data)), statuses_(std::move(statuses)), failed_(failed), text_(std::move(text)) {}

  std::size_t size() const noexcept { return statuses_.size(); }
  std::size_t failed() const noexcept { return failed_; }
  bool all_ok() const noexcept { return failed_ == 0; }
  warpkem_status status(std::size_t i) const { return statuses_.at(i); }
  std::span<const std::uint8_t> statuses() const& noexcept { return statuses_; }
  std::vector<std::uint8_t> statuses() && noexcept { return std::move(statuses_); }
  std::vector<std::uint8_t> statuses() const&& { return statuses_; }

  /// The data if every item is good; else throws an Error that names the first bad item.
  const T& value() const& { return checked(), data_; }
  T value() && { return checked(), std::move(data_); }
  T value() const&& { return checked(), data_; }
  /// The data with zeros in place of failed items, for callers that look at statuses() themselves.
  const T& value_with_statuses() const& noexcept { return data_; }
  T value_with_statuses() && { return std::move(data_); }
  T value_with_statuses() const&& { return data_; }

 private:
  void checked() const {
    if (failed_ != 0) throw Error(WARPKEM_ITEM_FAILED, text_);
  }
  T data_;
  std::vector<std::uint8_t> statuses_;
  std::size_t failed_;
  std::string text_;
};

enum class DkFormat : std::uint32_t {
  expanded = WARPKEM_DK_EXPANDED,
  seed = WARPKEM_DK_SEED,
  composite = WARPKEM_DK_COMPOSITE
};

/// What the library takes for P: a parameter set of ML-KEM, or a hybrid of params.hpp.
template <class P>
concept Kem = requires {
  { P::id } -> std::convertible_to<std::uint32_t>;
  typename std::integral_constant<std::size_t, P::ek_bytes + P::dk_bytes + P::c_bytes + P::K_bytes>;
  typename std::integral_constant<std::size_t, P::seed_bytes + P::m_bytes>;
};

/// Expanded, or seed where there is no expanded form.
template <Kem P>
inline constexpr DkFormat default_dk_format = P::dk_bytes != 0 ? DkFormat::expanded : DkFormat::seed;

namespace detail {

// Bytes of a dk of that format, and of a seed that makes one.
template <Kem P, DkFormat Format>
constexpr std::size_t dk_bytes() noexcept {
  if constexpr (Format == DkFormat::composite) {
    return P::composite_dk_bytes;
  } else {
    return Format == DkFormat::seed ? P::seed_bytes : P::dk_bytes;
  }
}
template <Kem P, DkFormat Format>
constexpr std::size_t seed_bytes() noexcept {
  if constexpr (Format == DkFormat::composite) {
    return P::composite_seed_bytes;
  } else {
    return P::seed_bytes;
  }
}

}  // namespace detail

template <Kem P>
using EncapsulationKeys = Records<P::ek_bytes, false>;
template <Kem P>
using DecapsulationKeys = Records<P::dk_bytes, true>;
template <Kem P>
using SeedKeys = Records<P::seed_bytes, true>;
template <Kem P>
using Ciphertexts = Records<P::c_bytes, false>;
template <Kem P>
using SharedSecrets = Records<P::K_bytes, true>;

template <Kem P, DkFormat Format = default_dk_format<P>>
struct KeyPairs {
  EncapsulationKeys<P> ek;
  Records<detail::dk_bytes<P, Format>(), true> dk;
};

template <Kem P>
struct Encapsulations {
  Ciphertexts<P> c;
  SharedSecrets<P> K;
};

/// Options of an Engine, as warpkem_options.
struct Options {
  std::string backend = {};  // empty: automatic
  std::uint32_t threads = WARPKEM_THREADS_AUTO;
  bool fail_over = true;
  bool pin_threads = false;
  bool refuse_zero = false;  // an X25519 secret of zero fails its item also with XWing
  std::string policy = {};   // empty: every algorithm
  warpkem_random_fn random = nullptr;
  void* random_context = nullptr;
  std::size_t pairwise_every = 0;  // tests one generated key pair in so many, 1: each; 0: none
};

namespace detail {

inline warpkem_in in(std::span<const std::uint8_t> bytes) noexcept { return {bytes.data(), bytes.size(), 0}; }
inline warpkem_out out(std::span<std::uint8_t> bytes) noexcept { return {bytes.data(), bytes.size(), 0}; }

/// The number of records in `bytes`.
inline std::size_t count_of(std::span<const std::uint8_t> bytes, std::size_t record, const char* name) {
  if (bytes.size() % record == 0) return bytes.size() / record;
  throw Error(WARPKEM_INVALID_ARGUMENT, std::string(name) + ": " + std::to_string(bytes.size()) +
                                            " bytes are not a multiple of " + std::to_string(record));
}

/// The same for two arrays that must hold equally many records.
inline std::size_t count_of(std::span<const std::uint8_t> a, std::size_t a_record, const char* a_name,
                            std::span<const std::uint8_t> b, std::size_t b_record, const char* b_name) {
  const std::size_t count = count_of(a, a_record, a_name);
  if (count == count_of(b, b_record, b_name)) return count;
  throw Error(WARPKEM_INVALID_ARGUMENT, std::string(a_name) + " and " + b_name + " are of different counts");
}

/// Runs call(statuses, failed) and pairs its data with the statuses. Throws if the call failed as a whole.
template <class T, class Call>
BatchResult<T> batch(T data, std::size_t count, Call call) {
  std::vector<std::uint8_t> statuses(count);
  std::size_t failed = 0;
  const warpkem_status status = call(data, statuses.data(), &failed);
  if (status != WARPKEM_OK && status != WARPKEM_ITEM_FAILED) throw Error(status, warpkem_last_error());
  return {std::move(data), std::move(statuses), failed, status == WARPKEM_OK ? std::string() : warpkem_last_error()};
}

}  // namespace detail

/// A prepared set, made by Engine::prepare_ek or prepare_dk. A copy is another reference. Usable from any thread.
template <Kem P>
class Keys {
 public:
  explicit Keys(warpkem_keys* keys) noexcept : keys_(keys) {}  // takes over one reference
  Keys(const Keys& other) noexcept : keys_(other.keys_) { warpkem_keys_retain(keys_); }
  Keys(Keys&& other) noexcept : keys_(std::exchange(other.keys_, nullptr)) {}
  Keys& operator=(Keys other) noexcept {
    std::swap(keys_, other.keys_);
    return *this;
  }
  ~Keys() { warpkem_keys_release(keys_); }

  std::size_t size() const noexcept { return warpkem_keys_count(keys_); }
  std::size_t bytes_per_key() const noexcept { return warpkem_keys_bytes_per_key(keys_); }
  warpkem_keys* get() const noexcept { return keys_; }

 private:
  warpkem_keys* keys_;
};

/// An engine. Move-only; all calls are thread-safe and block. A call that fails as a whole throws Error; items that
/// fail alone are in the BatchResult.
class Engine {
 public:
  /// Makes an engine; else returns the Error.
  static Result<Engine> make(const Options& options = {}) {
    warpkem_options o = WARPKEM_OPTIONS_DEFAULT;
    o.backend = options.backend.empty() ? nullptr : options.backend.c_str();
    o.threads = options.threads;
    o.flags = (options.fail_over ? 0 : WARPKEM_NO_FAIL_OVER) | (options.pin_threads ? WARPKEM_PIN_THREADS : 0) |
              (options.refuse_zero ? WARPKEM_REFUSE_ZERO : 0);
    o.random = options.random;
    o.random_context = options.random_context;
    o.policy = options.policy.empty() ? nullptr : options.policy.c_str();
    o.pairwise_every = options.pairwise_every;
    warpkem_engine* engine = nullptr;
    const warpkem_status status = warpkem_engine_new(&o, &engine);
    if (status != WARPKEM_OK) return Error(status, warpkem_last_error());
    return Engine(engine);
  }

  explicit Engine(const Options& options = {}) : Engine(make(options).value()) {}
  Engine(Engine&& other) noexcept : engine_(std::exchange(other.engine_, nullptr)) {}
  Engine& operator=(Engine&& other) noexcept {
    std::swap(engine_, other.engine_);
    return *this;
  }
  ~Engine() { warpkem_engine_free(engine_); }
  warpkem_engine* get() const noexcept { return engine_; }

  /// ML-KEM.KeyGen, FIPS 203 Algorithm 19, `count` times.
  template <Kem P, DkFormat Format = default_dk_format<P>>
  BatchResult<KeyPairs<P, Format>> keygen(std::size_t count) const {
    using Pairs = KeyPairs<P, Format>;
    return detail::batch(Pairs{EncapsulationKeys<P>(count), decltype(Pairs::dk)(count)}, count,
                         [&](Pairs& pairs, std::uint8_t* statuses, std::size_t* failed) {
                           return warpkem_keygen(engine_, P::id, static_cast<std::uint32_t>(Format), count,
                                                 detail::out(pairs.ek.bytes()), detail::out(pairs.dk.bytes()), statuses,
                                                 failed);
                         });
  }

  /// ML-KEM.KeyGen_internal, Algorithm 16: `seeds` are packed d || z, or what a hybrid takes in their place.
  template <Kem P, DkFormat Format = default_dk_format<P>>
  BatchResult<KeyPairs<P, Format>> keygen_derand(std::span<const std::uint8_t> seeds) const {
    using Pairs = KeyPairs<P, Format>;
    const std::size_t count = detail::count_of(seeds, detail::seed_bytes<P, Format>(), "seeds");
    return detail::batch(Pairs{EncapsulationKeys<P>(count), decltype(Pairs::dk)(count)}, count,
                         [&](Pairs& pairs, std::uint8_t* statuses, std::size_t* failed) {
                           return warpkem_keygen_derand(engine_, P::id, static_cast<std::uint32_t>(Format), count,
                                                        detail::in(seeds), detail::out(pairs.ek.bytes()),
                                                        detail::out(pairs.dk.bytes()), statuses, failed);
                         });
  }

  /// ML-KEM.Encaps, Algorithm 20, to each of the packed keys.
  template <Kem P>
  BatchResult<Encapsulations<P>> encaps(std::span<const std::uint8_t> ek) const {
    const std::size_t count = detail::count_of(ek, P::ek_bytes, "ek");
    return encapsulations<P>(count, [&](warpkem_out c, warpkem_out K, std::uint8_t* statuses, std::size_t* failed) {
      return warpkem_encaps(engine_, P::id, count, detail::in(ek), c, K, statuses, failed);
    });
  }
  template <Kem P>
  BatchResult<Encapsulations<P>> encaps(const EncapsulationKeys<P>& ek) const {
    return encaps<P>(ek.bytes());
  }

  /// ML-KEM.Encaps_internal, Algorithm 17: `m` are packed.
  template <Kem P>
  BatchResult<Encapsulations<P>> encaps_derand(std::span<const std::uint8_t> ek,
                                               std::span<const std::uint8_t> m) const {
    const std::size_t count = detail::count_of(ek, P::ek_bytes, "ek", m, P::m_bytes, "m");
    return encapsulations<P>(count, [&](warpkem_out c, warpkem_out K, std::uint8_t* statuses, std::size_t* failed) {
      return warpkem_encaps_derand(engine_, P::id, count, detail::in(ek), detail::in(m), c, K, statuses, failed);
    });
  }

  /// ML-KEM.Encaps with prepared keys: one item per index.
  template <Kem P>
  BatchResult<Encapsulations<P>> encaps(const Keys<P>& keys, std::span<const std::uint32_t> index) const {
    return encapsulations<P>(
        index.size(), [&](warpkem_out c, warpkem_out K, std::uint8_t* statuses, std::size_t* failed) {
          return warpkem_encaps_prepared(engine_, keys.get(), index.data(), index.size(), c, K, statuses, failed);
        });
  }

  /// ML-KEM.Decaps, Algorithm 21: dk and c are packed, of equal count.
  template <Kem P, DkFormat Format = default_dk_format<P>>
  BatchResult<SharedSecrets<P>> decaps(std::span<const std::uint8_t> dk, std::span<const std::uint8_t> c) const {
    constexpr std::size_t dk_bytes = detail::dk_bytes<P, Format>();
    const std::size_t count = detail::count_of(c, P::c_bytes, "c", dk, dk_bytes, "dk");
    return secrets<P>(count, [&](warpkem_out K, std::uint8_t* statuses, std::size_t* failed) {
      return warpkem_decaps(engine_, P::id, static_cast<std::uint32_t>(Format), count, detail::in(dk), detail::in(c), K,
                            statuses, failed);
    });
  }
  template <Kem P>
  BatchResult<SharedSecrets<P>> decaps(const DecapsulationKeys<P>& dk, const Ciphertexts<P>& c) const {
    return decaps<P, DkFormat::expanded>(dk.bytes(), c.bytes());
  }
  template <Kem P>
  BatchResult<SharedSecrets<P>> decaps(const SeedKeys<P>& dk, const Ciphertexts<P>& c) const {
    return decaps<P, DkFormat::seed>(dk.bytes(), c.bytes());
  }

  /// ML-KEM.Decaps with prepared keys: item i with key index[i].
  template <Kem P>
  BatchResult<SharedSecrets<P>> decaps(const Keys<P>& keys, std::span<const std::uint32_t> index,
                                       std::span<const std::uint8_t> c) const {
    if (detail::count_of(c, P::c_bytes, "c") != index.size()) {
      throw Error(WARPKEM_INVALID_ARGUMENT, "c and index are of different counts");
    }
    return secrets<P>(index.size(), [&](warpkem_out K, std::uint8_t* statuses, std::size_t* failed) {
      return warpkem_decaps_prepared(engine_, keys.get(), index.data(), index.size(), detail::in(c), K, statuses,
                                     failed);
    });
  }

  /// Expands keys once. A bad key has its status, and items that use it fail.
  template <Kem P>
  BatchResult<Keys<P>> prepare_ek(std::span<const std::uint8_t> ek) const {
    const std::size_t count = detail::count_of(ek, P::ek_bytes, "ek");
    return detail::batch(Keys<P>(nullptr), count, [&](Keys<P>& keys, std::uint8_t* statuses, std::size_t* failed) {
      warpkem_keys* made = nullptr;
      const warpkem_status s = warpkem_prepare_ek(engine_, P::id, count, detail::in(ek), statuses, failed, &made);
      keys = Keys<P>(made);
      return s;
    });
  }
  template <Kem P, DkFormat Format = default_dk_format<P>>
  BatchResult<Keys<P>> prepare_dk(std::span<const std::uint8_t> dk) const {
    const std::size_t count = detail::count_of(dk, detail::dk_bytes<P, Format>(), "dk");
    return detail::batch(Keys<P>(nullptr), count, [&](Keys<P>& keys, std::uint8_t* statuses, std::size_t* failed) {
      warpkem_keys* made = nullptr;
      const warpkem_status s = warpkem_prepare_dk(engine_, P::id, static_cast<std::uint32_t>(Format), count,
                                                  detail::in(dk), statuses, failed, &made);
      keys = Keys<P>(made);
      return s;
    });
  }

 private:
  explicit Engine(warpkem_engine* engine) noexcept : engine_(engine) {}

  template <Kem P, class Call>
  BatchResult<Encapsulations<P>> encapsulations(std::size_t count, Call call) const {
    using E = Encapsulations<P>;
    return detail::batch(E{Ciphertexts<P>(count), SharedSecrets<P>(count)}, count,
                         [&](E& e, std::uint8_t* statuses, std::size_t* failed) {
                           return call(detail::out(e.c.bytes()), detail::out(e.K.bytes()), statuses, failed);
                         });
  }
  template <Kem P, class Call>
  BatchResult<SharedSecrets<P>> secrets(std::size_t count, Call call) const {
    using K = SharedSecrets<P>;
    return detail::batch(K(count), count, [&](K& k, std::uint8_t* statuses, std::size_t* failed) {
      return call(detail::out(k.bytes()), statuses, failed);
    });
  }

  warpkem_engine* engine_;
};

}  // namespace warpkem

#undef WARPKEM_BORROWS

#include "warpkem/async.hpp"

#endif
