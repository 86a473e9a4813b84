// What the files of the C ABI share: the handle, and the seam at which exceptions become statuses.
#pragma once

#include <exception>
#include <memory>
#include <new>

#include "host/engine.hpp"
#include "host/status.hpp"
#include "warpkem/warpkem.h"

struct warpkem_engine {
  std::shared_ptr<warpkem::host::Engine> engine;
};

namespace warpkem::host {

// Stores the text of this thread's last failed call; returns the status.
warpkem_status fail(Status status, const char* text) noexcept;

// The engine behind a handle. Throws Error.
Engine& usable(warpkem_engine* engine);
void refuse_in_callback(const char* what);  // throws Error(would_deadlock)

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
