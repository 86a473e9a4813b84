// The structs that begin with struct_size: which sizes are taken, and that a refusal names the member that is wrong.
#include <gtest/gtest.h>
#include <warpkem/warpkem.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace {

#define END(type, member) (offsetof(type, member) + sizeof(type::member))

warpkem_engine* engine() {
  static warpkem_engine* const made = [] {
    warpkem_engine* e = nullptr;
    EXPECT_EQ(warpkem_engine_new(nullptr, &e), WARPKEM_OK);
    return e;
  }();
  return made;
}

// Calls use(struct, size) for all sizes, each in memory of exactly that size, so that a sanitizer sees what is read.
// `text` is what a refusal of the size says.
template <class Struct>
void try_sizes(const Struct& full, const std::set<std::size_t>& ends, const std::string& text,
               const std::function<warpkem_status(Struct*)>& use) {
  for (std::size_t size = 0; size < sizeof(Struct) + 80; ++size) {
    std::vector<std::uint64_t> memory((std::max(size, sizeof(std::size_t)) + sizeof(std::uint64_t) - 1) /
                                      sizeof(std::uint64_t));
    std::memcpy(memory.data(), &full, std::min(size, sizeof full));
    std::memcpy(memory.data(), &size, sizeof size);
    const warpkem_status status = use(reinterpret_cast<Struct*>(memory.data()));
    const bool is_size = size % alignof(Struct) == 0 && (size > sizeof(Struct) || ends.count(size) != 0);
    if (is_size) {
      if (status != WARPKEM_OK) {
        EXPECT_EQ(std::string(warpkem_last_error()).find("struct_size"), std::string::npos)
            << size << ": " << warpkem_last_error();
      }
    } else {
      EXPECT_EQ(status, WARPKEM_INVALID_ARGUMENT) << size;
      EXPECT_NE(std::string(warpkem_last_error()).find(text + ".struct_size of " + std::to_string(size)),
                std::string::npos)
          << size << ": " << warpkem_last_error();
    }
  }
}

const std::set<std::size_t> batch_ends = {
    END(warpkem_batch, struct_size), END(warpkem_batch, algorithm), END(warpkem_batch, flags),
    END(warpkem_batch, count),       END(warpkem_batch, seeds),     END(warpkem_batch, m),
    END(warpkem_batch, ek),          END(warpkem_batch, dk),        END(warpkem_batch, c),
    END(warpkem_batch, ek_out),      END(warpkem_batch, dk_out),    END(warpkem_batch, c_out),
    END(warpkem_batch, K_out),       END(warpkem_batch, keys),      END(warpkem_batch, index),
    END(warpkem_batch, statuses),    END(warpkem_batch, failed),    END(warpkem_batch, items_by_backend),
    END(warpkem_batch, user_data)};

warpkem_batch empty_batch() {
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_CHECK_EK;
  batch.algorithm = WARPKEM_ML_KEM_512;
  return batch;
}

TEST(StructSize, OfABatchIsTheEndOfAMember) {
  try_sizes<warpkem_batch>(empty_batch(), batch_ends, "batch", [](auto* b) { return warpkem_run(engine(), b); });
}

