#include "host/core/fork_guard.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>

namespace warpkem::host {

namespace {
constexpr std::size_t guard_bytes = 4096;
}

ForkGuard::ForkGuard() : maker_(getpid()) {
  void* mapping = mmap(nullptr, guard_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) return;
  if (madvise(mapping, guard_bytes, MADV_WIPEONFORK) != 0) {
    munmap(mapping, guard_bytes);
    return;
  }
  alive_ = static_cast<volatile int*>(mapping);
  *alive_ = 1;
}

ForkGuard::~ForkGuard() {
  if (alive_ != nullptr) munmap(const_cast<int*>(alive_), guard_bytes);
}

bool ForkGuard::forked() const noexcept { return alive_ != nullptr ? *alive_ == 0 : getpid() != maker_; }

}  // namespace warpkem::host
