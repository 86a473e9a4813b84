// Constant-time helpers, and the marks that a checker reads: secret() before the algorithm, declassify() where a value
// becomes public by design. Both are nothing unless built with WARPKEM_CT_CHECK.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef WARPKEM_CT_CHECK
#include <valgrind/memcheck.h>
#endif

namespace warpkem::host {

// Marks bytes as secret: a branch or an address that depends on them is reported by valgrind.
[[gnu::always_inline]] inline void secret([[maybe_unused]] const void* data,
                                          [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef WARPKEM_CT_CHECK
  VALGRIND_MAKE_MEM_UNDEFINED(data, bytes);
#endif
}

// Marks bytes as public. Every use says why.
[[gnu::always_inline]] inline void declassify([[maybe_unused]] const void* data,
                                              [[maybe_unused]] std::size_t bytes) noexcept {
#ifdef WARPKEM_CT_CHECK
  VALGRIND_MAKE_MEM_DEFINED(data, bytes);
#endif
}

}  // namespace warpkem::host
