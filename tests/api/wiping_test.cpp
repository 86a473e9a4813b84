// Nothing secret stays behind: every block that is freed and every mapping that is given back is searched, while the
// library works, for d, z, m, K and s; and between calls so is all writable memory of the process, stacks included. The
// test's own copies lie in a region that is left out.
//
// Seeds, m, K and the encoded s are looked for as they are. The expanded s is in whatever order and scale its backend
// likes: 64 numbers in a row that are all coefficients of s_hat (times a power of 2^16), most of them different, are no
// accident, for of other numbers less than a third are. So is a row of small signed numbers: s, e, y before the NTT.
#include <gtest/gtest.h>
#include <malloc.h>
#include <openssl/evp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bitset>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

extern "C" {
void __libc_free(void*);
void* __libc_malloc(std::size_t);
void* __libc_realloc(void*, std::size_t);
}

namespace {

constexpr int q = 3329;

// ---- The searcher. Allocates nothing; its own tables are static and not searched for.

struct Searcher {
  static constexpr std::size_t most_needles = 512, needle_bytes = 16;

  struct Needle {
    char name[24];
    std::uint8_t bytes[needle_bytes];
  } needles[most_needles];
  std::size_t num_needles = 0;
  std::bitset<65536> prefixes;
  // The 16-bit numbers that stand for a coefficient of s_hat, in each scale: f, f R, f / R.
  std::bitset<65536> coefficients[3];

  char found[256];
  std::atomic<std::size_t> num_found{0};
  std::atomic<bool> armed{false};

  void reset() {
    num_needles = 0;
    num_found = 0;
    prefixes.reset();
    for (auto& set : coefficients) set.reset();
  }

  // Any 16 bytes of it, from every 16th on: whoever leaves a piece of 32 behind is caught.
  void add(const char* name, const std::uint8_t* secret, std::size_t bytes) {
    for (std::size_t i = 0; i + needle_bytes <= bytes; i += needle_bytes) {
      ASSERT_LT(num_needles, most_needles);
      Needle& needle = needles[num_needles++];
      std::snprintf(needle.name, sizeof needle.name, "%s", name);
      for (std::size_t j = 0; j < needle_bytes; ++j)
        static_cast<volatile std::uint8_t*>(needle.bytes)[j] = secret[i + j];
      prefixes.set(needle.bytes[0] | std::size_t{needle.bytes[1]} << 8);
    }
  }

  // dk_PKE, encoded.
  void add_s(const std::uint8_t* dk_pke, std::size_t bytes) {
    for (std::size_t i = 0; i + 64 <= bytes; i += 96) add("encoded s", dk_pke + i, 32);
    for (std::size_t i = 0; i < bytes; i += 3) {
      for (const int f : {dk_pke[i] | (dk_pke[i + 1] & 15) << 8, dk_pke[i + 1] >> 4 | dk_pke[i + 2] << 4}) {
        constexpr int R = 65536 % q, R_inverse = 169;
        static_assert(R * R_inverse % q == 1);
        const int scaled[] = {f, f * R % q, f * R_inverse % q};
        for (int scale = 0; scale < 3; ++scale) {
          for (int x = scaled[scale] - 9 * q; x <= 32767; x += q) {
            if (x >= -32768) coefficients[scale].set(static_cast<std::uint16_t>(x));
          }
        }
      }
    }
  }

  void report(const char* what, const void* at, const char* where) {
    if (num_found.fetch_add(1) != 0) return;
    std::snprintf(found, sizeof found, "%s at %p in %s", what, at, where);
  }

  [[gnu::no_sanitize_address]] void search(const void* memory, std::size_t bytes, const char* where) {
    const auto* const p = static_cast<const std::uint8_t*>(memory);
    for (std::size_t i = 0; i + needle_bytes <= bytes; ++i) {
      if (!prefixes[p[i] | std::size_t{p[i + 1]} << 8]) continue;
      for (std::size_t n = 0; n < num_needles; ++n) {
        if (is_needle(p + i, needles[n].bytes)) report(needles[n].name, p + i, where);
      }
    }
    search_numbers(p + (reinterpret_cast<std::uintptr_t>(p) & 1), bytes - (reinterpret_cast<std::uintptr_t>(p) & 1),
                   where);
  }

