// X25519 of every implementation: RFC 7748's vectors, inputs that are special, OpenSSL as another opinion, and the
// arithmetic in lanes at its bounds. What this machine cannot run, AVX-512 say, runs as a model of its instructions.
#include "host/backends/curve/x25519.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <ucontext.h>

#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "host/backends/curve/double_field.hpp"
#include "host/backends/curve/ifma_field.hpp"
#include "host/backends/curve/vector_kernels.hpp"
#include "tests/backends/x25519_models.hpp"
#include "tests/support/x25519_records.hpp"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace warpkem::curve {
namespace {

using Bytes = std::vector<u8>;
using test_x25519::from_hex, test_x25519::low_order_elements, test_x25519::p_plus, test_x25519::Record,
    test_x25519::small_number;

struct NoEnvironment {
  NoEnvironment() noexcept {}
};

using DoublesOf8 = DoubleField<DoubleModel<8>>;
using Integers = IfmaField<IntegerModel>;

constexpr X25519Kernels lane_models[] = {VectorKernels<DoublesOf8, NoEnvironment, 1>::kernels("avx512-model"),
                                         VectorKernels<Integers, NoEnvironment, 0>::kernels("avx512-ifma-model")};

bool is_model(const X25519Kernels& kernels) { return std::string_view(kernels.name).ends_with("model"); }

const std::vector<const X25519Kernels*>& usable_kernels() {
  static std::vector<const X25519Kernels*> result;
  if (!result.empty()) return result;
  for (const Implementation* one = implementations(); one->kernels != nullptr; ++one) {
    if (one->usable()) {
      result.push_back(&one->kernels());
    } else {
      std::printf("absent: an implementation of X25519 that needs %s\n", one->needs);
    }
  }
  for (const X25519Kernels& model : lane_models) result.push_back(&model);
  return result;
}

struct Workspace {
  explicit Workspace(const X25519Kernels& kernels) : bytes(kernels.workspace_bytes + 64) {}
  u8* data() { return bytes.data() + (64 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 64) % 64; }
  Bytes bytes;
};

struct Results {
  std::vector<Record> records;
  Bytes is_zero;
};

Results derive(const X25519Kernels& kernels, const std::vector<Record>& k, const std::vector<Record>& u) {
  Results results{std::vector<Record>(k.size()), Bytes(k.size(), 0xee)};
  Workspace workspace(kernels);
  Derive batch;
  batch.count = k.size();
  batch.k.data = k.data()->data(), batch.u.data = u.data()->data(), batch.result.data = results.records.data()->data();
  batch.is_zero = results.is_zero.data();
  kernels.derive(batch, workspace.data());
  return results;
}
std::vector<Record> public_keys(const X25519Kernels& kernels, const std::vector<Record>& k) {
  std::vector<Record> results(k.size());
  Workspace workspace(kernels);
  PublicKey batch;
  batch.count = k.size();
  batch.k.data = k.data()->data(), batch.result.data = results.data()->data();
  kernels.public_key(batch, workspace.data());
  return results;
}

std::vector<Record> random_records(std::size_t n, unsigned seed) {
  std::mt19937 random{seed};
  std::vector<Record> records(n);
  for (Record& record : records) {
    for (u8& byte : record) byte = static_cast<u8>(random());
  }
  return records;
}

class X25519Test : public testing::TestWithParam<const X25519Kernels*> {
 protected:
  void SetUp() override { broken_bounds = 0; }
  void TearDown() override { EXPECT_EQ(broken_bounds, 0u); }

  // Once alone and once in every lane: some do the last items of a batch in another way.
  void expect_derived(const Record& k, const Record& u, const Record& expected) {
    for (const std::size_t n : {std::size_t{1}, kernels.lanes + 2}) {
      const Results results = derive(kernels, std::vector<Record>(n, k), std::vector<Record>(n, u));
      for (std::size_t i = 0; i < n; ++i) {
        EXPECT_EQ(results.records[i], expected) << "item " << i << " of " << n;
        EXPECT_EQ(results.is_zero[i], expected == Record{} ? 1 : 0);
      }
    }
  }
  std::size_t many(std::size_t n) const { return is_model(kernels) ? n / 32 : n; }

