#include "tools/warpkem/progress.hpp"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "tools/warpkem/io.hpp"

namespace warpkem::tool {
namespace {

std::string minutes(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::lround(std::min(seconds, 359999.0)));
  return whole < 3600 ? fmt::format("{}:{:02}", whole / 60, whole % 60)
                      : fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

void draw(std::string_view text) { write_stderr({"\r", text, "\x1b[K"}); }

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
  draw(line(title_, done, total_, seconds()));
  drawn_ = true;
}

void Progress::finish(std::uint64_t done) {
  if (!visible_) return;
  const double elapsed = seconds();
  const double rate = elapsed > 0 ? static_cast<double>(done) / elapsed : 0;
  draw(fmt::format("{}  {} items in {:.2f} s, {}/s\n", title_, done, elapsed, with_prefix(rate)));
  drawn_ = false;
}

std::string Progress::line(const std::string& title, std::uint64_t done, std::optional<std::uint64_t> total,
                           double seconds) {
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  if (!total) return fmt::format("{}  {}  {}/s", title, done, with_prefix(rate));
  constexpr std::size_t width = 24;
  const double share = *total > 0 ? std::min(1.0, static_cast<double>(done) / static_cast<double>(*total)) : 1.0;
  const auto filled = static_cast<std::size_t>(share * width);
  const std::string left = rate > 0 && done < *total ? minutes(static_cast<double>(*total - done) / rate) : minutes(0);
  return fmt::format("{}  [{}{}] {:3.0f} %  {}/{}  {}/s  ETA {}", title, std::string(filled, '#'),
                     std::string(width - filled, '.'), share * 100, done, *total, with_prefix(rate), left);
}

}  // namespace warpkem::tool
