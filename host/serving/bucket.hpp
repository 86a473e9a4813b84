// Where requests of one kind wait.
#pragma once

#include <cstddef>
#include <cstdint>

#include "host/core/kinds.hpp"
#include "host/serving/request.hpp"

namespace warpkem::host {

// Requests that may share a batch: one operation, parameter set, dk format, class, and prepared set if any.
// Large ones stand behind the others and have their turns among themselves, a piece each.
struct Bucket {
  Request* first = nullptr;
  Request* last = nullptr;
  Request* large = nullptr;     // the first large one
  std::size_t items = 0;        // not yet given to a batch
  std::size_t large_items = 0;  // of those
  std::size_t large_due = 0;    // what large ones have a right to while others wait too, in parts of an item
  std::uint64_t close_ns = 0;   // a batch of it closes then at the latest; may be early, never late
  std::uint64_t large_close_ns = 0;
  std::uint64_t hasty_ns = 0;     // as close_ns, of those who asked for less delay than the engine's
  bool in_order = true;           // of those that are not large nobody asks for less delay than those before
  std::uint64_t turn = 0;         // the number of its last one
  Bucket* next_active = nullptr;  // in the former's list of those that are not empty, oldest first
  Bucket* previous_active = nullptr;
  Kind kind;
  RequestClass request_class = RequestClass::interactive;

  bool empty() const noexcept { return first == nullptr; }
};

}  // namespace warpkem::host
