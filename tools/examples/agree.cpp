// A thousand key agreements by X-Wing, typed. The lines between the marks are those of the README.
#include <algorithm>
#include <iostream>
#include <warpkem/warpkem.hpp>

// begin
int main() try {
  const warpkem::Engine engine;
  const auto pairs = engine.keygen<warpkem::XWing>(1000).value();
  const auto sent = engine.encaps<warpkem::XWing>(pairs.ek).value();
  const auto received = engine.decaps<warpkem::XWing>(pairs.dk, sent.c).value();
  return std::ranges::equal(sent.K.bytes(), received.bytes()) ? 0 : 1;
} catch (const warpkem::Error& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
// end
