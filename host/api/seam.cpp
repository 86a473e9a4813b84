#include "host/api/seam.hpp"

#include <string>

#include "host/api/last_error.hpp"
#include "host/serving/scheduler.hpp"

namespace warpkem::host {

warpkem_status fail(Status status, const char* text) noexcept {
  keep_last_error(status, text);
  return static_cast<warpkem_status>(status);
}

warpkem_status finish(const CallResult& result, size_t* failed) noexcept {
  if (failed != nullptr) *failed = result.failed;
  if (result.status == Status::ok) return WARPKEM_OK;
  return fail(result.status, result.text.empty() ? "no memory was left to say more" : result.text.c_str());
}

Engine& usable(warpkem_engine* engine) {
  if (engine == nullptr) throw Error(Status::invalid_argument, "engine is NULL");
  if (!engine->engine) throw Error(Status::invalid_argument, "the engine was freed, in a callback");
  if (engine->engine->forked()) throw Error(Status::forked, "the engine was inherited through fork: make a new one");
  return *engine->engine;
}

bool is_in_callback_of(const warpkem_engine& engine) noexcept {
  if (!Scheduler::in_callback()) return false;
  const Scheduler* const scheduler = engine.lazy_scheduler.started();
  return scheduler != nullptr && Scheduler::in_callback_of(scheduler->store().get());
}

void refuse_in_callback(const warpkem_engine& engine, const char* what) {
  if (is_in_callback_of(engine)) {
    throw Error(Status::would_deadlock, std::string(what) + " in a callback of the engine would deadlock");
  }
}

}  // namespace warpkem::host
