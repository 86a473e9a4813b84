// Runs a function instruction by instruction, follows what depends on a secret, and reports where such a value decides
// what an observer of time could see.
//
// Secret is what valgrind's MAKE_MEM_UNDEFINED marks, public again what MAKE_MEM_DEFINED marks: the stepper answers the
// requests of memcheck, so that one program serves both.
#pragma once

#include "tests/ct/stepper/machine.hpp"

namespace stepper {

// Program counters and effective addresses, in order. The first run fills it; later ones are compared with it.
struct Trace {
  std::uint64_t* words = nullptr;
  std::uint64_t capacity = 0;
  std::uint64_t length = 0;  // of the first run
  std::uint64_t at = 0;      // of this run
  bool comparing = false;
  bool differs = false;
  volatile bool recording = false;  // set by the function that runs, around what is to be in the trace
};

struct Result {
  u64 steps, leaks;
};

// Prints a line for each instruction that leaks: "leak: WHAT: MNEMONIC at FILE+0xOFFSET", and one if the traces differ.
Result run(void (*function)(void*), void* context, Trace* trace) noexcept;

// Prints those of the instructions on standard input, one a line in hexadecimal, that no rule covers; their number.
int print_unknown() noexcept;

}  // namespace stepper
