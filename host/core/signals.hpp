// Which signals the engine's threads leave to the program's own.
#pragma once

#include <signal.h>

namespace warpkem::host {

// All but those that a thread brings upon itself: blocked, they would end the process in place of the program's
// handler.
inline sigset_t signals_left_to_the_program() noexcept {
  sigset_t set;
  sigfillset(&set);
  for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) sigdelset(&set, own);
  return set;
}

}  // namespace warpkem::host
