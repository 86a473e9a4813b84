// The pool of key shares, and the counters: every key once, under threads and forks.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <shared_mutex>
#include <sstream>
#include <thread>

#include "evp.hpp"

namespace {

using evp::errors;
using evp::Key;
using evp::octets;

// Under ThreadSanitizer a child of a process with threads must not start one.
#ifdef __SANITIZE_THREAD__
constexpr bool forks = false;
#else
constexpr bool forks = true;
#endif

bool is_long() { return getenv("WARPKEM_LONG_TESTS") != nullptr; }

std::size_t num_threads() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/task"), {}));
}

// Eight bytes of a public key, which are as good as random, tell it from all others.
std::uint64_t mark_of(const Key& key) {
  std::uint64_t mark = 0;
  std::uint8_t ek[1216];
  std::size_t bytes = 0;
  EXPECT_EQ(EVP_PKEY_get_octet_string_param(key.get(), "pub", ek, sizeof ek, &bytes), 1);
  std::memcpy(&mark, ek, sizeof mark);
  return mark;
}

class Pool : public testing::Test {
 protected:
  void load(const std::string& settings) {
    file = std::filesystem::path(testing::TempDir()) / ("statistics-" + std::to_string(getpid()));
    library = evp::load(settings + "\nstatistics_file = " + (file / "%p").string());
    std::filesystem::create_directories(file);
    ASSERT_TRUE(library) << errors();
  }
  void TearDown() override {
    library.reset();
    std::filesystem::remove_all(file);
  }
  // Of a line of this process's file, which is written when the provider goes.
  std::uint64_t counted(const std::string& line) {
    library.reset();
    std::ifstream text(file / std::to_string(getpid()));
    for (std::string one; std::getline(text, one);) {
      if (one.starts_with(line + " ")) return std::stoull(one.substr(line.size()));
    }
    ADD_FAILURE() << "no line " << line;
    return 0;
  }
  std::uint64_t counted_in_pool(const char* algorithm, const char* event) {
    return counted(std::string("warpkem_provider_pool_keys_total{algorithm=\"") + algorithm + "\",event=\"" + event +
                   "\"}");
  }
  // Until the thread has made some.
  void wait_for_keys(const char* algorithm) {
    for (int i = 0; i < 50; ++i) {
      EXPECT_TRUE(evp::generate(library.get(), algorithm));
      std::this_thread::sleep_for(std::chrono::milliseconds(4));
    }
  }

  evp::LibraryContext library;
  std::filesystem::path file;
};

TEST_F(Pool, StartsItsThreadWithTheFirstKey) {
  std::jthread([] {}).join();  // a sanitizer starts one of its own with the first
  const std::size_t before = num_threads();
  load("pool_size = 16");
  EXPECT_EQ(num_threads(), before);
  const Key key = evp::generate(library.get(), "X25519MLKEM768");
  EXPECT_EQ(num_threads(), before + 1);
  const evp::Sent sent = evp::encapsulate(library.get(), key);
  EXPECT_EQ(evp::decapsulate(library.get(), key, sent.c), sent.K);
}

TEST_F(Pool, KeysOfEveryAlgorithmWorkAndComeFromIt) {
  load("pool_size = 40");
  for (const char* name : {"ML-KEM-512", "ML-KEM-768", "ML-KEM-1024", "X25519MLKEM768", "SecP256r1MLKEM768",
                           "SecP384r1MLKEM1024", "MLKEM768-X25519"}) {
    SCOPED_TRACE(name);
    wait_for_keys(name);
    for (int i = 0; i < 5; ++i) {
      const Key key = evp::generate(library.get(), name);
      const evp::Sent sent = evp::encapsulate(library.get(), key);
      EXPECT_EQ(evp::decapsulate(library.get(), key, sent.c), sent.K) << errors();
      if (std::string(name).starts_with("ML-KEM")) {
        EXPECT_EQ(octets(evp::import(library.get(), name, {}, {}, octets(key, "seed")), "priv"), octets(key, "priv"));
      }
    }
  }
  for (const char* name : {"ML-KEM-512", "X25519MLKEM768", "MLKEM768-X25519"}) {
    EXPECT_GT(counted_in_pool(name, "taken"), 0u) << name;
  }
}

std::size_t resident_kib() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6));
  }
  return 0;
}

// A program's threads may be stopped between two keys, for a fork: else OpenSSL's own locks may stay locked in the
// child.
class Gate {
 public:
  std::shared_lock<std::shared_mutex> pass() {
    while (is_closed_) std::this_thread::yield();
    return std::shared_lock(mutex_);
  }
  pid_t fork_behind() {
    is_closed_ = true;
    const std::unique_lock lock(mutex_);
    const pid_t child = fork();
    is_closed_ = false;
    return child;
  }

