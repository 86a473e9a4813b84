// How much of its caller's stack each public call takes: at most 16 KiB, for some callers run on fibres. The stack of a
// thread is painted; what the call painted over it used. Everything is measured at its first use, too, when threads,
// randomness and lazily bound functions come in.
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <warpkem/warpkem.h>

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

namespace {

constexpr std::size_t stack_bytes = 1 << 20, limit = 16 * 1024;
constexpr std::uint8_t paint = 0xb7;

struct Used {
  std::size_t by_body, until_the_end_of_its_thread;
};

struct Thread {
  const std::function<void()>* body;
  std::uint8_t* stack;
  std::uint8_t* frame;
  Used used;
};

std::size_t used_below(const std::uint8_t* frame, const volatile std::uint8_t* stack) {
  while (*stack == paint) ++stack;
  return static_cast<std::size_t>(frame - stack);
}

// Paints and looks just before and just after the call: what the C library does at the start and the end of a thread
// differs from version to version, and is no call's.
[[gnu::noinline]] void* start(void* argument) {
  auto& thread = *static_cast<Thread*>(argument);
  thread.frame = static_cast<std::uint8_t*>(__builtin_frame_address(0));
  constexpr std::size_t own = 256;  // what this function itself may have below its frame
  for (volatile std::uint8_t* byte = thread.stack; byte < thread.frame - own; ++byte) *byte = paint;
  (*thread.body)();
  thread.used.by_body = used_below(thread.frame, thread.stack);
  return nullptr;
}

// Bytes of stack that `body` takes below its caller's frame, and all that its thread had taken there by its end.
Used stack_of(const std::function<void()>& body) {
  auto* const stack = static_cast<std::uint8_t*>(
      mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstack(&attributes, stack, stack_bytes);
  Thread thread{&body, stack, nullptr, {}};
  pthread_t id;
  EXPECT_EQ(pthread_create(&id, &attributes, start, &thread), 0);
  pthread_join(id, nullptr);
  thread.used.until_the_end_of_its_thread = used_below(thread.frame, stack);
  munmap(stack, stack_bytes);
  pthread_attr_destroy(&attributes);
  return thread.used;
}

std::vector<std::string> backends() {
  warpkem_engine* engine = nullptr;
  EXPECT_EQ(warpkem_engine_new(nullptr, &engine), WARPKEM_OK);
  std::vector<std::string> names;
  warpkem_backend_info info{};
  info.struct_size = sizeof info;
  for (std::size_t i = 0; warpkem_engine_backend(engine, i, &info) == WARPKEM_OK; ++i) {
    if (info.available) names.emplace_back(info.name);
  }
  warpkem_engine_free(engine);
  return names;
}

TEST(Stack, OfThisMeasurementIsSmall) {
#ifdef WARPKEM_SANITIZED
  GTEST_SKIP() << "sanitizers use the stack as they like";
#endif
  EXPECT_LT(stack_of([] {}).by_body, 1024u);
  EXPECT_GT(stack_of([] {
              volatile char array[20000];
              for (volatile char& c : array) c = 1;
            }).by_body,
            20000u);
}

TEST(Stack, OfEveryCallIsWithinTheLimit) {
#ifdef WARPKEM_SANITIZED
  GTEST_SKIP() << "sanitizers use the stack as they like";
#endif
  using Bytes = std::vector<std::uint8_t>;
  std::size_t most = 0;
  const auto expect_within = [&](const std::string& what, const std::function<warpkem_status()>& call) {
    warpkem_status status = WARPKEM_OK;
    const auto [used, until_the_end] = stack_of([&] { status = call(); });
    EXPECT_EQ(status, WARPKEM_OK) << what << ": " << warpkem_status_name(status);
    EXPECT_LE(used, limit) << what;
    EXPECT_LE(until_the_end, limit) << what << ", and the end of its thread";
    if (used > most) {
      most = used;
      std::printf("%-60s %6zu bytes\n", what.c_str(), used);
    }
  };
  const std::vector<std::string> names = backends();
  for (const std::string& name : names) {
    for (const warpkem_algorithm set : {WARPKEM_ML_KEM_1024, WARPKEM_ML_KEM_768, WARPKEM_ML_KEM_512,
                                        WARPKEM_X25519MLKEM768, WARPKEM_MLKEM768_X25519, WARPKEM_MLKEM768_P256}) {
      for (const std::uint32_t threads : {0u, 2u}) {
        for (const std::size_t n : {std::size_t{1}, std::size_t{3}, std::size_t{70}}) {
          if (set == WARPKEM_MLKEM768_P256 && n == 70) continue;  // slow, and no different
          const std::string where = name + ", " + warpkem_algorithm_name(set) + ", " + std::to_string(n) + " items, ";
          const std::size_t ek_bytes = warpkem_size(set, WARPKEM_SIZE_EK), c_bytes = warpkem_size(set, WARPKEM_SIZE_C),
                            seed_bytes = warpkem_size(set, WARPKEM_SIZE_SEED);
          const std::uint32_t format = warpkem_size(set, WARPKEM_SIZE_DK) != 0 ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED;
          const std::size_t dk_bytes = format == WARPKEM_DK_SEED ? seed_bytes : warpkem_size(set, WARPKEM_SIZE_DK);
          Bytes seeds(n * seed_bytes, 3), m(n * warpkem_size(set, WARPKEM_SIZE_M), 4), ek(n * ek_bytes),
              dk(n * dk_bytes), c(n * c_bytes), K(n * warpkem_size(set, WARPKEM_SIZE_K));
          const auto in = [](const Bytes& b) { return warpkem_in{b.data(), b.size(), 0}; };
          const auto out = [](Bytes& b) { return warpkem_out{b.data(), b.size(), 0}; };
          warpkem_engine* e = nullptr;
          warpkem_keys *ek_set = nullptr, *dk_set = nullptr;
          expect_within(where + "engine_new", [&] {
            warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
            options.backend = name.c_str();
            options.threads = threads;
            return warpkem_engine_new(&options, &e);
          });
          ASSERT_NE(e, nullptr);
          for (int use = 0; use < 2; ++use) {  // the first, and the next
            expect_within(where + "keygen",
                          [&] { return warpkem_keygen(e, set, format, n, out(ek), out(dk), nullptr, nullptr); });
            expect_within(where + "keygen_derand", [&] {
              return warpkem_keygen_derand(e, set, format, n, in(seeds), out(ek), out(dk), nullptr, nullptr);
            });
            expect_within(where + "encaps",
                          [&] { return warpkem_encaps(e, set, n, in(ek), out(c), out(K), nullptr, nullptr); });
            expect_within(where + "encaps_derand", [&] {
              return warpkem_encaps_derand(e, set, n, in(ek), in(m), out(c), out(K), nullptr, nullptr);
            });
            expect_within(where + "decaps",
                          [&] { return warpkem_decaps(e, set, format, n, in(dk), in(c), out(K), nullptr, nullptr); });
            expect_within(where + "decaps of seeds", [&] {
              return warpkem_decaps(e, set, WARPKEM_DK_SEED, n, in(seeds), in(c), out(K), nullptr, nullptr);
            });
            expect_within(where + "check_ek", [&] { return warpkem_check_ek(e, set, n, in(ek), nullptr, nullptr); });
            if (format == WARPKEM_DK_EXPANDED) {
              expect_within(where + "check_dk", [&] { return warpkem_check_dk(e, set, n, in(dk), nullptr, nullptr); });
            }
            expect_within(where + "prepare_ek",
                          [&] { return warpkem_prepare_ek(e, set, n, in(ek), nullptr, nullptr, &ek_set); });
            expect_within(where + "prepare_dk", [&] {
              return warpkem_prepare_dk(e, set, WARPKEM_DK_SEED, n, in(seeds), nullptr, nullptr, &dk_set);
            });
            expect_within(where + "encaps_prepared", [&] {
              return warpkem_encaps_prepared(e, ek_set, nullptr, n, out(c), out(K), nullptr, nullptr);
            });
            expect_within(where + "decaps_prepared", [&] {
              return warpkem_decaps_prepared(e, dk_set, nullptr, n, in(c), out(K), nullptr, nullptr);
            });
            expect_within(where + "keys_release",
                          [&] { return warpkem_keys_release(ek_set), warpkem_keys_release(dk_set), WARPKEM_OK; });
          }
          if (n == 1 && threads == 0)
            expect_within(where + "selftest", [&] { return warpkem_selftest(e, name.c_str()); });
          expect_within(where + "engine_free", [&] { return warpkem_engine_free(e), WARPKEM_OK; });
        }
      }
    }
  }
  std::printf("the most that any call took: %zu bytes\n", most);
}

}  // namespace