TEST(StructSize, OfSubmittedBatchesIsAlsoTheirDistance) {
  warpkem_queue* queue = nullptr;
  ASSERT_EQ(warpkem_queue_new(engine(), &queue), WARPKEM_OK);
  warpkem_submit_options options{};
  options.struct_size = sizeof options;
  options.queue = queue;
  std::size_t taken = 0;
  for (std::size_t size = 0; size < sizeof(warpkem_batch) + 80; ++size) {
    constexpr std::size_t num = 3;
    std::vector<std::uint64_t> memory((num * size + sizeof(warpkem_batch)) / sizeof(std::uint64_t) + 1);
    auto* const bytes = reinterpret_cast<unsigned char*>(memory.data());
    const warpkem_batch batch = empty_batch();
    for (std::size_t i = 0; i < num; ++i) {
      std::memcpy(bytes + i * size, &batch, std::min(sizeof batch, size));
      std::memcpy(bytes + i * size, &size, sizeof size);
    }
    std::size_t submitted = 99;
    const warpkem_status status =
        warpkem_submit(engine(), reinterpret_cast<warpkem_batch*>(bytes), num, &options, nullptr, &submitted);
    const bool is_size =
        size % alignof(warpkem_batch) == 0 && (size > sizeof(warpkem_batch) || batch_ends.count(size) != 0);
    taken += submitted;
    if (is_size && size >= END(warpkem_batch, algorithm)) {
      EXPECT_EQ(status, WARPKEM_OK) << size << ": " << warpkem_last_error();
      EXPECT_EQ(submitted, num);
    } else if (!is_size) {
      EXPECT_EQ(status, WARPKEM_INVALID_ARGUMENT) << size;
      EXPECT_EQ(submitted, 0u);
      EXPECT_NE(std::strstr(warpkem_last_error(), "struct_size"), nullptr) << warpkem_last_error();
    }
  }
  // One that is not where a struct can be.
  std::vector<std::uint64_t> memory(2 * sizeof(warpkem_batch) / sizeof(std::uint64_t) + 2);
  auto* const odd = reinterpret_cast<unsigned char*>(memory.data()) + 4;
  const warpkem_batch batch = empty_batch();
  std::memcpy(odd, &batch, sizeof batch);
  EXPECT_EQ(warpkem_submit(engine(), reinterpret_cast<warpkem_batch*>(odd), 1, &options, nullptr, nullptr),
            WARPKEM_INVALID_ARGUMENT);
  EXPECT_NE(std::strstr(warpkem_last_error(), "aligned"), nullptr);
  for (std::size_t got = 0; got < taken;) {
    warpkem_completion completions[16];
    std::size_t count = 0;
    ASSERT_EQ(warpkem_queue_wait(queue, completions, 16, WARPKEM_FOREVER, &count), WARPKEM_OK);
    got += count;
  }
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
}

TEST(StructSize, OfSubmitOptionsIsTheEndOfAMember) {
  using S = warpkem_submit_options;
  warpkem_queue* queue = nullptr;
  ASSERT_EQ(warpkem_queue_new(engine(), &queue), WARPKEM_OK);
  S full{};
  full.queue = queue;
  try_sizes<S>(full,
               {END(S, struct_size), END(S, queue), END(S, callback), END(S, context), END(S, flags), END(S, reserved),
                END(S, deadline_us), END(S, timeout_us)},
               "options", [](auto* o) { return warpkem_submit(engine(), nullptr, 0, o, nullptr, nullptr); });
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
}

TEST(StructSize, OfSchedulerOptionsIsTheEndOfAMember) {
  using S = warpkem_scheduler_options;
  try_sizes<S>({},
               {END(S, struct_size), END(S, max_items), END(S, max_bytes), END(S, bulk_cut_us), END(S, batch_items),
                END(S, device_sentinel), END(S, cpu_sentinel), END(S, log), END(S, log_context)},
               "options", [](auto* o) {
                 warpkem_engine* fresh = nullptr;
                 EXPECT_EQ(warpkem_engine_new(nullptr, &fresh), WARPKEM_OK);
                 const warpkem_status status = warpkem_configure(fresh, o);
                 const std::string text = warpkem_last_error();
                 warpkem_engine_free(fresh);
                 return status;
               });
}

TEST(StructSize, OfShorterEngineOptionsIsTheEndOfAMember) {
  using S = warpkem_options;
  const std::set<std::size_t> ends = {END(S, struct_size),  END(S, backend),       END(S, threads),
                                      END(S, flags),        END(S, random),        END(S, random_context),
                                      END(S, policy),       END(S, cuda_devices),  END(S, cuda_chunk),
                                      END(S, cuda_streams), END(S, pairwise_every)};
  for (std::size_t size = 1; size < sizeof(S); ++size) {
    S options = WARPKEM_OPTIONS_DEFAULT;
    options.struct_size = size;
    warpkem_engine* fresh = nullptr;
    EXPECT_EQ(warpkem_engine_new(&options, &fresh), ends.count(size) != 0 ? WARPKEM_OK : WARPKEM_INVALID_ARGUMENT)
        << size;
    if (ends.count(size) == 0) {
      EXPECT_NE(std::strstr(warpkem_last_error(), "options.struct_size"), nullptr);
    }
    warpkem_engine_free(fresh);
  }
}

