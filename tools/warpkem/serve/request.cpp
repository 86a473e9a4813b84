#include "tools/warpkem/serve/request.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "tools/warpkem/engine.hpp"
#include "tools/warpkem/io.hpp"

namespace warpkem::tool {

namespace {

void must_be_right(warpkem_status status) {
  if (status != WARPKEM_OK) throw Error(fmt::format("portable: {}", warpkem_last_error()));
}

}  // namespace

RequestKind::RequestKind(const ServeOp& o, warpkem_engine* portable)
    : op(o),
      format(dk_format_of(o.algorithm, dk_format_by_default)),
      part(ml_kem_part(o.algorithm)),
      ek_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_EK)),
      dk_bytes(tool::dk_bytes(o.algorithm, format)),
      c_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_C)),
      K_bytes(warpkem_size(o.algorithm, WARPKEM_SIZE_K)),
      ek(num_answers * ek_bytes),
      dk(num_answers * dk_bytes) {
  std::mt19937_64 random(op.operation * 100 + op.algorithm);
  const auto fill = [&](std::vector<std::uint8_t>& v) {
    for (auto& byte : v) byte = static_cast<std::uint8_t>(random());
  };
  const std::size_t n = num_answers;
  const auto in = [](const std::vector<std::uint8_t>& v) { return warpkem_in{v.data(), v.size(), 0}; };
  const auto out = [](std::vector<std::uint8_t>& v) { return warpkem_out{v.data(), v.size(), 0}; };
  const std::size_t seed = seed_bytes(op.algorithm, format), m_bytes = warpkem_size(op.algorithm, WARPKEM_SIZE_M);
  std::vector<std::uint8_t> seeds(seed * n), m(m_bytes * n), c(c_bytes * n), K(K_bytes * n);
  fill(seeds);
  fill(m);
  const bool same_keys = op.operation != WARPKEM_OP_KEYGEN;
  for (std::size_t i = num_keys; i < n && same_keys; ++i) memcpy(&seeds[seed * i], &seeds[seed * (i % num_keys)], seed);
  must_be_right(
      warpkem_keygen_derand(portable, op.algorithm, format, n, in(seeds), out(ek), out(dk), nullptr, nullptr));
  if (op.operation == WARPKEM_OP_KEYGEN) {
    in_bytes = seed, out1_bytes = ek_bytes, out2_bytes = dk_bytes;
    input = seeds, out1 = ek, out2 = dk;
    return;
  }
  must_be_right(warpkem_encaps_derand(portable, op.algorithm, n, in(ek), in(m), out(c), out(K), nullptr, nullptr));
  if (op.operation == WARPKEM_OP_ENCAPS) {
    key_bytes = ek_bytes, in_bytes = m_bytes, out1_bytes = c_bytes, out2_bytes = K_bytes;
    input = m, out1 = c, out2 = K;
    return;
  }
  // Of every key an eighth of the ciphertexts is wrong: they are rejected, each with a K of its own.
  for (std::size_t i = 0; i < n; ++i) {
    if (i / num_keys % 8 != 7) continue;
    c[i * c_bytes + part.in_c + random() % part.c_bytes] ^= static_cast<std::uint8_t>(1 + random() % 255);
  }
  must_be_right(warpkem_decaps(portable, op.algorithm, format, n, in(dk), in(c), out(K), nullptr, nullptr));
  key_bytes = dk_bytes, in_bytes = c_bytes, out1_bytes = K_bytes;
  input = c, out1 = K;
}

RequestMix::RequestMix(const std::vector<ServeOp>& ops, warpkem_engine* portable) {
  for (const ServeOp& op : ops) {
    kinds_.emplace_back(op, portable);
    up_to_.push_back((up_to_.empty() ? 0 : up_to_.back()) + op.weight);
  }
}

const RequestKind& RequestMix::pick(std::mt19937_64& random) const {
  if (kinds_.size() == 1) return kinds_.front();
  const double at = std::uniform_real_distribution<>(0, up_to_.back())(random);
  const auto found = static_cast<std::size_t>(std::ranges::upper_bound(up_to_, at) - up_to_.begin());
  return kinds_[std::min(found, kinds_.size() - 1)];
}

void Request::prepare(const RequestKind& k, std::size_t number) {
  if (kind == &k) return;
  kind = &k;
  key_number_ = number % RequestKind::num_keys;
  bad = is_void = false;
  memory_.assign(k.key_bytes + k.in_bytes + k.out1_bytes + k.out2_bytes, 0);
  restore_key();
}

