// The C ABI without an engine: algorithms, sizes, policies, names and texts (warpkem/warpkem.h).
#include <array>
#include <bitset>
#include <string>
#include <string_view>

#include "host/api/arguments.hpp"
#include "host/api/last_error.hpp"
#include "host/api/options.hpp"
#include "host/api/seam.hpp"
#include "host/core/algorithms.hpp"
#include "host/core/hybrids.hpp"
#include "warpkem/warpkem.h"

namespace {

using namespace warpkem::host;

// Made when the library is loaded: a static variable of a function has a lock, which a fork could leave locked.
const std::array<char, 128> cpu_features = [] {
  std::array<char, 128> text{};
#if defined(__x86_64__)
  __builtin_cpu_init();
  std::size_t length = 0;
  const auto add = [&](int has, const char* name) {
    if (has == 0) return;
    if (length != 0) text[length++] = ' ';
    for (; *name != '\0'; ++name) text[length++] = *name;
  };
  add(__builtin_cpu_supports("sse4.1"), "sse4.1");
  add(__builtin_cpu_supports("avx2"), "avx2");
  add(__builtin_cpu_supports("bmi2"), "bmi2");
  add(__builtin_cpu_supports("avx512f"), "avx512f");
  add(__builtin_cpu_supports("avx512bw"), "avx512bw");
  add(__builtin_cpu_supports("avx512dq"), "avx512dq");
  add(__builtin_cpu_supports("avx512vl"), "avx512vl");
  add(__builtin_cpu_supports("avx512vbmi"), "avx512vbmi");
  add(__builtin_cpu_supports("avx512vbmi2"), "avx512vbmi2");
#endif
  return text;
}();

}  // namespace

extern "C" {

size_t warpkem_size(warpkem_algorithm algorithm, uint32_t what) {
  const Algorithm* const a = find_algorithm(algorithm);
  if (a == nullptr) return 0;
  switch (what) {
    case WARPKEM_SIZE_EK:
      return a->ek_bytes;
    case WARPKEM_SIZE_DK:
      return a->dk_record(DkFormat::expanded);
    case WARPKEM_SIZE_DK_SEED:
      return a->dk_record(DkFormat::seed);
    case WARPKEM_SIZE_C:
      return a->c_bytes;
    case WARPKEM_SIZE_K:
      return a->K_bytes;
    case WARPKEM_SIZE_SEED:
      return a->seed_record(DkFormat::seed);
    case WARPKEM_SIZE_DK_COMPOSITE:
      return a->dk_record(DkFormat::composite);
    case WARPKEM_SIZE_SEED_COMPOSITE:
      return a->seed_record(DkFormat::composite);
    case WARPKEM_SIZE_M:
      return a->m_bytes;
    default:
      return 0;
  }
}

warpkem_algorithm warpkem_algorithm_by_name(const char* name) {
  const Algorithm* const a = name != nullptr ? find_algorithm(std::string_view(name)) : nullptr;
  return a != nullptr ? a->id : 0;
}

const char* warpkem_algorithm_name(warpkem_algorithm algorithm) {
  const Algorithm* const a = find_algorithm(algorithm);
  return a != nullptr ? a->name : nullptr;
}

const char* warpkem_algorithm_oid(warpkem_algorithm algorithm) {
  const Algorithm* const a = find_algorithm(algorithm);
  return a != nullptr ? a->oid : nullptr;
}

warpkem_status warpkem_describe_algorithm(warpkem_algorithm algorithm, warpkem_algorithm_info* info) {
  return guarded([&] {
    const Algorithm* const a = find_algorithm(algorithm);
    if (a == nullptr) throw Error(Status::unsupported, "unknown algorithm " + std::to_string(algorithm));
    if (info == nullptr) throw Error(Status::invalid_argument, "info is NULL");
    clear_out_struct(info, "info");
    const Hybrid* const hybrid = find_hybrid(algorithm);
    info->name = a->name;
    info->oid = a->oid;
    info->tls_number = a->tls_number;
    if (a->tls_number != 0) info->tls_group = hybrid != nullptr ? a->name : a->alias;
    info->hpke_number = a->hpke_number;
    info->ml_kem = hybrid != nullptr ? hybrid->ml_kem : algorithm;
    info->category = 2 * info->ml_kem - 1;  // FIPS 203, Section 8
    if (hybrid == nullptr) return WARPKEM_OK;
    info->curve = name_of(hybrid->group);
    info->combines = hybrid->combines();
    info->ml_kem_in_ek = hybrid->ek().ml_kem;
    info->ml_kem_in_dk = hybrid->expanded_dk().ml_kem;
    info->ml_kem_in_c = hybrid->c().ml_kem;
    return WARPKEM_OK;
  });
}

warpkem_status warpkem_policy_allows(const char* policy, warpkem_algorithm algorithm) {
  return guarded([&] {
    const Algorithm* const known = find_algorithm(algorithm);
    if (known == nullptr) throw Error(Status::unsupported, "unknown algorithm " + std::to_string(algorithm));
    if (policy == nullptr) return WARPKEM_OK;
    std::bitset<max_algorithms> allowed;
    try {
      allowed = parse_policy(policy);
    } catch (const Error& error) {
      throw Error(Status::invalid_argument, error.what());
    }
    if (!allowed.test(algorithm)) {
      throw Error(Status::unsupported, std::string("policy \"") + policy + "\" does not allow " + known->name);
    }
    return WARPKEM_OK;
  });
}

const char* warpkem_status_name(warpkem_status status) {
  static constexpr const char* names[] = {"WARPKEM_OK",
                                          "WARPKEM_INVALID_ARGUMENT",
                                          "WARPKEM_ITEM_FAILED",
                                          "WARPKEM_INVALID_EK",
                                          "WARPKEM_INVALID_DK",
                                          "WARPKEM_UNSUPPORTED",
                                          "WARPKEM_OUT_OF_MEMORY",
                                          "WARPKEM_RNG_FAILED",
                                          "WARPKEM_BACKEND_FAILED",
                                          "WARPKEM_INVALID_KEY_INDEX",
                                          "WARPKEM_FORKED",
                                          "WARPKEM_WOULD_BLOCK",
                                          "WARPKEM_CANCELLED",
                                          "WARPKEM_EXPIRED",
                                          "WARPKEM_ABORTED",
                                          "WARPKEM_WOULD_DEADLOCK",
                                          "WARPKEM_INVALID_C",
                                          "WARPKEM_INVALID_RANDOMNESS",
                                          "WARPKEM_INVALID_ENCODING",
                                          "WARPKEM_KEY_MISMATCH",
                                          "WARPKEM_PAIRWISE_FAILED",
                                          "WARPKEM_INVALID_TAG"};
  return status < sizeof names / sizeof *names ? names[status] : "WARPKEM_UNKNOWN_STATUS";
}

const char* warpkem_last_error(void) { return warpkem::host::last_error(); }

const char* warpkem_version(void) { return WARPKEM_VERSION_STRING; }

const char* warpkem_cpu_features(void) { return cpu_features.data(); }

}  // extern "C"
