#include "tests/support/scripted_backend.hpp"

#include <string.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <mutex>
#include <stdexcept>
#include <thread>
#include <utility>

#include "host/core/outputs.hpp"
#include "host/engine/waiter.hpp"

namespace warpkem::scripted {

namespace {

using namespace host;

class ScriptedBackend final : public Backend {
 public:
  ScriptedBackend(const Script& script, std::unique_ptr<Backend> inner)
      : inner_(std::move(inner)),
        info_{script.name, "scripted, around " + inner_->info().name,
              script.preferred_count != 0 ? script.preferred_count : inner_->info().preferred_count},
        behaviour_(script.behaviour),
        lacks_(script.lacks) {}
  const BackendInfo& info() const noexcept override { return info_; }
  bool supports(Operation operation, std::uint32_t algorithm, DkFormat format) const noexcept override {
    return inner_->supports(operation, algorithm, format) &&
           (lacks_ == nullptr || !lacks_(operation, algorithm, format));
  }
  std::unique_ptr<KeyForm> prepare(const Batch& batch) override { return inner_->prepare(batch); }
  void submit(const Batch& batch, Completion done) noexcept override { behaviour_(*inner_, batch, done); }

 private:
  const std::unique_ptr<Backend> inner_;
  const BackendInfo info_;
  const Behaviour behaviour_;
  bool (*const lacks_)(Operation, std::uint32_t, DkFormat);
};

constexpr std::size_t most_scripts = 4;
std::vector<Script> scripts_in_use;
std::vector<BackendEntry> entries_in_use;

template <std::size_t I>
ProbeResult probe(const ProbeContext& context) {
  const Script& script = scripts_in_use.at(I);
  const auto real = std::ranges::find(backend_table(), std::string_view(script.inner),
                                      [](const BackendEntry& e) { return std::string_view(e.name); });
  if (real == backend_table().end()) return {nullptr, std::string("no backend ") + script.inner};
  ProbeResult inner = real->probe(context);
  if (!inner.backend) return inner;
  return {std::make_unique<ScriptedBackend>(script, std::move(inner.backend)), {}};
}

template <std::size_t... I>
constexpr auto all_probes(std::index_sequence<I...>) {
  return std::array{&probe<I>...};
}
constexpr auto probes = all_probes(std::make_index_sequence<most_scripts>());

// Runs a batch on the inner backend and waits for it. Whether that failed, its statuses say.
void run_inner(Backend& inner, const Batch& batch) {
  Waiter waiter;
  inner.submit(batch, waiter.completion());
  waiter.wait();
}

// A generator that threads share.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : engine_(seed) {}
  bool roll(double p) {
    const std::scoped_lock lock(mutex_);
    return std::uniform_real_distribution<>()(engine_) < p;
  }
  std::uint64_t number() {
    const std::scoped_lock lock(mutex_);
    return engine_();
  }

 private:
  std::mutex mutex_;
  std::mt19937_64 engine_;
};

}  // namespace

std::span<const BackendEntry> table(std::vector<Script> scripts) {
  if (scripts.size() > most_scripts) throw std::invalid_argument("too many scripted backends");
  scripts_in_use = std::move(scripts);
  entries_in_use.clear();
  for (std::size_t i = 0; i < scripts_in_use.size(); ++i) {
    entries_in_use.push_back({scripts_in_use[i].name, scripts_in_use[i].on_cpu, probes[i]});
  }
  return entries_in_use;
}

Behaviour null() {
  return [](Backend&, const Batch& batch, Completion done) {
    memset(batch.statuses, item_ok, batch.count);
    done.call(done.context, {});
  };
}

Behaviour honest() {
  return [](Backend& inner, const Batch& batch, Completion done) { inner.submit(batch, done); };
}

Behaviour lying(double p, std::uint64_t seed, std::shared_ptr<std::atomic<std::uint64_t>> bad) {
  return [p, dice = std::make_shared<Dice>(seed), bad](Backend& inner, const Batch& batch, Completion done) {
    run_inner(inner, batch);
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (batch.statuses[i] != item_ok || !dice->roll(p)) continue;
      bool lied = false;
      for_each_output(batch, [&](const Out& out, std::size_t bytes) {
        if (std::exchange(lied, true)) return;
        const std::uint64_t where = dice->number();
        out[i][where % bytes] ^= static_cast<std::uint8_t>(1u << (where >> 32 & 7));
      });
      if (lied) bad->fetch_add(1);
    }
    done.call(done.context, {});
  };
}

Behaviour failing(double p, std::uint64_t seed, Behaviour otherwise) {
  return [p, dice = std::make_shared<Dice>(seed), otherwise](Backend& inner, const Batch& batch, Completion done) {
    if (!dice->roll(p)) return otherwise(inner, batch, done);
    const std::size_t first = dice->number() % (batch.count + 1);
    const std::size_t count = dice->number() % (batch.count - first + 1);
    if (count != 0) run_inner(inner, slice(batch, first, count));
    // What was not done may hold anything.
    for (std::size_t i = 0; i < batch.count; ++i) {
      if (i >= first && i < first + count) continue;
      for_each_output(batch, [&](const Out& out, std::size_t bytes) { memset(out[i], 0xA5, bytes); });
    }
    done.call(done.context, {Status::backend_failed, "an injected fault"});
  };
}

Behaviour slow(double fixed_us, double item_us, Behaviour otherwise) {
  return [=](Backend& inner, const Batch& batch, Completion done) {
    const double us = fixed_us + item_us * static_cast<double>(batch.count);
    std::this_thread::sleep_for(std::chrono::nanoseconds(static_cast<std::int64_t>(us * 1000)));
    otherwise(inner, batch, done);
  };
}

}  // namespace warpkem::scripted
