#include "tests/ct/stepper/machine.hpp"

#include <cpuid.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

// The entry is written for System V: rdi is the state, rsi the stub, edx whether vectors are left alone. All else of
// the caller's is saved on its stack. The stack of the stepped code is untouched: the little stack here is for popfq
// and pushfq alone, with room for a signal.
asm(R"(
  .bss
  .balign 64
stepper_small_stack:
  .zero 65536
stepper_small_stack_end:
  .zero 64
stepper_host_rsp: .quad 0
stepper_state: .quad 0
stepper_stub: .quad 0
stepper_rax: .quad 0
stepper_general_only: .long 0

  .text
  .globl stepper_enter
  .hidden stepper_enter
  .type stepper_enter, @function
stepper_enter:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, stepper_host_rsp(%rip)
  mov %rdi, stepper_state(%rip)
  mov %rsi, stepper_stub(%rip)
  mov %rdi, %r8
  mov %edx, stepper_general_only(%rip)
  test %edx, %edx
  jnz 1f
  mov $0xe7, %eax
  xor %edx, %edx
  xrstor64 (%r8)
1:
  lea stepper_small_stack_end(%rip), %rsp
  pushq 4096+128(%r8)
  popfq
  mov %r8, %rax
  mov 4096+8(%rax), %rcx
  mov 4096+16(%rax), %rdx
  mov 4096+24(%rax), %rbx
  mov 4096+32(%rax), %rsp
  mov 4096+40(%rax), %rbp
  mov 4096+48(%rax), %rsi
  mov 4096+56(%rax), %rdi
  mov 4096+64(%rax), %r8
  mov 4096+72(%rax), %r9
  mov 4096+80(%rax), %r10
  mov 4096+88(%rax), %r11
  mov 4096+96(%rax), %r12
  mov 4096+104(%rax), %r13
  mov 4096+112(%rax), %r14
  mov 4096+120(%rax), %r15
  mov 4096(%rax), %rax
  jmp *stepper_stub(%rip)

  .globl stepper_leave
  .hidden stepper_leave
  .type stepper_leave, @function
stepper_leave:
  mov %rax, stepper_rax(%rip)
  mov stepper_state(%rip), %rax
  mov %rcx, 4096+8(%rax)
  mov %rdx, 4096+16(%rax)
  mov %rbx, 4096+24(%rax)
  mov %rsp, 4096+32(%rax)
  mov %rbp, 4096+40(%rax)
  mov %rsi, 4096+48(%rax)
  mov %rdi, 4096+56(%rax)
  mov %r8, 4096+64(%rax)
  mov %r9, 4096+72(%rax)
  mov %r10, 4096+80(%rax)
  mov %r11, 4096+88(%rax)
  mov %r12, 4096+96(%rax)
  mov %r13, 4096+104(%rax)
  mov %r14, 4096+112(%rax)
  mov %r15, 4096+120(%rax)
  mov stepper_rax(%rip), %rcx
  mov %rcx, 4096(%rax)
  lea stepper_small_stack_end(%rip), %rsp
  pushfq
  pop %rcx
  mov %rcx, 4096+128(%rax)
  cld
  cmpl $0, stepper_general_only(%rip)
  jnz 1f
  mov %rax, %r8
  mov $0xe7, %eax
  xor %edx, %edx
  xsave64 (%r8)
1:
  mov stepper_host_rsp(%rip), %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret
)");

extern "C" {
void stepper_enter(stepper::State* state, const void* stub, int general_only);
void stepper_leave();
}

