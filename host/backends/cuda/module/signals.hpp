// Threads that are started in its lifetime leave signals to the application's own threads, all but those that tell of a
// fault in the thread itself: nobody else gets these, and blocked they end the process without the program's handler.
#pragma once

#include <pthread.h>
#include <signal.h>

namespace warpkem::cuda {

class SignalsBlocked {
 public:
  SignalsBlocked() noexcept {
    sigset_t most;
    sigfillset(&most);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) sigdelset(&most, fault);
    pthread_sigmask(SIG_SETMASK, &most, &before_);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_;
};

}  // namespace warpkem::cuda
