// A thousand key agreements, typed. The lines between the marks are those of the README.
#include <algorithm>
#include <iostream>
#include <warpkem/warpkem.hpp>

// begin
int main() try {
  const warpkem::Engine engine;
  const auto pairs = engine.keygen<warpkem::MlKem768>(1000).value();
  const auto sent = engine.encaps<warpkem::MlKem768>(pairs.ek).value();
  const auto received = engine.decaps<warpkem::MlKem768>(pairs.dk, sent.c).value();
  return std::ranges::equal(sent.K.bytes(), received.bytes()) ? 0 : 1;
} catch (const warpkem::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
// end
