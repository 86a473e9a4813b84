#include "host/engine/key_check.hpp"

#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <new>
#include <vector>

#include "host/core/differ.hpp"
#include "host/core/hybrids.hpp"
#include "host/core/secure.hpp"

namespace warpkem::host {

namespace {

constexpr auto mismatch = static_cast<std::uint8_t>(Status::key_mismatch);
constexpr auto unsupported = static_cast<std::uint8_t>(Status::unsupported);

// Records made at a time: some megabytes, and enough for every thread.
constexpr std::size_t items_of_a_check = 1024;

using Items = std::vector<std::size_t>;  // numbers of keys
using Pointer = const std::uint8_t* DecodedKey::*;

constexpr std::size_t ek_in_dk(const Algorithm& a) noexcept {
  return a.dk_record(DkFormat::expanded) - a.ek_bytes - 64;
}

class KeyCheck {
 public:
  KeyCheck(Engine& engine, std::span<const DecodedKey> keys, std::uint8_t* statuses)
      : engine_(engine), keys_(keys), statuses_(statuses) {}

  void run() {
    memset(statuses_, unsupported, keys_.size());
    for (const Algorithm& a : all_algorithms()) {
      Items items;
      for (std::size_t i = 0; i < keys_.size(); ++i) {
        if (keys_[i].algorithm == a.id) items.push_back(i);
      }
      const Kind kind{Operation::keygen, a.id, DkFormat::seed};  // who makes keys checks them too
      if (!items.empty() && engine_.allows(a.id) && engine_.supports(kind)) check(a, items);
    }
  }

 private:
  void check(const Algorithm& a, const Items& items) {
    for (const std::size_t i : items) statuses_[i] = item_ok;
    const auto select = [&](auto wanted) {
      Items selected;
      std::ranges::copy_if(items, std::back_inserter(selected),
                           [&](std::size_t i) { return statuses_[i] == item_ok && wanted(keys_[i]); });
      return selected;
    };
    using Key = const DecodedKey&;
    const auto is_public = [](Key k) { return k.seed == nullptr && k.expanded == nullptr && k.composite == nullptr; };
    check_records(a, Operation::check_ek, DkFormat::expanded, &Batch::ek, &DecodedKey::ek, select(is_public));
    check_records(a, Operation::check_dk, DkFormat::composite, &Batch::dk, &DecodedKey::composite,
                  select([](Key k) { return k.composite != nullptr; }));
    const auto is_expanded = [](Key k) { return k.expanded != nullptr && k.seed == nullptr; };
    check_records(a, Operation::check_dk, DkFormat::expanded, &Batch::dk, &DecodedKey::expanded, select(is_expanded));
    in_slices(select(is_expanded), [&](const Items& slice) { agree(a, slice); });
    const auto make = [&](const Items& slice) { make_again(a, slice); };
    in_slices(select([](Key k) { return k.seed != nullptr && (k.expanded != nullptr || k.ek != nullptr); }), make);
    in_slices(select([](Key k) { return k.composite != nullptr && k.ek != nullptr; }), make);
  }

  template <class F>
  static void in_slices(const Items& items, F f) {
    for (std::size_t first = 0; first < items.size(); first += items_of_a_check) {
      const auto begin = items.begin() + static_cast<std::ptrdiff_t>(first);
      const auto count = static_cast<std::ptrdiff_t>(std::min(items_of_a_check, items.size() - first));
      f(Items(begin, begin + count));
    }
  }

  std::vector<const std::uint8_t*> table(const Items& items, Pointer part, std::size_t offset = 0) const {
    std::vector<const std::uint8_t*> pointers;
    pointers.reserve(items.size());
    for (const std::size_t i : items) pointers.push_back(keys_[i].*part + offset);
    return pointers;
  }

  // Runs a batch of these items; those that fail get its status. Throws Error where it failed as a whole.
  void run(Batch batch, const Items& items) {
    std::vector<std::uint8_t> statuses(items.size(), item_pending);
    batch.count = items.size();
    batch.statuses = statuses.data();
    const CallResult result = engine_.run(batch);
    if (result.status != Status::ok && result.status != Status::item_failed) {
      throw Error(result.status, result.text.empty() ? "out of memory" : result.text);
    }
    for (std::size_t i = 0; i < items.size(); ++i) statuses_[items[i]] = statuses[i];
  }

  void check_records(const Algorithm& a, Operation operation, DkFormat format, In Batch::*array, Pointer part,
                     const Items& items) {
    if (items.empty()) return;
    const auto pointers = table(items, part);
    Batch batch;
    batch.operation = operation;
    batch.algorithm = a.id;
    batch.dk_format = format;
    batch.*array = {nullptr, 0, pointers.data()};
    run(batch, items);
  }

