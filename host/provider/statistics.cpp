#include "host/provider/statistics.hpp"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include <exception>
#include <string_view>

namespace warpkem::provider {

namespace {

constexpr std::uint64_t seconds_between = 10;

std::uint64_t seconds_now() noexcept {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<std::uint64_t>(now.tv_sec) + 1;  // never 0
}

struct Row {
  Event event;
  const char *metric, *label, *value;
};
constexpr Row rows[num_events] = {
    {Event::keygen, "warpkem_provider_operations_total", "operation", "keygen"},
    {Event::encaps, "warpkem_provider_operations_total", "operation", "encaps"},
    {Event::decaps, "warpkem_provider_operations_total", "operation", "decaps"},
    {Event::keygen_failed, "warpkem_provider_failures_total", "operation", "keygen"},
    {Event::encaps_failed, "warpkem_provider_failures_total", "operation", "encaps"},
    {Event::decaps_failed, "warpkem_provider_failures_total", "operation", "decaps"},
    {Event::share_refused, "warpkem_provider_failures_total", "operation", "import"},
    {Event::pool_taken, "warpkem_provider_pool_keys_total", "event", "taken"},
    {Event::pool_missed, "warpkem_provider_pool_keys_total", "event", "missed"},
    {Event::pool_made, "warpkem_provider_pool_keys_total", "event", "made"},
    {Event::pool_expired, "warpkem_provider_pool_keys_total", "event", "expired"},
};

const char* help_of(std::string_view metric) noexcept {
  if (metric == "warpkem_provider_operations_total")
    return "Operations that this process asked the provider for and got.";
  if (metric == "warpkem_provider_failures_total") return "Operations that failed, and public keys that were refused.";
  return "Key pairs made ahead of use: what became of them, and how often there was none.";
}

// "%p" is the number of the process.
std::string path_of_process(const std::string& path) {
  std::string made;
  for (std::size_t i = 0; i < path.size(); ++i) {
    const bool is_number = path[i] == '%' && i + 1 < path.size() && path[i + 1] == 'p';
    made += is_number ? std::to_string(getpid()) : std::string(1, path[i]);
    i += is_number ? 1 : 0;
  }
  return made;
}

std::string text_of(const auto& counters) {
  std::string text;
  std::string_view before;
  for (const Row& row : rows) {
    if (row.metric != before) {
      text += std::string("# HELP ") + row.metric + " " + help_of(row.metric) + "\n# TYPE " + row.metric + " counter\n";
    }
    before = row.metric;
    for (std::size_t i = 0; i < num_kems; ++i) {
      text += std::string(row.metric) + "{algorithm=\"" + all_kems()[i].name + "\"," + row.label + "=\"" + row.value +
              "\"} " + std::to_string(counters.events[i][static_cast<std::size_t>(row.event)].load()) + "\n";
    }
  }
  text +=
      "# HELP warpkem_provider_pool_keys Key pairs that wait for their use.\n# TYPE warpkem_provider_pool_keys gauge\n";
  for (std::size_t i = 0; i < num_kems; ++i) {
    text += std::string("warpkem_provider_pool_keys{algorithm=\"") + all_kems()[i].name + "\"} " +
            std::to_string(counters.stock[i].load()) + "\n";
  }
  return text;
}

}  // namespace

constinit Living<Statistics> Statistics::living;
Statistics::AtExit Statistics::at_exit;

Statistics::AtExit::~AtExit() {
  living.each([](const Statistics& one) { one.write_last(); });
}

Statistics::Statistics(const std::string& path) noexcept : path_(path), memory_(sizeof(Counters)) { living.add(this); }

Statistics::~Statistics() {
  living.remove(this, [&] { write_last(); });
}

void Statistics::write_last() const noexcept {
  if (is_on() && counters()->written.load() != 0) write();
}

void Statistics::count(std::size_t kem, Event event, std::uint64_t times) noexcept {
  if (is_on()) counters()->events[kem][static_cast<std::size_t>(event)].fetch_add(times, std::memory_order_relaxed);
}

void Statistics::set_stock(std::size_t kem, std::size_t keys) noexcept {
  if (is_on()) counters()->stock[kem].store(keys, std::memory_order_relaxed);
}

void Statistics::write_if_due() noexcept {
  if (!is_on()) return;
  const std::uint64_t now = seconds_now();
  std::uint64_t written = counters()->written.load(std::memory_order_relaxed);
  if (written != 0 && now - written < seconds_between) return;
  if (counters()->written.compare_exchange_strong(written, now)) write();
}

// A new file takes the place of the old one, so that a reader sees a whole one. Where that cannot be, there is none.
void Statistics::write() const noexcept {
  try {
    const std::string path = path_of_process(path_), temporary = path + "." + std::to_string(getpid()) + ".new";
    const std::string text = text_of(*counters());
    const int file = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0) return;
    const bool is_written = ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
    if (close(file) != 0 || !is_written || rename(temporary.c_str(), path.c_str()) != 0) unlink(temporary.c_str());
  } catch (const std::exception&) {  // of memory: next time
  }
}

}  // namespace warpkem::provider