// What the library fills is at least as long as what it fills in; what it does not know becomes zero.
template <class Struct>
void try_out_sizes(const std::string& text, const std::function<warpkem_status(Struct*)>& use) {
  for (std::size_t size = 0; size < sizeof(Struct) + 80; ++size) {
    std::vector<std::uint64_t> memory((std::max(size, sizeof(Struct)) + 80) / sizeof(std::uint64_t) + 1);
    auto* const bytes = reinterpret_cast<unsigned char*>(memory.data());
    std::memset(bytes, 0xee, std::max(size, sizeof(Struct)) + 80);
    std::memcpy(bytes, &size, sizeof size);
    const warpkem_status status = use(reinterpret_cast<Struct*>(bytes));
    const bool is_size = size >= sizeof(Struct) && size % alignof(Struct) == 0;
    EXPECT_EQ(status, is_size ? WARPKEM_OK : WARPKEM_INVALID_ARGUMENT) << size;
    const std::size_t written = is_size ? size : sizeof size;
    EXPECT_EQ(bytes[written], 0xee) << size;
    if (is_size) {
      EXPECT_TRUE(std::all_of(bytes + sizeof(Struct), bytes + size, [](unsigned char b) { return b == 0; })) << size;
    } else {
      EXPECT_NE(std::string(warpkem_last_error()).find(text + ".struct_size"), std::string::npos);
    }
  }
}

TEST(StructSize, OfWhatIsFilledIsNotTooShort) {
  try_out_sizes<warpkem_backend_info>("info", [](auto* i) { return warpkem_engine_backend(engine(), 0, i); });
  try_out_sizes<warpkem_algorithm_info>("info", [](auto* i) { return warpkem_describe_algorithm(4, i); });
  try_out_sizes<warpkem_counters>("counters",
                                  [](auto* c) { return warpkem_metrics(engine(), c, nullptr, 0, nullptr); });
}

TEST(Refusals, NameTheMemberThatIsWrong) {
  warpkem_queue* queue = nullptr;
  ASSERT_EQ(warpkem_queue_new(engine(), &queue), WARPKEM_OK);
  const auto refused = [&](auto change) {
    warpkem_submit_options options{};
    options.struct_size = sizeof options;
    options.queue = queue;
    change(options);
    EXPECT_EQ(warpkem_submit(engine(), nullptr, 0, &options, nullptr, nullptr), WARPKEM_INVALID_ARGUMENT);
    return std::string(warpkem_last_error());
  };
  for (const std::uint32_t value : {1u, 0x80000000u}) {
    EXPECT_EQ(refused([=](auto& o) { o.reserved = value; }).rfind("options.reserved", 0), 0u) << warpkem_last_error();
  }
  EXPECT_EQ(refused([](auto& o) { o.flags = 2; }).rfind("options.flags", 0), 0u);
  EXPECT_EQ(refused([](auto& o) { o.flags = 2, o.reserved = 1; }).rfind("options.flags", 0), 0u);
  EXPECT_EQ(refused([](auto& o) { o.request_class = 2; }).rfind("options.request_class", 0), 0u);
  EXPECT_EQ(warpkem_queue_free(queue), WARPKEM_OK);
  for (const double wrong : {1.5, HUGE_VAL, std::nan("")}) {
    warpkem_engine* fresh = nullptr;
    ASSERT_EQ(warpkem_engine_new(nullptr, &fresh), WARPKEM_OK);
    warpkem_scheduler_options options{};
    options.struct_size = sizeof options;
    options.cpu_sentinel = wrong;
    EXPECT_EQ(warpkem_configure(fresh, &options), WARPKEM_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(warpkem_last_error()).rfind("options.cpu_sentinel", 0), 0u) << warpkem_last_error();
    options.cpu_sentinel = 0, options.device_sentinel = wrong;
    EXPECT_EQ(warpkem_configure(fresh, &options), WARPKEM_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(warpkem_last_error()).rfind("options.device_sentinel", 0), 0u) << warpkem_last_error();
    warpkem_engine_free(fresh);
  }
}

}  // namespace
