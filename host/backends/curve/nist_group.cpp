// P-256 and P-384 by OpenSSL.
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <new>

#include "host/backends/curve/bytes.hpp"
#include "host/backends/curve/group.hpp"
#include "host/core/ct.hpp"
#include "host/core/openssl.hpp"
#include "host/core/secure.hpp"
#include "host/core/status.hpp"

namespace warpkem::curve {
namespace {

using host::FreeBy;
using Curve = std::unique_ptr<EC_GROUP, FreeBy<EC_GROUP_free>>;
using Point = std::unique_ptr<EC_POINT, FreeBy<EC_POINT_clear_free>>;
using Number = std::unique_ptr<BIGNUM, FreeBy<BN_clear_free>>;
using Context = std::unique_ptr<BN_CTX, FreeBy<BN_CTX_free>>;  // which clears its numbers

constexpr std::size_t most_scalar_bytes = 48;
using Order = std::array<std::uint8_t, most_scalar_bytes>;

// FIPS 186-5 and SP 800-186, 3.2.1: the order n of the base point, big-endian.
constexpr Order order_of(host::Group group) noexcept {
  if (group == host::Group::p256) {
    return {0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
  }
  return {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
          0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf,
          0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec, 0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73};
}

class Nist final : public Group {
 public:
  explicit Nist(host::Group group)
      : sizes_(host::sizes_of(group)),
        order_(order_of(group)),
        name_(group == host::Group::p256 ? NID_X9_62_prime256v1 : NID_secp384r1) {}
  ~Nist() override { EC_GROUP_free(curve_.load()); }

  std::size_t lanes() const noexcept override { return 1; }
  std::size_t workspace_bytes() const noexcept override { return 0; }

  // Every candidate is looked at, whichever is taken.
  void random_scalars(std::size_t count, In randomness, Out k, std::uint8_t* good) const override {
    for (std::size_t i = 0; i < count; ++i) {
      u64 wanted = 1;
      std::memset(k[i], 0, sizes_.scalar);
      for (std::size_t at = 0; at < sizes_.randomness; at += sizes_.scalar) {
        const std::uint8_t* const candidate = randomness[i] + at;
        const u64 take = value_barrier(wanted & is_scalar(candidate));
        for (std::size_t j = 0; j < sizes_.scalar; ++j) k[i][j] |= static_cast<std::uint8_t>(candidate[j] & (0 - take));
        wanted &= take ^ 1;
      }
      good[i] &= static_cast<std::uint8_t>(wanted ^ 1);
    }
  }

  void check_scalars(std::size_t count, In k, std::uint8_t* good) const override {
    for (std::size_t i = 0; i < count; ++i) good[i] &= static_cast<std::uint8_t>(is_scalar(k[i]));
  }

  void public_keys(std::size_t count, In k, Out element, std::uint8_t*) const override {
    Work work(*this);
    for (std::size_t i = 0; i < count; ++i) {
      work.read(k[i], sizes_.scalar);
      must(EC_POINT_mul(work.curve, work.product.get(), work.k.get(), nullptr, nullptr, work.context.get()));
      const std::size_t written = EC_POINT_point2oct(work.curve, work.product.get(), POINT_CONVERSION_UNCOMPRESSED,
                                                     element[i], sizes_.element, work.context.get());
      if (written != sizes_.element) refuse_if_memory_ran_out();  // else a scalar of zero has the point at infinity
    }
  }

  void derive(std::size_t count, In k, In element, Out secret, std::uint8_t* good, std::uint8_t*) const override {
    Work work(*this);
    for (std::size_t i = 0; i < count; ++i) {
      work.read(k[i], sizes_.scalar);
      const bool is_done = is_element(work, element[i]) &&
                           EC_POINT_mul(work.curve, work.product.get(), nullptr, work.element.get(), work.k.get(),
                                        work.context.get()) == 1 &&
                           EC_POINT_get_affine_coordinates(work.curve, work.product.get(), work.x.get(), nullptr,
                                                           work.context.get()) == 1 &&
                           BN_bn2binpad(work.x.get(), secret[i], static_cast<int>(sizes_.secret)) > 0;
      host::secret(secret[i], sizes_.secret);
      if (is_done) continue;
      refuse_if_memory_ran_out();
      good[i] = 0;
    }
  }

  void check_elements(std::size_t count, In element, std::uint8_t* good) const override {
    Work work(*this);
    for (std::size_t i = 0; i < count; ++i) {
      if (is_element(work, element[i])) continue;
      refuse_if_memory_ran_out();
      good[i] = 0;
    }
  }

 private:
  // Held while items are done.
  struct Work {
    explicit Work(const Nist& of)
        : curve(of.curve(openssl)),
          context(BN_CTX_new()),
          product(EC_POINT_new(curve)),
          element(EC_POINT_new(curve)),
          k(BN_new()),
          x(BN_new()) {
      if (!context || !product || !element || !k || !x) throw std::bad_alloc();
    }
    void read(const std::uint8_t* scalar, std::size_t bytes) {
      std::uint8_t copy[most_scalar_bytes];
      std::memcpy(copy, scalar, bytes);
      host::declassify(copy, bytes);  // for OpenSSL, which keeps it secret by means of its own
      const bool is_read = BN_bin2bn(copy, static_cast<int>(bytes), k.get()) != nullptr;
      host::wipe(copy, sizeof copy);
      must(is_read);
    }

    const host::OpenSslUse openssl;
    const EC_GROUP* const curve;
    const Context context;
    const Point product, element;
    const Number k, x;
  };

  // Made at first use, which many programs never come to. Two threads may both make it, and one is kept: a lock could
  // be left to a forked child.
  const EC_GROUP* curve(const host::OpenSslUse& openssl) const {
    if (!openssl) throw host::Error(host::Status::backend_failed, "OpenSSL has cleaned up");
    EC_GROUP* kept = curve_.load(std::memory_order_acquire);
    if (kept != nullptr) return kept;
    Curve made(EC_GROUP_new_by_curve_name(name_));
    if (!made) throw std::bad_alloc();
    return curve_.compare_exchange_strong(kept, made.get()) ? made.release() : kept;
  }

  static void refuse_if_memory_ran_out() {
    const unsigned long code = ERR_peek_last_error();
    if (code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) throw std::bad_alloc();
  }
  // What fails for want of memory alone.
  static void must(bool is_done) {
    if (!is_done) throw std::bad_alloc();
  }
  static void must(int is_done) { must(is_done == 1); }

  // SEC 1, 2.3.4: an uncompressed point, on the curve, with coordinates below p. It is public.
  bool is_element(const Work& work, const std::uint8_t* encoded) const {
    constexpr std::uint8_t uncompressed = 4;
    return encoded[0] == uncompressed &&
           EC_POINT_oct2point(work.curve, work.element.get(), encoded, sizes_.element, work.context.get()) == 1;
  }

  // 1 if 0 < k < n, else 0; without a branch.
  u64 is_scalar(const std::uint8_t* k) const noexcept {
    std::uint32_t borrow = 0, any = 0;  // of k - n
    for (std::size_t j = sizes_.scalar; j-- > 0;) {
      borrow = (static_cast<std::uint32_t>(k[j]) - order_[j] - borrow) >> 31;
      any |= k[j];
    }
    return value_barrier(borrow & ((0 - any) >> 31));
  }

  const host::GroupSizes sizes_;
  const Order order_;
  const int name_;
  mutable std::atomic<EC_GROUP*> curve_{nullptr};
};

}  // namespace

std::unique_ptr<Group> make_nist(host::Group group) {
  host::start_openssl();
  const host::OpenSslUse openssl;
  if (!openssl) return nullptr;
  return std::make_unique<Nist>(group);
}

}  // namespace warpkem::curve
