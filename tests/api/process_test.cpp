// The library in its process: threads, forks, core dumps.
#include <dirent.h>
#include <gtest/gtest.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr warpkem_algorithm set = WARPKEM_ML_KEM_512;
constexpr std::size_t ek_bytes = 800, dk_bytes = 1632, c_bytes = 768, many = 64;

warpkem_engine* make(std::uint32_t threads) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = threads;
  warpkem_engine* engine = nullptr;
  EXPECT_EQ(warpkem_engine_new(&options, &engine), WARPKEM_OK) << warpkem_last_error();
  return engine;
}

// Records of `many` items, and every call on them.
struct Calls {
  Bytes seeds = Bytes(many * 64, 1), m = Bytes(many * 32, 2), ek = Bytes(many * ek_bytes), dk = Bytes(many * dk_bytes),
        c = Bytes(many * c_bytes), K = Bytes(many * 32), statuses = Bytes(many);
  std::size_t failed = 0;

  static warpkem_in in(const Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }
  static warpkem_out out(Bytes& bytes) { return {bytes.data(), bytes.size(), 0}; }

  warpkem_status keygen(warpkem_engine* e, std::size_t n = many) {
    return warpkem_keygen(e, set, 0, n, out(ek), out(dk), statuses.data(), &failed);
  }
  warpkem_status encaps(warpkem_engine* e, std::size_t n = many) {
    return warpkem_encaps(e, set, n, in(ek), out(c), out(K), statuses.data(), &failed);
  }

  // The answers of every call that takes an engine, but warpkem_engine_free().
  std::vector<warpkem_status> all(warpkem_engine* e, warpkem_keys* ek_set, warpkem_keys* dk_set, warpkem_keys** made) {
    warpkem_batch batch{};
    batch.struct_size = sizeof batch;
    batch.operation = WARPKEM_OP_CHECK_EK;
    batch.algorithm = set;
    batch.count = many;
    batch.ek = {ek.data(), ek.size(), 0, nullptr};
    warpkem_backend_info info{};
    info.struct_size = sizeof info;
    return {keygen(e),
            warpkem_keygen_derand(e, set, 0, many, in(seeds), out(ek), out(dk), statuses.data(), &failed),
            encaps(e),
            warpkem_encaps_derand(e, set, many, in(ek), in(m), out(c), out(K), statuses.data(), &failed),
            warpkem_decaps(e, set, 0, many, in(dk), in(c), out(K), statuses.data(), &failed),
            warpkem_check_ek(e, set, many, in(ek), statuses.data(), &failed),
            warpkem_check_dk(e, set, many, in(dk), statuses.data(), &failed),
            warpkem_prepare_ek(e, set, many, in(ek), statuses.data(), &failed, made),
            warpkem_prepare_dk(e, set, 0, many, in(dk), statuses.data(), &failed, made + 1),
            warpkem_encaps_prepared(e, ek_set, nullptr, many, out(c), out(K), statuses.data(), &failed),
            warpkem_encaps_prepared_derand(e, ek_set, nullptr, many, in(m), out(c), out(K), statuses.data(), &failed),
            warpkem_decaps_prepared(e, dk_set, nullptr, many, in(c), out(K), statuses.data(), &failed),
            warpkem_run(e, &batch),
            warpkem_engine_backend(e, 0, &info),
            warpkem_selftest(e, "portable")};
  }
};

std::size_t threads_of_this_process() {
  std::size_t count = 0;
  DIR* folder = opendir("/proc/self/task");
  while (const dirent* entry = readdir(folder)) count += entry->d_name[0] != '.';
  closedir(folder);
  return count;
}

TEST(Threads, StartAtFirstUseAndGoWithTheEngine) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer has threads of its own";
#endif
  const std::size_t before = threads_of_this_process();
  warpkem_engine* engine = make(3);
  EXPECT_EQ(threads_of_this_process(), before) << "made with the engine";
  Calls calls;
  EXPECT_EQ(calls.keygen(engine, 1), WARPKEM_OK);
  EXPECT_EQ(threads_of_this_process(), before) << "one item needs no thread";
  EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
  EXPECT_EQ(threads_of_this_process(), before + 2) << "two beside the caller";
  EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
  EXPECT_EQ(threads_of_this_process(), before + 2);
  warpkem_engine_free(engine);
  EXPECT_EQ(threads_of_this_process(), before);
  for (const std::uint32_t threads : {0u, 1u}) {
    engine = make(threads);
    EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
    EXPECT_EQ(threads_of_this_process(), before) << "none of its own";
    warpkem_engine_free(engine);
  }
}

