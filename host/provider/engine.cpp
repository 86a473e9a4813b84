#include "host/provider/engine.hpp"

#include <openssl/evp.h>
#include <openssl/provider.h>
#include <openssl/rand.h>

#include <mutex>
#include <new>

namespace warpkem::provider {

Engine::Engine(const Core& core, const Settings& settings, const OSSL_DISPATCH* functions) noexcept
    : core_(core), settings_(settings), child_(OSSL_LIB_CTX_new_child(core.handle(), functions)) {}

Engine::~Engine() {
  for (const Made* made = current_.load(); made != nullptr;) {
    const Made* const before = made->before;
    warpkem_engine_free(made->engine);
    delete made;
    made = before;
  }
  OSSL_LIB_CTX_free(child_);
}

bool Engine::random(std::uint8_t* out, std::size_t bytes) noexcept {
  constexpr unsigned strength = 256;
  return RAND_priv_bytes_ex(child_, out, bytes, strength) == 1;
}

warpkem_engine* Engine::make() noexcept {
  // Here, and not when the provider is loaded, because OpenSSL copies the program's default query into the child then.
  child_is_set_ = child_is_set_ || EVP_set_default_properties(child_, "provider!=warpkem") == 1;
  if (!child_is_set_) {
    core_.raise(Reason::no_engine, "OpenSSL takes no default properties");
    return nullptr;
  }
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = settings_.threads;
  options.policy = settings_.policy.empty() ? nullptr : settings_.policy.c_str();
  options.random = [](void* engine, std::uint8_t* out, size_t bytes) {
    return static_cast<Engine*>(engine)->random(out, bytes) ? 0 : -1;
  };
  options.random_context = this;
  warpkem_engine* engine = nullptr;
  warpkem_status status = WARPKEM_UNSUPPORTED;
  // By name, best first: else the environment might name one, and a GPU, which is no use for one item, would be woken.
  constexpr const char* best_first[] = {"avx512", "avx2", "portable"};
  const bool any = settings_.backend.empty() || settings_.backend == "auto";
  for (const char* backend : best_first) {
    options.backend = any ? backend : settings_.backend.c_str();
    status = warpkem_engine_new(&options, &engine);
    if (!any || status != WARPKEM_UNSUPPORTED) break;
  }
  if (status != WARPKEM_OK) {
    core_.raise(Reason::no_engine, "%s: %s", warpkem_status_name(status), warpkem_last_error());
    return nullptr;
  }
  return engine;
}

const Engine::Made* Engine::replace(const Made* inherited) noexcept {
  const std::scoped_lock lock(making_);
  const Made* const now = current_.load(std::memory_order_acquire);
  if (now != inherited) return now;
  warpkem_engine* const engine = make();
  if (engine == nullptr) return nullptr;
  const Made* const made = new (std::nothrow) Made{engine, inherited};
  if (made == nullptr) {
    warpkem_engine_free(engine);
    core_.raise(Reason::out_of_memory, "no memory for an engine");
    return nullptr;
  }
  current_.store(made, std::memory_order_release);
  return made;
}

}  // namespace warpkem::provider
