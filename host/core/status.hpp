// The one error type inside: thrown by constructors and helpers, turned into a status and a text at the seams.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

namespace warpkem::host {

// The public numbers (warpkem.h), so that no layer below the ABI needs the C header.
enum class Status : std::uint32_t {
  ok = 0,
  invalid_argument = 1,
  item_failed = 2,
  invalid_ek = 3,
  invalid_dk = 4,
  unsupported = 5,
  out_of_memory = 6,
  rng_failed = 7,
  backend_failed = 8,
  invalid_key_index = 9,
  forked = 10,
  would_block = 11,
  cancelled = 12,
  expired = 13,
  aborted = 14,
  would_deadlock = 15,
  invalid_encoding = 18,
  key_mismatch = 19,
  pairwise_failed = 20,
  invalid_tag = 21,
};

class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& text) : std::runtime_error(text), status_(status) {}
  Status status() const noexcept { return status_; }

 private:
  Status status_;
};

}  // namespace warpkem::host