  const X25519Kernels& kernels = *GetParam();
};

TEST_P(X25519Test, GivesTheResultsOfRfc7748) {
  expect_derived(from_hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                 from_hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
                 from_hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"));
  expect_derived(from_hex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
                 from_hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
                 from_hex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"));
}

TEST_P(X25519Test, AgreesOnTheKeyOfRfc7748) {  // Section 6.1
  const Record a = from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const Record b = from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const Record a_public = from_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const Record b_public = from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const Record K = from_hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  EXPECT_EQ(public_keys(kernels, {a, b}), (std::vector{a_public, b_public}));
  expect_derived(a, b_public, K);
  expect_derived(b, a_public, K);
}

TEST_P(X25519Test, IteratesAsRfc7748Does) {
  struct Mark {
    long after;
    const char* k;
  };
  constexpr Mark marks[] = {{1, "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"},
                            {1000, "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"},
                            {1000000, "7c3911e0ab2586fd864497297e575e6f3bc601c0883c30df5f4dd2d24f665424"}};
  const bool all = std::getenv("WARPKEM_LONG_TESTS") != nullptr && !is_model(kernels);
  const std::size_t n = kernels.lanes;
  std::vector<Record> k(n, small_number(9)), u = k, results(n);
  Workspace workspace(kernels);
  long done = 0;
  for (const Mark& mark : marks) {
    if (mark.after > (all ? 1000000 : is_model(kernels) ? 1 : 1000)) continue;
    for (; done < mark.after; ++done) {
      Derive batch;
      batch.count = n;
      batch.k.data = k.data()->data(), batch.u.data = u.data()->data(), batch.result.data = results.data()->data();
      kernels.derive(batch, workspace.data());
      u.swap(k);
      k.swap(results);
    }
    for (const Record& lane : k) ASSERT_EQ(lane, from_hex(mark.k)) << "after " << mark.after;
  }
}

TEST_P(X25519Test, GivesZeroForLowOrderAndSaysSo) {
  const std::vector<Record> low = low_order_elements();
  for (const Record& k : random_records(2, 1)) {
    for (const Record& u : low) expect_derived(k, u, Record{});
  }
  // Among others, whose results must not suffer from a denominator of 0 in the shared inversion.
  const std::size_t n = 5 * kernels.lanes + 3;
  const std::vector<Record> k = random_records(n, 2);
  std::vector<Record> u = random_records(n, 3);
  const Results good = derive(kernels, k, u);
  for (std::size_t at = 0; at < n; at += 1 + at % 3) u[at] = low[at % low.size()];
  const Results mixed = derive(kernels, k, u);
  for (std::size_t i = 0, at = 0; i < n; ++i) {
    const bool is_low = i == at;
    if (is_low) at += 1 + at % 3;
    EXPECT_EQ(mixed.is_zero[i], is_low ? 1 : 0);
    EXPECT_EQ(mixed.records[i], is_low ? Record{} : good.records[i]);
  }
}

TEST_P(X25519Test, TakesNonCanonicalCoordinatesForTheirResidues) {
  const Record k = random_records(1, 4)[0];
  for (int x = 2; x < 19; ++x) {
    const Record expected = derive(portable(), {k}, {small_number(static_cast<u8>(x))}).records[0];
    Record u = p_plus(x);
    expect_derived(k, u, expected);
    u[31] |= 0x80;
    expect_derived(k, u, expected);
  }
}

TEST_P(X25519Test, IgnoresTheTopBitOfACoordinateAndTheBitsThatAScalarHasFixed) {
  const std::vector<Record> k = random_records(many(256), 5), u = random_records(many(256), 6);
  std::vector<Record> other_k = k, other_u = u;
  for (std::size_t i = 0; i < k.size(); ++i) {
    other_k[i][0] ^= static_cast<u8>(i & 7);
    other_k[i][31] ^= static_cast<u8>(i >> 3 << 6);
    other_u[i][31] ^= 0x80;
  }
  EXPECT_EQ(derive(kernels, k, u).records, derive(kernels, other_k, other_u).records);
  EXPECT_EQ(public_keys(kernels, k), public_keys(kernels, other_k));
}

// Scalars that make the comb's digits and the ladder's swaps extreme, and u-coordinates with extreme limbs.
TEST_P(X25519Test, TakesEveryScalarAndCoordinateAtTheEdges) {
  std::vector<Record> edges;
  for (const int fill : {0x00, 0xff, 0x55, 0xaa, 0x0f, 0xf0, 0x80, 0x01, 0x7f, 0xfe}) {
    Record record;
    record.fill(static_cast<u8>(fill));
    edges.push_back(record);
  }
  for (std::size_t bit = 0; bit < 256; bit += 3) {
    Record record{};
    record[bit / 8] = static_cast<u8>(1 << (bit % 8));
    edges.push_back(record);
    for (u8& byte : record) byte = static_cast<u8>(~byte);
    edges.push_back(record);
  }
  // Multiples of the base point's order: the comb subtracts it once.
  Words multiple{};
  for (int times = 1; times <= 8; ++times) {
    multiple = sum(multiple, group_order);
    Record record;
    store_words(multiple, record.data());
    edges.push_back(record);
    record[0] = static_cast<u8>(record[0] + 8);
    edges.push_back(record);
  }
  std::vector<Record> k, u;
  for (std::size_t i = 0; i < edges.size(); ++i) {
    k.push_back(edges[i]);
    u.push_back(edges[(i * 7 + 1) % edges.size()]);
  }
  EXPECT_EQ(derive(kernels, k, u).records, derive(portable(), k, u).records);
  const std::vector<Record> keys = public_keys(kernels, k);
  EXPECT_EQ(keys, derive(portable(), k, std::vector<Record>(k.size(), small_number(9))).records);
}

TEST_P(X25519Test, DoesBatchesOfEverySize) {
  const std::size_t largest = many(1021) + 40;
  const std::vector<Record> k = random_records(largest, 7), u = random_records(largest, 8);
  const std::vector<Record> derived = derive(portable(), k, u).records, keys = public_keys(portable(), k);
  for (std::size_t n = 0; n <= largest; n = n < 40 ? n + 1 : is_model(kernels) ? n + 29 : n * 2 + 11) {
    SCOPED_TRACE(n);
    std::vector<Record> k_part(k.begin(), k.begin() + static_cast<std::ptrdiff_t>(n));
    const std::vector<Record> u_part(u.begin(), u.begin() + static_cast<std::ptrdiff_t>(n));
    if (n == 0) k_part.reserve(1);
    const Results results = derive(kernels, k_part, u_part);
    ASSERT_TRUE(std::equal(results.records.begin(), results.records.end(), derived.begin()));
    ASSERT_EQ(results.is_zero, Bytes(n, 0));
    const std::vector<Record> made = public_keys(kernels, k_part);
    ASSERT_TRUE(std::equal(made.begin(), made.end(), keys.begin()));
  }
}

TEST_P(X25519Test, FindsRecordsByStrideAndByTable) {
  const std::size_t n = 2 * kernels.lanes + 1;
  const std::vector<Record> k = random_records(n, 9), u = random_records(n, 10);
  const std::vector<Record> derived = derive(portable(), k, u).records, keys = public_keys(portable(), k);
  constexpr std::size_t k_stride = 37, u_stride = 1216, out_stride = 65;
  Bytes ks(n * k_stride), us(n * u_stride), out(n * out_stride, 0xab);
  std::vector<const u8*> u_table(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::memcpy(&ks[i * k_stride], k[i].data(), 32);
    std::memcpy(&us[(n - 1 - i) * u_stride + 1184], u[i].data(), 32);
    u_table[i] = &us[(n - 1 - i) * u_stride];
  }
  const auto expect_written = [&](const std::vector<Record>& expected) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::size_t byte = i % out_stride;
      ASSERT_EQ(out[i], byte < 33 && byte > 0 ? expected[i / out_stride][byte - 1] : 0xab) << "byte " << i;
    }
  };
  Workspace workspace(kernels);
  Derive batch;
  batch.count = n;
  batch.k = {ks.data(), k_stride, nullptr, 0};
  batch.u = {nullptr, 0, u_table.data(), 1184};
  batch.result = {out.data() + 1, out_stride, nullptr, 0};
  kernels.derive(batch, workspace.data());
  expect_written(derived);

  std::vector<u8*> out_table(n);
  for (std::size_t i = 0; i < n; ++i) out_table[i] = &out[i * out_stride];
  PublicKey key_batch;
  key_batch.count = n;
  key_batch.k = batch.k;
  key_batch.result = {nullptr, 0, out_table.data(), 1};
  kernels.public_key(key_batch, workspace.data());
  expect_written(keys);

  // Over the item's own scalar, and over its own coordinate.
  std::vector<Record> in_place = u;
  Derive over = batch;
  over.k.data = k.data()->data(), over.k.stride = 32;
  over.u = {in_place.data()->data(), 32, nullptr, 0};
  over.result = {in_place.data()->data(), 32, nullptr, 0};
  kernels.derive(over, workspace.data());
  EXPECT_EQ(in_place, derived);
  in_place = k;
  PublicKey keys_over;
  keys_over.count = n;
  keys_over.k = {in_place.data()->data(), 32, nullptr, 0};
  keys_over.result = {in_place.data()->data(), 32, nullptr, 0};
  kernels.public_key(keys_over, workspace.data());
  EXPECT_EQ(in_place, keys);
}

TEST_P(X25519Test, AgreesWithOpenSsl) {
  const std::size_t n = many(4099);
  const std::vector<Record> k = random_records(n, 11), u = random_records(n, 12);
  const std::vector<Record> derived = derive(kernels, k, u).records, keys = public_keys(kernels, k);
  for (std::size_t i = 0; i < n; ++i) {
    EVP_PKEY* own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k[i].data(), 32);
    EVP_PKEY* peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, u[i].data(), 32);
    EVP_PKEY_CTX* context = EVP_PKEY_CTX_new(own, nullptr);
    Record key{}, secret{};
    std::size_t key_bytes = 32, secret_bytes = 32;
    ASSERT_EQ(EVP_PKEY_get_raw_public_key(own, key.data(), &key_bytes), 1);
    ASSERT_EQ(EVP_PKEY_derive_init(context), 1);
    ASSERT_EQ(EVP_PKEY_derive_set_peer(context, peer), 1);
    ASSERT_EQ(EVP_PKEY_derive(context, secret.data(), &secret_bytes), 1);
    EVP_PKEY_CTX_free(context);
    EVP_PKEY_free(peer);
    EVP_PKEY_free(own);
    ASSERT_EQ(derived[i], secret) << i;
    ASSERT_EQ(keys[i], key) << i;
  }
}