void Request::describe(warpkem_batch& batch, std::size_t number, bool with_status) {
  batch.struct_size = sizeof batch;
  batch.operation = kind->op.operation;
  batch.algorithm = kind->op.algorithm;
  batch.count = 1;
  batch.user_data = reinterpret_cast<void*>(number);
  if (with_status) batch.statuses = &item_status;
  if (kind->op.operation != WARPKEM_OP_ENCAPS) batch.dk_format = kind->format;
  if (kind->op.operation == WARPKEM_OP_KEYGEN) {
    if (derand) batch.flags = WARPKEM_DERAND, batch.seeds = {input(), kind->in_bytes, 0, nullptr};
    batch.ek_out = {first_out(), kind->out1_bytes, 0, nullptr};
    batch.dk_out = {second_out(), kind->out2_bytes, 0, nullptr};
  } else if (kind->op.operation == WARPKEM_OP_ENCAPS) {
    if (derand) batch.flags = WARPKEM_DERAND, batch.m = {input(), kind->in_bytes, 0, nullptr};
    batch.ek = {key(), kind->key_bytes, 0, nullptr};
    batch.c_out = {first_out(), kind->out1_bytes, 0, nullptr};
    batch.K_out = {second_out(), kind->out2_bytes, 0, nullptr};
  } else {
    batch.dk = {key(), kind->key_bytes, 0, nullptr};
    batch.c = {input(), kind->in_bytes, 0, nullptr};
    batch.K_out = {first_out(), kind->out1_bytes, 0, nullptr};
  }
}

void Request::ask(std::uint64_t dice, bool drawn) {
  answer_ = key_number_ + RequestKind::num_keys * (dice % RequestKind::answers_per_key);
  derand = !drawn || kind->op.operation == WARPKEM_OP_DECAPS;
  if (derand) memcpy(input(), kind->input.data() + answer_ * kind->in_bytes, kind->in_bytes);
}

void Request::poison_outputs() {
  memset(first_out(), 0xEE, kind->out1_bytes + kind->out2_bytes);
  is_void = false;
  item_status = 0xEE;
}

void Request::spoil_key(std::uint64_t dice) {
  bad = true;
  const MlKemPart& part = kind->part;
  if (kind->op.operation == WARPKEM_OP_ENCAPS) {
    std::uint8_t* const pair = key() + part.in_ek + 3 * (dice % ((part.ek_bytes - 32) / 3));  // two of 12 bits
    const std::uint64_t q = 3329, coefficient = q + (dice >> 16) % (4096 - q);
    if ((dice >> 32 & 1) == 0) {
      pair[0] = static_cast<std::uint8_t>(coefficient);
      pair[1] = static_cast<std::uint8_t>((pair[1] & 0xf0) | coefficient >> 8);
    } else {
      pair[1] = static_cast<std::uint8_t>((pair[1] & 0x0f) | coefficient << 4);
      pair[2] = static_cast<std::uint8_t>(coefficient >> 4);
    }
  } else {
    const std::size_t ek_begin = part.in_dk + part.dk_bytes - 64 - part.ek_bytes;
    key()[ek_begin + dice % (part.ek_bytes + 32)] ^= static_cast<std::uint8_t>(1u << (dice >> 32 & 7));
  }
}

void Request::restore_key() {
  const bool encaps = kind->op.operation == WARPKEM_OP_ENCAPS;
  if (kind->key_bytes != 0)
    memcpy(key(), (encaps ? kind->ek : kind->dk).data() + key_number_ * kind->key_bytes, kind->key_bytes);
  bad = false;
}

warpkem_status Request::expected_status() const {
  if (!bad) return WARPKEM_OK;
  return kind->op.operation == WARPKEM_OP_ENCAPS ? WARPKEM_INVALID_EK : WARPKEM_INVALID_DK;
}

bool Request::is_right(warpkem_engine* portable) {
  if (!derand) return holds_together(portable);
  return std::equal(first_out(), second_out(), kind->out1.data() + answer_ * kind->out1_bytes) &&
         std::equal(second_out(), second_out() + kind->out2_bytes, kind->out2.data() + answer_ * kind->out2_bytes);
}

bool Request::holds_together(warpkem_engine* portable) {
  const warpkem_algorithm algorithm = kind->op.algorithm;
  std::array<std::uint8_t, 80> K, K_prime;
  std::array<std::uint8_t, 1665> c;
  const auto decapsulates = [&](const std::uint8_t* dk, const std::uint8_t* from, const std::uint8_t* to) {
    return warpkem_decaps(portable, algorithm, kind->format, 1, {dk, kind->dk_bytes, 0}, {from, kind->c_bytes, 0},
                          {K_prime.data(), kind->K_bytes, 0}, nullptr, nullptr) == WARPKEM_OK &&
           memcmp(K_prime.data(), to, kind->K_bytes) == 0;
  };
  if (kind->op.operation == WARPKEM_OP_ENCAPS) {
    return decapsulates(kind->dk.data() + key_number_ * kind->dk_bytes, first_out(), second_out());
  }
  const MlKemPart& part = kind->part;
  const std::uint8_t* const ek_inside = second_out() + part.in_dk + part.dk_bytes - 64 - part.ek_bytes;
  const bool has_ek_inside =
      kind->format == WARPKEM_DK_SEED || memcmp(first_out() + part.in_ek, ek_inside, part.ek_bytes) == 0;
  return has_ek_inside &&
         warpkem_encaps(portable, algorithm, 1, {first_out(), kind->ek_bytes, 0}, {c.data(), kind->c_bytes, 0},
                        {K.data(), kind->K_bytes, 0}, nullptr, nullptr) == WARPKEM_OK &&
         decapsulates(second_out(), c.data(), K.data());
}

bool Request::is_zero() {
  const std::uint8_t* const begin = first_out();
  return std::all_of(begin, begin + kind->out1_bytes + kind->out2_bytes, [](auto b) { return b == 0; });
}

}  // namespace warpkem::tool
