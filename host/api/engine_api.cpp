// The C ABI of engines: how they are made and freed, their backends, and the self-test (warpkem/warpkem.h).
#include <unistd.h>

#include <atomic>
#include <exception>
#include <memory>
#include <string>

#include "host/api/arguments.hpp"
#include "host/api/options.hpp"
#include "host/api/seam.hpp"
#include "host/engine/engine.hpp"
#include "host/serving/scheduler.hpp"
#include "warpkem/warpkem.h"

namespace {

using namespace warpkem::host;

// Those that were freed in a callback of their own. Their handles stay, some sixty bytes each: they may be freed once
// more.
std::atomic<warpkem_engine*> engines_freed_in_callbacks{nullptr};

// Frees an engine when nothing is under way any more: its own threads cannot wait for that.
void free_later(warpkem_engine* engine) noexcept {
  if (engine->goes_later.exchange(true)) return;
  try {
    if (!engine->can_go_later) throw Error(Status::would_deadlock, "not one that warpkem_engine_new() made");
    engine->goes_in = getpid();
    engine->engine->cores()
        .start([engine] {
          engine->lazy_scheduler.started()->await_idle();
          engine->lazy_scheduler.reset();
          engine->engine.reset();
          engine->is_gone.store(true);
          engine->is_gone.notify_all();
        })
        .detach();
  } catch (const std::exception&) {
    engine->goes_later.store(false);
    fail(Status::would_deadlock, "no thread could be started that frees the engine when this callback is over");
    return;
  }
  engine->next = engines_freed_in_callbacks.load();
  while (!engines_freed_in_callbacks.compare_exchange_weak(engine->next, engine)) {
  }
}

}  // namespace

extern "C" {

warpkem_status warpkem_engine_new(const warpkem_options* options, warpkem_engine** engine) {
  return guarded([&] {
    if (engine == nullptr) throw Error(Status::invalid_argument, "engine is NULL");
    *engine = nullptr;
    auto made = std::make_unique<warpkem_engine>();
    made->engine = std::make_shared<Engine>(engine_options(options));
    made->can_go_later = true;
    *engine = made.release();
    return WARPKEM_OK;
  });
}

void warpkem_engine_free(warpkem_engine* engine) {
  if (engine == nullptr) return;
  if (engine->goes_later.load()) {
    // Freed once more, as it had to be when that was refused.
    if (!Scheduler::in_callback() && engine->goes_in == getpid()) engine->is_gone.wait(false);
    return;
  }
  if (!engine->engine->forked() && is_in_callback_of(*engine)) return free_later(engine);
  // Prepared sets may keep the engine alive, but not what was submitted to it.
  delete engine;
}

warpkem_status warpkem_engine_backend(warpkem_engine* engine, size_t index, warpkem_backend_info* info) {
  return guarded([&] {
    Engine& e = usable(engine);
    if (info == nullptr) throw Error(Status::invalid_argument, "info is NULL");
    if (index >= e.slots().size()) {
      throw Error(Status::invalid_argument, "index: there are " + std::to_string(e.slots().size()) + " backends");
    }
    clear_out_struct(info, "info");
    const Engine::Slot& slot = e.slots()[index];
    info->name = slot.entry->name;
    info->detail = slot.detail.c_str();
    info->available = slot.backend != nullptr;
    info->preferred = &slot == e.preferred();
    info->items = slot.done.items();
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_selftest(warpkem_engine* engine, const char* backend) {
  return guarded([&] {
    Engine& e = usable(engine);
    refuse_in_callback(*engine, "a self-test");
    e.selftest(backend != nullptr ? backend : "");
    return WARPKEM_OK;
  });
}

}  // extern "C"