#if defined(__x86_64__)

// A program may have set another rounding mode, flush-to-zero and denormals-are-zero, or unmasked the exceptions. It
// finds MXCSR as it left it, the flags included.
TEST_P(X25519Test, IsRightInEveryFloatingPointEnvironmentAndLeavesItAsItWas) {
  if (is_model(kernels)) GTEST_SKIP() << "the model is plain C++ and rounds as the program says";
  const std::size_t n = 2 * kernels.lanes + 1;
  const std::vector<Record> k = random_records(n, 13), u = random_records(n, 14);
  const std::vector<Record> derived = derive(portable(), k, u).records, keys = public_keys(portable(), k);
  constexpr unsigned all_masked = 0x1f80, inexact_unmasked = 0x0f80, all_unmasked = 0, flush = 0x8000, zeros = 0x0040;
  for (unsigned rounding = 0; rounding < 4; ++rounding) {
    for (const unsigned other : {all_masked, all_masked | flush | zeros, inexact_unmasked, all_unmasked, 0x1fbfu}) {
      const unsigned ours = _mm_getcsr(), theirs = rounding << 13 | other;
      std::vector<Record> results(n), made(n);
      Workspace workspace(kernels);
      Derive batch;
      batch.count = n;
      batch.k.data = k.data()->data(), batch.u.data = u.data()->data(), batch.result.data = results.data()->data();
      PublicKey key_batch;
      key_batch.count = n;
      key_batch.k = batch.k, key_batch.result.data = made.data()->data();
      _mm_setcsr(theirs);
      kernels.derive(batch, workspace.data());
      kernels.public_key(key_batch, workspace.data());
      const unsigned left = _mm_getcsr();
      _mm_setcsr(ours);
      EXPECT_EQ(left, theirs);
      EXPECT_EQ(results, derived) << std::hex << theirs;
      EXPECT_EQ(made, keys) << std::hex << theirs;
    }
  }
}

