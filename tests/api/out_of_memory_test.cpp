// Memory runs out, anywhere, under the library as its users have it (tests/support/memory_sweep.hpp).
//
// With OpenSSL's randomness, or its cipher, for some n, and for every n with WARPKEM_LONG_TESTS.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/memory_sweep.hpp"

namespace {

using namespace warpkem::test;

bool uses_openssl = false;

int counting_random(void*, std::uint8_t* out, std::size_t bytes) {
  static std::atomic<std::uint32_t> state{1};
  for (std::size_t i = 0; i < bytes; ++i) {
    const std::uint32_t x = state.fetch_add(0x9e3779b9);
    out[i] = static_cast<std::uint8_t>((x ^ x >> 15) * 0x85ebca6b >> 24);
  }
  return 0;
}

warpkem_engine* make_engine() {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.threads = 2;
  options.pairwise_every = 2;
  if (!uses_openssl) options.random = counting_random;
  warpkem_engine* engine = nullptr;
  const warpkem_status status = call([&] { return warpkem_engine_new(&options, &engine); });
  must_be("engine_new", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_RNG_FAILED});
  if ((status == WARPKEM_OK) != (engine != nullptr))
    problem("engine_new: %u and %p", status, static_cast<void*>(engine));
  return engine;
}

bool all(const std::vector<std::uint8_t>& found, std::uint8_t byte) {
  return std::ranges::all_of(found, [byte](std::uint8_t b) { return b == byte; });
}

// Seals and opens; whatever fails leaves zeros, and a text that was not opened is never taken for one.
void wrapping() {
  warpkem_engine* const engine = make_engine();
  if (engine == nullptr) return;
  constexpr std::size_t items = 150, bytes = 32;  // for both threads
  const Shared& s = shared();
  const warpkem_in keys{s.ek, items * 32, 0}, nonce{s.m, 12, WARPKEM_ONE_FOR_ALL}, text{s.dk, items * bytes, 0};
  std::vector<std::uint8_t> sealed(items * (bytes + 16), untouched), opened(items * bytes, untouched);
  std::vector<std::uint8_t> statuses(items, untouched);
  warpkem_status status = call([&] {
    return warpkem_aes256_gcm_seal(engine, items, keys, nonce, {}, 0, text, bytes, {sealed.data(), sealed.size(), 0});
  });
  // An OpenSSL whose start failed half-way has no ciphers.
  must_be("aes256_gcm_seal", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_UNSUPPORTED});
  if (status != WARPKEM_OK) {
    if (!all(sealed, 0) && !all(sealed, untouched)) problem("aes256_gcm_seal: %u and something sealed", status);
    return warpkem_engine_free(engine);
  }
  std::size_t failed = items + 1;
  status = call([&] {
    return warpkem_aes256_gcm_open(engine, items, keys, nonce, {}, 0, {sealed.data(), sealed.size(), 0}, bytes,
                                   {opened.data(), opened.size(), 0}, statuses.data(), &failed);
  });
  must_be("aes256_gcm_open", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
  if (status == WARPKEM_OK) {
    if (failed != 0 || !all(statuses, 0) || memcmp(opened.data(), s.dk, opened.size()) != 0)
      problem("aes256_gcm_open: %zu failed", failed);
  } else if (!all(opened, 0) && !all(opened, untouched)) {
    problem("aes256_gcm_open: %u and something opened", status);
  }
  recover(engine);
  warpkem_engine_free(engine);
}

