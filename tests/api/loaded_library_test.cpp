// The library in a program that loads it while it runs, as a plugin or a scripting language does: its thread-local
// variables, the text of a failed call among them, in threads that are older than it and in threads that outlive it,
// with and without memory.
#include <dlfcn.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <warpkem/warpkem.h>

#include <atomic>
#include <climits>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/failing_memory.hpp"

namespace {

using warpkem::test::LibraryCall;
using warpkem::test::memory_fails;
using warpkem::test::memory_holds;

class Library {
 public:
  Library() : handle_(dlopen(WARPKEM_TEST_LIBRARY, RTLD_NOW | RTLD_LOCAL)) {
    EXPECT_NE(handle_, nullptr) << dlerror();
    find(engine_new, "warpkem_engine_new");
    find(engine_free, "warpkem_engine_free");
    find(keygen, "warpkem_keygen");
    find(last_error, "warpkem_last_error");
    find(in_callback, "warpkem_in_callback");
  }
  ~Library() { close(); }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
  void close() {
    if (handle_ != nullptr) {
      EXPECT_EQ(dlclose(handle_), 0);
    }
    handle_ = nullptr;
  }

  decltype(&warpkem_engine_new) engine_new = nullptr;
  decltype(&warpkem_engine_free) engine_free = nullptr;
  decltype(&warpkem_keygen) keygen = nullptr;
  decltype(&warpkem_last_error) last_error = nullptr;
  decltype(&warpkem_in_callback) in_callback = nullptr;

  // A call that fails, and why.
  warpkem_status fail() const { return engine_new(nullptr, nullptr); }
  static constexpr const char* text = "engine is NULL";

 private:
  template <class Function>
  void find(Function& function, const char* name) {
    function = reinterpret_cast<Function>(dlsym(handle_, name));
    EXPECT_NE(function, nullptr) << name;
  }

  void* handle_;
};

bool is_loaded() {
  void* const handle = dlopen(WARPKEM_TEST_LIBRARY, RTLD_NOW | RTLD_NOLOAD);
  if (handle != nullptr) dlclose(handle);
  return handle != nullptr;
}

// Threads that run a step when they are told to, all together.
class Threads {
 public:
  template <class Body>
  Threads(int count, Body body) {
    for (int i = 0; i < count; ++i) {
      threads_.emplace_back([this, body] {
        for (int step = 1;; ++step) {
          int last;
          while ((last = step_.load()) < step) step_.wait(last);
          const bool goes_on = body(step);
          done_.fetch_add(1);
          done_.notify_all();
          if (!goes_on) return;
        }
      });
    }
  }
  ~Threads() {
    for (std::thread& thread : threads_) thread.join();
  }
  void step() {
    const int all = static_cast<int>(threads_.size()) * (step_.load() + 1);
    step_.fetch_add(1);
    step_.notify_all();
    for (int done; (done = done_.load()) < all;) done_.wait(done);
  }

 private:
  std::atomic<int> step_{0}, done_{0};
  std::vector<std::thread> threads_;
};

TEST(LoadedLibrary, AThreadsFirstCallNeedsNoMemory) {
  const Library* library = nullptr;
  std::string without, with;
  warpkem_status status = WARPKEM_OK;
  Threads older(1, [&](int) {
    memory_fails({0, LONG_MAX, false});
    const char* text = nullptr;
    bool in_callback = true;
    {
      const LibraryCall inside;
      in_callback = library->in_callback() != 0;
      status = library->fail();
      text = library->last_error();
    }
    const auto counts = memory_holds();
    EXPECT_GT(counts.failed, 0);
    EXPECT_FALSE(in_callback);
    without = text;
    EXPECT_EQ(library->fail(), WARPKEM_INVALID_ARGUMENT);
    with = library->last_error();
    return false;
  });
  const Library loaded;
  library = &loaded;
  older.step();
  EXPECT_TRUE(status == WARPKEM_INVALID_ARGUMENT || status == WARPKEM_OUT_OF_MEMORY) << status;
  EXPECT_NE(without, "");
  EXPECT_EQ(with, Library::text);
}

TEST(LoadedLibrary, EveryThreadHasItsOwnText) {
  const Library library;
  EXPECT_EQ(library.fail(), WARPKEM_INVALID_ARGUMENT);
  Threads others(4, [&](int step) {
    if (step == 1) {
      EXPECT_STREQ(library.last_error(), "");
      EXPECT_EQ(library.keygen(nullptr, 99, 0, 1, {}, {}, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
    }
    EXPECT_STREQ(library.last_error(), Library::text);
    return step == 1;
  });
  others.step();
  EXPECT_STREQ(library.last_error(), Library::text);
  others.step();
}

TEST(LoadedLibrary, IsUnloadedBeforeThreadsThatUsedItEnd) {
  auto library = std::make_unique<Library>();
  Threads others(4, [&](int step) {
    if (step == 1) {
      EXPECT_EQ(library->fail(), WARPKEM_INVALID_ARGUMENT);
    }
    return step == 1;  // it ends in the second step, when the library is gone
  });
  others.step();
  EXPECT_EQ(library->fail(), WARPKEM_INVALID_ARGUMENT);
  library.reset();
  EXPECT_FALSE(is_loaded());
  others.step();
}

// A process has 1,024 keys.
TEST(LoadedLibrary, GivesBackWhatItTookOfTheProcess) {
  for (int round = 0; round < PTHREAD_KEYS_MAX + 10; ++round) {
    const Library library;
    ASSERT_EQ(library.fail(), WARPKEM_INVALID_ARGUMENT);
    ASSERT_STREQ(library.last_error(), Library::text) << "round " << round;
  }
}

TEST(LoadedLibrary, ATextThatIsTooLongIsCut) {
  const Library library;
  const std::string name(100'000, 'x');
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.policy = name.c_str();
  warpkem_engine* engine = nullptr;
  EXPECT_EQ(library.engine_new(&options, &engine), WARPKEM_UNSUPPORTED);
  const std::string text = library.last_error();
  EXPECT_EQ(text.substr(0, 12), "policy \"xxxx");
  EXPECT_GE(text.size(), 500u);
}

}  // namespace