 private:
  // memcmp would leave the needle in a vector register, and the dynamic linker saves these on the stack when it looks
  // up a function at its first call.
  static bool is_needle(const std::uint8_t* at, const std::uint8_t* needle) {
    for (std::size_t i = 0; i < needle_bytes; i += 8) {
      std::uint64_t a, b;
      memcpy(&a, at + i, 8);
      memcpy(&b, needle + i, 8);
      if (a != b) return false;
    }
    return true;
  }

  void search_numbers(const std::uint8_t* p, std::size_t bytes, const char* where) {
    constexpr std::size_t row = 64;
    std::size_t in_row[3] = {}, small = 0;
    for (std::size_t i = 0; i + 2 <= bytes; i += 2) {
      std::uint16_t x;
      memcpy(&x, p + i, 2);
      for (int scale = 0; scale < 3; ++scale) {
        in_row[scale] = coefficients[scale][x] ? in_row[scale] + 1 : 0;
        if (in_row[scale] >= row && in_row[scale] % row == 0 && distinct(p + i + 2 - 2 * row, row) > row / 2) {
          report("expanded s", p + i + 2 - 2 * row, where);
        }
      }
      small = x + 3 <= 6 || x >= 65533 ? small + 1 : 0;
      if (small >= row && small % row == 0 && looks_like_noise(p + i + 2 - 2 * row, row)) {
        report("noise", p + i + 2 - 2 * row, where);
      }
    }
  }

  static std::size_t distinct(const std::uint8_t* p, std::size_t count) {
    std::size_t result = 0;
    for (std::size_t i = 0; i < count; ++i) {
      bool is_new = true;
      for (std::size_t j = 0; j < i && is_new; ++j) is_new = memcmp(p + 2 * i, p + 2 * j, 2) != 0;
      result += is_new;
    }
    return result;
  }

  // -1, 0 and 1 each at least a tenth: a centred binomial distribution, and no table of flags.
  static bool looks_like_noise(const std::uint8_t* p, std::size_t count) {
    std::size_t counts[3] = {};
    for (std::size_t i = 0; i < count; ++i) {
      std::int16_t x;
      memcpy(&x, p + 2 * i, 2);
      if (x >= -1 && x <= 1) ++counts[x + 1];
    }
    return std::min({counts[0], counts[1], counts[2]}) * 10 >= count;
  }
};

Searcher searcher;

// ---- Memory that goes back.

void search_freed(void* block) noexcept {
  if (block != nullptr && searcher.armed.load(std::memory_order_relaxed)) {
    searcher.search(block, malloc_usable_size(block), "a freed block");
  }
}

}  // namespace

extern "C" {
void free(void* block) {
  search_freed(block);
  // What was found here is not to be found again in memory that stays.
  if (block != nullptr && searcher.armed.load(std::memory_order_relaxed) && searcher.num_found.load() != 0) {
    explicit_bzero(block, malloc_usable_size(block));
  }
  __libc_free(block);
}
void* realloc(void* block, std::size_t bytes) {
  search_freed(block);  // it may move
  return __libc_realloc(block, bytes);
}
int munmap(void* mapping, std::size_t bytes) noexcept {
  if (searcher.armed.load(std::memory_order_relaxed)) searcher.search(mapping, bytes, "a mapping given back");
  return static_cast<int>(syscall(SYS_munmap, mapping, bytes));
}
}

namespace {

// ---- Memory that stays.

struct Region {
  std::uintptr_t begin, end;
};

// memcpy() leaves what it copied in registers, which a new thread inherits and the loader may save to its stack.
void copy_by_bytes(std::uint8_t* to, const std::uint8_t* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) static_cast<volatile std::uint8_t*>(to)[i] = from[i];
}

// The test's own records. Fixed, so that the search can leave it out.
struct Records {
  static constexpr std::size_t most = 48;
  std::uint8_t seeds[most * 96], m[most * 64], ek[most * 1568], dk[most * 3168], c[most * 1568], K[most * 64],
      K_again[most * 64], statuses[most], expanded[96];
};
Records* records;