  // Pairwise consistency of expanded keys, which are nothing but an ek and what should decapsulate for it: a hash that
  // is right says nothing of the secret part. Which m is used does not matter.
  void agree(const Algorithm& a, const Items& items) {
    constexpr std::array<std::uint8_t, 32> m{'k', 'e', 'y', ' ', 'c', 'h', 'e', 'c', 'k'};
    const std::vector<const std::uint8_t*> messages(items.size(), m.data());
    const auto dks = table(items, &DecodedKey::expanded), eks = table(items, &DecodedKey::expanded, ek_in_dk(a));
    const SecureBuffer c(items.size() * a.c_bytes), sent(items.size() * a.K_bytes), received(sent.size());
    Batch encaps;
    encaps.operation = Operation::encaps;
    encaps.algorithm = a.id;
    encaps.m = {nullptr, 0, messages.data()};
    encaps.ek = {nullptr, 0, eks.data()};
    encaps.c_out = {c.data(), a.c_bytes, nullptr};
    encaps.K_out = {sent.data(), a.K_bytes, nullptr};
    run(encaps, items);
    Batch decaps;
    decaps.operation = Operation::decaps;
    decaps.algorithm = a.id;
    decaps.dk = {nullptr, 0, dks.data()};
    decaps.c = {c.data(), a.c_bytes, nullptr};
    decaps.K_out = {received.data(), a.K_bytes, nullptr};
    std::vector<std::uint8_t> verdicts;
    for (const std::size_t i : items) verdicts.push_back(statuses_[i]);
    run(decaps, items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const DecodedKey& key = keys_[items[i]];
      std::uint8_t& status = statuses_[items[i]];
      if (verdicts[i] != item_ok) status = verdicts[i];
      if (status != item_ok) continue;
      const bool has_other_ek = key.ek != nullptr && memcmp(key.ek, eks[i], a.ek_bytes) != 0;
      if (has_other_ek || differ(&sent.data()[i * a.K_bytes], &received.data()[i * a.K_bytes], a.K_bytes))
        status = mismatch;
    }
  }

  // From the seeds, or else from the parts of composite keys: that has to give the ek and the expanded dk that are
  // there.
  void make_again(const Algorithm& a, const Items& items) {
    const bool is_composite = keys_[items.front()].composite != nullptr;
    const bool has_expanded = a.dk_record(DkFormat::expanded) != 0;
    const DkFormat format = is_composite ? DkFormat::composite : has_expanded ? DkFormat::expanded : DkFormat::seed;
    const std::size_t dk_bytes = a.dk_record(format), seed_bytes = a.seed_record(format);
    const SecureBuffer ek(items.size() * a.ek_bytes), dk(items.size() * dk_bytes),
        material(is_composite ? items.size() * seed_bytes : 0);
    const auto seeds = table(items, &DecodedKey::seed);
    Batch batch;
    batch.operation = Operation::keygen;
    batch.algorithm = a.id;
    batch.dk_format = format;
    batch.seeds = {nullptr, 0, seeds.data()};
    if (is_composite) {
      for (std::size_t i = 0; i < items.size(); ++i) {
        put_material(*find_hybrid(a.id), keys_[items[i]].composite, material.data() + i * seed_bytes);
      }
      batch.seeds = {material.data(), seed_bytes, nullptr};
    }
    batch.ek_out = {ek.data(), a.ek_bytes, nullptr};
    batch.dk_out = {dk.data(), dk_bytes, nullptr};
    run(batch, items);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const DecodedKey& key = keys_[items[i]];
      std::uint8_t& status = statuses_[items[i]];
      if (status != item_ok) continue;
      if (key.ek != nullptr && memcmp(key.ek, ek.data() + i * a.ek_bytes, a.ek_bytes) != 0) status = mismatch;
      if (key.expanded != nullptr && differ(key.expanded, dk.data() + i * dk_bytes, dk_bytes)) status = mismatch;
    }
  }

  // d || z || T, of which the first candidate for a scalar is the one of the key.
  static void put_material(const Hybrid& hybrid, const std::uint8_t* composite, std::uint8_t* to) noexcept {
    const std::size_t scalar_at = hybrid.composite_dk().group + encoding_of(hybrid.group).before.size();
    memcpy(to, composite, hybrid.composite_dk().group);
    memcpy(to + hybrid.material().group, composite + scalar_at, hybrid.sizes().scalar);
  }

  Engine& engine_;
  const std::span<const DecodedKey> keys_;
  std::uint8_t* const statuses_;
};

const char* rule_of(std::uint8_t status) noexcept {
  switch (status) {
    case static_cast<std::uint8_t>(ItemStatus::invalid_ek):
      return "a coefficient of ek is not below q (FIPS 203, 7.2), or the curve's part is no point";
    case static_cast<std::uint8_t>(ItemStatus::invalid_dk):
      return "the hash of ek inside dk is wrong (FIPS 203, 7.3), or the curve's part is no scalar";
    case mismatch:
      return "its parts are not of one pair (RFC 9935, Section 8)";
    case unsupported:
      return "it is of an algorithm that this engine does not have, or encrypted";
    default:
      return "it holds no scalar of the curve";
  }
}

}  // namespace

CallResult check_keys(Engine& engine, std::span<const DecodedKey> keys, std::uint8_t* statuses) {
  const auto all_are = [&](Status status) { memset(statuses, static_cast<int>(status), keys.size()); };
  try {
    KeyCheck(engine, keys, statuses).run();
  } catch (const Error& error) {
    all_are(error.status());
    throw;
  } catch (const std::bad_alloc&) {
    all_are(Status::out_of_memory);
    throw;
  }
  CallResult result;
  const std::uint8_t* const end = statuses + keys.size();
  const auto failed = [](std::uint8_t status) { return status != item_ok; };
  const std::uint8_t* const first = std::find_if(statuses, statuses + keys.size(), failed);
  result.failed = static_cast<std::size_t>(std::count_if(first, end, failed));
  if (result.failed == 0) return result;
  char text[256];
  snprintf(text, sizeof text, "key %zu: %s; %zu of %zu keys failed", static_cast<std::size_t>(first - statuses),
           rule_of(*first), result.failed, keys.size());
  result.status = Status::item_failed;
  result.text = text;
  return result;
}

}  // namespace warpkem::host
