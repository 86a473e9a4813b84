// Faults that the stepper must find, and harmless twins that it must not: a few instructions each.
#pragma once

#include <cstdint>

namespace planted {

struct Case {
  const char* name;
  void (*function)(const std::uint8_t* secret, std::uint8_t* table);
  const char* needs;  // a feature of the CPU, or ""
  const char* leak;   // what is to be reported, or "": nothing
  const void* place;  // where; null: anywhere (in a library that is called)
};

extern const Case cases[];
extern const int num_cases;

bool can_run(const Case& one) noexcept;

}  // namespace planted
