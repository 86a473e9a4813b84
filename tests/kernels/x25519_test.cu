// X25519 on the device: its arithmetic at the bounds of what it takes, RFC 7748's vectors, inputs that are special, and
// OpenSSL as another opinion.
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/steps.hpp"
#include "kernels/x25519.cuh"
#include "tests/kernels/device.hpp"
#include "tests/support/x25519_records.hpp"

namespace warpkem::kernels::test {
namespace {

using field25519::Element;
using test_x25519::from_hex, test_x25519::low_order_elements, test_x25519::p_plus, test_x25519::Record,
    test_x25519::small_number;

u64 random_state = 1;
std::vector<Record> random_records(std::size_t n) {
  std::vector<Record> records(n);
  for (Record& record : records) {
    for (u8& byte : record) {
      random_state = random_state * 6364136223846793005u + 1442695040888963407u;
      byte = static_cast<u8>(random_state >> 56);
    }
  }
  return records;
}

std::span<const u8> bytes_of(const std::vector<Record>& records) {
  return {records.data()->data(), 32 * records.size()};
}
std::vector<Record> records_of(const Bytes& bytes) {
  std::vector<Record> records(bytes.size() / 32);
  std::memcpy(records.data(), bytes.data(), bytes.size());
  return records;
}
Rows rows(const DeviceMemory& memory) { return {memory.get(), 32, nullptr}; }

class X25519 : public testing::Test {
 protected:
  void SetUp() override {
    if (!has_device()) GTEST_SKIP() << "no CUDA device, neither real nor emulated";
  }
};

// ---- The field

struct Number {
  BIGNUM* n = BN_new();
  Number() = default;
  explicit Number(const Record& record) { BN_lebin2bn(record.data(), 32, n); }
  Number(const Number& other) { BN_copy(n, other.n); }
  Number& operator=(const Number&) = delete;
  ~Number() { BN_free(n); }
};
using Context = std::unique_ptr<BN_CTX, decltype(&BN_CTX_free)>;

// The top limb is that of 2^255 or less, and then what is above 2^255 has 23 bits.
__device__ bool is_reduced(const Element& x) {
  const u32 above = x.v[0] >> 23 | x.v[1] | x.v[2] | x.v[3] | x.v[4] | x.v[5] | x.v[6];
  return x.v[7] < 0x80000000 || (x.v[7] == 0x80000000 && above == 0);
}

enum class Of { multiply, square, add, subtract, add_multiple, invert, canonical, num };

__global__ void field_kernel(const u8* a, const u8* b, u8* results, u8* bounds, u32 count) {
  using namespace field25519;
  const u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const Element x = thread::load_element(a + 32 * i), y = thread::load_element(b + 32 * i);
  const Element reduced_x = is_reduced(x) ? x : reduced(x), reduced_y = is_reduced(y) ? y : reduced(y);
  const auto put = [&](Of of, const Element& result) {
    const u32 at = i + count * static_cast<u32>(of);
    thread::store_element(canonical(reduced(result)), results + 32 * at);
    bounds[at] = !is_reduced(result);
  };
  put(Of::multiply, multiply(x, y));
  put(Of::square, square(x));
  put(Of::add, add(reduced_x, reduced_y));
  put(Of::subtract, subtract(reduced_x, reduced_y));
  put(Of::add_multiple, add_multiple(x, (1 << 17) - 1, y));
  put(Of::invert, invert(x));
  put(Of::canonical, canonical(reduced_x));
}

TEST_F(X25519, ItsFieldIsRightAtTheBoundsOfWhatItTakes) {
  // 0, 1 and 2 ahead of and behind multiples of 2^255, p and 2^256; each limb all ones alone; random numbers.
  std::vector<Record> values = random_records(6);
  for (int x = -19; x <= 18; x += x < -2 || x >= 2 ? 16 : 1) {
    Record record = p_plus(x < 0 ? x : std::min(x, 18));
    values.push_back(record);
    record[31] |= 0x80;
    values.push_back(record);
  }
  for (const u8 x : {0, 1, 2, 19, 37, 38, 39}) {
    values.push_back(small_number(x));
    values.push_back(small_number(x));
    values.back()[31] = 0x80;
    Record top;
    top.fill(0xff);
    top[0] = static_cast<u8>(0xff - x);
    values.push_back(top);
  }
  Record reduced_most = small_number(0xff);  // the largest reduced value
  reduced_most[1] = 0xff, reduced_most[2] = 0x7f, reduced_most[31] = 0x80;
  values.push_back(reduced_most);
  for (std::size_t limb = 0; limb < 8; ++limb) {
    Record record{};
    std::fill_n(record.begin() + static_cast<std::ptrdiff_t>(4 * limb), 4, u8{0xff});
    values.push_back(record);
  }
  std::vector<Record> a, b;
  for (const Record& x : values) {
    for (const Record& y : values) a.push_back(x), b.push_back(y);
  }
  const auto count = static_cast<u32>(a.size());
  const std::size_t all = std::size_t{count} * static_cast<std::size_t>(Of::num);
  const DeviceMemory x(bytes_of(a)), y(bytes_of(b)), results(32 * all), bounds(all);
  field_kernel<<<(count + 127) / 128, 128>>>(x.get(), y.get(), results.get(), bounds.get(), count);
  check(cudaDeviceSynchronize());
  const std::vector<Record> got = records_of(results.read());
  const Bytes too_large = bounds.read();

  const Context context(BN_CTX_new(), &BN_CTX_free);
  const Number p(p_plus(0));
  Number factor;
  BN_set_word(factor.n, (1 << 17) - 1);
  for (std::size_t i = 0; i < count; ++i) {
    const Number m(a[i]), n(b[i]);
    const auto expect = [&](Of of, bool is_reduced, const auto& compute) {
      Number r;
      Record expected{};
      compute(r.n);
      BN_nnmod(r.n, r.n, p.n, context.get());
      BN_bn2lebinpad(r.n, expected.data(), 32);
      const std::size_t at = i + count * static_cast<std::size_t>(of);
      ASSERT_EQ(got[at], expected) << "operation " << static_cast<int>(of) << " of pair " << i;
      if (is_reduced) ASSERT_EQ(too_large[at], 0) << "operation " << static_cast<int>(of) << " of pair " << i;
    };
    expect(Of::multiply, true, [&](BIGNUM* r) { BN_mul(r, m.n, n.n, context.get()); });
    expect(Of::square, true, [&](BIGNUM* r) { BN_sqr(r, m.n, context.get()); });
    expect(Of::add, false, [&](BIGNUM* r) { BN_add(r, m.n, n.n); });
    expect(Of::subtract, false, [&](BIGNUM* r) { BN_sub(r, m.n, n.n); });
    expect(Of::add_multiple, true, [&](BIGNUM* r) {
      BN_mul(r, factor.n, n.n, context.get());
      BN_add(r, r, m.n);
    });
    expect(Of::canonical, true, [&](BIGNUM* r) { BN_copy(r, m.n); });
    expect(Of::invert, true, [&](BIGNUM* r) {
      Number residue;
      BN_nnmod(residue.n, m.n, p.n, context.get());
      if (!BN_is_zero(residue.n)) BN_mod_inverse(r, residue.n, p.n, context.get());
    });
  }
}

// ---- X25519

struct Derived {
  std::vector<Record> secrets, copies;
  Bytes statuses;
};

constexpr u8 failure = static_cast<u8>(ItemStatus::invalid_dk);  // any

Derived derived(const std::vector<Record>& k, const std::vector<Record>& u, bool zero_fails = true,
                int num_multiprocessors = 1) {
  const DeviceMemory scalars(bytes_of(k)), elements(bytes_of(u)), secrets(32 * k.size()), copies(32 * k.size()),
      statuses(k.size(), 0);
  const auto items = static_cast<u32>(k.size());
  check(kernels::derive({rows(scalars), rows(elements), rows(secrets), rows(copies)}, items, num_multiprocessors,
                        nullptr));
  if (zero_fails) check(check_secrets(rows(secrets), static_cast<ItemStatus>(failure), statuses.get(), items, nullptr));
  check(cudaDeviceSynchronize());
  return {records_of(secrets.read()), records_of(copies.read()), statuses.read()};
}

std::vector<Record> public_keys_of(const std::vector<Record>& k, int num_multiprocessors = 1) {
  const DeviceMemory scalars(bytes_of(k)), elements(32 * k.size()), also(32 * k.size()), copies(32 * k.size());
  PublicKeyArgs args{rows(scalars), rows(elements), rows(also), rows(copies)};
  check(kernels::public_keys(args, static_cast<u32>(k.size()), num_multiprocessors, nullptr));
  check(cudaDeviceSynchronize());
  EXPECT_EQ(also.read(), elements.read());
  EXPECT_EQ(records_of(copies.read()), k);
  return records_of(elements.read());
}

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

Record public_key_by_openssl(const Record& k) {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), 32), &EVP_PKEY_free);
  Record element{};
  std::size_t bytes = 32;
  EXPECT_EQ(EVP_PKEY_get_raw_public_key(key.get(), element.data(), &bytes), 1);
  return element;
}
// Zero where OpenSSL refuses.
Record derive_by_openssl(const Record& k, const Record& u) {
  const Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, nullptr, k.data(), 32), &EVP_PKEY_free);
  const Key peer(EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, u.data(), 32), &EVP_PKEY_free);
  const std::unique_ptr<EVP_PKEY_CTX, decltype(&EVP_PKEY_CTX_free)> context(EVP_PKEY_CTX_new(key.get(), nullptr),
                                                                            &EVP_PKEY_CTX_free);
  EXPECT_EQ(EVP_PKEY_derive_init(context.get()), 1);
  EXPECT_EQ(EVP_PKEY_derive_set_peer(context.get(), peer.get()), 1);
  Record secret{};
  std::size_t bytes = 32;
  if (EVP_PKEY_derive(context.get(), secret.data(), &bytes) != 1) secret = {};
  return secret;
}

