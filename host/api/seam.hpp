// What the files of the C ABI share: the handle, and the seam at which exceptions become statuses.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <exception>
#include <memory>
#include <new>

#include "host/core/status.hpp"
#include "host/engine/engine.hpp"
#include "host/serving/lazy_scheduler.hpp"
#include "warpkem/warpkem.h"

struct warpkem_engine {
  std::shared_ptr<warpkem::host::Engine> engine;  // null: it was freed in a callback
  warpkem::host::LazyScheduler lazy_scheduler{};

  warpkem::host::Scheduler& scheduler() { return lazy_scheduler.of(*engine); }

  // Of one that warpkem_engine_new() made.
  bool can_go_later = false;
  std::atomic<bool> goes_later{false}, is_gone{false};
  pid_t goes_in = 0;  // the process
  warpkem_engine* next = nullptr;
};

namespace warpkem::host {

// Stores the text of this thread's last failed call; returns the status.
warpkem_status fail(Status status, const char* text) noexcept;

// What a call answers; `failed` may be null.
warpkem_status finish(const CallResult& result, std::size_t* failed) noexcept;

// The engine behind a handle. Throws Error.
Engine& usable(warpkem_engine* engine);
// Throws Error(would_deadlock) on a thread that is in a callback of that engine.
void refuse_in_callback(const warpkem_engine& engine, const char* what);
bool is_in_callback_of(const warpkem_engine& engine) noexcept;

// Runs `body`, which returns a status, and turns what it throws into one.
template <class Body>
warpkem_status guarded(Body body) noexcept {
  try {
    return body();
  } catch (const Error& error) {
    return fail(error.status(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(Status::out_of_memory, "out of memory");
  } catch (const std::exception& error) {
    return fail(Status::backend_failed, error.what());
  }
}

}  // namespace warpkem::host
