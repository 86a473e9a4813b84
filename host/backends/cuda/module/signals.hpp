// Threads that are started in its lifetime leave signals to the application's own threads, all but those that tell of a
// fault in the thread itself: nobody else gets these, and blocked they end the process without the program's handler.
#pragma once

#include <pthread.h>
#include <signal.h>

#include "host/core/signals.hpp"

namespace warpkem::cuda {

class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    const sigset_t left = host::signals_left_to_the_program();
    pthread_sigmask(SIG_SETMASK, &left, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace warpkem::cuda