#endif

INSTANTIATE_TEST_SUITE_P(Every, X25519Test, testing::ValuesIn(usable_kernels()), [](const auto& test) {
  std::string name = test.param->name;
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
});

// ---- What the kernels leave behind. Tested by difference, as in cpu_kernels_test.cpp: two runs with other secrets, on
// a stack and in a workspace that were painted before.

constexpr std::size_t stack_bytes = 64 * 1024;
constexpr u8 paint = 0xa5;
alignas(64) u8 stack[stack_bytes];
ucontext_t caller, callee;
void (*on_stack)();
const X25519Kernels* running;
Derive running_derive;
PublicKey running_public_key;
u8* running_workspace;

struct Traces {
  Bytes stack, workspace;
  std::size_t depth;
};

Traces run_on_painted_stack(const X25519Kernels& kernels, void (*function)()) {
  static Workspace workspace(kernels);
  if (workspace.bytes.size() < kernels.workspace_bytes + 64) workspace = Workspace(kernels);
  running = &kernels;
  running_workspace = workspace.data();
  std::memset(running_workspace, paint, kernels.workspace_bytes);
  std::memset(stack, paint, sizeof stack);
  on_stack = function;
  // One context for all runs: registers that a callee saves have the same values in each.
  static ucontext_t fresh;
  static const int got = getcontext(&fresh);
  EXPECT_EQ(got, 0);
  callee = fresh;
  callee.uc_stack.ss_sp = stack;
  callee.uc_stack.ss_size = sizeof stack;
  callee.uc_link = &caller;
  makecontext(&callee, on_stack, 0);
  swapcontext(&caller, &callee);
  Traces traces{Bytes(stack, stack + stack_bytes),
                Bytes(running_workspace, running_workspace + kernels.workspace_bytes), 0};
  while (traces.depth < stack_bytes && stack[traces.depth] == paint) ++traces.depth;
  traces.depth = stack_bytes - traces.depth;
  return traces;
}