 private:
  std::atomic<bool> is_closed_{false};
  std::shared_mutex mutex_;
};

// Of keys that a forked child takes; empty where the child fails.
std::vector<std::uint64_t> marks_of_child(OSSL_LIB_CTX* library, Gate& gate) {
  constexpr std::size_t count = 400;
  int pipes[2];
  if (pipe(pipes) != 0) return {};
  const pid_t pid = gate.fork_behind();
  std::vector<std::uint64_t> marks(count);
  char* const octets = reinterpret_cast<char*>(marks.data());
  const std::size_t all = count * sizeof(std::uint64_t);
  if (pid == 0) {
    alarm(120);
    for (std::uint64_t& mark : marks) mark = mark_of(evp::generate(library, "ML-KEM-512"));
    const bool is_sent = write(pipes[1], octets, all) == static_cast<ssize_t>(all);
    _exit(is_sent && !testing::Test::HasFailure() ? 0 : 1);
  }
  close(pipes[1]);
  std::size_t got = 0;
  for (ssize_t now = 0; (now = read(pipes[0], octets + got, all - got)) > 0;) got += static_cast<std::size_t>(now);
  close(pipes[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0 || got != all) return {};
  return marks;
}

TEST_F(Pool, EveryKeyLeavesItOnceUnderThreadsAndForks) {
  load("pool_size = 256");
  constexpr std::size_t threads = 8;
  const std::size_t each = (is_long() ? 10'000'000 : 40'000) / threads, children = !forks ? 0 : is_long() ? 400 : 8;
  std::vector<std::vector<std::uint64_t>> of_threads(threads, std::vector<std::uint64_t>(each));
  std::vector<std::uint64_t> marks;
  marks.reserve(children * 2 * 400 * 2);
  Gate gate;
  std::atomic<std::size_t> taken_by_threads{0};
  const auto wait_for = [&](std::size_t taken) {
    while (taken_by_threads < taken) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  std::vector<std::jthread> workers;
  for (std::vector<std::uint64_t>& own : of_threads) {
    workers.emplace_back([&] {
      for (std::uint64_t& mark : own) {
        const std::shared_lock passed = gate.pass();
        mark = mark_of(evp::generate(library.get(), "ML-KEM-512"));
        ++taken_by_threads;
      }
    });
  }
  // Children of the process amid its threads' work.
  wait_for(each);
  const std::size_t resident = resident_kib();
  for (std::size_t child = 0; child < children; ++child) {
    wait_for(each + (threads - 1) * each * child / children);
    const std::vector<std::uint64_t> of_child = marks_of_child(library.get(), gate);
    ASSERT_FALSE(of_child.empty()) << "child " << child;
    marks.insert(marks.end(), of_child.begin(), of_child.end());
  }
  workers.clear();
#ifndef WARPKEM_SANITIZED
  EXPECT_LT(resident_kib(), resident + 4096);
#endif
  // And of one whose pool is full.
  for (std::size_t child = 0; child < children / 8; ++child) {
    wait_for_keys("ML-KEM-512");
    const std::vector<std::uint64_t> of_child = marks_of_child(library.get(), gate);
    ASSERT_FALSE(of_child.empty()) << "child " << child;
    marks.insert(marks.end(), of_child.begin(), of_child.end());
    for (std::size_t n = 0; n < of_child.size(); ++n)
      marks.push_back(mark_of(evp::generate(library.get(), "ML-KEM-512")));
  }
  for (const std::vector<std::uint64_t>& own : of_threads) marks.insert(marks.end(), own.begin(), own.end());
  std::ranges::sort(marks);
  EXPECT_EQ(std::ranges::adjacent_find(marks), marks.end());
  // None was lost: what was made was taken, grew old, or is there.
  const std::uint64_t made = counted_in_pool("ML-KEM-512", "made"), taken = counted_in_pool("ML-KEM-512", "taken");
  const std::uint64_t expired = counted_in_pool("ML-KEM-512", "expired");
  EXPECT_EQ(made, taken + expired + counted("warpkem_provider_pool_keys{algorithm=\"ML-KEM-512\"}"));
  EXPECT_GT(taken, marks.size() / 20);
}

TEST_F(Pool, ForksAmidItsThreadsWorkLeaveTheChildUsable) {
  if (!forks) GTEST_SKIP() << "not under ThreadSanitizer";
  load("pool_size = 1000");
  for (int i = 0; i < (is_long() ? 2000 : 100); ++i) {
    for (int n = 0; n < 60; ++n) ASSERT_TRUE(evp::generate(library.get(), "ML-KEM-512"));
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(60);
      bool is_good = true;
      for (int n = 0; n < 60; ++n) is_good = is_good && evp::generate(library.get(), "ML-KEM-512") != nullptr;
      _exit(is_good ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    ASSERT_EQ(status, 0);
  }
}

TEST_F(Pool, OldKeysAreNotUsedAndIdleOnesNotReplaced) {
  load("pool_size = 20\npool_seconds = 1");
  wait_for_keys("X25519MLKEM768");
  std::this_thread::sleep_for(std::chrono::milliseconds(4500));
  EXPECT_GT(counted_in_pool("X25519MLKEM768", "expired"), 0u);
  EXPECT_EQ(counted("warpkem_provider_pool_keys{algorithm=\"X25519MLKEM768\"}"), 0u);
}

TEST_F(Pool, MemoryStaysFlat) {
  load("pool_size = 256");
  const auto take = [&](int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(evp::generate(library.get(), "ML-KEM-512"));
  };
  take(5000);
  const std::size_t before = resident_kib();
  take(is_long() ? 1'000'000 : 20'000);
#ifdef WARPKEM_SANITIZED
  GTEST_SKIP() << "a sanitizer keeps what was freed";
#endif
  EXPECT_LT(resident_kib(), before + 2048);
}

TEST_F(Pool, AnEmptyPoolMakesOneKey) {
  load("pool_size = 1");
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(evp::generate(library.get(), "ML-KEM-768")) << errors();
  EXPECT_GT(counted_in_pool("ML-KEM-768", "missed"), 0u);
}

TEST_F(Pool, UnloadingEndsItsThread) {
  const std::size_t before = num_threads();
  load("pool_size = 64");
  EXPECT_TRUE(evp::generate(library.get(), "ML-KEM-768"));
  library.reset();
  EXPECT_EQ(num_threads(), before);
}

// A process ends while the thread makes keys: whether by exit(), by OPENSSL_cleanup() or without the library context.
TEST(PoolAtTheEnd, IsFineAmidItsWork) {
  if (!forks) GTEST_SKIP() << "not under ThreadSanitizer";
  const std::filesystem::path configuration =
      std::filesystem::path(testing::TempDir()) / ("pool-" + std::to_string(getpid()) + ".cnf");
  std::ofstream(configuration) << "openssl_conf = all\n[all]\nproviders = providers\n[providers]\ndefault = standard\n"
                               << "warpkem = ours\n[standard]\nactivate = 1\n[ours]\nactivate = 1\npool_size = 20000\n"
                               << "module = " WARPKEM_MODULES "/warpkem.so\n";
  fflush(stdout);  // else each child writes it once more
  for (int i = 0; i < (is_long() ? 900 : 90); ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(20);
      OSSL_LIB_CTX* const own = i % 3 == 2 ? OSSL_LIB_CTX_new() : nullptr;
      const bool is_good =
          OSSL_LIB_CTX_load_config(own, configuration.c_str()) == 1 && evp::generate(own, "ML-KEM-512");
      std::this_thread::sleep_for(std::chrono::microseconds(2000 + 97 * (i % 90)));
      if (i % 3 == 1) OPENSSL_cleanup();
      OSSL_LIB_CTX_free(own);
      exit(is_good ? 0 : 1);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    ASSERT_EQ(status, 0) << i;
  }
  std::filesystem::remove(configuration);
}

TEST_F(Pool, AParentAndItsChildCountForThemselves) {
  load("pool_size = 0");
  for (int i = 0; i < 7; ++i) EXPECT_TRUE(evp::generate(library.get(), "ML-KEM-768"));
  const pid_t pid = fork();
  if (pid == 0) {
    Key key = evp::generate(library.get(), "ML-KEM-768");
    const evp::Sent sent = evp::encapsulate(library.get(), key);
    evp::decapsulate(library.get(), key, sent.c);
    key.reset();
    library.reset();
    _exit(0);
  }
  waitpid(pid, nullptr, 0);
  std::stringstream of_child;
  of_child << std::ifstream(file / std::to_string(pid)).rdbuf();
  for (const char* operation : {"keygen", "encaps", "decaps"}) {
    const std::string line =
        std::string("warpkem_provider_operations_total{algorithm=\"ML-KEM-768\",operation=\"") + operation;
    EXPECT_NE(of_child.str().find(line + "\"} 1\n"), std::string::npos) << of_child.str();
  }
  EXPECT_EQ(counted("warpkem_provider_operations_total{algorithm=\"ML-KEM-768\",operation=\"keygen\"}"), 7u);
}

}  // namespace