void search_all_memory(const char* when) {
  static char text[1 << 16];
  FILE* maps = std::fopen("/proc/self/maps", "r");
  static Region regions[4096];
  std::size_t count = 0;
  while (std::fgets(text, sizeof text, maps) != nullptr) {
    std::uintptr_t begin, end;
    char flags[8];
    if (std::sscanf(text, "%" SCNxPTR "-%" SCNxPTR " %4s", &begin, &end, flags) != 3) continue;
    if (flags[0] != 'r' || flags[1] != 'w' || std::strstr(text, "[v") != nullptr) continue;
    if (count < std::size(regions)) regions[count++] = {begin, end};
  }
  std::fclose(maps);
  const Region left_out[] = {
      {reinterpret_cast<std::uintptr_t>(records), reinterpret_cast<std::uintptr_t>(records + 1)},
      {reinterpret_cast<std::uintptr_t>(&searcher), reinterpret_cast<std::uintptr_t>(&searcher + 1)}};
  for (std::size_t i = 0; i < count; ++i) {
    std::uintptr_t begin = regions[i].begin;
    const std::uintptr_t end = regions[i].end;
    while (begin < end) {
      std::uintptr_t stop = end, next = end;
      for (const Region& out : left_out) {
        if (out.begin <= begin && begin < out.end) stop = begin, next = std::min(end, out.end);
      }
      for (const Region& out : left_out) {
        if (stop != begin && begin < out.begin && out.begin < stop) stop = next = out.begin;
      }
      if (stop > begin) searcher.search(reinterpret_cast<void*>(begin), stop - begin, when);
      begin = next;
    }
  }
}

struct Case {
  std::string backend;
  warpkem_algorithm set;
  std::uint32_t threads;
  std::size_t count;
};

std::vector<Case> cases() {
  std::vector<Case> all;
  warpkem_engine* engine = nullptr;
  if (warpkem_engine_new(nullptr, &engine) != WARPKEM_OK) return all;
  warpkem_backend_info info{};
  info.struct_size = sizeof info;
  for (std::size_t i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) {
    if (!info.available) continue;
    for (const warpkem_algorithm set : {WARPKEM_ML_KEM_512, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_1024,
                                        WARPKEM_X25519MLKEM768, WARPKEM_MLKEM768_X25519}) {
      all.push_back({info.name, set, 0, 1});
      all.push_back({info.name, set, 0, 13});
      all.push_back({info.name, set, 2, 40});
    }
  }
  warpkem_engine_free(engine);
  return all;
}

class Wiping : public testing::TestWithParam<Case> {
 protected:
  // The generator of the engine: hands out the records' seeds and m, which are known.
  static int known_random(void* position, std::uint8_t* out, std::size_t bytes) {
    const std::uint8_t*& next = *static_cast<const std::uint8_t**>(position);
    copy_by_bytes(out, next, bytes);
    next += bytes;
    return 0;
  }

