// Decapsulation with hostile keys and ciphertexts, encoded, as seeds and prepared, and the hash check alone.
#include "tests/fuzz/fuzz.hpp"

using namespace warpkem::fuzz;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const Good& g = good(input.byte());
  const std::size_t n = input.byte() % most_items + 1;
  const std::uint32_t format = g.formats[input.byte() % g.formats.size()];
  Bytes dk = head(g.dk[format], n * g.dk_bytes[format]), c = head(g.c, n * g.c_bytes);
  input.edit(dk);
  input.edit(c);
  Outcome plain;
  compare(n, [&](warpkem_engine* engine, Outcome& o) {
    o.first.assign(n * g.K_bytes, 0xdd);
    o.status =
        warpkem_decaps(engine, g.algorithm, format, n, in(dk), in(c), out(o.first), o.statuses.data(), &o.failed);
    plain = o;
    Bytes statuses(n);
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_CHECK_DK, batch.algorithm = g.algorithm, batch.dk_format = format, batch.count = n;
    batch.dk = {dk.data(), dk.size(), 0, nullptr}, batch.statuses = statuses.data();
    const warpkem_status checked = warpkem_run(engine, &batch);
    if (checked != WARPKEM_OK && checked != WARPKEM_ITEM_FAILED) die("check_dk");
    for (std::size_t i = 0; i < n; ++i) {
      const bool is_bad = o.statuses[i] == WARPKEM_INVALID_DK;
      if ((statuses[i] == WARPKEM_INVALID_DK) != is_bad) die("decaps and check_dk disagree");
    }
  });
  std::vector<std::uint32_t> index(n);
  for (std::size_t i = 0; i < n; ++i) index[i] = static_cast<std::uint32_t>(i);
  compare(n, [&](warpkem_engine* engine, Outcome& o) {
    warpkem_keys* keys = nullptr;
    const warpkem_status made = warpkem_prepare_dk(engine, g.algorithm, format, n, in(dk), nullptr, nullptr, &keys);
    if (keys == nullptr || (made != WARPKEM_OK && made != WARPKEM_ITEM_FAILED)) die("prepare_dk");
    o.first.assign(n * g.K_bytes, 0xdd);
    o.status =
        warpkem_decaps_prepared(engine, keys, index.data(), n, in(c), out(o.first), o.statuses.data(), &o.failed);
    warpkem_keys_release(keys);
    if (!(o == plain)) die("prepared or not makes a difference");
  });
  return 0;
}
