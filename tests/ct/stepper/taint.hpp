// Which bytes of memory and of registers depend on a secret, and how one instruction changes that.
#pragma once

#include "tests/ct/stepper/instruction.hpp"

namespace stepper {

class Taint {
 public:
  // One bit for each of up to 64 bytes.
  u64 memory(u64 address, u32 bytes) const noexcept;
  void set_memory(u64 address, u32 bytes, u64 marks) noexcept;
  bool any_memory(u64 address, u64 bytes) const noexcept;
  void fill_memory(u64 address, u64 bytes, bool secret) noexcept;
  void copy_memory(u64 to, u64 from, u64 bytes) noexcept;

  u8 general[16] = {};
  u64 vector[32] = {};
  u64 mask[8] = {};  // one bit for each bit
  u32 flags = 0;

  // Before the instruction runs: what its outputs depend on. `addresses` has one for each memory operand; `secret` says
  // whether any input has a mark, a write mask and flags included.
  void apply(Instruction& instruction, const State& before, const u64* addresses, bool secret) noexcept;

  u64 input(const Operand& operand, u64 address) const noexcept;
  void output(const Instruction& instruction, const Operand& operand, u64 address, u64 marks) noexcept;

 private:
  void move(const Instruction& instruction, const State& before, const u64* addresses) noexcept;
  u64 logic(const Instruction& instruction, const State& before, const u64* addresses) const noexcept;
  u64 masked(const Instruction& instruction, const State& before, u64 result, u64 old) const noexcept;
  void clear(const Instruction& instruction, const State& before, const u64* addresses) noexcept;
  void propagate(const Instruction& instruction, const State& before, const u64* addresses) noexcept;

  struct Trial;
  void begin_trial(const Instruction& instruction, const State& before, const u64* addresses, Trial& trial) noexcept;
  void end_trial(const Instruction& instruction, const u64* addresses, const Trial& trial) const noexcept;
};

}  // namespace stepper
