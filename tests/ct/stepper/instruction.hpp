// One decoded instruction: its operands, how taint goes through it, and copies of it that can be run alone.
#pragma once

#include "tests/ct/stepper/machine.hpp"

namespace stepper {

// How the outputs of an instruction depend on its inputs. Every mnemonic that may be met is in the table of
// instruction.cpp with one of these; a mnemonic that is not there ends the run.
enum class Rule : u8 {
  unknown,
  // Bytes or bits of the inputs at other places, zeros, or copies of a sign: the processor runs the instruction on
  // masks of taint in place of data, with the true controls, so that what comes out is the mask of the result.
  move,
  bit_and,  // logic by bits, where public zeros (or ones) hide the other input
  bit_or,
  bit_andn,
  bit_xor,
  ternary,    // vpternlog, by its truth table
  elements,   // element by element, of `size` bytes
  pack,       // elements of `size` bytes of both sources narrowed to half of it, within 16 bytes
  compare,    // element by element, of `size` bytes; into the bits of a mask register, or into elements
  upward,     // each byte of the result depends on the bytes at its place and below
  all,        // every output depends on every input
  mask_bits,  // bit by bit on mask registers
  zero_vectors,
  zero_upper,
  nothing,   // no data at all, no access
  touch,     // an access whose data does not matter: prefetch, cache line flushes
  variable,  // takes a time that depends on its data: division, floating point, pdep and pext
  system,    // reads the machine: cpuid, xgetbv, rdtsc
  gather,
  push,
  pop,
  leave,
  call,
  ret,
  jump,
  jump_if,
  jump_if_rcx,
  loop,
  move_string,
  store_string,
  load_string,
  compare_string,
  system_call,
  request,  // to valgrind, which the stepper answers
};

enum class Kind : u8 { general, vector, mask, memory, immediate };

struct Operand {
  Kind kind = Kind::immediate;
  u8 number = 0;        // of the register
  u8 first_byte = 0;    // 1 for ah, ch, dh, bh
  bool reads = false;   // or the old value may stay
  bool merged = false;  // reads only what a write mask leaves
  bool writes = false;
  bool control = false;    // says where the other inputs go
  bool broadcast = false;  // of one element in memory to all
  bool access = false;     // memory that is read or written; false for lea
  u8 element = 1;          // bytes of an element
  u32 bytes = 0;
  // memory
  int base = -1, index = -1;  // general registers; index of a gather: a vector register
  bool vector_index = false, byte_index = false, relative = false, thread_local_ = false;
  u8 scale = 1;
  std::int64_t displacement = 0;
};

inline constexpr int most_operands = 8;

struct Instruction {
  u64 pc = 0;
  const char* mnemonic = "";
  Rule rule = Rule::unknown;
  u8 length = 0;
  u8 size = 1;       // of the rule
  u8 condition = 0;  // of jump_if: as the opcode has it
  bool has_immediate = false;
  u64 immediate = 0;  // sign-extended
  u8 operands = 0;
  Operand operand[most_operands];
  u32 flags_read = 0, flags_written = 0, flags_cleared = 0;
  bool vex = false;           // or EVEX: upper bytes of a vector result become zero
  bool same_source = false;   // both inputs are one register, so the result is a constant
  bool carry_only = false;    // sbb x, x
  bool count_in_cl = false;   // a shift that leaves the flags if cl is zero
  bool general_only = false;  // uses neither vector nor mask registers
  bool repeat = false, address_32 = false, indirect = false;
  int mask = 0;  // write mask, k1 to k7; 0: none
  bool merging = false;
  const void* stub = nullptr;
  const void* data_stub = nullptr;  // the same on data_buffer in place of memory; null: cannot be made
  u8* data_buffer = nullptr;        // 64 bytes
  u8 tried = 0;                     // how often the rule was tried, see Taint::check
  u64 target = 0;                   // of a direct jump or call
  u32 vector_bytes = 0;
  bool reported = false;  // a leak here
};

// The instruction at pc, decoded once. Ends the process if it cannot be decoded.
Instruction& instruction_at(u64 pc) noexcept;

// The same for bytes that are not in a program: only the fields that decoding alone gives.
bool decode(const u8* bytes, std::size_t length, u64 pc, Instruction& out) noexcept;

}  // namespace stepper