  static void SetUpTestSuite() {
    if (records != nullptr) return;
    records = static_cast<Records*>(
        mmap(nullptr, sizeof(Records), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }

  // All items have the same seed and the same m: so s is that of one key in whatever order its items are interleaved.
  void fill() {
    searcher.reset();
    std::uint8_t secrets[96 + 96];
    EVP_Digest(&GetParam().set, sizeof GetParam().set, secrets, nullptr, EVP_sha3_512(), nullptr);
    EVP_Digest(secrets, 64, secrets + 64, nullptr, EVP_sha3_512(), nullptr);
    EVP_Digest(secrets + 64, 64, secrets + 128, nullptr, EVP_sha3_512(), nullptr);
    for (std::size_t i = 0; i < Records::most; ++i) {
      copy_by_bytes(records->seeds + seed_bytes * i, secrets, seed_bytes);
      copy_by_bytes(records->m + m_bytes * i, secrets + 96, m_bytes);
    }
    explicit_bzero(secrets, sizeof secrets);
  }

  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "sanitizers have an allocator of their own";
#endif
    const auto [backend, set, threads, count] = GetParam();
    n = count;
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.backend = GetParam().backend.c_str();
    options.threads = threads;
    options.random = known_random;
    options.random_context = &position;
    ASSERT_EQ(warpkem_engine_new(&options, &engine), WARPKEM_OK);
    algorithm = set;
    seed_bytes = warpkem_size(set, WARPKEM_SIZE_SEED);
    m_bytes = warpkem_size(set, WARPKEM_SIZE_M);
    K_bytes = warpkem_size(set, WARPKEM_SIZE_K);
    format = warpkem_size(set, WARPKEM_SIZE_DK) != 0 ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED;
    ek_bytes = warpkem_size(set, WARPKEM_SIZE_EK);
    dk_bytes = format == WARPKEM_DK_SEED ? seed_bytes : warpkem_size(set, WARPKEM_SIZE_DK);
    c_bytes = warpkem_size(set, WARPKEM_SIZE_C);
    // Threads start now, and functions are bound: both copy the registers, where this test has left its own secrets
    // else.
    searcher.reset();
    memset(records, 0, sizeof *records);
    ASSERT_EQ(keygen_derand(), WARPKEM_OK);
    fill();
    // The right answers, before anything is watched, on an engine whose traces are gone when it is.
    ASSERT_EQ(keygen_derand(), WARPKEM_OK);
    ASSERT_EQ(warpkem_encaps_derand(engine, set, n, in(records->ek, ek_bytes), in(records->m, m_bytes),
                                    out(records->c, c_bytes), out(records->K, K_bytes), nullptr, nullptr),
              WARPKEM_OK);
    const std::uint8_t* material = records->seeds;
    if (seed_bytes == 32) {  // d, z and a scalar come of it
      EVP_MD_CTX* const context = EVP_MD_CTX_new();
      EVP_DigestInit_ex(context, EVP_shake256(), nullptr);
      EVP_DigestUpdate(context, records->seeds, 32);
      EVP_DigestFinalXOF(context, records->expanded, 96);
      EVP_MD_CTX_free(context);
      material = records->expanded;
      searcher.add("seed", records->seeds, 32);
    }
    searcher.add("d", material, 32);
    searcher.add("z", material + 32, 32);
    searcher.add("m", records->m, 32);
    if (is_hybrid()) searcher.add("the scalar of dk", material + 64, 32);
    if (is_hybrid()) searcher.add("the scalar of m", records->m + 32, 32);
    searcher.add("K", records->K, K_bytes);
    if (format == WARPKEM_DK_EXPANDED) {
      searcher.add_s(records->dk, (is_hybrid() ? warpkem_size(WARPKEM_ML_KEM_768, WARPKEM_SIZE_EK) : ek_bytes) - 32);
    }
  }

  void TearDown() override {
    searcher.armed = false;
    searcher.reset();
    warpkem_engine_free(engine);
  }

  warpkem_in in(const std::uint8_t* data, std::size_t record) const { return {data, n * record, 0}; }
  warpkem_out out(std::uint8_t* data, std::size_t record) const { return {data, n * record, 0}; }
  warpkem_status keygen_derand() {
    return warpkem_keygen_derand(engine, algorithm, format, n, in(records->seeds, seed_bytes),
                                 out(records->ek, ek_bytes), out(records->dk, dk_bytes), records->statuses, nullptr);
  }

  // Runs a call with the searcher at every exit of memory, then searches what stays.
  template <class Call>
  void expect_clean(const char* what, Call call) {
    searcher.num_found = 0;
    searcher.armed = true;
    const warpkem_status status = call();
    searcher.armed = false;
    EXPECT_EQ(status, WARPKEM_OK) << what;
    search_all_memory("memory after the call");
    EXPECT_EQ(searcher.num_found, 0u) << what << " leaves " << searcher.found;
  }

  warpkem_engine* engine = nullptr;
  warpkem_algorithm algorithm = 0;
  bool is_hybrid() const { return algorithm > WARPKEM_ML_KEM_1024; }

  std::size_t n = 0, ek_bytes = 0, dk_bytes = 0, c_bytes = 0, seed_bytes = 0, m_bytes = 0, K_bytes = 0;
  std::uint32_t format = WARPKEM_DK_EXPANDED;  // or seed, where there is no other
  const std::uint8_t* position = nullptr;
};

TEST_P(Wiping, NothingSecretIsLeftBehind) {
  Records& r = *records;
  expect_clean("keygen_derand", [&] { return keygen_derand(); });
  expect_clean("keygen", [&] {
    position = r.seeds;
    return warpkem_keygen(engine, algorithm, format, n, out(r.ek, ek_bytes), out(r.dk, dk_bytes), nullptr, nullptr);
  });
  expect_clean("keygen of seeds", [&] {
    position = r.seeds;
    return warpkem_keygen(engine, algorithm, WARPKEM_DK_SEED, n, out(r.ek, ek_bytes), out(r.c, seed_bytes), nullptr,
                          nullptr);
  });
  expect_clean("encaps_derand", [&] {
    return warpkem_encaps_derand(engine, algorithm, n, in(r.ek, ek_bytes), in(r.m, m_bytes), out(r.c, c_bytes),
                                 out(r.K, K_bytes), nullptr, nullptr);
  });
  expect_clean("encaps", [&] {
    position = r.m;
    return warpkem_encaps(engine, algorithm, n, in(r.ek, ek_bytes), out(r.c, c_bytes), out(r.K, K_bytes), nullptr,
                          nullptr);
  });
  expect_clean("decaps", [&] {
    return warpkem_decaps(engine, algorithm, format, n, in(r.dk, dk_bytes), in(r.c, c_bytes), out(r.K_again, K_bytes),
                          nullptr, nullptr);
  });
  EXPECT_EQ(memcmp(r.K, r.K_again, n * K_bytes), 0);
  expect_clean("decaps of seeds", [&] {
    return warpkem_decaps(engine, algorithm, WARPKEM_DK_SEED, n, in(r.seeds, seed_bytes), in(r.c, c_bytes),
                          out(r.K_again, K_bytes), nullptr, nullptr);
  });
  if (format == WARPKEM_DK_EXPANDED) {
    expect_clean("check_dk",
                 [&] { return warpkem_check_dk(engine, algorithm, n, in(r.dk, dk_bytes), nullptr, nullptr); });
  }
  for (const std::uint32_t prepared : {format, std::uint32_t{WARPKEM_DK_SEED}}) {
    expect_clean("prepared keys, after their release", [&] {
      warpkem_keys *dk_set = nullptr, *ek_set = nullptr;
      const warpkem_in dk = prepared == WARPKEM_DK_SEED ? in(r.seeds, seed_bytes) : in(r.dk, dk_bytes);
      warpkem_status status = warpkem_prepare_dk(engine, algorithm, prepared, n, dk, nullptr, nullptr, &dk_set);
      status |= warpkem_decaps_prepared(engine, dk_set, nullptr, n, in(r.c, c_bytes), out(r.K_again, K_bytes), nullptr,
                                        nullptr);
      status |= warpkem_prepare_ek(engine, algorithm, n, in(r.ek, ek_bytes), nullptr, nullptr, &ek_set);
      status |= warpkem_encaps_prepared_derand(engine, ek_set, nullptr, n, in(r.m, m_bytes), out(r.c, c_bytes),
                                               out(r.K, K_bytes), nullptr, nullptr);
      warpkem_keys_release(dk_set);
      warpkem_keys_release(ek_set);
      return status;
    });
  }
  const warpkem_in keys{r.K, n * K_bytes, K_bytes}, nonce{r.ek, 12, WARPKEM_ONE_FOR_ALL}, none{};
  expect_clean("aes256_gcm_seal", [&] {
    return warpkem_aes256_gcm_seal(engine, n, keys, nonce, none, 0, {r.m, n * m_bytes, m_bytes}, 32, out(r.dk, 48));
  });
  expect_clean("aes256_gcm_open", [&] {
    return warpkem_aes256_gcm_open(engine, n, keys, nonce, none, 0, in(r.dk, 48), 32, out(r.K_again, 32), nullptr,
                                   nullptr);
  });
  expect_clean("engine_free", [&] {
    warpkem_engine_free(engine);
    engine = nullptr;
    return WARPKEM_OK;
  });
}

TEST_P(Wiping, RandomnessThatWasDrawnAheadIsWipedAsItIsHandedOut) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = GetParam().backend.c_str();
  options.threads = GetParam().threads;
  warpkem_engine* own = nullptr;
  ASSERT_EQ(warpkem_engine_new(&options, &own), WARPKEM_OK);
  Records& r = *records;
  searcher.reset();
  ASSERT_EQ(warpkem_keygen(own, algorithm, WARPKEM_DK_SEED, n, out(r.ek, ek_bytes), out(r.seeds, seed_bytes), nullptr,
                           nullptr),
            WARPKEM_OK);
  for (std::size_t i = 0; i < n; ++i) searcher.add("a seed", r.seeds + seed_bytes * i, seed_bytes);
  search_all_memory("memory after keygen");
  EXPECT_EQ(searcher.num_found, 0u) << searcher.found;
  expect_clean("engine_free", [&] { return warpkem_engine_free(own), WARPKEM_OK; });
}