TEST(Threads, LeaveTheSignalsToTheProgram) {
  warpkem_engine* engine = make(2);
  Calls calls;
  EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
  DIR* folder = opendir("/proc/self/task");
  std::size_t helpers = 0;
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.' || std::stoi(entry->d_name) == getpid()) continue;
    std::ifstream status("/proc/self/task/" + std::string(entry->d_name) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigBlk:", 0) != 0) continue;
      const auto blocked = std::stoull(line.substr(7), nullptr, 16);
      // TSan's own thread and the like block less; a helper blocks SIGINT (2), SIGTERM (15) and SIGCHLD (17).
      helpers += (blocked >> 1 & 1) && (blocked >> 14 & 1) && (blocked >> 16 & 1);
    }
  }
  closedir(folder);
  EXPECT_GE(helpers, 1u);
  warpkem_engine_free(engine);
}

#ifdef __SANITIZE_THREAD__
constexpr int threads_of_a_sanitizer = 1;  // which blocks every signal
#else
constexpr int threads_of_a_sanitizer = 0;
#endif

// How many threads of this process block SIGINT, as an engine's do, and how many of these block each signal of a fault.
std::pair<std::size_t, std::map<int, int>> blocked_by_the_engines_threads() {
  std::size_t threads = 0;
  std::map<int, int> deaf;
  DIR* folder = opendir("/proc/self/task");
  while (const dirent* entry = readdir(folder)) {
    if (entry->d_name[0] == '.' || std::stoi(entry->d_name) == getpid()) continue;
    std::ifstream status("/proc/self/task/" + std::string(entry->d_name) + "/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("SigBlk:", 0) != 0) continue;
      const auto blocked = std::stoull(line.substr(7), nullptr, 16);
      const auto blocks = [&](int signal) { return (blocked >> (signal - 1) & 1) != 0; };
      threads += blocks(SIGINT);
      for (const int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
        deaf[own] += blocks(SIGINT) && blocks(own);  // AddressSanitizer's thread blocks less than the engine's
      }
    }
  }
  closedir(folder);
  return {threads, deaf};
}

// The engine's threads of each kind: helpers of synchronous calls, executors, the timer thread.
TEST(Threads, DoNotBlockTheSignalsOfTheirOwnFaults) {
  warpkem_engine* engine = make(2);
  Calls calls;
  EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
  warpkem_queue* queue = nullptr;
  ASSERT_EQ(warpkem_queue_new(engine, &queue), WARPKEM_OK);
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_CHECK_EK;
  batch.algorithm = set;
  batch.count = many;
  batch.ek = {calls.ek.data(), calls.ek.size(), 0, nullptr};
  warpkem_submit_options options{};
  options.struct_size = sizeof options;
  options.queue = queue;
  ASSERT_EQ(warpkem_submit(engine, &batch, 1, &options, nullptr, nullptr), WARPKEM_OK);
  warpkem_completion completion;
  std::size_t count = 0;
  ASSERT_EQ(warpkem_queue_wait(queue, &completion, 1, WARPKEM_FOREVER, &count), WARPKEM_OK);
  // glibc blocks every signal in a thread that starts or ends, for a moment: what lasts counts.
  std::size_t threads = 0;
  std::map<int, int> deaf;
  for (int tries = 0; tries < 100; ++tries) {
    std::tie(threads, deaf) = blocked_by_the_engines_threads();
    if (std::all_of(deaf.begin(), deaf.end(), [](const auto& one) { return one.second <= threads_of_a_sanitizer; }))
      break;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  for (const auto& [own, number] : deaf) EXPECT_LE(number, threads_of_a_sanitizer) << own;
  EXPECT_GE(threads, 3u);
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
  warpkem_engine_free(engine);
}

// Runs `body` in a child, which must end by itself within a minute; its exit status.
int in_child(const std::function<int()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(60);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

// What a callback on an engine's thread does wrong is handled by the program.
TEST(Threads, FaultsInCallbacksReachTheProgramsHandlers) {
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT}) {
    EXPECT_EQ(in_child([fault] {
                static int raised;
                raised = fault;
                struct sigaction action {};
                action.sa_handler = [](int signal) { _exit(signal == raised ? 77 : 78); };
                sigaction(fault, &action, nullptr);
                warpkem_engine* engine = make(2);
                static Calls calls;
                warpkem_batch batch{};
                batch.struct_size = sizeof batch;
                batch.operation = WARPKEM_OP_CHECK_EK;
                batch.algorithm = set;
                batch.count = many;
                batch.ek = {calls.ek.data(), calls.ek.size(), 0, nullptr};
                warpkem_submit_options options{};
                options.struct_size = sizeof options;
                options.callback = [](void*, const warpkem_completion*) {
                  if (raised == SIGSEGV) {
                    static volatile std::uintptr_t nowhere = 16;  // which the compiler does not know
                    *reinterpret_cast<volatile int*>(nowhere) = 1;
                  } else {
                    raise(raised);
                  }
                  _exit(79);
                };
                if (warpkem_submit(engine, &batch, 1, &options, nullptr, nullptr) != WARPKEM_OK) return 1;
                for (;;) pause();
                return 2;
              }),
              77)
        << fault;
  }
}

