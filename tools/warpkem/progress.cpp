#include "tools/warpkem/progress.hpp"

#include <fmt/core.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <initializer_list>
#include <iterator>
#include <string_view>

#include "tools/warpkem/io.hpp"

namespace warpkem::tool {
namespace {

std::string minutes(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::lround(std::min(seconds, 359999.0)));
  return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

// One column less than the terminal has now: in the last one some terminals go on to the next line, and the line would
// be out of reach.
std::size_t room() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return (known ? size.ws_col : 80u) - 1u;
}

// The first text that fits; if none does, the beginning of the last one.
std::string fitting(std::initializer_list<std::string> texts, std::size_t width) {
  for (const std::string& text : texts) {
    if (text.size() <= width) return text;
  }
  return std::data(texts)[texts.size() - 1].substr(0, width);
}

}  // namespace

std::string with_prefix(double value) {
  const char* prefix = "";
  for (const char* const next : {" k", " M", " G"}) {
    if (value < 1000) break;
    value /= 1000;
    prefix = next;
  }
  return fmt::format("{:.{}f}{}", value, *prefix == 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2, prefix);
}

Progress::Progress(std::string title, std::optional<std::uint64_t> total) : title_(std::move(title)), total_(total) {
  const char* const terminal = std::getenv("TERM");
  visible_ = isatty(STDERR_FILENO) == 1 && !(terminal != nullptr && std::string_view(terminal) == "dumb");
}

Progress::~Progress() {
  if (drawn_) write_stderr("\n");
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Progress::update(std::uint64_t done) {
  if (!visible_ || Clock::now() < next_) return;
  next_ = Clock::now() + std::chrono::milliseconds(100);
  write_stderr({"\r", line(title_, done, total_, seconds(), room()), "\x1b[K"});
  drawn_ = true;
}

void Progress::finish(std::uint64_t done) {
  if (!visible_) return;
  const double elapsed = seconds();
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  const std::string count = fmt::format("{} items", done), time = fmt::format("{} in {:.2f} s", count, elapsed),
                    all = fmt::format("{}, {}/s", time, with_prefix(rate));
  write_stderr({"\r", fitting({title_ + "  " + all, all, time, count}, room()), "\x1b[K\n"});
  drawn_ = false;
}

std::string Progress::line(const std::string& title, std::uint64_t done, std::optional<std::uint64_t> total,
                           double seconds, std::size_t width) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const std::string speed = with_prefix(rate) + "/s";
  if (!total) {
    const std::string count = std::to_string(done), counts = count + "  " + speed;
    return fitting({title + "  " + counts, counts, count}, width);
  }
  const double share = *total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(*total)) : 1.0;
  const double left = rate > 0 && done < *total ? static_cast<double>(*total - done) / rate : 0;
  const std::string percent = fmt::format("{:3.0f} %", share * 100), end = "  ETA " + minutes(left);
  const std::string counts = fmt::format("{}  {}/{}  {}{}", percent, done, *total, speed, end);

  constexpr std::size_t longest_bar = 24, shortest_bar = 4;
  const std::size_t others = title.size() + std::string_view("  [] ").size() + counts.size();
  if (others + shortest_bar > width) return fitting({title + "  " + counts, counts, percent + end, percent}, width);
  const std::size_t bar = std::min(longest_bar, width - others);
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(bar));
  return fmt::format("{}  [{}{}] {}", title, std::string(filled, '#'), std::string(bar - filled, '.'), counts);
}

}  // namespace warpkem::tool
