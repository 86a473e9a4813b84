#include "host/core/secure.hpp"

#include <string.h>
#include <sys/mman.h>

#include <new>

namespace warpkem::host {

namespace {

constexpr std::size_t page = 4096;
constexpr std::size_t alignment = 64;

std::size_t mapped_bytes(std::size_t bytes) noexcept { return (bytes + page - 1) & ~(page - 1); }

}  // namespace

void wipe(void* data, std::size_t bytes) noexcept {
  if (bytes != 0) explicit_bzero(data, bytes);
}

void clear_vector_registers() noexcept {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx")) {
    asm volatile("vzeroall" ::
                     : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11",
                       "xmm12", "xmm13", "xmm14", "xmm15");
  } else {
    asm volatile(
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15\n\t"
        "pxor %%xmm\\n, %%xmm\\n\n\t.endr" ::
            : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",
              "xmm13", "xmm14", "xmm15");
  }
  // The compiler has no use for these here; the C library's memcpy() has.
  if (__builtin_cpu_supports("avx512f")) {
    asm volatile(
        ".irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31\n\t"
        "vpxorq %%zmm\\n, %%zmm\\n, %%zmm\\n\n\t.endr" ::);
  }
#endif
}

SecureBuffer::SecureBuffer(std::size_t bytes) : bytes_(bytes) {
  if (bytes == 0) return;
  if (bytes < page) {
    data_ = static_cast<std::uint8_t*>(::operator new (bytes, std::align_val_t{alignment}));
    memset(data_, 0, bytes);
    return;
  }
  if (bytes > SIZE_MAX - page) throw std::bad_alloc();
  void* mapping = mmap(nullptr, mapped_bytes(bytes), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) throw std::bad_alloc();
  madvise(mapping, mapped_bytes(bytes),
          MADV_DONTDUMP);  // where the kernel lacks it, dumps are the operator's to forbid
  data_ = static_cast<std::uint8_t*>(mapping);
}

SecureBuffer::~SecureBuffer() {
  if (data_ == nullptr) return;
  wipe(data_, bytes_);
  if (bytes_ < page) {
    ::operator delete (data_, std::align_val_t{alignment});
  } else {
    munmap(data_, mapped_bytes(bytes_));
  }
}

}  // namespace warpkem::host