TEST_F(X25519, GivesTheResultsOfRfc7748) {
  const Record a = from_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
  const Record b = from_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
  const Record a_public = from_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
  const Record b_public = from_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
  const Record K = from_hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
  const std::vector<Record> k{from_hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                              from_hex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"), a, b,
                              small_number(9)};
  const std::vector<Record> u{from_hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
                              from_hex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"), b_public,
                              a_public, small_number(9)};
  const std::vector<Record> expected{from_hex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
                                     from_hex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"), K, K,
                                     from_hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079")};
  const Derived got = derived(k, u);
  EXPECT_EQ(got.secrets, expected);
  EXPECT_EQ(got.copies, u);
  EXPECT_EQ(got.statuses, Bytes(k.size(), 0));
  EXPECT_EQ(public_keys_of({a, b, small_number(9)}), (std::vector<Record>{a_public, b_public, expected[4]}));
}

// One warp a block, and blocks of four, the last of them with idle warps.
TEST_F(X25519, AgreesWithOpenSsl) {
  for (const std::size_t count : {1, 33, 170}) {
    std::vector<Record> k = random_records(count), u = random_records(count);
    if (count > 10) {  // scalars of extreme columns
      k[0] = Record{}, k[1].fill(0xff), k[2].fill(0x55), k[3].fill(0xaa);
      k[4] = k[1], k[4][0] = 0xf7;
    }
    const Derived got = derived(k, u);
    const std::vector<Record> elements = public_keys_of(k);
    for (std::size_t i = 0; i < count; ++i) {
      ASSERT_EQ(got.secrets[i], derive_by_openssl(k[i], u[i])) << i;
      ASSERT_EQ(elements[i], public_key_by_openssl(k[i])) << i;
    }
    EXPECT_EQ(got.copies, u);
    EXPECT_EQ(got.statuses, Bytes(count, 0));
  }
}

TEST_F(X25519, FewItemsGetAWarpABlockAndTheSameResults) {
  const std::vector<Record> k = random_records(130), u = random_records(130);
  EXPECT_EQ(derived(k, u, true, 1).secrets, derived(k, u, true, 132).secrets);
  EXPECT_EQ(public_keys_of(k, 1), public_keys_of(k, 132));
}

// Among others in the warps of a block, whose inversion they share.
TEST_F(X25519, ZeroFailsItsItemAloneWhereItShall) {
  const std::vector<Record> low = low_order_elements(), k = random_records(140);
  std::vector<Record> u = random_records(140);
  Bytes expected(u.size(), 0);
  for (std::size_t i = 0; i < low.size(); ++i) {
    u[10 * i] = low[i];
    expected[10 * i] = failure;
  }
  for (const bool zero_fails : {true, false}) {
    const Derived got = derived(k, u, zero_fails);
    EXPECT_EQ(got.statuses, zero_fails ? expected : Bytes(u.size(), 0));
    for (std::size_t i = 0; i < u.size(); ++i) ASSERT_EQ(got.secrets[i], derive_by_openssl(k[i], u[i])) << i;
  }
  const DeviceMemory elements(bytes_of(u)), statuses(u.size(), 0);
  check(check_elements(rows(elements), static_cast<ItemStatus>(failure), statuses.get(), static_cast<u32>(u.size()),
                       nullptr));
  check(cudaDeviceSynchronize());
  EXPECT_EQ(statuses.read(), expected);
}

TEST_F(X25519, ElementsStandForTheirResidues) {
  std::vector<Record> u, residue;
  for (int x = 2; x <= 18; ++x) {
    u.push_back(p_plus(x));
    residue.push_back(small_number(static_cast<u8>(x)));
    u.push_back(residue.back());
    u.back()[31] |= 0x80;
    residue.push_back(residue.back());
  }
  const std::vector<Record> k(u.size(), random_records(1)[0]);
  EXPECT_EQ(derived(k, u).secrets, derived(k, residue).secrets);
}

TEST_F(X25519, AFailedItemKeepsItsFirstStatus) {
  const std::vector<Record> k = random_records(2);
  const std::vector<Record> u(2, small_number(1));
  const DeviceMemory scalars(bytes_of(k)), elements(bytes_of(u)), secrets(64), statuses(2, 3);
  check(kernels::derive({rows(scalars), rows(elements), rows(secrets), {}}, 2, 1, nullptr));
  check(check_secrets(rows(secrets), ItemStatus::invalid_dk, statuses.get(), 2, nullptr));
  check(check_elements(rows(elements), ItemStatus::invalid_dk, statuses.get(), 2, nullptr));
  check(cudaDeviceSynchronize());
  EXPECT_EQ(statuses.read(), Bytes(2, 3));
}

}  // namespace
}  // namespace warpkem::kernels::test
