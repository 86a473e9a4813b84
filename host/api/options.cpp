#include "host/api/options.hpp"

#include <stdlib.h>

#include <algorithm>
#include <bitset>
#include <string>
#include <string_view>

#include "host/api/arguments.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/hybrids.hpp"

namespace warpkem::host {

namespace {

// For comparisons.
bool switched_on(const char* name) {
  const char* const value = secure_getenv(name);
  if (value == nullptr || std::string_view(value) == "1") return true;
  if (std::string_view(value) == "0") return false;
  throw Error(Status::invalid_argument, std::string(name) + " is neither 0 nor 1");
}

}  // namespace

std::bitset<max_algorithms> parse_policy(std::string_view policy) {
  std::bitset<max_algorithms> allowed;
  if (equal_ignoring_case(policy, "CNSA-2.0")) return allowed.set(WARPKEM_ML_KEM_1024);
  const bool hybrid_only = equal_ignoring_case(policy, "hybrid-only");
  if (hybrid_only || equal_ignoring_case(policy, "NIST-curves")) {
    for (const Hybrid& hybrid : all_hybrids()) {
      allowed.set(hybrid.algorithm, hybrid_only || hybrid.group != Group::x25519);
    }
    return allowed;
  }
  for (std::string_view rest = policy;;) {
    const std::size_t comma = rest.find(',');
    const std::string_view name = rest.substr(0, comma);
    const Algorithm* const algorithm = find_algorithm(name);
    if (algorithm == nullptr) {
      throw Error(Status::unsupported,
                  "policy \"" + std::string(policy) + "\": \"" + std::string(name) +
                      "\" is neither a policy (CNSA-2.0, hybrid-only, NIST-curves) nor an algorithm");
    }
    allowed.set(algorithm->id);
    if (comma == std::string_view::npos) return allowed;
    rest.remove_prefix(comma + 1);
  }
}

EngineOptions engine_options(const warpkem_options* given) {
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  if (given != nullptr && given->struct_size != 0) copy_struct(options, given, "options");
  if ((options.flags & ~(WARPKEM_NO_FAIL_OVER | WARPKEM_PIN_THREADS | WARPKEM_REFUSE_ZERO)) != 0) {
    throw Error(Status::invalid_argument, "options.flags: unknown bits in " + std::to_string(options.flags));
  }
  constexpr uint32_t most_threads = 4096;
  constexpr uint32_t most_cuda_streams = 64;
  if (options.threads != WARPKEM_THREADS_AUTO && options.threads > most_threads) {
    throw Error(Status::invalid_argument, "options.threads: " + std::to_string(options.threads) + " is more than " +
                                              std::to_string(most_threads));
  }
  EngineOptions parsed;
  const char* backend = options.backend;
  if (backend == nullptr || std::string_view(backend) == "auto") backend = secure_getenv("WARPKEM_BACKEND");
  if (backend != nullptr && std::string_view(backend) != "auto") parsed.backend = backend;
  if (options.threads != WARPKEM_THREADS_AUTO) parsed.threads = options.threads;
  parsed.fail_over = (options.flags & WARPKEM_NO_FAIL_OVER) == 0;
  parsed.pin_threads = (options.flags & WARPKEM_PIN_THREADS) != 0;
  parsed.hybrids.refuse_zero = (options.flags & WARPKEM_REFUSE_ZERO) != 0;
  parsed.random = options.random;
  parsed.random_context = options.random_context;
  if (options.policy != nullptr) parsed.allowed = parse_policy(options.policy);
  if (options.cuda_devices != nullptr) parsed.cuda.devices = options.cuda_devices;
  parsed.cuda.chunk = options.cuda_chunk;
  parsed.cuda.streams = options.cuda_streams;
  parsed.cuda.graphs = switched_on("WARPKEM_CUDA_GRAPHS");
  parsed.cuda.forks = switched_on("WARPKEM_CUDA_FORKS");
  parsed.cuda.kernel_copies = switched_on("WARPKEM_CUDA_KERNEL_COPIES");
  parsed.pairwise_every = options.pairwise_every;
  if (options.cuda_streams > most_cuda_streams) {
    throw Error(Status::invalid_argument, "options.cuda_streams: " + std::to_string(options.cuda_streams) +
                                              " is more than " + std::to_string(most_cuda_streams));
  }
  return parsed;
}

SchedulerOptions scheduler_options(const warpkem_scheduler_options* options) {
  if (options == nullptr) throw Error(Status::invalid_argument, "options is NULL");
  warpkem_scheduler_options given{};
  copy_struct(given, options, "options");
  SchedulerOptions parsed;
  if (given.max_items != 0) parsed.most_items = given.max_items;
  if (given.max_bytes != 0) parsed.most_bytes = given.max_bytes;
  if (given.max_delay_us != 0) parsed.max_delay_ns = given.max_delay_us * std::uint64_t{1000};
  if (given.bulk_cut_us != 0) parsed.bulk_cut_ns = given.bulk_cut_us * std::uint64_t{1000};
  parsed.batch_items = given.batch_items;
  const auto check_fraction = [](double fraction, const char* name) {
    if (!(fraction <= 1)) throw Error(Status::invalid_argument, std::string(name) + ": a fraction is at most 1");
  };
  check_fraction(given.device_sentinel, "options.device_sentinel");
  check_fraction(given.cpu_sentinel, "options.cpu_sentinel");
  if (given.device_sentinel != 0) parsed.device_sentinel = std::max(0.0, given.device_sentinel);
  parsed.cpu_sentinel = std::max(0.0, given.cpu_sentinel);
  parsed.log = given.log;
  parsed.log_context = given.log_context;
  return parsed;
}

}  // namespace warpkem::host
