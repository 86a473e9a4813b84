// The one table of operations: which arrays each has, what they are for, and how long their records are. Whatever
// decides by operation asks here, so a new operation is a new row.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "host/core/algorithms.hpp"
#include "host/core/batch.hpp"

namespace warpkem::host {

// What is true of an array in every operation that has it.
struct ArraySpec {
  const char* member;  // its name in warpkem_batch
  const char* name;    // in texts
  bool is_output;
  bool is_secret;
};
inline constexpr std::array<ArraySpec, num_arrays> array_specs{{
    {"seeds", "seeds", false, true},
    {"m", "m", false, true},
    {"ek", "ek", false, false},
    {"dk", "dk", false, true},
    {"c", "c", false, false},
    {"ek_out", "ek", true, false},
    {"dk_out", "dk", true, true},
    {"c_out", "c", true, false},
    {"K_out", "K", true, true},
}};
constexpr const ArraySpec& spec_of(Array array) noexcept { return array_specs[static_cast<std::size_t>(array)]; }

// Bytes of one record.
constexpr std::size_t record_bytes(const Algorithm& a, Array array, DkFormat format) noexcept {
  switch (array) {
    case Array::seeds:
      return a.seed_record(format);
    case Array::m:
      return a.m_bytes;
    case Array::ek:
    case Array::ek_out:
      return a.ek_bytes;
    case Array::dk:
    case Array::dk_out:
      return a.dk_record(format);
    case Array::c:
    case Array::c_out:
      return a.c_bytes;
    case Array::K_out:
      return a.K_bytes;
    case Array::none:
      break;
  }
  return 0;
}

// Where a batch has the array, which is an input or an output. (Tables inside the functions would be copied to the
// stack by each call.)
inline constexpr In Batch::*batch_inputs[] = {&Batch::seeds, &Batch::m, &Batch::ek, &Batch::dk, &Batch::c};
inline constexpr Out Batch::*batch_outputs[] = {&Batch::ek_out, &Batch::dk_out, &Batch::c_out, &Batch::K_out};
constexpr std::size_t number_of_input(Array array) noexcept { return static_cast<std::size_t>(array); }
constexpr std::size_t number_of_output(Array array) noexcept {
  return static_cast<std::size_t>(array) - static_cast<std::size_t>(Array::ek_out);
}
constexpr In Batch::*input_of(Array array) noexcept { return batch_inputs[number_of_input(array)]; }
constexpr Out Batch::*output_of(Array array) noexcept { return batch_outputs[number_of_output(array)]; }

// A set of arrays.
class ArraySet {
 public:
  constexpr ArraySet() = default;
  constexpr void add(Array a, bool is_in = true) noexcept {
    if (a != Array::none) bits_ |= std::uint32_t{is_in} << static_cast<unsigned>(a);
  }
  constexpr void remove(Array a) noexcept {
    if (a != Array::none) bits_ &= ~(1u << static_cast<unsigned>(a));
  }
  constexpr ArraySet without(ArraySet others) const noexcept {
    ArraySet set;
    set.bits_ = bits_ & ~others.bits_;
    return set;
  }
  constexpr bool empty() const noexcept { return bits_ == 0; }
  // In the order of Array. The set is not empty.
  constexpr Array pop_first() noexcept {
    const auto first = static_cast<Array>(std::countr_zero(bits_));
    bits_ &= bits_ - 1;
    return first;
  }
  constexpr bool has(Array a) const noexcept { return (bits_ >> static_cast<unsigned>(a) & 1) != 0; }

 private:
  std::uint32_t bits_ = 0;
};

// Numbers of operations, of algorithms (max_algorithms) and of dk formats (max_dk_formats) are below these bounds.
inline constexpr std::size_t max_operations = 16;

struct OperationSpec {
  Operation operation{};
  const char* name = "?";
  std::array<Array, 2> in{Array::none, Array::none};  // the second is the key where there are two
  std::array<Array, 2> out{Array::none, Array::none};
  Array drawn = Array::none;     // the engine draws it unless the caller gives it
  Array key = Array::none;       // ek or dk: whose form a prepared set holds
  bool takes_keys = false;       // a prepared set in place of `key`
  bool prepares = false;         // makes a prepared set, and has no number in warpkem.h
  bool takes_dk_format = false;  // with plain keys: a prepared set has its own
  double cost = 1;               // of an item, relative to encapsulation: a first guess

