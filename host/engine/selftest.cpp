// The engine's known-answer test: the accumulated test of 100 iterations, whose digests are published (kat/README.md).
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "host/backends/portable/portable.hpp"
#include "host/engine/engine.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

constexpr std::size_t iterations = 100;
using Digest = std::array<std::uint8_t, 32>;

struct Expected {
  std::uint32_t algorithm;
  const char* digest;  // SHAKE-128 of ek, c, K, K_bad of every iteration
};
constexpr Expected expected_digests[] = {
    {1, "86b1b4703b8ffef6f7f3290c6dbce4ad954498a0673ded401a94828e8c519a59"},
    {2, "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415"},
    {3, "800018fec3e2723f73f1d657fe239b4d5d8782efaade297e8cd448e54cc2ac00"},
};

std::string hex(const Digest& digest) {
  constexpr char digits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : digest) text += {digits[byte >> 4], digits[byte & 15]};
  return text;
}

using Bytes = std::vector<std::uint8_t>;

// The inputs and outputs of all iterations, side by side.
struct Records {
  explicit Records(const Algorithm& a)
      : algorithm(a),
        seeds(iterations * a.seed_bytes),
        m(iterations * a.m_bytes),
        c_bad(iterations * a.c_bytes),
        ek(iterations * a.ek_bytes),
        dk(iterations * a.dk_record(DkFormat::expanded)),
        c(iterations * a.c_bytes),
        K(iterations * a.K_bytes),
        K_again(K.size()),
        K_bad(K.size()),
        statuses(iterations) {
    portable::Shake128 stream;
    for (std::size_t i = 0; i < iterations; ++i) {
      stream.squeeze({&seeds[i * a.seed_bytes], a.seed_bytes});
      stream.squeeze({&m[i * a.m_bytes], a.m_bytes});
      stream.squeeze({&c_bad[i * a.c_bytes], a.c_bytes});
    }
  }

  Digest digest() const {
    portable::Shake128 sponge;
    for (std::size_t i = 0; i < iterations; ++i) {
      sponge.absorb({&ek[i * algorithm.ek_bytes], algorithm.ek_bytes});
      sponge.absorb({&c[i * algorithm.c_bytes], algorithm.c_bytes});
      sponge.absorb({&K[i * algorithm.K_bytes], algorithm.K_bytes});
      sponge.absorb({&K_bad[i * algorithm.K_bytes], algorithm.K_bytes});
    }
    Digest out;
    sponge.squeeze(out);
    return out;
  }

  const Algorithm& algorithm;
  Bytes seeds, m, c_bad, ek, dk, c, K, K_again, K_bad, statuses;
};

In from(const Bytes& bytes) { return {bytes.data(), bytes.size() / iterations, nullptr}; }
Out to(Bytes& bytes) { return {bytes.data(), bytes.size() / iterations, nullptr}; }

enum class Keys { expanded, seeds, prepared };
constexpr std::pair<Keys, const char*> key_forms[] = {
    {Keys::expanded, "expanded keys"}, {Keys::seeds, "keys as seeds"}, {Keys::prepared, "prepared keys"}};

}  // namespace

void Engine::selftest(Slot& slot) {
  Slot* const only[] = {&slot};
  std::vector<std::uint32_t> every_key(iterations);
  for (std::size_t i = 0; i < iterations; ++i) every_key[i] = static_cast<std::uint32_t>(i);

  for (const Expected& expected : expected_digests) {
    for (const auto& [keys, keys_name] : key_forms) {
      const DkFormat format = keys == Keys::seeds ? DkFormat::seed : DkFormat::expanded;
      const auto lacks = [&](Operation operation, bool prepared) {
        return !slot.abilities.has({operation, expected.algorithm, format, prepared});
      };
      const bool prepares = keys == Keys::prepared;
      if (lacks(Operation::keygen, false) || lacks(Operation::encaps, prepares) || lacks(Operation::decaps, prepares)) {
        continue;
      }
      Records r(*find_algorithm(expected.algorithm));
      const std::string what = std::string(slot.entry->name) + ", " + r.algorithm.name + ", " + keys_name;

      const auto start = [&](Operation operation) {
        Batch batch;
        batch.operation = operation;
        batch.algorithm = expected.algorithm;
        batch.count = iterations;
        batch.statuses = r.statuses.data();
        std::ranges::fill(r.statuses, static_cast<std::uint8_t>(ItemStatus::pending));
        return batch;
      };
      const auto run = [&](const Batch& batch) {
        dispatch(batch, nullptr, only);
        if (std::ranges::any_of(r.statuses, [](std::uint8_t s) { return s != 0; })) {
          throw Error(Status::backend_failed, "self-test of " + what + ": a good key was refused");
        }
      };
      // With prepared keys the set is made on this backend alone.
      const auto prepared = [&](Operation operation, In Batch::*encoded, const Bytes& bytes) {
        Batch batch = start(operation);
        batch.*encoded = from(bytes);
        auto set = make_key_set(shared_from_this(), fork_guard_, batch, bytes.size() / iterations);
        set->form(*slot.backend);
        return set;
      };

      Batch keygen = start(Operation::keygen);
      keygen.seeds = from(r.seeds);
      keygen.ek_out = to(r.ek);
      keygen.dk_out = to(r.dk);
      run(keygen);

      std::unique_ptr<KeySet> ek_set, dk_set;
      if (keys == Keys::prepared) ek_set = prepared(Operation::prepare_ek, &Batch::ek, r.ek);
      if (keys == Keys::prepared) dk_set = prepared(Operation::prepare_dk, &Batch::dk, r.dk);
      Batch encaps = start(Operation::encaps);
      encaps.m = from(r.m);
      encaps.c_out = to(r.c);
      encaps.K_out = to(r.K);
      encaps.keys = ek_set.get();
      if (ek_set) encaps.index = every_key.data();
      if (!ek_set) encaps.ek = from(r.ek);
      run(encaps);

      for (const auto& [c, K] : {std::pair{&r.c, &r.K_again}, std::pair{&r.c_bad, &r.K_bad}}) {
        Batch decaps = start(Operation::decaps);
        decaps.c = from(*c);
        decaps.K_out = to(*K);
        decaps.keys = dk_set.get();
        if (dk_set) decaps.index = every_key.data();
        decaps.dk_format = format;
        if (!dk_set) decaps.dk = from(keys == Keys::seeds ? r.seeds : r.dk);
        run(decaps);
      }
      if (r.K != r.K_again)
        throw Error(Status::backend_failed, "self-test of " + what + ": decaps does not undo encaps");
      if (hex(r.digest()) != expected.digest)
        throw Error(Status::backend_failed, "self-test of " + what + ": wrong digest");
    }
  }
}

void Engine::selftest(std::string_view backend) {
  bool found = false;
  for (Slot* slot : order_) {
    if (!backend.empty() && backend != slot->entry->name) continue;
    found = true;
    selftest(*slot);
  }
  if (!found) {
    throw Error(Status::unsupported, "backend \"" + std::string(backend) + "\" is not one that this engine may use");
  }
}

}  // namespace warpkem::host