TEST_P(X25519Test, TakesAtMost8KiBOfStackAndLeavesNothingOfASecretBehind) {
#ifdef WARPKEM_SANITIZED
  GTEST_SKIP() << "a sanitizer has its own ideas of the stack";
#endif
  if (is_model(kernels)) GTEST_SKIP() << "the model is plain C++, with its own stack";
  for (const std::size_t n : {std::size_t{1}, 2 * kernels.lanes + 1}) {
    std::vector<Record> k = random_records(n, 15), u = random_records(n, 16), results(n), made(n);
    running_derive.count = running_public_key.count = n;
    running_derive.k.data = running_public_key.k.data = k.data()->data();
    running_derive.u.data = u.data()->data();
    running_derive.result.data = results.data()->data();
    running_public_key.result.data = made.data()->data();
    constexpr void (*functions[])() = {[] { running->derive(running_derive, running_workspace); },
                                       [] { running->public_key(running_public_key, running_workspace); }};
    for (const auto& function : functions) {
      run_on_painted_stack(kernels, function);  // makes the table
      const Traces first = run_on_painted_stack(kernels, function);
      EXPECT_LE(first.depth, 8u * 1024);
      const std::vector<Record> others = random_records(n, 17), other_u = random_records(n, 18);
      std::copy(others.begin(), others.end(), k.begin());
      std::copy(other_u.begin(), other_u.end(), u.begin());
      const Traces second = run_on_painted_stack(kernels, function);
      EXPECT_EQ(first.depth, second.depth);
      std::size_t on_the_stack = 0, in_workspace = 0;
      for (std::size_t i = 0; i < first.stack.size(); ++i) on_the_stack += first.stack[i] != second.stack[i];
      for (std::size_t i = 0; i < first.workspace.size(); ++i) {
        in_workspace += first.workspace[i] != second.workspace[i];
      }
      EXPECT_EQ(on_the_stack, 0u) << "bytes of the stack differ";
      EXPECT_EQ(in_workspace, 0u) << "bytes of the workspace differ";
    }
  }
}