namespace stepper {

static_assert(offsetof(State, gpr) == 4096 && offsetof(State, flags) == 4096 + 128, "as the assembly has it");

namespace {

// Where XSAVE puts each component, and which ones the operating system saves. Zero: not there.
struct Layout {
  u32 ymm = 0, k = 0, zmm_low = 0, zmm_high = 0;  // zmm_low: the upper halves of zmm0 to 15
  u64 components = 3;
};

u32 offset_of(u32 component) noexcept {
  u32 a = 0, b = 0, c = 0, d = 0;
  __cpuid_count(0xd, component, a, b, c, d);
  return b;
}

Layout find_layout() noexcept {
  Layout layout;
  u32 a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return layout;
  u32 low = 0, high = 0;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if (low & 4) layout.ymm = offset_of(2);
  if ((low & 0xe0) == 0xe0) {
    layout.k = offset_of(5);
    layout.zmm_low = offset_of(6);
    layout.zmm_high = offset_of(7);
  }
  layout.components = low & 0xe6;
  return layout;
}

const Layout xsave_layout = find_layout();

constexpr std::size_t xmm_offset = 160, present_offset = 512;  // offsets of XMM0 and of XSTATE_BV

}  // namespace

void State::vector(int number, u8 out[64]) const noexcept {
  std::memset(out, 0, 64);
  if (number >= 16) {
    if (xsave_layout.zmm_high != 0) std::memcpy(out, xsave + xsave_layout.zmm_high + 64 * (number - 16), 64);
    return;
  }
  std::memcpy(out, xsave + xmm_offset + 16 * number, 16);
  if (xsave_layout.ymm != 0) std::memcpy(out + 16, xsave + xsave_layout.ymm + 16 * number, 16);
  if (xsave_layout.zmm_low != 0) std::memcpy(out + 32, xsave + xsave_layout.zmm_low + 32 * number, 32);
}

void State::set_vector(int number, const u8 in[64]) noexcept {
  if (number >= 16) {
    if (xsave_layout.zmm_high != 0) std::memcpy(xsave + xsave_layout.zmm_high + 64 * (number - 16), in, 64);
    return;
  }
  std::memcpy(xsave + xmm_offset + 16 * number, in, 16);
  if (xsave_layout.ymm != 0) std::memcpy(xsave + xsave_layout.ymm + 16 * number, in + 16, 16);
  if (xsave_layout.zmm_low != 0) std::memcpy(xsave + xsave_layout.zmm_low + 32 * number, in + 32, 32);
}

u64 State::mask(int number) const noexcept {
  u64 value = 0;
  if (xsave_layout.k != 0) std::memcpy(&value, xsave + xsave_layout.k + 8 * number, 8);
  return value;
}

void State::set_mask(int number, u64 value) noexcept {
  if (xsave_layout.k != 0) std::memcpy(xsave + xsave_layout.k + 8 * number, &value, 8);
}

const char* machine_missing() noexcept {
  u32 a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & bit_OSXSAVE) == 0) return "the CPU or the system lacks XSAVE";
  return nullptr;
}

void execute(State& state, const void* stub, bool general_only) noexcept {
  stepper_enter(&state, stub, general_only ? 1 : 0);
  if (general_only) return;
  // A component in its first state may be left out of what XSAVE stores: make it zeros, which is that state.
  u64 present = 0;
  std::memcpy(&present, state.xsave + present_offset, 8);
  const u64 absent = xsave_layout.components & ~present;
  if (absent == 0) return;
  if (absent & 2) std::memset(state.xsave + xmm_offset, 0, 256);
  if ((absent & 4) && xsave_layout.ymm != 0) std::memset(state.xsave + xsave_layout.ymm, 0, 256);
  if ((absent & 0x20) && xsave_layout.k != 0) std::memset(state.xsave + xsave_layout.k, 0, 64);
  if ((absent & 0x40) && xsave_layout.zmm_low != 0) std::memset(state.xsave + xsave_layout.zmm_low, 0, 512);
  if ((absent & 0x80) && xsave_layout.zmm_high != 0) std::memset(state.xsave + xsave_layout.zmm_high, 0, 1024);
  present |= xsave_layout.components;
  std::memcpy(state.xsave + present_offset, &present, 8);
}

const void* stub_return() noexcept { return reinterpret_cast<const void*>(&stepper_leave); }

void capture(State& state) noexcept {
  std::memset(&state, 0, sizeof state);
  asm volatile("xsave64 %0" : "+m"(state.xsave) : "a"(3), "d"(0) : "memory");  // x87 and SSE control words; AVX zero
  u64 present = 0;
  std::memcpy(&present, state.xsave + present_offset, 8);
  present |= xsave_layout.components;
  std::memcpy(state.xsave + present_offset, &present, 8);
  state.flags = 0x202;
}

void* pages(std::size_t bytes) noexcept {
  void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) give_up("no memory", 0);
  return p;
}

void give_up(const char* what, u64 pc) noexcept {
  char text[256];
  const int length =
      std::snprintf(text, sizeof text, "stepper: %s at 0x%llx\n", what, static_cast<unsigned long long>(pc));
  if (write(STDOUT_FILENO, text, static_cast<std::size_t>(length)) < 0) _exit(4);
  _exit(3);
}

}  // namespace stepper
