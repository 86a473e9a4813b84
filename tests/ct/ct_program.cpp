// Every operation once, with its secrets marked for valgrind's memcheck, which then reports each branch and each
// address that depends on one. Built with WARPKEM_CT_CHECK, run by ct_test.py: ct_program BACKEND ALGORITHM OPERATION.
// Exits with 1 if a result is wrong, or if what must be secret is not (then the check would be empty).
#include <valgrind/memcheck.h>
#include <warpkem/warpkem.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "host/ct.hpp"

#ifndef WARPKEM_CT_CHECK
#error "built without WARPKEM_CT_CHECK"
#endif

namespace {

using Bytes = std::vector<std::uint8_t>;
using warpkem::host::declassify;
using warpkem::host::secret;

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "ct_program: %s; %s\n", what, warpkem_last_error());
  std::exit(1);
}
void expect(bool condition, const char* what) {
  if (!condition) fail(what);
}

// That memcheck takes each of the bytes for public, or for secret.
void expect_public(const Bytes& bytes, const char* what) {
  expect(VALGRIND_CHECK_MEM_IS_DEFINED(bytes.data(), bytes.size()) == 0, what);
}
void expect_secret(const std::uint8_t* data, std::size_t bytes, const char* what) {
  Bytes marks(bytes);
  expect(VALGRIND_GET_VBITS(data, marks.data(), bytes) == 1, "not under valgrind");
  for (const std::uint8_t mark : marks) expect(mark != 0, what);
}

struct Records {
  explicit Records(warpkem_algorithm a, std::size_t count)
      : algorithm(a),
        n(count),
        ek_bytes(warpkem_size(a, WARPKEM_SIZE_EK)),
        dk_bytes(warpkem_size(a, WARPKEM_SIZE_DK)),
        c_bytes(warpkem_size(a, WARPKEM_SIZE_C)),
        seeds(n * 64),
        m(n * 32),
        ek(n * ek_bytes),
        dk(n * dk_bytes),
        c(n * c_bytes),
        K(n * 32),
        statuses(n) {
    for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint8_t>(i * 31 + (i >> 7) + 1);
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<std::uint8_t>(i * 17 + (i >> 6) + 2);
  }
  warpkem_in in(const Bytes& bytes) const { return {bytes.data(), bytes.size(), 0}; }
  warpkem_out out(Bytes& bytes) const { return {bytes.data(), bytes.size(), 0}; }

  warpkem_algorithm algorithm;
  std::size_t n, ek_bytes, dk_bytes, c_bytes;
  Bytes seeds, m, ek, dk, c, K, statuses;
};

// Bytes that are secret from the moment they are drawn.
int secret_random(void*, std::uint8_t* out, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 5);
  secret(out, bytes);
  return 0;
}

void keygen(warpkem_engine* e, Records& r, std::uint32_t format, bool drawn) {
  Bytes seeds = r.seeds, dk(format == WARPKEM_DK_SEED ? r.n * 64 : r.dk.size());
  secret(seeds.data(), seeds.size());
  const warpkem_status status =
      drawn ? warpkem_keygen(e, r.algorithm, format, r.n, r.out(r.ek), r.out(dk), r.statuses.data(), nullptr)
            : warpkem_keygen_derand(e, r.algorithm, format, r.n, r.in(seeds), r.out(r.ek), r.out(dk), r.statuses.data(),
                                    nullptr);
  expect(status == WARPKEM_OK, "keygen failed");
  expect_public(r.ek, "ek is secret");
  expect_public(r.statuses, "statuses are secret");
  const std::size_t record = dk.size() / r.n;
  for (std::size_t i = 0; i < r.n; ++i) {
    expect_secret(&dk[i * record], format == WARPKEM_DK_SEED ? 64 : r.ek_bytes - 32, "dk is public");
    expect_secret(&dk[(i + 1) * record - 32], 32, "z is public");
  }
  if (format == WARPKEM_DK_EXPANDED) {
    declassify(dk.data(), dk.size());
    if (!drawn) expect(dk == r.dk, "dk is wrong");
  }
}

