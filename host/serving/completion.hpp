// What a submitter is told of a finished request, and how. Of the public header this needs no more than a name.
#pragma once

#include <cstddef>
#include <cstdint>

struct warpkem_completion;

namespace warpkem::host {

// As warpkem_completion, which host/api/ asserts: queues write into the caller's array.
struct [[gnu::may_alias]] CompletionRecord {
  void* user_data;
  std::uint64_t request;
  std::size_t failed;
  std::uint32_t status;
  std::uint32_t reserved;

  const warpkem_completion* to_public() const noexcept { return reinterpret_cast<const warpkem_completion*>(this); }
};

// warpkem_completion_fn and warpkem_log_fn.
using CompletionFunction = void (*)(void* context, const warpkem_completion* completion);
using LogFunction = void (*)(void* context, std::uint32_t level, const char* text);

}  // namespace warpkem::host
