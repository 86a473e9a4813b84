// Knows whether this process is a forked child of the one that made it, without a system call: the kernel clears the
// marked page in a child.
#pragma once

#include <sys/types.h>

namespace warpkem::host {

class ForkGuard {
 public:
  ForkGuard();
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;
  ~ForkGuard();

  bool forked() const noexcept;

 private:
  volatile int* alive_ = nullptr;  // on a page of its own; null where the kernel has no MADV_WIPEONFORK
  pid_t maker_;
};

}  // namespace warpkem::host
