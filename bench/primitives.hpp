// The primitives of the CPU backends as functions without arguments, so that Google Benchmark's headers need not be
// compiled with instructions that this machine may lack.
#pragma once

namespace warpkem::bench {

struct Primitive {
  const char* name;
  int items;  // how many states, polynomials or products one call does
  void (*run)();
};

struct Primitives {
  const Primitive* data;
  int count;
};

Primitives avx2_primitives();
Primitives avx512_primitives();

}  // namespace warpkem::bench
