// The engine's known-answer test: the accumulated test of 100 iterations, whose digests are published (kat/README.md).
// The same of hybrids, of few iterations: their digests were computed by an implementation of other parts
// (kat/README.md).
#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "host/backends/portable/portable.hpp"
#include "host/core/hybrids.hpp"
#include "host/engine/engine.hpp"
#include "host/engine/key_set.hpp"

namespace warpkem::host {

namespace {

using Digest = std::array<std::uint8_t, 32>;

struct Expected {
  std::uint32_t algorithm;
  std::size_t iterations;
  const char* digest;  // SHAKE-128 of ek, c, K, K_bad of every iteration
};
constexpr Expected expected_digests[] = {
    {1, 100, "86b1b4703b8ffef6f7f3290c6dbce4ad954498a0673ded401a94828e8c519a59"},
    {2, 100, "1114b1b6699ed191734fa339376afa7e285c9e6acf6ff0177d346696ce564415"},
    {3, 100, "800018fec3e2723f73f1d657fe239b4d5d8782efaade297e8cd448e54cc2ac00"},
    {4, 20, "f48247265570b484f08e0a2699b3906e3abe718fa6fb851c45fb8e55c0d7819c"},
    {5, 4, "2c561f59b43d7ec008c23d502834a648bb1bac074ca52c96e2126e1412f472a4"},
    {6, 4, "9229f73fa4ad5aff1e63dcc5f50f223907ffe62c0e9ebe86a31b1ae991bac7dc"},
    {7, 20, "6fbeb59f53afa882ffc3f4c0003b6975da2d1ded8a18e440373e93de5efe841f"},
    {8, 4, "f7830ef5842d6bae1b26f5ed26fa38488bdc023270c148eaaf8df915ee62b766"},
    {9, 4, "6934a5bf820ec0bb08ecb34aa3df69d87921d10ddb6752ac354f650bd2a1dac1"},
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
  Records(const Algorithm& a, std::size_t number, DkFormat of_dk)
      : algorithm(a),
        iterations(number),
        dk_format(of_dk),
        seeds(iterations * a.seed_record(DkFormat::seed)),
        m(iterations * a.m_bytes),
        c_bad(iterations * a.c_bytes),
        ek(iterations * a.ek_bytes),
        dk(iterations * a.dk_record(of_dk)),
        c(iterations * a.c_bytes),
        K(iterations * a.K_bytes),
        K_again(K.size()),
        K_bad(K.size()),
        statuses(iterations) {
    portable::Shake128 stream;
    for (std::size_t i = 0; i < iterations; ++i) {
      stream.squeeze({&seeds[i * a.seed_record(DkFormat::seed)], a.seed_record(DkFormat::seed)});
      stream.squeeze({&m[i * a.m_bytes], a.m_bytes});
      stream.squeeze(ml_kem_in(c_bad, i));
    }
  }

  // ML-KEM's half of a ciphertext, the only one that may be anything.
  std::span<std::uint8_t> ml_kem_in(Bytes& ciphertexts, std::size_t i) const {
    const std::span<std::uint8_t> one(&ciphertexts[i * algorithm.c_bytes], algorithm.c_bytes);
    const Hybrid* const hybrid = find_hybrid(algorithm.id);
    return hybrid == nullptr ? one : one.subspan(hybrid->c().ml_kem, hybrid->ml_kem_c_bytes);
  }
  // Gives wrong ciphertexts the other half of right ones.
  void complete_bad_ciphertexts() {
    Bytes complete = c;
    for (std::size_t i = 0; i < iterations; ++i) {
      std::ranges::copy(ml_kem_in(c_bad, i), ml_kem_in(complete, i).begin());
    }
    c_bad = std::move(complete);
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
  const std::size_t iterations;
  const DkFormat dk_format;
  Bytes seeds, m, c_bad, ek, dk, c, K, K_again, K_bad, statuses;
};

enum class Keys { expanded, seeds, prepared };
constexpr std::pair<Keys, const char*> key_forms[] = {
    {Keys::expanded, "expanded keys"}, {Keys::seeds, "keys as seeds"}, {Keys::prepared, "prepared keys"}};

}  // namespace

void Engine::selftest(Slot& slot) {
  Slot* const only[] = {&slot};
  for (const Expected& expected : expected_digests) {
    for (const auto& [keys, keys_name] : key_forms) {
      const Algorithm& algorithm = *find_algorithm(expected.algorithm);
      const bool has_expanded = algorithm.dk_record(DkFormat::expanded) != 0;
      if (keys == Keys::expanded && !has_expanded) continue;
      const DkFormat format = keys == Keys::seeds || !has_expanded ? DkFormat::seed : DkFormat::expanded;
      const std::size_t iterations = expected.iterations;
      const auto from = [iterations](const Bytes& bytes) {
        return In{bytes.data(), bytes.size() / iterations, nullptr};
      };
      const auto to = [iterations](Bytes& bytes) { return Out{bytes.data(), bytes.size() / iterations, nullptr}; };
      std::vector<std::uint32_t> every_key(iterations);
      std::iota(every_key.begin(), every_key.end(), 0u);
      const auto lacks = [&](Operation operation, bool prepared) {
        return !slot.abilities.has({operation, expected.algorithm, format, prepared});
      };
      const bool prepares = keys == Keys::prepared;
      if (lacks(Operation::keygen, false) || lacks(Operation::encaps, prepares) || lacks(Operation::decaps, prepares)) {
        continue;
      }
      Records r(algorithm, iterations, format);
      const std::string what = std::string(slot.entry->name) + ", " + r.algorithm.name + ", " + keys_name;

      const auto start = [&](Operation operation) {
        Batch batch;
        batch.operation = operation;
        batch.algorithm = expected.algorithm;
        batch.count = iterations;
        batch.statuses = r.statuses.data();
        std::ranges::fill(r.statuses, item_pending);
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
        if (operation == Operation::prepare_dk) batch.dk_format = format;
        batch.*encoded = from(bytes);
        auto set = make_key_set(shared_from_this(), fork_guard_, batch, bytes.size() / iterations);
        set->form(*slot.backend);
        return set;
      };

      Batch keygen = start(Operation::keygen);
      keygen.seeds = from(r.seeds);
      keygen.ek_out = to(r.ek);
      keygen.dk_out = to(r.dk);
      keygen.dk_format = format;
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
      r.complete_bad_ciphertexts();

      for (const auto& [c, K] : {std::pair{&r.c, &r.K_again}, std::pair{&r.c_bad, &r.K_bad}}) {
        Batch decaps = start(Operation::decaps);
        decaps.c = from(*c);
        decaps.K_out = to(*K);
        decaps.keys = dk_set.get();
        if (dk_set) decaps.index = every_key.data();
        decaps.dk_format = format;
        if (!dk_set) decaps.dk = from(r.dk);
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
