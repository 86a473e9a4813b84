// The state of an x86-64 processor as data, and the execution of one instruction on it by the real processor.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stepper {

using u8 = std::uint8_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;

inline constexpr int reg_rax = 0, reg_rcx = 1, reg_rdx = 2, reg_rbx = 3, reg_rsp = 4, reg_rbp = 5, reg_rsi = 6,
                     reg_rdi = 7;

// General registers in the order of their encoding, RFLAGS, and what XSAVE saves: x87, SSE, AVX, AVX-512.
struct alignas(64) State {
  u8 xsave[4096];
  u64 gpr[16];
  u64 flags;

  void vector(int number, u8 out[64]) const noexcept;
  void set_vector(int number, const u8 in[64]) noexcept;
  u64 mask(int number) const noexcept;  // k0 to k7
  void set_mask(int number, u64 value) noexcept;
};

// Whether the processor can do what the stepper needs; if not, why.
const char* machine_missing() noexcept;

// A state with the vector registers of the calling thread.
void capture(State& state) noexcept;

// Runs `stub`: one instruction, then a jump to the address that stub_return() gives. Everything but rip is loaded
// before and stored after; if `general_only`, vector and mask registers are not, which such an instruction leaves
// alone.
void execute(State& state, const void* stub, bool general_only) noexcept;
const void* stub_return() noexcept;

// Memory straight from the operating system, zeroed, never given back: malloc may be in the midst of a call.
void* pages(std::size_t bytes) noexcept;

// Says what is wrong with the stepper's own work and ends the process.
[[noreturn]] void give_up(const char* what, u64 pc) noexcept;

}  // namespace stepper
