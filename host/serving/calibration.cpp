#include "host/serving/calibration.hpp"

#include <algorithm>
#include <vector>

#include "host/core/algorithms.hpp"
#include "host/core/secure.hpp"
#include "host/engine/waiter.hpp"

namespace warpkem::host {

std::optional<Cost> measure(const Engine::Slot& slot, Clock& clock) {
  const auto has = [&slot](Operation operation) {
    return slot.abilities.has({operation, reference_algorithm, DkFormat::expanded, false});
  };
  if (!has(Operation::keygen) || !has(Operation::encaps)) return std::nullopt;
  const Algorithm& a = *find_algorithm(reference_algorithm);
  const std::size_t large =
      slot.entry->on_cpu ? 32 : std::clamp<std::size_t>(slot.backend->info().preferred_count, 64, 4096);
  SecureBuffer seed(a.seed_record(DkFormat::expanded)), ek(a.ek_bytes), dk(a.dk_record(DkFormat::expanded)),
      m(large * a.m_bytes), c(large * a.c_bytes), K(large * a.K_bytes);
  std::vector<std::uint8_t> statuses(large);
  const auto timed = [&](Batch batch) {
    batch.algorithm = a.id;
    batch.statuses = statuses.data();
    batch.on_one_thread = true;
    std::ranges::fill(statuses, item_pending);
    Waiter waiter;
    const std::uint64_t begin = clock.now_ns();
    slot.backend->submit(batch, waiter.completion());
    waiter.wait();
    return waiter.status() == Status::ok ? clock.now_ns() - begin : 0;
  };
  Batch keygen;
  keygen.operation = Operation::keygen;
  keygen.count = 1;
  keygen.seeds = {seed.data(), a.seed_record(DkFormat::expanded), nullptr};
  keygen.ek_out = {ek.data(), a.ek_bytes, nullptr};
  keygen.dk_out = {dk.data(), dk.size(), nullptr};
  if (timed(keygen) == 0) return std::nullopt;
  const std::vector<const std::uint8_t*> same(large, ek.data());
  Batch encaps;
  encaps.operation = Operation::encaps;
  encaps.m = {m.data(), a.m_bytes, nullptr};
  encaps.ek = {nullptr, 0, same.data()};
  encaps.c_out = {c.data(), a.c_bytes, nullptr};
  encaps.K_out = {K.data(), a.K_bytes, nullptr};
  std::uint64_t one = never, many = never;
  for (int repeat = 0; repeat < 3; ++repeat) {
    encaps.count = 1;
    if (const std::uint64_t t = timed(encaps); t != 0) one = std::min(one, t);
    encaps.count = large;
    if (const std::uint64_t t = timed(encaps); t != 0) many = std::min(many, t);
  }
  if (one == never || many == never) return std::nullopt;
  const double item = std::max(1.0, static_cast<double>(many > one ? many - one : 0) / static_cast<double>(large - 1));
  return Cost{std::max(0.0, static_cast<double>(one) - item), item};
}

}  // namespace warpkem::host
