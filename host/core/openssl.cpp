#include "host/core/openssl.hpp"

#include <dlfcn.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <new>

#include "host/core/gate.hpp"

namespace warpkem::host {

namespace {

constinit Gate gate;
const int not_guarded = guard_at_fork<gate>();

// OpenSSL 3.5 waits for itself for ever if memory runs out in the very first step of its start: the error is to be
// noted by what is being started. That step is made when the library is loaded, for memory may run out later, and
// nothing else of the start is: OpenSSL would register its end before the program registers the libraries', and end
// after them. The number is the one that OpenSSL's header reserves for OPENSSL_INIT_BASE_ONLY.
constexpr std::uint64_t init_base_only = 0x00040000;
[[maybe_unused]] const int first_step = OPENSSL_init_crypto(init_base_only, nullptr);

enum class State { unknown, started, over };
constinit std::atomic<State> state{State::unknown};

// Called before OpenSSL frees anything.
void end_openssl() noexcept {
  state.store(State::over);
  gate.wait_for_others();
}

// The end of the process calls back, so the code must stay where it is, even if the library is closed.
void stay_loaded() noexcept {
  Dl_info info{};
  if (dladdr(&gate, &info) == 0 || info.dli_fname == nullptr) return;
  // For the program itself this fails, and need not succeed. The handle is kept.
  static_cast<void>(dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE));
}

}  // namespace

void start_openssl() {
  const Gate::Pass pass(gate);
  if (state.load() == State::over) return;
  if (not_guarded != 0) throw std::bad_alloc();
  // It was cleaned up already, by the program or at exit, or could not begin at all: then it never can.
  if (OPENSSL_init_crypto(0, nullptr) != 1) return state.store(State::over);
  if (OSSL_LIB_CTX_get0_global_default() == nullptr) throw std::bad_alloc();
  static constinit std::mutex mutex;  // held inside the gate only: no fork leaves it locked
  static constinit bool called_at_cleanup = false, called_at_exit = false;
  const std::scoped_lock lock(mutex);
  if (!called_at_cleanup && !called_at_exit) stay_loaded();
  called_at_cleanup = called_at_cleanup || OPENSSL_atexit(end_openssl) == 1;
  // At exit this comes before OpenSSL's own handler sets out, if that was registered already.
  called_at_exit = called_at_exit || atexit(end_openssl) == 0;
  if (!called_at_cleanup || !called_at_exit) throw std::bad_alloc();
  State unknown = State::unknown;
  state.compare_exchange_strong(unknown, State::started);
}

// The pass, which a thread may hold several times, is taken before the look at the state.
OpenSslUse::OpenSslUse() noexcept {
  gate.enter();
  is_usable_ = state.load() == State::started;
  if (is_usable_) ERR_set_mark();
}

OpenSslUse::~OpenSslUse() {
  if (is_usable_) ERR_pop_to_mark();
  gate.leave();
}

}  // namespace warpkem::host
