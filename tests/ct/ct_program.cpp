// Every operation once, with its secrets marked for valgrind's memcheck, which then reports each branch and each
// address that depends on one. Without valgrind the stepper (stepper/) does that, and runs each operation again with
// other secrets and equal public inputs, which must give the same program counters and addresses.
//
//   ct_program BACKEND X25519 derive|public-key [COUNT...]   the curve's kernels, by the names that they have
//   ct_program BACKEND ALGORITHM OPERATION [COUNT...]    one operation, on batches of each count; with all secrets for
//                                                        the first count, or for all if WARPKEM_LONG_TESTS is set
//   ct_program planted [NAME]                            lists the planted faults, or runs one under the stepper
//   ct_program unknown                                   those of the instructions on standard input that no rule
//   covers
//
// Built with WARPKEM_CT_CHECK, run by ct_test.py. Exits with 1 if a result is wrong, or if what must be secret is not
// (then the check would be empty); with 9 if something depends on a secret; with 77 if this cannot be run here.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include <valgrind/memcheck.h>
#include <warpkem/warpkem.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "host/backends/curve/x25519.hpp"
#include "host/core/ct.hpp"
#ifdef WARPKEM_CT_STEPPER
#include "tests/ct/planted.hpp"
#include "tests/ct/stepper/stepper.hpp"
#endif

#ifndef WARPKEM_CT_CHECK
#error "built without WARPKEM_CT_CHECK"
#endif

namespace {

using Bytes = std::vector<std::uint8_t>;
using warpkem::host::declassify;
using warpkem::host::secret;

constexpr int exit_leak = 9, exit_skipped = 77;

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
  expect(VALGRIND_GET_VBITS(data, marks.data(), bytes) == 1, "nobody follows secrets");
  for (const std::uint8_t mark : marks) expect(mark != 0, what);
}

struct Records {
  explicit Records(warpkem_algorithm a, std::size_t count)
      : algorithm(a),
        n(count),
        ek_bytes(warpkem_size(a, WARPKEM_SIZE_EK)),
        format(warpkem_size(a, WARPKEM_SIZE_DK) != 0 ? WARPKEM_DK_EXPANDED : WARPKEM_DK_SEED),
        seed_bytes(warpkem_size(a, WARPKEM_SIZE_SEED)),
        dk_bytes(format == WARPKEM_DK_SEED ? seed_bytes : warpkem_size(a, WARPKEM_SIZE_DK)),
        pke_bytes(warpkem_size(ml_kem(), WARPKEM_SIZE_EK) - 32),
        c_bytes(warpkem_size(a, WARPKEM_SIZE_C)),
        c_ml_kem_bytes(warpkem_size(ml_kem(), WARPKEM_SIZE_C)),
        c_ml_kem_offset(curve_is_first() ? c_bytes - c_ml_kem_bytes : 0),
        K_bytes(warpkem_size(a, WARPKEM_SIZE_K)),
        seeds(n * seed_bytes),
        m(n * warpkem_size(a, WARPKEM_SIZE_M)),
        ek(n * ek_bytes),
        dk(n * dk_bytes),
        c(n * c_bytes),
        K(n * K_bytes),
        statuses(n) {
    for (std::size_t i = 0; i < seeds.size(); ++i) seeds[i] = static_cast<std::uint8_t>(i * 31 + (i >> 7) + 1);
    for (std::size_t i = 0; i < m.size(); ++i) m[i] = static_cast<std::uint8_t>(i * 17 + (i >> 6) + 2);
  }
  warpkem_in in(const Bytes& bytes) const { return {bytes.data(), bytes.size(), 0}; }
  warpkem_out out(Bytes& bytes) const { return {bytes.data(), bytes.size(), 0}; }

  bool is_hybrid() const { return algorithm > WARPKEM_ML_KEM_1024; }
  warpkem_algorithm ml_kem() const {
    if (!is_hybrid()) return algorithm;
    return std::strstr(warpkem_algorithm_name(algorithm), "1024") != nullptr ? WARPKEM_ML_KEM_1024 : WARPKEM_ML_KEM_768;
  }
  bool curve_is_first() const {
    return algorithm == WARPKEM_SECP256R1MLKEM768 || algorithm == WARPKEM_SECP384R1MLKEM1024;
  }
  // Of all of them nothing can be changed that does not change what is public.
  bool has_short_seeds() const { return seed_bytes == 32; }