void synchronous() {
  warpkem_engine* const engine = make_engine();
  if (engine == nullptr) return;
  for (const std::uint32_t operation :
       {WARPKEM_OP_KEYGEN, WARPKEM_OP_ENCAPS, WARPKEM_OP_DECAPS, WARPKEM_OP_CHECK_EK, WARPKEM_OP_CHECK_DK}) {
    run(engine, Task(operation, 0, n));
    run(engine, Task(operation, 1, 1));
    run(engine, Task(operation, 0, n, true));
  }
  run(engine, Task(WARPKEM_OP_KEYGEN, 0, n).random());
  run(engine, Task(WARPKEM_OP_ENCAPS, 0, 1).random());

  // An m that is derived. Nothing else tells what it makes, but that it is a dk's K.
  const Shared& s = shared();
  std::vector<std::uint8_t> c(sizeof s.c, untouched), K(sizeof s.K, untouched), opened(sizeof s.K);
  const warpkem_in part{s.m, sizeof s.m, 0};
  const std::size_t part_bytes = 32;
  warpkem_status status = call([&] {
    return warpkem_encaps_derived(engine, algorithm, n, s.seeds, 40, 1, &part, &part_bytes, {s.ek, sizeof s.ek, 0},
                                  {c.data(), c.size(), 0}, {K.data(), K.size(), 0}, nullptr, nullptr);
  });
  must_be("encaps_derived", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
  if (status == WARPKEM_OK) {
    status = call([&] {
      return warpkem_decaps(engine, algorithm, WARPKEM_DK_EXPANDED, n, {s.dk, sizeof s.dk, 0}, {c.data(), c.size(), 0},
                            {opened.data(), opened.size(), 0}, nullptr, nullptr);
    });
    if (status == WARPKEM_OK && K != opened) problem("encaps_derived: another K");
  } else if (!all(K, 0) && !all(K, untouched)) {
    problem("encaps_derived: %u and a K", status);
  }

  // An item fails: the call says so even if there is no memory to say which.
  std::vector<std::uint8_t> keys(shared().ek, shared().ek + sizeof shared().ek), statuses(n, untouched);
  memset(&keys[ek_bytes], 0xff, 3);
  std::size_t failed = 0;
  status = call([&] {
    return warpkem_check_ek(engine, algorithm, n, {keys.data(), keys.size(), 0}, statuses.data(), &failed);
  });
  must_be("check_ek of a bad key", status, {WARPKEM_ITEM_FAILED, WARPKEM_OUT_OF_MEMORY});
  if (failed != (status == WARPKEM_ITEM_FAILED ? 1 : n)) problem("check_ek of a bad key: %zu failed", failed);

  char text[64];
  std::size_t needed;
  status = call([&] { return warpkem_metrics_text(engine, text, sizeof text, &needed); });
  must_be("metrics_text", status, {WARPKEM_OUT_OF_MEMORY});
  if (call(warpkem_cpu_features) == nullptr) problem("cpu_features");
  recover(engine);
  warpkem_engine_free(engine);
}

void prepared() {
  warpkem_engine* const engine = make_engine();
  if (engine == nullptr) return;
  std::uint32_t index[n];
  for (std::uint32_t i = 0; i < n; ++i) index[i] = i;
  const Shared& s = shared();
  Submitter submitter(engine);
  std::size_t failed;
  for (const std::uint32_t operation : {WARPKEM_OP_ENCAPS, WARPKEM_OP_DECAPS}) {
    warpkem_keys* set = nullptr;
    const warpkem_status status = call([&] {
      return operation == WARPKEM_OP_ENCAPS
                 ? warpkem_prepare_ek(engine, algorithm, n, {s.ek, sizeof s.ek, 0}, nullptr, &failed, &set)
                 : warpkem_prepare_dk(engine, algorithm, WARPKEM_DK_SEED, n, {s.seeds, sizeof s.seeds, 0}, nullptr,
                                      &failed, &set);
    });
    must_be("prepare", status, {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
    if ((status == WARPKEM_OK) != (set != nullptr)) problem("prepare: %u", status);
    if (set == nullptr) continue;
    run(engine, Task(operation, 0, n).prepared(set, index));
    for (std::size_t i = 0; i < n; ++i) submitter.add(operation, i, 1u).prepared(set, index);
    submitter.submit({});
    submitter.add(operation, 0u, n).prepared(set, index);
    submitter.submit({.called_back = true});
    call([&] { return warpkem_keys_release(set), 0; });  // what is under way holds it
  }
  submitter.collect();
  submitter.check(false);
  submitter.free_queue();
  recover(engine);
  warpkem_engine_free(engine);
}

// Submits in all ways; nothing is waited for but room.
void submit_everything(Submitter& submitter) {
  for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_KEYGEN, i, 1u);
  const std::vector<warpkem_request> requests = submitter.submit({});
  submitter.cancel(requests);
  for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_ENCAPS, i, 1u);
  submitter.submit({.deadline_us = 1'000'000'000});
  for (std::size_t i = 0; i < n; ++i) submitter.add(WARPKEM_OP_DECAPS, i, 1u);
  submitter.submit({.deadline_us = 1, .request_class = WARPKEM_BULK});
  submitter.add(WARPKEM_OP_KEYGEN, 0u, n).random();
  submitter.add(WARPKEM_OP_ENCAPS, 0u, n, true);
  submitter.add(WARPKEM_OP_DECAPS, 0u, 0u);
  submitter.submit({.called_back = true});
  for (std::size_t i = 0; i < 3 * n; ++i) submitter.add(WARPKEM_OP_DECAPS, i % n, 1u);
  submitter.submit({.called_back = true, .timeout_us = 40'000'000});  // more than there is room for
}

warpkem_engine* make_configured_engine() {
  warpkem_engine* const engine = make_engine();
  if (engine == nullptr) return nullptr;
  warpkem_scheduler_options o{};
  o.struct_size = sizeof o;
  o.cpu_sentinel = 0.5;
  o.max_items = 7 * n;
  o.log = [](void*, std::uint32_t, const char*) {};
  must_be("configure", call([&] { return warpkem_configure(engine, &o); }), {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
  return engine;
}

void asynchronous() {
  warpkem_engine* const engine = make_configured_engine();
  if (engine == nullptr) return;
  Submitter submitter(engine);
  int file = -1;
  if (submitter.queue() != nullptr) {
    must_be("queue_fd", call([&] { return warpkem_queue_fd(submitter.queue(), &file); }),
            {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY});
  }
  // One that the thread may do itself.
  submitter.add(WARPKEM_OP_ENCAPS, 1u, 1u);
  submitter.submit({.flags = WARPKEM_WILL_WAIT});
  submitter.collect();
  submit_everything(submitter);
  submitter.collect();
  submitter.check(false);
  submitter.free_queue();
  recover(engine);
  warpkem_engine_free(engine);
}

// Everything is still under way when it ends, without memory.
void ending() {
  warpkem_engine* const engine = make_configured_engine();
  if (engine == nullptr) return;
  Submitter submitter(engine), freed_first(engine);
  for (std::size_t i = 0; i < n; ++i) freed_first.add(WARPKEM_OP_KEYGEN, i, 1u);
  freed_first.submit({});
  submit_everything(submitter);
  freed_first.free_queue();
  // An engine that nothing was submitted to makes its scheduler now.
  must_be("shutdown", call([&] { return warpkem_shutdown(engine, WARPKEM_ABORT); }),
          {WARPKEM_OK, WARPKEM_OUT_OF_MEMORY, WARPKEM_RNG_FAILED});
  call([&] { return warpkem_engine_free(engine), 0; });
  submitter.collect();
  submitter.check(false);
  submitter.free_queue();
}

constexpr Scenario scenarios[] = {{"synchronous", synchronous},
                                  {"prepared", prepared},
                                  {"asynchronous", asynchronous},
                                  {"ending", ending},
                                  {"wrapping", wrapping}};

// The engine's own randomness or not, only on the engine's threads or not, one allocation or all from it on.
class OutOfMemory : public testing::TestWithParam<std::tuple<Scenario, bool, bool, bool>> {
 public:
  static std::string name(const testing::TestParamInfo<ParamType>& info) {
    const auto& [scenario, openssl, only_others, all_that_follow] = info.param;
    return std::string(scenario.name) + (openssl ? "_openssl" : "_callers_random") +
           (only_others ? "_engines_threads" : "_all_threads") + (all_that_follow ? "_from_then_on" : "_once");
  }
};

TEST_P(OutOfMemory, LosesNothing) {
  const auto& [scenario, openssl, only_others, all_that_follow] = GetParam();
  uses_openssl = openssl;
  MemoryPlan plan;
  plan.only_other_threads = only_others;
  const long all = count_allocations(scenario, plan);
  // OpenSSL's start alone takes thousands.
  constexpr long sample = 20;
  const bool starts_openssl = openssl || scenario.body == wrapping;
  const bool every_one = !starts_openssl || getenv("WARPKEM_LONG_TESTS") != nullptr;
  sweep(scenario, plan, all_that_follow, every_one ? 1 : std::max<long>(1, all / sample));
}

INSTANTIATE_TEST_SUITE_P(Everywhere, OutOfMemory,
                         testing::Combine(testing::ValuesIn(scenarios), testing::Bool(), testing::Bool(),
                                          testing::Bool()),
                         OutOfMemory::name);

// A submission of a million descriptors, the second of which is wrong: the others are not there at all.
void submit_many() {
  warpkem_engine* const engine = make_engine();
  warpkem_queue* queue = nullptr;
  must_be("queue_new", warpkem_queue_new(engine, &queue), {WARPKEM_OK});
  for (const std::uint64_t timeout_us : {0u, 1'000'000u}) {
    const Task good(WARPKEM_OP_ENCAPS, 0, 1);
    warpkem_batch batches[2] = {good.batch, good.batch};
    batches[1].count = SIZE_MAX;
    warpkem_submit_options o{};
    o.struct_size = sizeof o;
    o.queue = queue;
    o.timeout_us = timeout_us;
    std::size_t submitted = 0, count = 0;
    memory_fails({});
    const warpkem_status status =
        call([&] { return warpkem_submit(engine, batches, 1'000'000, &o, nullptr, &submitted); });
    const MemoryCounts counts = memory_holds();
    must_be("submit", status, {WARPKEM_INVALID_ARGUMENT});
    if (submitted != 1) problem("%zu submitted", submitted);
    if (counts.all > 200) problem("%ld allocations", counts.all);
    warpkem_completion completion;
    must_be("queue_wait", warpkem_queue_wait(queue, &completion, 1, WARPKEM_FOREVER, &count), {WARPKEM_OK});
    good.check("submit", completion.status, false);
  }
  must_be("queue_free", warpkem_queue_free(queue), {WARPKEM_OK});
  warpkem_engine_free(engine);
}

TEST(Submission, TakesNoMemoryForWhatItHasNotLookedAt) {
  ASSERT_TRUE(make_records());
  EXPECT_EQ(fault({"many", submit_many}, {}), "");
}

}  // namespace