// ---- The arithmetic in lanes at its bounds: every sign pattern of the largest limbs, or every choice of largest and
// smallest ones. Whether a bound is broken the models say; whether a result is right, Field of scalar.hpp.

template <class F>
Element value_of(const typename F::Element& e, int lane) {
  alignas(64) u64 limbs[5][F::lanes];
  F::store(e, limbs);
  Limbs51 x;
  for (int i = 0; i < 5; ++i) x.v[i] = limbs[i][lane];
  return Field::decode(canonical(x));
}

Words plain(const Element& e) { return Field::encode(e); }
bool operator==(const Words& a, const Words& b) { return std::memcmp(a.w, b.w, sizeof a.w) == 0; }

// All functions of a field's arithmetic, for elements a, b, c, d at the bounds.
template <class F>
void expect_arithmetic(const typename F::Element& a, const typename F::Element& b, const typename F::Element& c,
                       const typename F::Element& d) {
  const auto reduced = [](const Element& e) { return Field::decode(Field::encode(e)); };
  const auto P = F::template product<true>(a, b), S = F::template square<true>(a);
  const auto Q = F::template product<false>(c, d);
  typename F::Multiples multiples;
  F::multiples(c, multiples);
  const typename F::Square AA = F::minuend(a), BB = F::subtrahend(d);
  const typename F::Element E = F::difference(AA, BB);
  const typename F::Element results[] = {F::reduce(P),
                                         F::reduce(F::plus(P, Q)),
                                         F::reduce(F::minus(P, Q)),
                                         F::reduce(S),
                                         F::reduce(F::minus(S, Q)),
                                         F::reduce(F::minus(S, F::multiple_of(multiples, a))),
                                         F::reduce(F::plus(S, F::multiple_of(multiples, b))),
                                         F::difference(a, b),
                                         F::sum_of(a, b),
                                         F::reduce(AA),
                                         F::reduce(BB)};
  const typename F::Element times = F::reduce(F::template product<true>(E, F::plus_a24(AA, E)));
  for (int lane = 0; lane < F::lanes; ++lane) {
    const Element x = value_of<F>(a, lane), y = value_of<F>(b, lane), z = value_of<F>(c, lane),
                  w = value_of<F>(d, lane);
    const Element p = Field::multiply(x, y), q = Field::multiply(z, w), s = Field::square(x);
    const Element BB = Field::square(w), e = Field::subtract(s, BB), g = Field::add(s, Field::times_a24(reduced(e)));
    const Element zx = Field::multiply(z, x), zy = Field::multiply(z, y);
    const Element expected[] = {p,
                                Field::add(p, q),
                                Field::subtract(p, q),
                                s,
                                Field::subtract(s, q),
                                Field::subtract(s, zx),
                                Field::add(s, zy),
                                Field::subtract(x, y),
                                Field::add(x, y),
                                s,
                                BB};
    for (std::size_t i = 0; i < std::size(results); ++i) {
      EXPECT_EQ(plain(value_of<F>(results[i], lane)), plain(expected[i])) << "result " << i;
    }
    EXPECT_EQ(plain(value_of<F>(times, lane)), plain(Field::multiply(reduced(e), reduced(g))));
  }
}