  warpkem_algorithm algorithm;
  std::size_t n, ek_bytes;
  std::uint32_t format;  // of dk: expanded, or seed where there is no other
  std::size_t seed_bytes, dk_bytes, pke_bytes, c_bytes, c_ml_kem_bytes, c_ml_kem_offset, K_bytes;
  Bytes seeds, m, ek, dk, c, K, statuses;
};

// Which secrets an operation gets; its public inputs are the same for all. 0: those that belong together. Decapsulation
// has bits: other z, other s (the hash check covers ek alone), and c that are wrong.
unsigned variant = 0;
constexpr unsigned vary_z = 1, vary_s = 2, vary_c = 4;

// Around calls of the library: what is executed there is in the trace, the code of this file is not.
#ifdef WARPKEM_CT_STEPPER
stepper::Trace* trace = nullptr;  // shared by all runs
struct Traced {
  explicit Traced(bool recording = true) {
    if (trace != nullptr) trace->recording = recording;
  }
  ~Traced() {
    if (trace != nullptr) trace->recording = false;
  }
};
#else
struct Traced {
  explicit Traced(bool = true) {}
};
#endif

// Secrets that are given to the library. Public again when they go: free() looks at the memory that it takes back.
struct Secrets {
  explicit Secrets(Bytes& b) : bytes(b) { secret(bytes.data(), bytes.size()); }
  ~Secrets() { declassify(bytes.data(), bytes.size()); }
  Bytes& bytes;
};

// Bytes that are secret from the moment they are drawn.
int secret_random(void*, std::uint8_t* out, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + 5 + variant * 29);
  secret(out, bytes);
  return 0;
}

