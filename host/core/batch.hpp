// A batch: one operation, one parameter set, its arrays and a status for every item. Plain data, copied freely: it
// crosses the seam to every backend, also to the separately loaded CUDA module and to objects compiled for other CPUs,
// so nothing here may become a function that the linker merges (WARPKEM_LEAF sees to that).
#pragma once

#include <cstddef>
#include <cstdint>

namespace warpkem::host {

#define WARPKEM_LEAF [[gnu::always_inline]] inline

// The numbers are those of warpkem.h; the last two have no public number, for they come from warpkem_prepare_*().
enum class Operation : std::uint32_t { keygen = 1, encaps, decaps, check_ek, check_dk, prepare_ek, prepare_dk };
enum class DkFormat : std::uint32_t { expanded = 0, seed = 1, composite = 2 };
inline constexpr std::size_t max_dk_formats = 4;  // numbers are below this

// Item statuses are the public ones; `pending` is seen only while a batch is under way.
enum class ItemStatus : std::uint8_t {
  ok = 0,
  invalid_ek = 3,
  invalid_dk = 4,
  invalid_key_index = 9,
  invalid_c = 16,           // of hybrids
  invalid_randomness = 17,  // of hybrids
  pairwise_failed = 20,     // of key generation, from the engine
  pending = 255
};
// As statuses of a batch have it.
inline constexpr auto item_ok = static_cast<std::uint8_t>(ItemStatus::ok);
inline constexpr auto item_pending = static_cast<std::uint8_t>(ItemStatus::pending);

// Item i lies at table[i] where there is a table, else at data + i * stride. Strides are never 0 here.
struct In {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  const std::uint8_t* const* table = nullptr;

  WARPKEM_LEAF const std::uint8_t* operator[](std::size_t i) const noexcept {
    return table != nullptr ? table[i] : data + i * stride;
  }
  WARPKEM_LEAF bool present() const noexcept { return data != nullptr || table != nullptr; }
};

struct Out {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  std::uint8_t* const* table = nullptr;

  WARPKEM_LEAF std::uint8_t* operator[](std::size_t i) const noexcept {
    return table != nullptr ? table[i] : data + i * stride;
  }
  WARPKEM_LEAF bool present() const noexcept { return data != nullptr || table != nullptr; }
};

// Expanded keys of a CPU backend: key i at data + i * stride, 64-byte aligned. Written by prepare_*, read by the rest.
struct Forms {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;
};

// The arrays that a batch may have, inputs first. Which of them an operation has is in operation.hpp.
enum class Array : std::uint8_t { seeds, m, ek, dk, c, ek_out, dk_out, c_out, K_out, none };
inline constexpr std::size_t num_arrays = static_cast<std::size_t>(Array::none);

// f(array, batch.array ...) for every array of one or more structs that name them as Batch does.
template <class F, class... Batches>
WARPKEM_LEAF constexpr void for_each_array(F f, Batches&... batches) {
  f(Array::seeds, batches.seeds...);
  f(Array::m, batches.m...);
  f(Array::ek, batches.ek...);
  f(Array::dk, batches.dk...);
  f(Array::c, batches.c...);
  f(Array::ek_out, batches.ek_out...);
  f(Array::dk_out, batches.dk_out...);
  f(Array::c_out, batches.c_out...);
  f(Array::K_out, batches.K_out...);
}

inline constexpr std::size_t h_bytes = 32;  // of H(ek)

class KeyForm;  // a backend's own form of a prepared set
class KeySet;

// What holds for every batch that reaches a backend: arguments are checked, arrays do not overlap, seeds and m are
// given (the engine drew them), every item is `pending`, and every key index is good and names a good key. The backend
// sets each status to `ok`, `invalid_ek` or `invalid_dk` after the item's last write; what it leaves `pending` counts
// as not done. Outputs of failed items need not be cleared: the engine does that.
struct Batch {
  Operation operation = Operation::keygen;
  std::uint32_t algorithm = 0;
  DkFormat dk_format = DkFormat::expanded;
  bool on_one_thread = false;  // of a CPU: the caller's, because there are other callers for the other cores
  std::size_t count = 0;

  In seeds;            // keygen: d || z
  In m;                // encaps
  In h;                // encaps without keys, where the engine knows them: H(ek), which a backend may take from there
  In ek;               // encaps without keys, check_ek, prepare_ek
  In dk;               // decaps without keys, check_dk, prepare_dk
  In c;                // decaps
  Out ek_out, dk_out;  // keygen
  Out c_out;           // encaps
  Out K_out;           // encaps, decaps

  KeySet* keys = nullptr;                // a prepared set, or null: the engine's, of which a backend gets the form
  const KeyForm* form = nullptr;         // the set's, of the backend that gets the batch
  const std::uint32_t* index = nullptr;  // item i uses key index[i]; null: key 0
  Forms forms;                           // CPU backends: the set's expanded keys; prepare_*: where to write them

  std::uint8_t* statuses = nullptr;  // one per item, never null

  WARPKEM_LEAF std::size_t key_of(std::size_t i) const noexcept { return index != nullptr ? index[i] : 0; }
};

// Items [first, first + count) of a batch as a batch of its own.
WARPKEM_LEAF Batch slice(Batch b, std::size_t first, std::size_t count) noexcept {
  const auto advance = [first](Array, auto& array) {
    if (array.table != nullptr) {
      array.table += first;
    } else if (array.data != nullptr) {
      array.data += first * array.stride;
    }
  };
  for_each_array(advance, b);
  advance(Array::none, b.h);
  if (b.index != nullptr) b.index += first;
  if (b.operation == Operation::prepare_ek || b.operation == Operation::prepare_dk) {
    if (b.forms.data != nullptr) b.forms.data += first * b.forms.stride;
  }
  if (b.statuses != nullptr) b.statuses += first;
  b.count = count;
  return b;
}

}  // namespace warpkem::host