TEST(X25519Arithmetic, KeepsItsBoundsInDoubles) {
  using F = DoublesOf8;
  broken_bounds = 0;
  // Lane l of pattern n: limb i is the bound with a sign, a little less of it, or 0.
  const auto element = [](u32 pattern) {
    F::Element e;
    for (int i = 0; i < 5; ++i) {
      for (int lane = 0; lane < F::lanes; ++lane) {
        const double size = lane == 5   ? F::exp2(50)
                            : lane == 6 ? F::reduced_bound - 1
                            : lane == 7 ? 0
                                        : F::reduced_bound;
        e.v[i].v[lane] = (pattern >> i & 1) != 0 ? -size : size;
      }
    }
    return e;
  };
  for (u32 i = 0; i < 32; ++i) {
    for (u32 j = 0; j < 32; ++j) expect_arithmetic<F>(element(i), element(j), element(~i ^ j), element(~j));
  }
  EXPECT_EQ(broken_bounds, 0u);
  // What products leave is reduced, and what difference() leaves is within its own bound.
  for (u32 i = 0; i < 32; ++i) {
    const F::Element a = element(i), b = element(~i);
    const F::Element r = F::reduce(F::minus(F::product<true>(a, a), F::product<false>(a, b))), E = F::difference(a, b);
    const F::Element a24 = F::plus_a24(a, E);
    for (int k = 0; k < 5; ++k) {
      for (int lane = 0; lane < F::lanes; ++lane) {
        EXPECT_LE(std::fabs(r.v[k].v[lane]), F::reduced_bound);
        EXPECT_LE(std::fabs(E.v[k].v[lane]), F::difference_bound);
        EXPECT_LE(std::fabs(a24.v[k].v[lane]), F::plus_a24_bound);
      }
    }
  }
  // The check sees what is beyond: a product of 2^102 and a little.
  F::Element wide = F::small(0);
  wide.v[0] = DoubleModel<8>::set(F::exp2(51) + 2);
  broken_bounds = 0;
  static_cast<void>(F::product<true>(wide, wide));
  EXPECT_NE(broken_bounds, 0u);
}

TEST(X25519Arithmetic, KeepsItsBoundsInIntegers) {
  using F = Integers;
  broken_bounds = 0;
  constexpr u64 top = static_cast<u64>(F::top_bound) - 1, above = ~F::mask_52;
  const auto element = [](u32 pattern) {
    F::Element e;
    for (int i = 0; i < 5; ++i) {
      for (int lane = 0; lane < F::lanes; ++lane) {
        const bool large = (pattern >> i & 1) != 0;
        u64 limb = i == 4 ? (large ? top : u64{0}) : (large ? F::mask_52 : static_cast<u64>(lane));
        if (i != 4 && lane % 2 != 0) limb |= above;  // what carries leave there
        e.v[i].v[lane] = limb;
      }
    }
    return e;
  };
  for (u32 i = 0; i < 32; ++i) {
    for (u32 j = 0; j < 32; ++j) expect_arithmetic<F>(element(i), element(j), element(~i ^ j), element(~j));
  }
  EXPECT_EQ(broken_bounds, 0u);
  for (u32 i = 0; i < 32; ++i) {
    const F::Element a = element(31), b = element(i);
    F::Multiples multiples;
    F::multiples(a, multiples);
    const F::Square AA = F::minuend(a), BB = F::subtrahend(b);
    const F::Element results[] = {F::reduce(AA),
                                  F::reduce(BB),
                                  F::plus_a24(AA, F::difference(AA, BB)),
                                  F::reduce(F::minus(F::product<true>(a, a), F::product<false>(b, b))),
                                  F::reduce(F::plus(F::product<true>(a, a), F::product<false>(a, a))),
                                  F::reduce(F::plus(F::square<true>(a), F::multiple_of(multiples, a))),
                                  F::difference(a, b),
                                  F::difference(b, a)};
    for (const F::Element& r : results) {
      for (const u64 limb : r.v[4].v) EXPECT_LT(limb, static_cast<u64>(F::top_bound));
    }
  }
}

}  // namespace
}  // namespace warpkem::curve