// What the child of an engine's process must find; the number of the first thing that is wrong, 0 if all is right.
int check_child(warpkem_engine* engine, warpkem_keys* ek_set, warpkem_keys* dk_set, bool with_new_engine) {
  Calls calls;
  const Bytes untouched = calls.ek;
  warpkem_keys* made[2] = {ek_set, ek_set};
  const auto answers = calls.all(engine, ek_set, dk_set, made);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i] != WARPKEM_FORKED) return static_cast<int>(1 + i);
  }
  if (calls.ek != untouched || made[0] != nullptr || made[1] != nullptr) return 30;
  if (std::strstr(warpkem_last_error(), "fork") == nullptr) return 31;
  if (warpkem_keys_count(ek_set) != many || warpkem_keys_bytes_per_key(ek_set) < ek_bytes) return 32;
  warpkem_keys_retain(ek_set);
  warpkem_keys_release(ek_set);
  warpkem_engine_free(engine);
  warpkem_keys_release(ek_set);
  warpkem_keys_release(dk_set);
  if (!with_new_engine) return 0;
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = 2;
  warpkem_engine* fresh = nullptr;
  if (warpkem_engine_new(&options, &fresh) != WARPKEM_OK) return 40;
  if (calls.keygen(fresh) != WARPKEM_OK || calls.encaps(fresh) != WARPKEM_OK) return 41;
  const Bytes K = calls.K;
  if (warpkem_decaps(fresh, set, 0, many, Calls::in(calls.dk), Calls::in(calls.c), Calls::out(calls.K), nullptr,
                     nullptr) != WARPKEM_OK ||
      K != calls.K) {
    return 42;
  }
  warpkem_engine_free(fresh);
  return 0;
}

struct Inherited {
  Inherited() : engine(make(2)) {
    EXPECT_EQ(calls.keygen(engine), WARPKEM_OK);
    EXPECT_EQ(warpkem_prepare_ek(engine, set, many, Calls::in(calls.ek), nullptr, nullptr, &ek_set), WARPKEM_OK);
    EXPECT_EQ(warpkem_prepare_dk(engine, set, 0, many, Calls::in(calls.dk), nullptr, nullptr, &dk_set), WARPKEM_OK);
  }
  ~Inherited() {
    warpkem_keys_release(ek_set);
    warpkem_keys_release(dk_set);
    warpkem_engine_free(engine);
  }
  Calls calls;
  warpkem_engine* engine;
  warpkem_keys *ek_set = nullptr, *dk_set = nullptr;
};

TEST(Fork, AnInheritedEngineAnswersForkedAndCanBeFreed) {
  Inherited i;
  const auto body = [&] { return check_child(i.engine, i.ek_set, i.dk_set, false); };
  EXPECT_EQ(in_child(body), 0);
  EXPECT_EQ(in_child([&] { return in_child(body); }), 0) << "a grandchild";
  warpkem_keys* made[2] = {};
  for (const warpkem_status status : i.calls.all(i.engine, i.ek_set, i.dk_set, made)) {
    EXPECT_EQ(status, WARPKEM_OK) << "the parent goes on as before";
  }
  warpkem_keys_release(made[0]);
  warpkem_keys_release(made[1]);
}

TEST(Fork, KeysMayGoBeforeTheEngine) {
  Inherited i;
  EXPECT_EQ(in_child([&] {
              warpkem_keys_release(i.dk_set);
              warpkem_keys_release(i.ek_set);
              warpkem_engine_free(i.engine);
              return 0;
            }),
            0);
}

TEST(Fork, NothingHangsWhileTheParentsThreadsAreBusy) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's own locks may be held by another thread at the fork, and stay so in the child";
#endif
  Inherited i;
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; ++t) {
    busy.emplace_back([&, t] {
      Calls calls;
      EXPECT_EQ(calls.keygen(i.engine), WARPKEM_OK);
      while (!stop) {
        warpkem_keys* made[2] = {};
        if (t == 0) {
          EXPECT_EQ(calls.keygen(i.engine, 8), WARPKEM_OK);
        }
        if (t == 1) {
          EXPECT_EQ(calls.encaps(i.engine), WARPKEM_OK);
        }
        if (t == 2) {
          EXPECT_EQ(warpkem_prepare_ek(i.engine, set, 4, Calls::in(calls.ek), nullptr, nullptr, made), WARPKEM_OK);
          warpkem_keys_release(made[0]);
        }
      }
    });
  }
  for (int round = 0; round < 25; ++round) {
    EXPECT_EQ(in_child([&] { return check_child(i.engine, i.ek_set, i.dk_set, true); }), 0) << "round " << round;
    std::this_thread::sleep_for(std::chrono::milliseconds(round % 3));
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
}

