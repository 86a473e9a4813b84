// The descriptor: any operation with arrays anywhere in one piece of memory, overlapping as they like. Whatever is
// accepted must write its output records and nothing else; whatever is refused must write nothing.
#include "tests/fuzz/fuzz.hpp"

using namespace warpkem::fuzz;

namespace {

constexpr std::size_t arena_bytes = 1 << 16, most = 6;

struct Array {
  std::uint8_t* data;
  std::size_t bytes, stride;
  std::uint8_t** table;
};

Array array(Input& input, Bytes& arena, std::vector<std::uint8_t*>& table, std::size_t record) {
  const std::uint8_t kind = input.byte();
  if (kind % 8 == 0) return {nullptr, 0, 0, nullptr};
  if (kind % 8 == 1) {
    table.resize(most);
    for (auto& pointer : table) {
      pointer = arena.data() + input.word() % (arena_bytes - 4096);
      if (kind > 250) pointer = nullptr;
    }
    return {nullptr, 0, 0, table.data()};
  }
  const std::size_t at = input.word() % (arena_bytes / 2);
  const std::size_t stride = kind % 8 == 2 ? input.word() : kind % 8 < 5 ? 0 : record + input.byte() * 8;
  return {arena.data() + at, arena_bytes - at, stride, nullptr};
}

warpkem_source source(const Array& a) { return {a.data, a.bytes, a.stride, a.table}; }
warpkem_target target(const Array& a) { return {a.data, a.bytes, a.stride, a.table}; }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  Input input(data, bytes);
  const Good& g = good(input.byte());
  static Bytes arena(arena_bytes), before;
  for (std::size_t i = 0; i < arena_bytes; ++i) arena[i] = static_cast<std::uint8_t>(i * 7);
  warpkem_batch b{};
  b.struct_size = sizeof b;
  b.operation = input.byte() % 7;
  b.algorithm = input.byte() == 77 ? 10 : g.algorithm;
  b.dk_format = input.byte() % 4 == 0 ? input.byte() % 4 : b.operation % 2 == 1 ? g.formats.back() : 0;
  b.flags = input.byte() % 4 == 0 ? input.byte() : (b.operation == 1 || b.operation == 2 ? WARPKEM_DERAND : 0);
  b.count = input.byte() % (most + 1);
  std::vector<std::uint8_t*> tables[9];
  const std::size_t dk_bytes = b.dk_format < 3 ? g.dk_bytes[b.dk_format] : 0;
  const std::size_t seed_bytes =
      warpkem_size(g.algorithm, b.dk_format == WARPKEM_DK_COMPOSITE ? WARPKEM_SIZE_SEED_COMPOSITE : WARPKEM_SIZE_SEED);
  const unsigned wanted[] = {0, 0x61, 0x186, 0x118,
                             4, 8,    0};  // bits: seeds, m, ek, dk, c, ek_out, dk_out, c_out, K_out
  const unsigned use = wanted[b.operation] ^ (input.byte() == 99 ? 1u << input.byte() % 9 : 0);
  const std::size_t records[] = {seed_bytes, g.m_bytes, g.ek_bytes, dk_bytes, g.c_bytes,
                                 g.ek_bytes, dk_bytes,  g.c_bytes,  g.K_bytes};
  Array arrays[9] = {};
  for (int i = 0; i < 9; ++i) {
    if (use >> i & 1) arrays[i] = array(input, arena, tables[i], records[i]);
  }
  b.seeds = source(arrays[0]), b.m = source(arrays[1]), b.ek = source(arrays[2]), b.dk = source(arrays[3]);
  b.c = source(arrays[4]), b.ek_out = target(arrays[5]), b.dk_out = target(arrays[6]), b.c_out = target(arrays[7]);
  b.K_out = target(arrays[8]);
  const std::uint8_t bookkeeping = input.byte();
  if (bookkeeping & 1) b.statuses = arena.data() + input.word() % (arena_bytes - most);
  if (bookkeeping & 2)
    b.failed = reinterpret_cast<std::size_t*>(arena.data() + input.word() % (arena_bytes - 8) / 8 * 8);
  before = arena;

  const warpkem_status status = warpkem_run(backends().back().engine, &b);
  Bytes allowed(arena_bytes);
  if (status == WARPKEM_OK || status == WARPKEM_ITEM_FAILED) {
    for (int a = 5; a < 9 && b.count != 0; ++a) {
      const std::size_t stride = arrays[a].stride != 0 ? arrays[a].stride : records[a];
      for (std::size_t i = 0; i < b.count; ++i) {
        if (arrays[a].table == nullptr && arrays[a].data == nullptr) continue;
        const std::uint8_t* record = arrays[a].table != nullptr ? arrays[a].table[i] : arrays[a].data + i * stride;
        for (std::size_t byte = 0; byte < records[a]; ++byte) {
          std::uint8_t& mark = allowed[static_cast<std::size_t>(record - arena.data()) + byte];
          if (mark != 0) die("two outputs share a byte");
          mark = 1;
        }
      }
    }
    if (b.statuses != nullptr) memset(&allowed[static_cast<std::size_t>(b.statuses - arena.data())], 1, b.count);
    if (b.failed != nullptr) {
      memset(&allowed[static_cast<std::size_t>(reinterpret_cast<std::uint8_t*>(b.failed) - arena.data())], 1, 8);
    }
  } else if (status != WARPKEM_INVALID_ARGUMENT && status != WARPKEM_UNSUPPORTED) {
    die("an unexpected status");
  } else if (*warpkem_last_error() == '\0') {
    die("refused without a word");
  }
  for (std::size_t i = 0; i < arena_bytes; ++i) {
    if (allowed[i] == 0 && arena[i] != before[i]) die("byte " + std::to_string(i) + " was written");
  }
  return 0;
}