void encaps(warpkem_engine* e, Records& r, bool drawn, bool prepared) {
  Bytes m = r.m, K(r.K.size()), c(r.c.size());
  secret(m.data(), m.size());
  std::vector<std::uint32_t> index(r.n);
  for (std::size_t i = 0; i < r.n; ++i) index[i] = static_cast<std::uint32_t>(i);
  warpkem_keys* keys = nullptr;
  warpkem_status status = WARPKEM_OK;
  if (prepared) {
    expect(warpkem_prepare_ek(e, r.algorithm, r.n, r.in(r.ek), nullptr, nullptr, &keys) == WARPKEM_OK,
           "prepare_ek failed");
    status = warpkem_encaps_prepared_derand(e, keys, index.data(), r.n, r.in(m), r.out(c), r.out(K), r.statuses.data(),
                                            nullptr);
    warpkem_keys_release(keys);
  } else if (drawn) {
    status = warpkem_encaps(e, r.algorithm, r.n, r.in(r.ek), r.out(c), r.out(K), r.statuses.data(), nullptr);
  } else {
    status =
        warpkem_encaps_derand(e, r.algorithm, r.n, r.in(r.ek), r.in(m), r.out(c), r.out(K), r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "encaps failed");
  expect_public(c, "c is secret");
  expect_public(r.statuses, "statuses are secret");
  expect_secret(K.data(), K.size(), "K is public");
  declassify(K.data(), K.size());
  if (!drawn) expect(K == r.K && c == r.c, "K or c is wrong");
}

// `c` are right, or wrong for every second item: the library must not show which.
void decaps(warpkem_engine* e, Records& r, std::uint32_t format, bool prepared, bool wrong) {
  Bytes dk = format == WARPKEM_DK_SEED ? r.seeds : r.dk, c = r.c, K(r.K.size());
  for (std::size_t i = 0; wrong && i < r.n; i += 2) c[i * r.c_bytes + i * 11 % r.c_bytes] ^= 1;
  secret(dk.data(), dk.size());  // all of it; what is public in it the library declassifies itself
  std::vector<std::uint32_t> index(r.n);
  for (std::size_t i = 0; i < r.n; ++i) index[i] = static_cast<std::uint32_t>(i);
  warpkem_status status = WARPKEM_OK;
  if (prepared) {
    warpkem_keys* keys = nullptr;
    expect(warpkem_prepare_dk(e, r.algorithm, format, r.n, r.in(dk), r.statuses.data(), nullptr, &keys) == WARPKEM_OK,
           "prepare_dk failed");
    expect_public(r.statuses, "statuses of keys are secret");
    status = warpkem_decaps_prepared(e, keys, index.data(), r.n, r.in(c), r.out(K), r.statuses.data(), nullptr);
    warpkem_keys_release(keys);
  } else {
    status = warpkem_decaps(e, r.algorithm, format, r.n, r.in(dk), r.in(c), r.out(K), r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "decaps failed");
  expect_public(r.statuses, "statuses are secret");
  expect_secret(K.data(), K.size(), "K is public");
  declassify(K.data(), K.size());
  for (std::size_t i = 0; i < r.n; ++i) {
    expect((memcmp(&K[i * 32], &r.K[i * 32], 32) == 0) == !(wrong && i % 2 == 0), "K is wrong");
  }
}

// What the check must catch.
[[gnu::noinline]] int planted_branch(const std::uint8_t* x) {
  if (*x & 1) return std::puts("odd");
  return 0;
}
[[gnu::noinline]] int planted_address(const std::uint8_t* x) {
  static volatile std::uint8_t table[256];
  return table[*x];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) fail("usage: ct_program BACKEND ALGORITHM OPERATION");
  expect(RUNNING_ON_VALGRIND != 0, "not under valgrind");
  const std::string backend = argv[1], operation = argv[3];
  const warpkem_algorithm algorithm = warpkem_algorithm_by_name(argv[2]);
  expect(algorithm != 0, "no such algorithm");
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = backend.c_str();
  options.threads = 0;
  options.flags = WARPKEM_NO_FAIL_OVER;
  options.random = secret_random;
  warpkem_engine* e = nullptr;
  const warpkem_status made = warpkem_engine_new(&options, &e);
  if (made == WARPKEM_UNSUPPORTED) {
    std::printf("%s\n", warpkem_last_error());
    return 77;
  }
  expect(made == WARPKEM_OK, "no engine");

  for (const std::size_t n : {1, 2, 9}) {  // alone, a small group, full groups and a tail
    Records r(algorithm, n);
    expect(warpkem_keygen_derand(e, algorithm, 0, n, r.in(r.seeds), r.out(r.ek), r.out(r.dk), nullptr, nullptr) ==
                   WARPKEM_OK &&
               warpkem_encaps_derand(e, algorithm, n, r.in(r.ek), r.in(r.m), r.out(r.c), r.out(r.K), nullptr,
                                     nullptr) == WARPKEM_OK,
           "no records");
    Bytes planted(1, 3);
    secret(planted.data(), 1);
    if (operation == "keygen") {
      keygen(e, r, WARPKEM_DK_EXPANDED, false);
      keygen(e, r, WARPKEM_DK_SEED, false);
      keygen(e, r, WARPKEM_DK_EXPANDED, true);
    } else if (operation == "encaps") {
      encaps(e, r, false, false);
      encaps(e, r, true, false);
    } else if (operation == "encaps-prepared") {
      encaps(e, r, false, true);
    } else if (operation == "decaps") {
      decaps(e, r, WARPKEM_DK_EXPANDED, false, false);
    } else if (operation == "decaps-invalid") {
      decaps(e, r, WARPKEM_DK_EXPANDED, false, true);
    } else if (operation == "decaps-seed") {
      decaps(e, r, WARPKEM_DK_SEED, false, true);
    } else if (operation == "decaps-prepared") {
      decaps(e, r, WARPKEM_DK_EXPANDED, true, true);
      decaps(e, r, WARPKEM_DK_SEED, true, false);
    } else if (operation == "planted-branch") {
      static_cast<void>(planted_branch(planted.data()));
    } else if (operation == "planted-address") {
      static_cast<void>(planted_address(planted.data()));
    } else {
      fail("no such operation");
    }
  }
  warpkem_engine_free(e);
  return 0;
}
