// A batch on device memory, and the one table of the operations that it may ask for. Plain C++.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace warpkem::kernels {

// The numbers are those of host::Operation.
enum class Operation : std::uint32_t { keygen = 1, encaps, decaps, check_ek, check_dk, prepare_ek, prepare_dk };
enum class DkFormat : std::uint32_t { expanded = 0, seed = 1, composite = 2 };
enum class KeyKind : std::uint32_t { ek = 0, dk = 1 };

// Item i lies at table[i] (a device array of device pointers) where there is a table, else at data + i * stride. Any
// alignment, any stride that keeps records apart; arrays at multiples of 16 bytes, with such a stride, are read in
// place, all others are gathered into the workspace first.
struct In {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  const std::uint8_t* const* table = nullptr;
  bool operator==(const In&) const = default;
};

struct Out {
  std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  std::uint8_t* const* table = nullptr;
  bool operator==(const Out&) const = default;
};

inline constexpr std::size_t form_alignment = 128;

// A prepared set, written by prepare_ek or prepare_dk: key i at data + i * stride. `data` and `stride` are multiples of
// form_alignment, `stride` at least form_bytes(). Forms made from a dk hold secrets: the owner wipes them.
struct Keys {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;
  std::size_t num_keys = 0;
  const std::uint8_t* statuses = nullptr;  // one per key, as prepare_* wrote them; null: every key is good
  KeyKind kind = KeyKind::ek;              // encaps of ML-KEM takes both kinds, decaps those made from a dk
  bool operator==(const Keys&) const = default;
};

// Everything is device memory (or memory that the device can reach) of the current device; only this struct is not.
// Equal batches on equal workspaces are enqueued as the same kernels with the same arguments.
struct DeviceBatch {
  Operation operation = Operation::keygen;
  std::uint32_t algorithm = 0;  // numbers are the public ones; algorithms.hpp has those of the device
  DkFormat dk_format = DkFormat::expanded;
  bool refuse_zero = false;  // MLKEM768-X25519: an item whose X25519 gives zero fails; X25519MLKEM768's always do
  bool zero_failed = true;   // the outputs of failed items become zero; otherwise what they hold is unspecified
  std::size_t count = 0;

  In seeds;            // keygen: d || z; of hybrids what their documents say
  In m;                // encaps
  In ek;               // encaps without keys, check_ek, prepare_ek
  In dk;               // decaps without keys, check_dk (expanded only), prepare_dk
  In c;                // decaps
  Out ek_out, dk_out;  // keygen
  Out c_out;           // encaps
  Out K_out;           // encaps, decaps

  bool prepared = false;  // encaps, decaps: use `keys` and `index` in place of ek or dk
  Keys keys;
  const std::uint32_t* index = nullptr;  // item i uses key index[i]; null: key 0. Beyond the set: invalid_key_index

  std::uint8_t* forms = nullptr;  // prepare_*: where the forms go, as in Keys
  std::size_t forms_stride = 0;

  // Which lanes share a Keccak state: chosen from the number of states, or as told, for measurements and tests.
  enum class Hashing : std::uint32_t { chosen = 0, by_thread, by_warp } hashing = Hashing::chosen;

  // Nothing else is to be expected on the device, so that the batch's own time is all that counts in the choice.
  bool is_alone = false;

  std::uint8_t* statuses = nullptr;  // one ItemStatus per item, or null
  std::uint64_t* failed = nullptr;   // how many items failed, or null; 8-byte aligned

  bool operator==(const DeviceBatch&) const = default;
};

// The one table of the device's operations: which arrays each has, and what a batch of it may have besides. How each is
// composed of steps is in pass.hpp.
struct OperationSpec {
  Operation operation{};
  std::array<In DeviceBatch::*, 2> in{};  // the second is the key where there are two
  std::array<Out DeviceBatch::*, 2> out{};
  bool takes_keys = false;    // a prepared set in place of the key
  bool makes_keys = false;    // prepare_*
  KeyKind key = KeyKind::ek;  // of the set: that it makes, or at least takes
  bool takes_seeds = true;    // as dk, where there is one
  bool items_fail = true;
  // About how many calls a small batch of plain or of prepared keys takes, with the copies of its arrays from and to
  // the host: kernels, copies and memsets.
  int calls = 0, calls_prepared = 0;
};

inline constexpr OperationSpec operations[] = {
    {.operation = Operation::keygen,
     .in = {&DeviceBatch::seeds},
     .out = {&DeviceBatch::ek_out, &DeviceBatch::dk_out},
     .items_fail = false,
     .calls = 9},
    {.operation = Operation::encaps,
     .in = {&DeviceBatch::m, &DeviceBatch::ek},
     .out = {&DeviceBatch::c_out, &DeviceBatch::K_out},
     .takes_keys = true,
     .calls = 8,
     .calls_prepared = 8},
    {.operation = Operation::decaps,
     .in = {&DeviceBatch::c, &DeviceBatch::dk},
     .out = {&DeviceBatch::K_out},
     .takes_keys = true,
     .key = KeyKind::dk,
     .calls = 9,
     .calls_prepared = 9},
    {.operation = Operation::check_ek, .in = {&DeviceBatch::ek}, .calls = 5},
    {.operation = Operation::check_dk, .in = {&DeviceBatch::dk}, .takes_seeds = false, .calls = 5},
    {.operation = Operation::prepare_ek, .in = {&DeviceBatch::ek}, .makes_keys = true, .calls = 5},
    {.operation = Operation::prepare_dk, .in = {&DeviceBatch::dk}, .makes_keys = true, .key = KeyKind::dk, .calls = 5},
};

// Beyond the end: the table does not have it.
constexpr std::size_t row_of(Operation operation) noexcept {
  std::size_t row = 0;
  while (row < std::size(operations) && operations[row].operation != operation) ++row;
  return row;
}

// Null: the table does not have it.
constexpr const OperationSpec* find_operation(Operation operation) noexcept {
  const std::size_t row = row_of(operation);
  return row < std::size(operations) ? &operations[row] : nullptr;
}

}  // namespace warpkem::kernels
