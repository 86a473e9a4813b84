#include "tests/support/failing_memory.hpp"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace warpkem::test {

namespace {

std::atomic<bool> armed{false}, only_others{false};
std::atomic<long> from{0}, to{0}, count{0}, failed{0};
constinit thread_local bool is_main = false, in_library = false;

bool fails() noexcept {
  if (!armed.load(std::memory_order_acquire)) return false;
  if (is_main && (!in_library || only_others.load())) return false;
  const long n = count.fetch_add(1);
  if (n < from.load() || n >= to.load()) return false;
  failed.fetch_add(1);
  return true;
}

void* no_memory() noexcept {
  errno = ENOMEM;
  return nullptr;
}

}  // namespace

void memory_fails(const MemoryPlan& plan) noexcept {
  is_main = true;
  only_others = plan.only_other_threads;
  from = plan.first, to = plan.last;
  count = 0, failed = 0;
  armed.store(true, std::memory_order_release);
}

MemoryCounts memory_holds() noexcept {
  armed.store(false);
  return {count.load(), failed.load()};
}

LibraryCall::LibraryCall() noexcept { in_library = true; }
LibraryCall::~LibraryCall() { in_library = false; }

}  // namespace warpkem::test

using warpkem::test::fails;
using warpkem::test::no_memory;

extern "C" {

void* malloc(size_t bytes) { return fails() ? no_memory() : __libc_malloc(bytes); }
void* calloc(size_t n, size_t bytes) { return fails() ? no_memory() : __libc_calloc(n, bytes); }
void* realloc(void* block, size_t bytes) { return fails() ? no_memory() : __libc_realloc(block, bytes); }
void* memalign(size_t alignment, size_t bytes) { return fails() ? no_memory() : __libc_memalign(alignment, bytes); }
void* aligned_alloc(size_t alignment, size_t bytes) {
  return fails() ? no_memory() : __libc_memalign(alignment, bytes);
}
int posix_memalign(void** block, size_t alignment, size_t bytes) {
  void* const made = fails() ? nullptr : __libc_memalign(alignment, bytes);
  if (made == nullptr) return ENOMEM;
  *block = made;
  return 0;
}

void* mmap(void* address, size_t bytes, int protection, int flags, int file, off_t offset) noexcept {
  if (fails()) {
    errno = ENOMEM;
    return MAP_FAILED;
  }
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, bytes, protection, flags, file, offset));
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*body)(void*), void* argument) {
  if (fails()) return EAGAIN;
  static const auto real = reinterpret_cast<decltype(&pthread_create)>(dlsym(RTLD_NEXT, "pthread_create"));
  return real(thread, attributes, body, argument);
}

int eventfd(unsigned initial, int flags) noexcept {
  if (fails()) {
    errno = EMFILE;
    return -1;
  }
  return static_cast<int>(syscall(SYS_eventfd2, initial, flags));
}

}  // extern "C"