INSTANTIATE_TEST_SUITE_P(Every, Wiping, testing::ValuesIn(cases()), [](const auto& test) {
  return test.param.backend + "_" + std::to_string(256 * (test.param.set + 1)) + "_" +
         std::to_string(test.param.count) + "_items_" + std::to_string(test.param.threads) + "_threads";
});

// The search finds what is planted, each in its place.
class Planted : public Wiping {};

[[gnu::noinline]] void leave_on_the_stack(const std::uint8_t* secret) {
  std::uint8_t copy[8000];  // large, so that the search itself does not write over it
  copy_by_bytes(copy + 100, secret, 32);
  asm volatile("" : : "r"(copy) : "memory");
}

TEST_P(Planted, SecretsAreFound) {
  const auto expect_found = [](const char* what, const char* where) {
    EXPECT_GT(searcher.num_found, 0u) << what << " in " << where << " is not found";
    if (searcher.num_found != 0) {
      EXPECT_NE(std::string(searcher.found).find(what), std::string::npos) << searcher.found;
      EXPECT_NE(std::string(searcher.found).find(where), std::string::npos) << searcher.found;
    }
    searcher.num_found = 0;
  };
  const struct {
    const char* name;
    const std::uint8_t* bytes;
  } secrets[] = {{"d", records->seeds},
                 {"z", records->seeds + 32},
                 {"m", records->m},
                 {"K", records->K},
                 {"encoded s", records->dk}};
  for (const auto& [name, bytes] : secrets) {
    void* block = malloc(1000);
    memcpy(static_cast<std::uint8_t*>(block) + 333, bytes, 32);
    searcher.armed = true;
    free(block);
    searcher.armed = false;
    expect_found(name, "a freed block");
  }
  // Expanded, in a strange order, multiplied by R and off by a multiple of q.
  std::vector<std::int16_t> numbers(256);
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t at = (i * 37 + 11) % 256;
    const std::uint8_t* three = records->dk + at / 2 * 3;
    const int f = at % 2 == 0 ? three[0] | (three[1] & 15) << 8 : three[1] >> 4 | three[2] << 4;
    numbers[i] = static_cast<std::int16_t>(f * (65536 % q) % q - (i % 3) * q);
  }
  search_all_memory("memory");
  expect_found("expanded s", "memory");
  explicit_bzero(numbers.data(), 512);
  for (std::size_t i = 0; i < 256; ++i) numbers[i] = static_cast<std::int16_t>(records->seeds[i] % 4 - 1);
  search_all_memory("memory");
  expect_found("noise", "memory");
  explicit_bzero(numbers.data(), 512);

  void* mapping = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(static_cast<std::uint8_t*>(mapping) + 5000, records->K + 16, 16);
  searcher.armed = true;
  munmap(mapping, 8192);
  searcher.armed = false;
  expect_found("K", "a mapping given back");

  leave_on_the_stack(records->m);
  search_all_memory("memory");
  expect_found("m", "memory");
  leave_on_the_stack(records->c);
  std::thread([] { leave_on_the_stack(records->m); }).join();  // the stack is kept for the next thread
  search_all_memory("memory");
  expect_found("m", "memory");
  std::thread([] { leave_on_the_stack(records->c); }).join();
  search_all_memory("memory");
  EXPECT_EQ(searcher.num_found, 0u) << searcher.found;
}

INSTANTIATE_TEST_SUITE_P(Once, Planted, testing::Values(Case{"portable", WARPKEM_ML_KEM_1024, 0, 3}),
                         [](const auto&) { return "search"; });

}  // namespace
