// What serve-bench asks an engine for, and what is right.
#pragma once

#include <warpkem/warpkem.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <vector>

#include "tools/warpkem/kinds.hpp"
#include "tools/warpkem/serve/options.hpp"

namespace warpkem::tool {

// One kind of request: keys, and known answers, which `portable` computes.
struct RequestKind {
  static constexpr std::size_t num_keys = 8, answers_per_key = 32, num_answers = num_keys * answers_per_key;

  RequestKind(const ServeOp& op, warpkem_engine* portable);

  // Whether a key of it can be spoilt: a seed is always good.
  bool can_be_bad() const { return key_bytes != 0 && (op.operation == WARPKEM_OP_ENCAPS || format != WARPKEM_DK_SEED); }

  ServeOp op;
  std::uint32_t format;  // of dk: expanded, or seed where there is no other
  MlKemPart part;
  std::size_t ek_bytes, dk_bytes, c_bytes, K_bytes;
  std::size_t key_bytes = 0, in_bytes = 0, out1_bytes = 0, out2_bytes = 0;
  // Answer i belongs to key i % num_keys: the secret input (seed, m, or c for decaps) and both outputs.
  std::vector<std::uint8_t> ek, dk, input, out1, out2;
};

// The kinds of a mix, drawn by their weights.
class RequestMix {
 public:
  RequestMix(const std::vector<ServeOp>& ops, warpkem_engine* portable);

  bool has_several() const { return kinds_.size() > 1; }
  const RequestKind& pick(std::mt19937_64& random) const;

 private:
  std::deque<RequestKind> kinds_;
  std::vector<double> up_to_;  // cumulative weights
};

// One request, with memory of its own. It is used again and again.
class Request {
 public:
  // Lays the request out; its arrays do not move afterwards.
  void prepare(const RequestKind& k, std::size_t number);
  // Writes the descriptor of request `number` into zeros. Descriptors are not kept: they would be most of what a
  // request brings into the cache.
  void describe(warpkem_batch& batch, std::size_t number, bool with_status);
  // The next question, with given randomness or, where the operation draws any, the engine's own.
  void ask(std::uint64_t dice, bool drawn);
  // Poisons the outputs, so that stale results cannot pass for right ones, nor stale zeros for cleared ones.
  void poison_outputs();
  // Makes the key one that its check refuses: a coefficient of ek not below q (FIPS 203, 7.2), or an ek inside dk, or
  // its hash, that does not fit the other (7.3).
  void spoil_key(std::uint64_t dice);
  void restore_key();

  warpkem_status expected_status() const;
  bool is_right(warpkem_engine* portable);
  bool is_zero();

  const std::uint8_t* out1() { return first_out(); }

  const RequestKind* kind = nullptr;
  bool in_flight = false, derand = false, bad = false;
  bool is_void = false;  // it was delivered without results, so its outputs are zero
  std::uint8_t item_status = 0;
  std::uint64_t intended_ns = 0;

 private:
  std::uint8_t* key() { return memory_.data(); }
  std::uint8_t* input() { return memory_.data() + kind->key_bytes; }
  std::uint8_t* first_out() { return input() + kind->in_bytes; }
  std::uint8_t* second_out() { return first_out() + kind->out1_bytes; }
  // Checks what came of randomness that only the engine knows. The holder of dk comes to the same K. A key pair is one,
  // and passes the checks of FIPS 203, Section 7, which come with encapsulating and decapsulating.
  bool holds_together(warpkem_engine* portable);

  std::vector<std::uint8_t> memory_;  // key, input, outputs
  std::size_t key_number_ = 0, answer_ = 0;
};

}  // namespace warpkem::tool
