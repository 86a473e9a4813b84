// Counters, histograms and sizes of batches, and the text that shows them.
#include "host/serving/metrics.hpp"

#include <locale.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/host/held.hpp"

namespace warpkem::testing {
namespace {

void serve_requests(TestEngine& engine, std::uint32_t count) {
  Queue queue(engine);
  for (std::uint32_t i = 0; i < count; ++i) {
    Encaps e(oracle(), 1, i);
    submit(engine, e, to(queue));
    ASSERT_EQ(queue.wait().size(), 1u);
  }
  check(warpkem_shutdown(engine.get(), WARPKEM_DRAIN));
}

TEST(SchedulerMetrics, SnapshotsAddUpAndTheTextIsWellFormed) {
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  serve_requests(engine, 20);
  std::size_t n = 0;
  std::vector<warpkem_histogram> histograms(16);
  check(warpkem_metrics(engine.get(), nullptr, histograms.data(), histograms.size(), &n));
  ASSERT_EQ(n, 3u);
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_EQ(histograms[i].count, 20u);
    EXPECT_EQ(histograms[i].phase, i);
    EXPECT_GE(warpkem_histogram_quantile(&histograms[i], 0.99), warpkem_histogram_quantile(&histograms[i], 0.5));
    EXPECT_LE(warpkem_histogram_quantile(&histograms[i], 1), histograms[i].max_ns);
  }
  warpkem_histogram sum = histograms[2];
  warpkem_histogram_add(&sum, &histograms[2]);
  EXPECT_EQ(sum.count, 40u);
  EXPECT_EQ(warpkem_histogram_bound(WARPKEM_HISTOGRAM_BUCKETS - 1), UINT64_MAX);
  std::vector<warpkem_batch_size> sizes(2);
  check(warpkem_batch_sizes(engine.get(), sizes.data(), 1, &n));
  ASSERT_EQ(n, 1u);
  EXPECT_EQ(sizes[0].items, 1u);
  EXPECT_EQ(sizes[0].batches, 20u);
  EXPECT_EQ(sizes[1].batches, 0u);  // beyond the capacity
  std::size_t needed = 0;
  EXPECT_EQ(warpkem_metrics_text(engine.get(), nullptr, 0, &needed), WARPKEM_OUT_OF_MEMORY);
  std::string text(needed, '?');
  check(warpkem_metrics_text(engine.get(), text.data(), text.size(), &needed));
  EXPECT_EQ(text.back(), '\0');
  EXPECT_NE(text.find("warpkem_requests_completed_total 20\n"), std::string::npos);
  EXPECT_NE(text.find("warpkem_request_total_seconds_count{backend=\"a\",operation=\"encaps\"} 20\n"),
            std::string::npos);
}

TEST(SchedulerMetrics, CountsByAlgorithm) {
  TestEngine engine({{"a", true, 1, scripted::honest()}, {"b", true, 1, scripted::honest()}}, threaded());
  std::size_t n = 1;
  check(warpkem_usages(engine.get(), nullptr, 0, &n));
  EXPECT_EQ(n, 0u);
  serve_requests(engine, 20);  // encapsulations of ML-KEM-512
  Encaps more(oracle(), 3, 77);
  check(warpkem_run(engine.get(), &more.batch));

  std::vector<warpkem_usage> usages(4);
  check(warpkem_usages(engine.get(), usages.data(), usages.size(), &n));
  ASSERT_EQ(n, 1u);
  EXPECT_STREQ(usages[0].backend, "a");
  EXPECT_EQ(usages[0].algorithm, WARPKEM_ML_KEM_512);
  EXPECT_EQ(usages[0].operation, WARPKEM_OP_ENCAPS);
  EXPECT_EQ(usages[0].items, 23u);
  EXPECT_EQ(usages[0].batches, 21u);

  std::vector<warpkem_histogram> all(16), of_one(16);
  check(warpkem_metrics(engine.get(), nullptr, all.data(), all.size(), &n));
  ASSERT_EQ(n, 3u);
  check(warpkem_algorithm_histograms(engine.get(), WARPKEM_ML_KEM_512, of_one.data(), of_one.size(), &n));
  ASSERT_EQ(n, 3u);
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_STREQ(of_one[i].backend, "a");
    EXPECT_EQ(of_one[i].phase, all[i].phase);
    EXPECT_EQ(of_one[i].count, 20u) << "only requests have a latency";
    EXPECT_EQ(of_one[i].sum_ns, all[i].sum_ns);
  }
  check(warpkem_algorithm_histograms(engine.get(), WARPKEM_MLKEM768_X25519, of_one.data(), of_one.size(), &n));
  EXPECT_EQ(n, 0u);
  EXPECT_EQ(warpkem_algorithm_histograms(engine.get(), 77, nullptr, 0, &n), WARPKEM_INVALID_ARGUMENT);