TEST(Fork, AChildMakesAnEngineWhileThreadsOfTheParentMakeTheirs) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "a sanitizer's own locks may be held by another thread at the fork, and stay so in the child";
#endif
  std::atomic<bool> stop{false};
  std::vector<std::thread> makers;
  for (int t = 0; t < 4; ++t) {
    makers.emplace_back([&] {
      Calls calls;
      while (!stop) {
        warpkem_engine* engine = make(0);
        EXPECT_EQ(calls.keygen(engine, 1), WARPKEM_OK);
        EXPECT_NE(std::string(warpkem_cpu_features()) + "x", "");
        warpkem_engine_free(engine);
      }
    });
  }
  const char* const long_tests = getenv("WARPKEM_LONG_TESTS");
  const int rounds = long_tests != nullptr && std::string(long_tests) == "1" ? 3000 : 300;
  for (int round = 0; round < rounds; ++round) {
    ASSERT_EQ(in_child([] {
                Calls calls;
                warpkem_engine* engine = nullptr;
                warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
                options.threads = 1;
                if (warpkem_engine_new(&options, &engine) != WARPKEM_OK) return 1;
                if (calls.keygen(engine, 2) != WARPKEM_OK || calls.encaps(engine, 2) != WARPKEM_OK) return 2;
                if (warpkem_cpu_features() == nullptr) return 3;
                warpkem_engine_free(engine);
                return 0;
              }),
              0)
        << "round " << round;
  }
  stop = true;
  for (std::thread& thread : makers) thread.join();
}

TEST(Fork, ParentAndChildDrawDifferentRandomness) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer does not follow threads that are made after a fork";
#endif
  Inherited i;  // has drawn, so that there is randomness in stock
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const auto draw = [](Calls& calls) {
    warpkem_engine* engine = make(0);
    EXPECT_EQ(calls.keygen(engine, 2), WARPKEM_OK);
    warpkem_engine_free(engine);
  };
  EXPECT_EQ(in_child([&] {
              Calls calls;
              draw(calls);
              return write(ends[1], calls.ek.data(), ek_bytes) == ek_bytes ? 0 : 1;
            }),
            0);
  Bytes theirs(ek_bytes);
  ASSERT_EQ(read(ends[0], theirs.data(), ek_bytes), static_cast<ssize_t>(ek_bytes));
  Calls calls;
  draw(calls);
  EXPECT_FALSE(std::equal(theirs.begin(), theirs.end(), calls.ek.begin()));
  close(ends[0]);
  close(ends[1]);
}

enum class Cleanup { not_expected, expected, done };
Cleanup cleanup = Cleanup::not_expected;

// Among the last destructors of a process are those of its libraries, in which threads may still run that OpenSSL's
// cleanup would have stopped.
[[gnu::destructor]] void look_for_cleanup() {
  if (cleanup == Cleanup::expected) _exit(70);
}

TEST(Exit, OpensslIsCleanedUpBeforeTheLibrariesDestructorsRun) {
  const pid_t child = fork();
  if (child == 0) {
    cleanup = Cleanup::expected;
    exit(OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS, nullptr) == 1 &&
                 OPENSSL_atexit([] { cleanup = Cleanup::done; }) == 1
             ? 0
             : 71);
  }
  int status = -1;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

// Bytes of the mappings that stay out of core dumps: those with the flag dd.
std::size_t bytes_kept_out_of_dumps() {
  std::ifstream smaps("/proc/self/smaps");
  std::size_t sum = 0, size = 0;
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind("Size:", 0) == 0) size = std::stoull(line.substr(5)) * 1024;
    if (line.rfind("VmFlags:", 0) == 0 && (line + ' ').find(" dd ") != std::string::npos) sum += size;
  }
  return sum;
}

TEST(CoreDumps, LeaveOutPreparedKeys) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "sanitizers map memory that stays out of dumps";
#endif
  warpkem_engine* engine = make(0);
  Calls calls;
  ASSERT_EQ(calls.keygen(engine), WARPKEM_OK);
  const std::size_t before = bytes_kept_out_of_dumps();
  warpkem_keys* keys = nullptr;
  ASSERT_EQ(warpkem_prepare_dk(engine, set, 0, many, Calls::in(calls.dk), nullptr, nullptr, &keys), WARPKEM_OK);
  EXPECT_GE(bytes_kept_out_of_dumps(), before + many * warpkem_keys_bytes_per_key(keys));
  warpkem_keys_release(keys);
  EXPECT_LE(bytes_kept_out_of_dumps(), before + (std::size_t{1} << 20)) << "released, but for scratch memory";
  warpkem_engine_free(engine);
}

}  // namespace