  constexpr std::array<Array, 2> inputs(bool with_prepared_keys) const noexcept {
    return {in[0], with_prepared_keys && takes_keys ? Array::none : in[1]};
  }
  constexpr ArraySet arrays(bool with_prepared_keys, bool is_given_what_it_draws) const noexcept {
    ArraySet set;
    for (const Array a : inputs(with_prepared_keys)) set.add(a);
    for (const Array a : out) set.add(a);
    if (!is_given_what_it_draws) set.remove(drawn);
    return set;
  }
};

namespace operations {

inline constexpr OperationSpec table[] = {
    {.operation = Operation::keygen,
     .name = "keygen",
     .in = {Array::seeds, Array::none},
     .out = {Array::ek_out, Array::dk_out},
     .drawn = Array::seeds,
     .takes_dk_format = true},
    {.operation = Operation::encaps,
     .name = "encaps",
     .in = {Array::m, Array::ek},
     .out = {Array::c_out, Array::K_out},
     .drawn = Array::m,
     .key = Array::ek,
     .takes_keys = true},
    {.operation = Operation::decaps,
     .name = "decaps",
     .in = {Array::c, Array::dk},
     .out = {Array::K_out, Array::none},
     .key = Array::dk,
     .takes_keys = true,
     .takes_dk_format = true,
     .cost = 1.2},  // it encrypts once more
    {.operation = Operation::check_ek,
     .name = "check_ek",
     .in = {Array::ek, Array::none},
     .key = Array::ek,
     .cost = 0.2},
    {.operation = Operation::check_dk,
     .name = "check_dk",
     .in = {Array::dk, Array::none},
     .key = Array::dk,
     .takes_dk_format = true,
     .cost = 0.2},
    {.operation = Operation::prepare_ek,
     .name = "prepare_ek",
     .in = {Array::ek, Array::none},
     .key = Array::ek,
     .prepares = true},
    {.operation = Operation::prepare_dk,
     .name = "prepare_dk",
     .in = {Array::dk, Array::none},
     .key = Array::dk,
     .prepares = true,
     .takes_dk_format = true},
};

// The same by number; what is not in the table has no arrays.
inline constexpr auto by_number = [] {
  std::array<OperationSpec, max_operations> specs{};
  for (const OperationSpec& spec : table) specs[static_cast<std::size_t>(spec.operation)] = spec;
  return specs;
}();

}  // namespace operations

constexpr const OperationSpec& spec_of(Operation operation) noexcept {
  const auto number = static_cast<std::size_t>(operation);
  return operations::by_number[number < max_operations ? number : 0];
}

// Work, BatchRun and Kinds rely on these.
static_assert([] {
  for (const OperationSpec& spec : operations::table) {
    if (spec.operation == Operation{}) return false;
    if (spec.takes_keys && spec.in[1] != spec.key) return false;
    if (spec.drawn != Array::none && spec.in[0] != spec.drawn) return false;
    for (const Array a : spec.in) {
      if (a != Array::none && spec_of(a).is_output) return false;
    }
    for (const Array a : spec.out) {
      if (a != Array::none && !spec_of(a).is_output) return false;
    }
  }
  return true;
}());

constexpr std::span<const OperationSpec> all_operations() noexcept { return operations::table; }

constexpr bool is_known(Operation operation) noexcept { return spec_of(operation).operation != Operation{}; }

// Whether warpkem.h has an operation of that number.
constexpr bool is_public(std::uint32_t number) noexcept {
  constexpr std::uint32_t numbers = [] {
    std::uint32_t set = 0;
    for (const OperationSpec& spec : operations::table) {
      if (!spec.prepares) set |= std::uint32_t{1} << static_cast<unsigned>(spec.operation);
    }
    return set;
  }();
  return number < max_operations && (numbers >> number & 1) != 0;
}

// Every seed is a good key of ML-KEM: this check has nothing to look at.
constexpr bool is_check_of_seeds(Operation operation, DkFormat format) noexcept {
  return operation == Operation::check_dk && format == DkFormat::seed;
}

// What a backend of ML-KEM has of the table.
constexpr bool is_of_ml_kem(Operation operation, DkFormat format) noexcept {
  const bool has_format = format == DkFormat::expanded || format == DkFormat::seed;
  return is_known(operation) && has_format && !is_check_of_seeds(operation, format);
}

// The operation that makes prepared sets of the keys that `operation` takes.
constexpr Operation preparation_of(Operation operation) noexcept {
  for (const OperationSpec& spec : operations::table) {
    if (spec.prepares && spec.key == spec_of(operation).key) return spec.operation;
  }
  return Operation{};
}

}  // namespace warpkem::host
