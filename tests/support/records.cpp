#include "tests/support/records.hpp"

#include <algorithm>
#include <numeric>

namespace warpkem::test {

std::string name_of(Layout layout) {
  switch (layout) {
    case Layout::packed:
      return "packed";
    case Layout::strided:
      return "strided";
    case Layout::interleaved:
      return "interleaved";
    case Layout::table:
      return "table";
  }
  return "";
}

Arrays::Arrays(Layout layout, std::size_t count, std::initializer_list<std::size_t> bytes)
    : layout_(layout), count_(count) {
  constexpr std::size_t guard = 65;  // before and after everything; odd, so that nothing is aligned by accident
  std::size_t end = guard;
  const std::size_t all = std::accumulate(bytes.begin(), bytes.end(), std::size_t{0});
  for (const std::size_t record : bytes) {
    Array array{};
    array.bytes = record;
    array.base = end;
    array.stride = layout == Layout::strided       ? record + 3
                   : layout == Layout::interleaved ? all + 2 * bytes.size() + 1
                                                   : record;
    for (std::size_t i = 0; i < count; ++i) {
      // Scattered: a permutation, for 7919 is a prime and no test has as many items; one byte between neighbours.
      const std::size_t place = layout == Layout::table ? (i * 7919 + 3) % count : i;
      array.offsets.push_back(array.base + place * (layout == Layout::table ? record + 1 : array.stride));
    }
    end += layout == Layout::interleaved ? record + 2 : (array.stride + 1) * count + guard;
    arrays_.push_back(std::move(array));
  }
  if (layout == Layout::interleaved) end += (all + 2 * bytes.size() + 1) * count;
  memory_.assign(end + guard, 0xa5);
  before_ = memory_;
  if (layout == Layout::table) {
    for (Array& array : arrays_) {
      for (const std::size_t offset : array.offsets) {
        array.in.push_back(memory_.data() + offset);
        array.out.push_back(memory_.data() + offset);
      }
    }
  }
}

std::span<std::uint8_t> Arrays::at(std::size_t array, std::size_t i) {
  return std::span(memory_).subspan(arrays_[array].offsets[i], arrays_[array].bytes);
}

warpkem_source Arrays::source(std::size_t array) const {
  const Array& a = arrays_[array];
  if (layout_ == Layout::table) return {nullptr, 0, 0, a.in.data()};
  const std::size_t reach = count_ == 0 ? 0 : (count_ - 1) * a.stride + a.bytes;
  return {memory_.data() + a.base, reach, layout_ == Layout::packed ? 0 : a.stride, nullptr};
}

warpkem_target Arrays::target(std::size_t array) const {
  const Array& a = arrays_[array];
  if (layout_ == Layout::table) return {nullptr, 0, 0, a.out.data()};
  const warpkem_source in = source(array);
  return {const_cast<std::uint8_t*>(in.data), in.bytes, in.stride, nullptr};
}

void Arrays::fill(std::size_t array, std::span<const std::uint8_t> packed) {
  for (std::size_t i = 0; i < count_; ++i) {
    std::ranges::copy(packed.subspan(i * arrays_[array].bytes, arrays_[array].bytes), at(array, i).begin());
  }
  before_ = memory_;
}

std::vector<std::uint8_t> Arrays::packed(std::size_t array) const {
  std::vector<std::uint8_t> result;
  for (const std::size_t offset : arrays_[array].offsets) {
    const auto record = std::span(memory_).subspan(offset, arrays_[array].bytes);
    result.insert(result.end(), record.begin(), record.end());
  }
  return result;
}

testing::AssertionResult Arrays::only_outputs_changed(std::size_t first_output) const {
  std::vector<bool> output(memory_.size());
  for (std::size_t a = first_output; a < arrays_.size(); ++a) {
    for (const std::size_t offset : arrays_[a].offsets) {
      std::fill_n(output.begin() + static_cast<std::ptrdiff_t>(offset), arrays_[a].bytes, true);
    }
  }
  for (std::size_t i = 0; i < memory_.size(); ++i) {
    if (!output[i] && memory_[i] != before_[i]) {
      return testing::AssertionFailure() << "byte " << i << " outside the output records was written";
    }
  }
  return testing::AssertionSuccess();
}

warpkem_source source(const std::vector<std::uint8_t>& packed) { return {packed.data(), packed.size(), 0, nullptr}; }
warpkem_target target(std::vector<std::uint8_t>& packed) { return {packed.data(), packed.size(), 0, nullptr}; }

}  // namespace warpkem::test
