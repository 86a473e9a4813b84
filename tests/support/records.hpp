// Arrays of records in every shape that the API takes, in memory whose other bytes are watched.
#pragma once

#include <gtest/gtest.h>
#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace warpkem::test {

enum class Layout {
  packed,       // one after the other, stride 0
  strided,      // at odd addresses, with bytes between them
  interleaved,  // the arrays of a call are members of one array of structs
  table,        // scattered, found through a table of pointers
};
inline constexpr Layout layouts[] = {Layout::packed, Layout::strided, Layout::interleaved, Layout::table};
std::string name_of(Layout layout);

// The arrays of one call: array a has `count` records of bytes[a] bytes.
class Arrays {
 public:
  Arrays(Layout layout, std::size_t count, std::initializer_list<std::size_t> bytes);

  std::size_t count() const { return count_; }
  std::span<std::uint8_t> at(std::size_t array, std::size_t i);
  warpkem_source source(std::size_t array) const;
  warpkem_target target(std::size_t array) const;

  void fill(std::size_t array, std::span<const std::uint8_t> packed);
  std::vector<std::uint8_t> packed(std::size_t array) const;

  // That no byte outside the records of the arrays from `first_output` on has changed since the last fill().
  testing::AssertionResult only_outputs_changed(std::size_t first_output) const;

 private:
  struct Array {
    std::size_t bytes, base, stride;
    std::vector<std::size_t> offsets;     // of each record
    std::vector<const std::uint8_t*> in;  // the table
    std::vector<std::uint8_t*> out;
  };

  Layout layout_;
  std::size_t count_;
  std::vector<std::uint8_t> memory_, before_;
  std::vector<Array> arrays_;
};

// The same for one array that lies packed in memory of its own.
warpkem_source source(const std::vector<std::uint8_t>& packed);
warpkem_target target(std::vector<std::uint8_t>& packed);

}  // namespace warpkem::test