  std::size_t needed = 0;
  EXPECT_EQ(warpkem_metrics_text(engine.get(), nullptr, 0, &needed), WARPKEM_OUT_OF_MEMORY);
  std::string text(needed, '\0');
  check(warpkem_metrics_text(engine.get(), text.data(), text.size(), nullptr));
  const std::string labels = "algorithm=\"ML-KEM-512\",operation=\"encaps\"} ";
  for (const std::string& line : {"warpkem_items_total{backend=\"a\"," + labels + "23\n",
                                  "warpkem_items_batches_total{backend=\"a\"," + labels + "21\n",
                                  "warpkem_algorithm_request_seconds_count{" + labels + "20\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

std::string metrics_text(TestEngine& engine) {
  std::size_t needed = 0;
  EXPECT_EQ(warpkem_metrics_text(engine.get(), nullptr, 0, &needed), WARPKEM_OUT_OF_MEMORY);
  std::string text(needed, '\0');
  check(warpkem_metrics_text(engine.get(), text.data(), text.size(), nullptr));
  return text;
}

// A locale with a decimal comma: the system's, or one made for the occasion; NULL if neither can be had.
locale_t comma_locale() {
  if (const locale_t found = newlocale(LC_NUMERIC_MASK, "de_DE.UTF-8", nullptr); found != nullptr) return found;
#ifdef __SANITIZE_ADDRESS__
  return nullptr;  // glibc never frees what it read in LOCPATH
#else
  char folder[] = "/tmp/warpkem-locale-XXXXXX";
  if (mkdtemp(folder) == nullptr) return nullptr;
  const std::string path = folder;
  locale_t made = nullptr;
  if (std::system(("localedef -i de_DE -f UTF-8 " + path + "/de_DE.UTF-8 >/dev/null 2>&1").c_str()) == 0) {
    setenv("LOCPATH", folder, 1);
    made = newlocale(LC_NUMERIC_MASK, "de_DE.UTF-8", nullptr);
    unsetenv("LOCPATH");
  }
  std::filesystem::remove_all(path);
  return made;
#endif
}

TEST(SchedulerMetrics, TheTextIsTheSameInEveryLocale) {
  const locale_t comma = comma_locale();
  if (comma == nullptr) GTEST_SKIP() << "no locale with a decimal comma, and no localedef to make one";
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  serve_requests(engine, 3);
  const std::string before = metrics_text(engine);
  const locale_t usual = uselocale(comma);
  char half[8];
  snprintf(half, sizeof half, "%.1f", 0.5);
  const std::string text = metrics_text(engine);
  uselocale(usual);
  freelocale(comma);
  EXPECT_STREQ(half, "0,5") << "the locale is one";
  EXPECT_EQ(text, before);
}

TEST(SchedulerMetrics, HistogramsCountRequestsHoweverTheyEnd) {
  Manual manual;
  host::SchedulerOptions options = manual.options();
  options.batch_items = 2;
  TestEngine engine({{"a", true, 1, scripted::honest()}}, options, one_thread());
  Queue queue(engine);
  Encaps large(oracle(), 7, 1), late(oracle(), 2, 2), lone(oracle(), 1, 3);
  warpkem_submit_options soon = to(queue);
  soon.deadline_us = 10;
  submit(engine, late, soon);
  manual.clock.advance_us(5'000);
  submit(engine, large, to(queue));
  submit(engine, lone, to(queue));
  engine.settle();
  EXPECT_EQ(queue.poll().size(), 3u);
  std::size_t n = 0;
  std::vector<warpkem_histogram> histograms(16);
  check(warpkem_metrics(engine.get(), nullptr, histograms.data(), histograms.size(), &n));
  std::uint64_t counts[2][3] = {};  // by a backend, by none
  for (std::size_t i = 0; i < n; ++i) counts[histograms[i].backend[0] == 0][histograms[i].phase] += histograms[i].count;
  for (std::size_t phase = 0; phase < 3; ++phase) {
    EXPECT_EQ(counts[0][phase], 2u) << phase;
    EXPECT_EQ(counts[1][phase], phase == WARPKEM_PHASE_SERVICE ? 0u : 1u) << phase;
  }
}

TEST(SchedulerMetrics, PromtoolHasNothingToSayAboutTheText) {
  if (std::system("command -v promtool >/dev/null") != 0) GTEST_SKIP() << "no promtool";
  TestEngine engine({{"a", true, 1, scripted::honest()}}, threaded());
  serve_requests(engine, 3);
  std::string text(1 << 20, '\0');
  check(warpkem_metrics_text(engine.get(), text.data(), text.size(), nullptr));
  FILE* const promtool = popen("promtool check metrics", "w");
  ASSERT_NE(promtool, nullptr);
  EXPECT_GE(std::fputs(text.c_str(), promtool), 0);
  EXPECT_EQ(pclose(promtool), 0) << text.c_str();
}

TEST(BatchSizes, AreExactBelow64AndAtTheLargestAndElseToAThirtySecond) {
  host::BatchSizes sizes;
  EXPECT_TRUE(sizes.sizes().empty());
  for (std::uint64_t items = 1; items < 64; ++items) sizes.add(items), sizes.add(items);
  for (const std::uint64_t items : {100, 1000, 30'000, 999'999}) sizes.add(items);
  const auto all = sizes.sizes();
  ASSERT_EQ(all.size(), 67u);
  for (std::uint64_t items = 1; items < 64; ++items) {
    EXPECT_EQ(all[items - 1].items, items);
    EXPECT_EQ(all[items - 1].batches, 2u);
  }
  const std::uint64_t large[] = {100, 1000, 30'000};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_GE(all[63 + i].items, large[i]);
    EXPECT_LT(all[63 + i].items, large[i] + large[i] / 32 + 1);
    EXPECT_EQ(all[63 + i].batches, 1u);
  }
  EXPECT_EQ(all.back().items, 999'999u);
}

TEST(BatchSizes, OfMoreItemsThanThereAreBucketsForAreCountedTogether) {
  host::BatchSizes sizes;
  sizes.add(std::uint64_t{1} << 30);
  sizes.add(std::uint64_t{1} << 40);
  const auto all = sizes.sizes();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].items, std::uint64_t{1} << 40);
  EXPECT_EQ(all[0].batches, 2u);
}

}  // namespace
}  // namespace warpkem::testing
