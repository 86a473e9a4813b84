// The engine's own randomness at the two ends of a process: OpenSSL that cannot start, and OpenSSL that is gone. Every
// case runs in a child, for OpenSSL starts and ends once in a process.
#include "host/core/random.hpp"

#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "warpkem/warpkem.h"

namespace {

std::atomic<long> allocations{0}, first_to_fail{-1}, last_to_fail{-1};

}  // namespace

#ifndef WARPKEM_SANITIZED
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);

static bool fails() {
  if (first_to_fail.load(std::memory_order_relaxed) < 0) return false;
  const long number = allocations.fetch_add(1);
  if (number < first_to_fail || number > last_to_fail) return false;
  errno = ENOMEM;
  return true;
}
void* malloc(size_t bytes) { return fails() ? nullptr : __libc_malloc(bytes); }
void* calloc(size_t n, size_t bytes) { return fails() ? nullptr : __libc_calloc(n, bytes); }
void* realloc(void* old, size_t bytes) { return fails() ? nullptr : __libc_realloc(old, bytes); }
}
#endif

namespace {

constexpr warpkem_algorithm set = WARPKEM_ML_KEM_512;
constexpr std::size_t ek_bytes = 800, dk_bytes = 1632;

bool long_tests() {
  const char* const value = getenv("WARPKEM_LONG_TESTS");
  return value != nullptr && std::string(value) == "1";
}

// Rounds of a race. A fork is slow under ThreadSanitizer, which needs no unlucky moment to see a race.
int rounds_of_race(int usual) {
#ifdef WARPKEM_SANITIZED
  usual /= 4;
#endif
  return long_tests() ? 500 : usual;
}

// Runs `body` in a child, which must end within a minute; its exit status, above 1000 the signal that ended it.
int in_child(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    exit(body());  // with all handlers of the end
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

warpkem_status make(warpkem_engine** engine, std::uint32_t threads = 1, const char* backend = "portable") {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend;
  options.threads = threads;
  return warpkem_engine_new(&options, engine);
}

// Makes a key pair. OK with one, or RNG_FAILED and zeros; anything else is wrong.
bool keygen_is_sound(warpkem_engine* engine, warpkem_status& status) {
  std::vector<std::uint8_t> ek(ek_bytes, 7), dk(dk_bytes, 7);
  status = warpkem_keygen(engine, set, 0, 1, {ek.data(), ek.size(), 0}, {dk.data(), dk.size(), 0}, nullptr, nullptr);
  const auto is_zero = [](const auto& bytes) { return std::ranges::all_of(bytes, [](auto b) { return b == 0; }); };
  if (status == WARPKEM_RNG_FAILED) return is_zero(ek) && is_zero(dk);
  return status == WARPKEM_OK && !is_zero(ek) && !is_zero(dk) &&
         std::equal(ek.begin(), ek.end(), dk.begin() + 768);  // dk is dk_PKE || ek || H(ek) || z
}

// ---- OpenSSL that cannot start

int engine_under(const std::string& configuration) {
  const auto file = std::filesystem::temp_directory_path() / ("warpkem-openssl-" + std::to_string(getpid()) + ".cnf");
  std::ofstream(file) << configuration;
  const int result = in_child([&] {
    setenv("OPENSSL_CONF", file.c_str(), 1);
    warpkem_engine* engine = nullptr;
    const warpkem_status status = make(&engine);
    if (status == WARPKEM_OK) {
      warpkem_status answer;
      const bool sound = keygen_is_sound(engine, answer) && answer == WARPKEM_OK;
      warpkem_engine_free(engine);
      return sound ? 0 : 50;
    }
    if (engine != nullptr) return 51;
    if (std::strstr(warpkem_last_error(), "no random generator") == nullptr) return 52;
    if (std::strstr(warpkem_last_error(), "default provider") == nullptr) return 53;
    if (ERR_peek_error() != 0) return 54;  // the queue is the program's
    // With the caller's own function nobody asks OpenSSL.
    warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
    options.random = [](void*, std::uint8_t* out, std::size_t bytes) { return std::memset(out, 5, bytes), 0; };
    if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return 55;
    warpkem_engine_free(engine);
    return static_cast<int>(status);
  });
  std::filesystem::remove(file);
  return result;
}

std::string only_provider(const std::string& name) {
  return "openssl_conf = init\n[init]\nproviders = list\n[list]\n" + name + " = it\n[it]\nactivate = 1\n";
}

TEST(OpensslStart, WithoutAGeneratorThereIsNoEngineAndTheTextSaysWhy) {
  EXPECT_EQ(engine_under(only_provider("null")), static_cast<int>(WARPKEM_RNG_FAILED));
  EXPECT_EQ(engine_under(only_provider("base")), static_cast<int>(WARPKEM_RNG_FAILED));
  EXPECT_EQ(engine_under(only_provider("there-is-no-such-provider")), static_cast<int>(WARPKEM_RNG_FAILED));
  EXPECT_EQ(engine_under("openssl_conf = init\n[init]\nrandom = it\n[it]\nrandom = NO-SUCH-DRBG\n"),
            static_cast<int>(WARPKEM_RNG_FAILED));
}

TEST(OpensslStart, OtherConfigurationsServe) {
  EXPECT_EQ(engine_under(""), 0);
  EXPECT_EQ(engine_under(only_provider("default")), 0);
  EXPECT_EQ(engine_under("openssl_conf = init\n[init]\nrandom = it\n[it]\nrandom = HASH-DRBG\ndigest = SHA512\n"), 0);
  EXPECT_EQ(engine_under("this is no configuration"), 0);
}

TEST(OpensslStart, SurvivesEveryAllocationThatFails) {
#ifdef WARPKEM_SANITIZED
  GTEST_SKIP() << "sanitizers bring an allocator of their own";
#endif
  // 200: an engine, 201: one, and nothing failed before it.
  const auto with_failure = [](long first, long many) {
    return in_child([&] {
      static_cast<void>(warpkem_last_error());
      warpkem_engine* engine = nullptr;
      allocations = 0;
      last_to_fail = first + many - 1;
      first_to_fail = first;
      const warpkem_status status = make(&engine);
      warpkem_status answer = WARPKEM_OK;
      const bool reached = allocations > first;
      if (status == WARPKEM_OK) {
        first_to_fail = -1;
        if (!keygen_is_sound(engine, answer)) return 50;
        warpkem_engine_free(engine);
        return reached ? 200 : 201;
      }
      first_to_fail = -1;
      return engine != nullptr ? 51 : static_cast<int>(status);
    });
  };
  long number = 0;
  constexpr long dense = 150, stride = 31;  // OpenSSL's own context is made first
  for (;; number += number < dense || long_tests() ? 1 : stride) {
    const int one = with_failure(number, 1);
    if (one == 201) break;
    // Where the default provider could not be activated it looks like one that was not to be.
    EXPECT_TRUE(one == 200 || one == static_cast<int>(WARPKEM_OUT_OF_MEMORY) ||
                one == static_cast<int>(WARPKEM_RNG_FAILED))
        << "allocation " << number << " fails: " << one;
    const int some = with_failure(number, 5);
    EXPECT_TRUE(some == 200 || some == static_cast<int>(WARPKEM_OUT_OF_MEMORY) ||
                some == static_cast<int>(WARPKEM_RNG_FAILED))
        << "allocations from " << number << " on fail: " << some;
    ASSERT_LT(number, 100'000);
  }
  EXPECT_GT(number, dense) << "OpenSSL's start allocates more";
}

// ---- OpenSSL that is gone

TEST(Exit, FindsThreadsThatDrawAndWaitsForThem) {
  const int rounds = rounds_of_race(60);
  for (int round = 0; round < rounds; ++round) {
    ASSERT_EQ(in_child([&] {
                auto& random = *new warpkem::host::Random(nullptr, nullptr);
                auto& drawn = *new std::atomic<int>{0};
                for (int t = 0; t < 4; ++t) {
                  std::thread([&] {
                    std::vector<std::uint8_t> bytes(40'000);
                    for (;; ++drawn) random.fill(bytes.data(), bytes.size());
                  }).detach();
                }
                while (drawn < 4 + round % 7) std::this_thread::yield();
                return 0;
              }),
              0)
        << "round " << round;
  }
}

TEST(Exit, WithRequestsInFlight) {
  const int rounds = rounds_of_race(40);
  for (int round = 0; round < rounds; ++round) {
    ASSERT_EQ(in_child([&] {
                warpkem_engine* engine = nullptr;
                if (make(&engine, 2, "auto") != WARPKEM_OK) return 50;
                constexpr std::size_t num = 400;
                static auto& ek = *new std::vector<std::uint8_t>(num * ek_bytes);  // reachable until the end
                static auto& dk = *new std::vector<std::uint8_t>(num * dk_bytes);
                static std::atomic<int> done;
                warpkem_submit_options options{};
                options.struct_size = sizeof options;
                options.callback = [](void*, const warpkem_completion*) { ++done; };
                for (std::size_t i = 0; i < num; ++i) {
                  warpkem_batch batch{};
                  batch.struct_size = sizeof batch;
                  batch.operation = WARPKEM_OP_KEYGEN;
                  batch.algorithm = set;
                  batch.count = 1;
                  batch.ek_out = {&ek[i * ek_bytes], ek_bytes, 0, nullptr};
                  batch.dk_out = {&dk[i * dk_bytes], dk_bytes, 0, nullptr};
                  if (warpkem_submit(engine, &batch, 1, &options, nullptr, nullptr) != WARPKEM_OK) return 51;
                }
                std::thread([engine] {
                  warpkem_status status;
                  while (keygen_is_sound(engine, status)) continue;
                  _exit(52);
                }).detach();
                while (done < round * 5) std::this_thread::yield();
                return 0;
              }),
              0)
        << "round " << round;
  }
}

warpkem_engine* late_engine;

// In handlers of the end: an engine that was, and a new one.
void use_late() {
  warpkem_status status;
  if (!keygen_is_sound(late_engine, status)) _exit(60);
  const std::size_t many = 1500;
  std::vector<std::uint8_t> ek(many * ek_bytes), dk(many * dk_bytes);
  status =
      warpkem_keygen(late_engine, set, 0, many, {ek.data(), ek.size(), 0}, {dk.data(), dk.size(), 0}, nullptr, nullptr);
  if (status != WARPKEM_OK && status != WARPKEM_RNG_FAILED) _exit(61);
  warpkem_engine* fresh = nullptr;
  if (make(&fresh) != WARPKEM_OK) _exit(62);
  if (!keygen_is_sound(fresh, status) || status != WARPKEM_OK) _exit(63);
  warpkem_engine_free(fresh);
  warpkem_engine_free(late_engine);
}

TEST(Exit, LateCallsAnswer) {
  for (const bool registered_first : {true, false}) {
    for (const bool used : {true, false}) {
      for (const bool cleaned_up : {true, false}) {
        for (const bool program_began : {true, false}) {
          EXPECT_EQ(in_child([&] {
                      if (program_began) OPENSSL_init_crypto(0, nullptr);
                      if (registered_first) atexit(use_late);
                      if (make(&late_engine) != WARPKEM_OK) return 50;
                      if (!registered_first) atexit(use_late);
                      warpkem_status status;
                      if (used && (!keygen_is_sound(late_engine, status) || status != WARPKEM_OK)) return 51;
                      if (cleaned_up) OPENSSL_cleanup();
                      return 0;
                    }),
                    0)
              << registered_first << used << cleaned_up << program_began;
        }
      }
    }
  }
}

TEST(Exit, AnEngineMayBeMadeWhenOpensslIsGone) {
  EXPECT_EQ(in_child([] {
              OPENSSL_init_crypto(0, nullptr);
              OPENSSL_cleanup();
              if (make(&late_engine) != WARPKEM_OK) return 50;
              use_late();
              return 0;
            }),
            0);
}

}  // namespace