void keygen(warpkem_engine* e, Records& r, std::uint32_t format, bool drawn) {
  Bytes seeds = r.seeds, dk(format == WARPKEM_DK_SEED ? r.seeds.size() : r.dk.size());
  // Other z alone: rho, which is public, comes from d.
  for (std::size_t i = 0; i < seeds.size(); ++i) {
    seeds[i] = static_cast<std::uint8_t>(seeds[i] ^ (i % r.seed_bytes / 32 == 1 ? variant : 0));
  }
  const Secrets secrets(seeds);
  warpkem_status status = WARPKEM_OK;
  {
    const Traced traced(!drawn);  // drawn secrets decide rho
    status = drawn ? warpkem_keygen(e, r.algorithm, format, r.n, r.out(r.ek), r.out(dk), r.statuses.data(), nullptr)
                   : warpkem_keygen_derand(e, r.algorithm, format, r.n, r.in(seeds), r.out(r.ek), r.out(dk),
                                           r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "keygen failed");
  expect_public(r.ek, "ek is secret");
  expect_public(r.statuses, "statuses are secret");
  const std::size_t record = dk.size() / r.n;
  for (std::size_t i = 0; i < r.n; ++i) {
    expect_secret(&dk[i * record], format == WARPKEM_DK_SEED ? r.seed_bytes : r.pke_bytes, "dk is public");
    expect_secret(&dk[(i + 1) * record - 32], 32, "z or the scalar is public");
  }
  declassify(dk.data(), dk.size());
  if (format == WARPKEM_DK_EXPANDED) {
    if (!drawn && variant == 0) expect(dk == r.dk, "dk is wrong");
  }
}

void encaps(warpkem_engine* e, Records& r, bool drawn, bool prepared) {
  Bytes m = r.m, K(r.K.size()), c(r.c.size());
  for (std::uint8_t& byte : m) byte = static_cast<std::uint8_t>(byte ^ variant * 37);
  const Secrets secrets(m);
  std::vector<std::uint32_t> index(r.n);
  for (std::size_t i = 0; i < r.n; ++i) index[i] = static_cast<std::uint32_t>(i);
  warpkem_keys* keys = nullptr;
  warpkem_status status = WARPKEM_OK;
  if (prepared) {
    const Traced traced;
    expect(warpkem_prepare_ek(e, r.algorithm, r.n, r.in(r.ek), nullptr, nullptr, &keys) == WARPKEM_OK,
           "prepare_ek failed");
    status = warpkem_encaps_prepared_derand(e, keys, index.data(), r.n, r.in(m), r.out(c), r.out(K), r.statuses.data(),
                                            nullptr);
    warpkem_keys_release(keys);
  } else if (drawn) {
    const Traced traced;
    status = warpkem_encaps(e, r.algorithm, r.n, r.in(r.ek), r.out(c), r.out(K), r.statuses.data(), nullptr);
  } else {
    const Traced traced;
    status =
        warpkem_encaps_derand(e, r.algorithm, r.n, r.in(r.ek), r.in(m), r.out(c), r.out(K), r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "encaps failed");
  expect_public(c, "c is secret");
  expect_public(r.statuses, "statuses are secret");
  expect_secret(K.data(), K.size(), "K is public");
  declassify(K.data(), K.size());
  if (!drawn) expect((K == r.K && c == r.c) == (variant == 0), "K or c is wrong");
}

// With an m that comes of a secret and H(ek).
void encaps_derived(warpkem_engine* e, Records& r) {
  Bytes prefix(40), K(r.K.size()), c(r.c.size());
  for (std::size_t i = 0; i < prefix.size(); ++i) prefix[i] = static_cast<std::uint8_t>(i * 7 + variant * 37u);
  const Secrets secrets(prefix);
  warpkem_status status;
  {
    const Traced traced;
    status = warpkem_encaps_derived(e, r.algorithm, r.n, prefix.data(), prefix.size(), 0, nullptr, nullptr, r.in(r.ek),
                                    r.out(c), r.out(K), r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "encaps_derived failed");
  expect_public(c, "c is secret");
  expect_public(r.statuses, "statuses are secret");
  expect_secret(K.data(), K.size(), "K is public");
  declassify(K.data(), K.size());
}

// `c` are right, or wrong for every second item: the library must not show which.
void decaps(warpkem_engine* e, Records& r, std::uint32_t format, bool prepared, bool wrong) {
  Bytes dk = format == WARPKEM_DK_SEED ? r.seeds : r.dk, c = r.c, K(r.K.size());
  for (std::size_t i = 0; wrong && i < r.n; i += 2) {
    c[i * r.c_bytes + r.c_ml_kem_offset + i * 11 % r.c_ml_kem_bytes] ^= 1;  // the curve's part may be refused
  }
  const bool other_s = (variant & vary_s) != 0 && format == WARPKEM_DK_EXPANDED;
  const bool other_z = (variant & vary_z) != 0 && !r.has_short_seeds();  // or, of a hybrid, the scalar
  const std::size_t record = dk.size() / r.n;
  for (std::size_t i = 0; i < r.n; ++i) {
    if (variant & vary_c) c[(i + 1) * r.c_bytes - 1 - i] ^= 2;
    for (std::size_t z = record * (i + 1) - 32; other_z && z < record * (i + 1); ++z) dk[z] ^= 0x5a;
    for (std::size_t s = 0; other_s && s < r.pke_bytes; s += 3) dk[i * record + s] ^= 1;
  }
  const Secrets secrets(dk);  // all of it; what is public in it the library declassifies itself
  std::vector<std::uint32_t> index(r.n);
  for (std::size_t i = 0; i < r.n; ++i) index[i] = static_cast<std::uint32_t>(i);
  warpkem_status status = WARPKEM_OK;
  if (prepared) {
    const Traced traced;
    warpkem_keys* keys = nullptr;
    expect(warpkem_prepare_dk(e, r.algorithm, format, r.n, r.in(dk), r.statuses.data(), nullptr, &keys) == WARPKEM_OK,
           "prepare_dk failed");
    expect_public(r.statuses, "statuses of keys are secret");
    status = warpkem_decaps_prepared(e, keys, index.data(), r.n, r.in(c), r.out(K), r.statuses.data(), nullptr);
    warpkem_keys_release(keys);
  } else {
    const Traced traced;
    status = warpkem_decaps(e, r.algorithm, format, r.n, r.in(dk), r.in(c), r.out(K), r.statuses.data(), nullptr);
  }
  expect(status == WARPKEM_OK, "decaps failed");
  expect_public(r.statuses, "statuses are secret");
  expect_secret(K.data(), K.size(), "K is public");
  declassify(K.data(), K.size());
  for (std::size_t i = 0; i < r.n; ++i) {
    const bool right = !(wrong && i % 2 == 0) && !other_s && !(other_z && r.is_hybrid()) && (variant & vary_c) == 0;
    expect((memcmp(&K[i * r.K_bytes], &r.K[i * r.K_bytes], r.K_bytes) == 0) == right, "K is wrong");
  }
}

void check(warpkem_engine* e, Records& r) {
  Bytes dk = r.dk;
  for (std::size_t i = 0; i < r.n; ++i) {
    for (std::size_t s = 0; (variant & vary_s) != 0 && s < r.pke_bytes && !r.has_short_seeds(); s += 3) {
      dk[i * r.dk_bytes + s] ^= 1;
    }
    if ((variant & vary_z) && !r.has_short_seeds()) dk[(i + 1) * r.dk_bytes - 1] ^= 1;
  }
  const Secrets secrets(dk);
  const Traced traced;
  expect(warpkem_check_ek(e, r.algorithm, r.n, r.in(r.ek), r.statuses.data(), nullptr) == WARPKEM_OK, "ek is refused");
  expect_public(r.statuses, "statuses are secret");
  warpkem_batch batch{};
  batch.struct_size = sizeof batch;
  batch.operation = WARPKEM_OP_CHECK_DK, batch.algorithm = r.algorithm, batch.dk_format = r.format, batch.count = r.n;
  batch.dk = {dk.data(), dk.size(), 0, nullptr}, batch.statuses = r.statuses.data();
  expect(warpkem_run(e, &batch) == WARPKEM_OK, "dk is refused");
  expect_public(r.statuses, "statuses are secret");
}

// X25519 without an engine: scalars are secret, and so are coordinates, which costs nothing.
void x25519(const warpkem::curve::X25519Kernels& kernels, std::size_t n, bool derive) {
  using namespace warpkem::curve;
  Bytes k(n * 32), u(n * 32), result(n * 32), expected(n * 32), is_zero(n), workspace(kernels.workspace_bytes + 64);
  for (std::size_t i = 0; i < k.size(); ++i) {
    k[i] = static_cast<std::uint8_t>((i * 31 + (i >> 5) + 1) ^ variant * 37);
    u[i] = static_cast<std::uint8_t>(i * 17 + (i >> 4) + 2 + variant);
  }
  const auto run = [&](const X25519Kernels& by, Bytes& to) {
    std::uint8_t* scratch = workspace.data() + (64 - reinterpret_cast<std::uintptr_t>(workspace.data()) % 64) % 64;
    if (derive) {
      Derive batch;
      batch.count = n;
      batch.k.data = k.data(), batch.u.data = u.data(), batch.result.data = to.data();
      batch.is_zero = is_zero.data();
      by.derive(batch, scratch);
    } else {
      PublicKey batch;
      batch.count = n;
      batch.k.data = k.data(), batch.result.data = to.data();
      by.public_key(batch, scratch);
    }
  };
  run(portable(), expected);
  {
    const Secrets scalars(k), coordinates(u);
    const Traced traced;
    run(kernels, result);
  }
  expect_secret(result.data(), result.size(), "results are public");
  if (derive) expect_secret(is_zero.data(), is_zero.size(), "which results are zero is public");
  declassify(result.data(), result.size());
  declassify(is_zero.data(), is_zero.size());
  expect(result == expected, "a result is wrong");
}

// What the check must catch.
[[gnu::noinline]] int planted_branch(const std::uint8_t* x) {
  static volatile int odd;
  if (*x & 1) odd = odd + 1;
  return odd;
}
[[gnu::noinline]] int planted_address(const std::uint8_t* x) {
  static volatile std::uint8_t table[256];
  return table[*x];
}

struct Job {
  std::string backend, operation;
  warpkem_algorithm algorithm;
  warpkem_engine* engine;
  Records* records;
  const warpkem::curve::X25519Kernels* curve;  // null: an operation of the engine
  std::size_t items;
};

void run_operation(void* context) {
  const Job& job = *static_cast<Job*>(context);
  const std::string& operation = job.operation;
  if (job.curve != nullptr) return x25519(*job.curve, job.items, operation == "derive");
  warpkem_engine* e = job.engine;
  Records& r = *job.records;
  Bytes planted(1, static_cast<std::uint8_t>(3 + variant));
  const Secrets secrets(planted);
  if (operation == "keygen") {
    keygen(e, r, r.format, false);
    keygen(e, r, WARPKEM_DK_SEED, false);
    if (variant == 0) keygen(e, r, r.format, true);
  } else if (operation == "encaps") {
    encaps(e, r, false, false);
    encaps(e, r, true, false);
    encaps_derived(e, r);
  } else if (operation == "encaps-prepared") {
    encaps(e, r, false, true);
  } else if (operation == "decaps") {
    decaps(e, r, r.format, false, false);
  } else if (operation == "decaps-invalid") {
    decaps(e, r, r.format, false, true);
  } else if (operation == "decaps-seed") {
    decaps(e, r, WARPKEM_DK_SEED, false, true);
  } else if (operation == "decaps-prepared") {
    decaps(e, r, r.format, true, true);
    decaps(e, r, WARPKEM_DK_SEED, true, false);
  } else if (operation == "check") {
    check(e, r);
  } else if (operation == "planted-branch") {
    const Traced traced;
    static_cast<void>(planted_branch(planted.data()));
  } else if (operation == "planted-address") {
    const Traced traced;
    static_cast<void>(planted_address(planted.data()));
  } else {
    fail("no such operation");
  }
}

// The engine and right answers to compare with. False: this backend cannot be run here.
bool prepare(Job& job, std::size_t n) {
  if (job.algorithm == 0) {
    job.items = n;
    for (const auto* one = warpkem::curve::implementations(); one->kernels != nullptr; ++one) {
      if (!one->usable()) continue;
      if (job.backend == one->kernels().name) job.curve = &one->kernels();
    }
    if (job.curve == nullptr) {
      std::printf("the CPU lacks what %s needs\n", job.backend.c_str());
      return false;
    }
    warpkem::curve::PublicKey nothing;  // makes the tables, which are public
    Bytes k(32), result(32), workspace(job.curve->workspace_bytes + 64);
    nothing.count = 1, nothing.k.data = k.data(), nothing.result.data = result.data();
    std::uint8_t* scratch = workspace.data() + (64 - reinterpret_cast<std::uintptr_t>(workspace.data()) % 64) % 64;
    job.curve->public_key(nothing, scratch);
    return true;
  }
  warpkem_options options = WARPKEM_OPTIONS_DEFAULT;
  options.backend = job.backend.c_str();
  options.threads = 0;
  options.flags = WARPKEM_NO_FAIL_OVER;
  options.random = secret_random;
  const warpkem_status made = warpkem_engine_new(&options, &job.engine);
  if (made == WARPKEM_UNSUPPORTED) {
    std::printf("%s\n", warpkem_last_error());
    return false;
  }
  expect(made == WARPKEM_OK, "no engine");
  Records& r = *(job.records = new Records(job.algorithm, n));
  expect(warpkem_keygen_derand(job.engine, job.algorithm, r.format, n, r.in(r.seeds), r.out(r.ek), r.out(r.dk), nullptr,
                               nullptr) == WARPKEM_OK &&
             warpkem_encaps_derand(job.engine, job.algorithm, n, r.in(r.ek), r.in(r.m), r.out(r.c), r.out(r.K), nullptr,
                                   nullptr) == WARPKEM_OK,
         "no records");
  for (const Bytes* made : {&r.dk, &r.K}) declassify(made->data(), made->size());  // to compare with
  return true;
}

void clean_up(Job& job) {
  delete job.records;
  warpkem_engine_free(job.engine);
}

#ifdef WARPKEM_CT_STEPPER

// Runs `function` in a child process; its exit status. All children begin with the same memory at the same
// addresses, so that their traces can be compared.
template <class Function>
int in_child(Function function) {
  std::fflush(nullptr);
  const pid_t child = fork();
  expect(child >= 0, "no child process");
  if (child == 0) {
    const int status = function();
    std::fflush(nullptr);
    _exit(status);
  }
  int status = 0;
  expect(waitpid(child, &status, 0) == child, "no child process");
  if (WIFSIGNALED(status)) std::printf("ended by signal %d\n", WTERMSIG(status));
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

std::vector<unsigned> variants_of(const std::string& operation) {
  if (operation == "decaps-seed") return {0, vary_z, vary_c, vary_z | vary_c};
  if (operation.starts_with("decaps")) return {0, vary_z, vary_s, vary_c, vary_z | vary_s | vary_c};
  if (operation == "check") return {0, vary_z, vary_s};
  if (operation.starts_with("planted")) return {0, 1};
  return {0, 1, 6};
}

int step_operation(Job& job, const std::vector<std::size_t>& counts) {
  constexpr std::size_t trace_bytes = std::size_t{1} << 30;
  void* memory = mmap(nullptr, trace_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  expect(memory != MAP_FAILED, "no memory for traces");
  static char output[1 << 16];
  std::setvbuf(stdout, output, _IOLBF, sizeof output);  // no allocation between one child and the next
  trace = new (memory) stepper::Trace;
  int worst = 0;
  for (const std::size_t n : counts) {
    trace->words = reinterpret_cast<std::uint64_t*>(trace + 1);
    trace->capacity = (trace_bytes - sizeof *trace) / sizeof(std::uint64_t);
    trace->comparing = false;
    const std::vector<unsigned> all = variants_of(job.operation);
    for (const unsigned v : all) {
      if (n != counts.front() && v != all.front() && v != all.back() && std::getenv("WARPKEM_LONG_TESTS") == nullptr) {
        continue;
      }
      variant = v;
      trace->at = 0;
      trace->differs = false;
      const int status = in_child([&] {
        if (!prepare(job, n)) return exit_skipped;
        const stepper::Result result = stepper::run(run_operation, &job, trace);
        if (v == 0) std::printf("%zu items: %llu instructions\n", n, static_cast<unsigned long long>(result.steps));
        return result.leaks == 0 ? 0 : exit_leak;
      });
      if (status == exit_skipped) return exit_skipped;
      if (status != 0) {
        std::printf("with %zu items and secrets %u: status %d\n", n, v, status);
        worst = status;
        if (status != exit_leak) return status;
      }
      trace->comparing = true;
    }
  }
  return worst;
}

int run_planted(const planted::Case& one) {
  if (!planted::can_run(one)) {
    std::printf("the CPU lacks %s\n", one.needs);
    return exit_skipped;
  }
  struct Bench {
    const planted::Case& one;
    std::uint8_t secret[64], table[4096];
  } bench{one, {}, {}};
  for (std::size_t i = 0; i < sizeof bench.secret; ++i) bench.secret[i] = static_cast<std::uint8_t>(i + 3);
  const stepper::Result result = stepper::run(
      [](void* context) {
        Bench& b = *static_cast<Bench*>(context);
        secret(b.secret, sizeof b.secret);
        b.one.function(b.secret, b.table);
      },
      &bench, nullptr);
  return result.leaks == 0 ? 0 : exit_leak;
}

int planted_main(int argc, char** argv) {
  for (int i = 0; i < planted::num_cases; ++i) {
    const planted::Case& one = planted::cases[i];
    if (argc == 2) std::printf("%s:%s:%s\n", one.name, one.leak, one.place == nullptr ? "" : "here");
    if (argc == 3 && std::strcmp(argv[2], one.name) == 0) return run_planted(one);
  }
  if (argc == 3) fail("no such fault");
  return 0;
}

#endif

}  // namespace

int main(int argc, char** argv) {
#ifdef WARPKEM_CT_STEPPER
  const bool stepping = RUNNING_ON_VALGRIND == 0;
  if (stepping) {
    if (const char* missing = stepper::machine_missing()) {
      std::printf("%s\n", missing);
      return exit_skipped;
    }
    // Symbols are bound before anything is stepped: the binder saves and restores registers in ways of its own.
    if (std::getenv("LD_BIND_NOW") == nullptr) {
      setenv("LD_BIND_NOW", "1", 1);
      execv("/proc/self/exe", argv);
      fail("cannot start again");
    }
    if (argc >= 2 && std::strcmp(argv[1], "planted") == 0) return planted_main(argc, argv);
    if (argc == 2 && std::strcmp(argv[1], "unknown") == 0) return stepper::print_unknown() == 0 ? 0 : 1;
  }
#else
  constexpr bool stepping = false;
  if (RUNNING_ON_VALGRIND == 0) {
    std::printf("built without the stepper, for which libzydis-dev is needed\n");
    return exit_skipped;
  }
#endif
  if (argc < 4) fail("usage: ct_program BACKEND ALGORITHM OPERATION [COUNT...]");
  Job job{argv[1], argv[3], warpkem_algorithm_by_name(argv[2]), nullptr, nullptr, nullptr, 0};
  expect(job.algorithm != 0 || std::strcmp(argv[2], "X25519") == 0, "no such algorithm");
  std::vector<std::size_t> counts;
  for (int i = 4; i < argc; ++i) counts.push_back(std::strtoul(argv[i], nullptr, 10));
  if (counts.empty()) counts = {1, 2, 9};  // alone, a small group, full groups and a tail
#ifdef WARPKEM_CT_STEPPER
  if (stepping) return step_operation(job, counts);
#endif
  for (const std::size_t n : counts) {
    if (!prepare(job, n)) return exit_skipped;
    run_operation(&job);
    clean_up(job);
  }
  return 0;
}
