// Encapsulation to hostile keys, encoded and prepared, and the modulus check alone.
#include "tests/fuzz/fuzz.hpp"

using namespace warpkem::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const Good& g = good(input.byte());
  const std::size_t n = input.byte() % most_items + 1;
  Bytes ek = head(g.ek, n * g.ek_bytes), m = head(g.m, n * g.m_bytes);
  input.edit(ek);
  input.edit(m);
  compare(n, [&](warpkem_engine* engine, Outcome& o) {
    o.first.assign(n * g.c_bytes, 0xdd);
    o.second.assign(n * g.K_bytes, 0xdd);
    o.status = warpkem_encaps_derand(engine, g.algorithm, n, in(ek), in(m), out(o.first), out(o.second),
                                     o.statuses.data(), &o.failed);
    Outcome check{0, 0, Bytes(n), {}, {}};
    check.status = warpkem_check_ek(engine, g.algorithm, n, in(ek), check.statuses.data(), &check.failed);
    for (std::size_t i = 0; i < n; ++i) {
      const bool is_bad = o.statuses[i] == WARPKEM_INVALID_EK;
      if (o.statuses[i] == WARPKEM_INVALID_RANDOMNESS) continue;
      if ((check.statuses[i] == WARPKEM_INVALID_EK) != is_bad) die("encaps and check_ek disagree");
    }
  });
  std::vector<std::uint32_t> index(n);
  for (std::uint32_t& i : index) i = input.byte() % (n + 2);
  compare(n, [&](warpkem_engine* engine, Outcome& o) {
    warpkem_keys* keys = nullptr;
    const warpkem_status made = warpkem_prepare_ek(engine, g.algorithm, n, in(ek), nullptr, nullptr, &keys);
    if (keys == nullptr || (made != WARPKEM_OK && made != WARPKEM_ITEM_FAILED)) die("prepare_ek");
    o.first.assign(n * g.c_bytes, 0xdd);
    o.second.assign(n * g.K_bytes, 0xdd);
    o.status = warpkem_encaps_prepared_derand(engine, keys, index.data(), n, in(m), out(o.first), out(o.second),
                                              o.statuses.data(), &o.failed);
    warpkem_keys_release(keys);
  });
  return 0;
}
