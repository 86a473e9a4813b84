// The same with the C++ face.
#include <algorithm>
#include <warpkem/warpkem.hpp>

int main() {
  const warpkem::Engine engine;
  const auto pairs = engine.keygen<warpkem::MlKem768>(10).value();
  const auto encapsulated = engine.encaps<warpkem::MlKem768>(pairs.ek).value();
  const auto K = engine.decaps<warpkem::MlKem768>(pairs.dk, encapsulated.c).value();
  return std::ranges::equal(K.bytes(), encapsulated.K.bytes()) ? 0 : 1;
}
