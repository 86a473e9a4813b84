// The provider's engine: made at the first operation, and anew in a forked child.
#pragma once

#include <openssl/core.h>
#include <openssl/core_dispatch.h>
#include <openssl/crypto.h>

#include <atomic>

#include "host/provider/core.hpp"
#include "host/provider/fork_lock.hpp"
#include "host/provider/settings.hpp"
#include "warpkem/warpkem.h"

namespace warpkem::provider {

class Engine {
 public:
  // Neither randomness nor algorithms of OpenSSL are touched here: OpenSSL is reading its configuration.
  Engine(const Core& core, const Settings& settings, const OSSL_DISPATCH* functions) noexcept;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  // The provider's own library context; null where there was no memory for it.
  OSSL_LIB_CTX* library() const noexcept { return child_; }

  // Calls call(engine, &item_status), which does one item, and again with a new engine where this one was inherited
  // through fork. 1 if the item is done; else 0, with an error in the queue.
  template <class Call>
  int run(const Call& call, Line at = Line::here()) noexcept {
    for (;;) {
      const Made* const made = get();
      if (made == nullptr) return 0;
      std::uint8_t item_status = WARPKEM_OK;
      const warpkem_status status = call(made->engine, &item_status);
      if (status == WARPKEM_OK) return 1;
      if (status != WARPKEM_FORKED) return core_.raise(status == WARPKEM_ITEM_FAILED ? item_status : status, at);
      replace(made);
    }
  }

  // Fills `out`, from OpenSSL's private generator of this thread. False if that fails.
  bool random(std::uint8_t* out, std::size_t bytes) noexcept;

 private:
  // Engines that were inherited stay until the end: other threads may be about to use them.
  struct Made {
    warpkem_engine* engine;
    const Made* before;
  };
  const Made* get() noexcept {
    const Made* const made = current_.load(std::memory_order_acquire);
    return made != nullptr ? made : replace(nullptr);
  }
  const Made* replace(const Made* inherited) noexcept;
  warpkem_engine* make() noexcept;

  const Core& core_;
  const Settings& settings_;
  OSSL_LIB_CTX* child_;  // all that the provider takes from OpenSSL comes from here, never from the provider itself
  std::atomic<const Made*> current_{nullptr};
  ForkLock making_;
  bool child_is_set_ = false;
};

}  // namespace warpkem::provider
