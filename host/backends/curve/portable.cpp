// X25519 for any CPU, one item at a time, and the table of the base point's multiples that all implementations use.
#include "host/backends/curve/comb_table.hpp"
#include "host/backends/curve/scalar.hpp"

namespace warpkem::curve {
namespace {

// Not inlined into what makes the table, which would take much code and much of the stack.
[[gnu::noinline]] Element multiply(const Element& a, const Element& b) noexcept { return Field::multiply(a, b); }

// By plain square and multiply: the base point is no secret.
Element power(const Element& a, const u64 (&exponent)[4]) noexcept {
  Element result = Field::small(1);
  for (int bit = 254; bit >= 0; --bit) {
    result = Field::square(result);
    if ((exponent[bit / 64] >> (bit % 64) & 1) != 0) result = multiply(result, a);
  }
  return result;
}

bool equal(const Element& a, const Element& b) noexcept { return zero_mask(Field::encode(Field::subtract(a, b))) != 0; }

struct Table {
  CombTable comb;

  Table() noexcept {
    // d = -121665 / 121666; the base point has u = 9, so y = 8 / 10.
    const Element one = Field::small(1);
    d_ = multiply(Field::subtract(Field::small(0), Field::small(121665)), inverse(Field::small(121666)));
    half_ = inverse(Field::small(2));
    const Element y = multiply(Field::small(4), inverse(Field::small(5)));
    // x^2 = (y^2 - 1) / (d y^2 + 1). Which of the two roots does not matter: (-x, y) has the same u.
    const Element yy = Field::square(y);
    const Element xx = multiply(Field::subtract(yy, one), inverse(Field::add(multiply(d_, yy), one)));
    constexpr u64 top = ~u64{0};
    Element x = power(xx, {top - 1, top, top, 0x0fffffffffffffff});  // (p + 3) / 8 = 2^252 - 2
    if (!equal(Field::square(x), xx)) {  // then it is the root of -xx: times 2^((p - 1) / 4), which is a root of -1
      x = multiply(x, power(Field::small(2), {top - 4, top, top, 0x1fffffffffffffff}));
    }
    fill(x, y);
  }

 private:
  struct Projective {
    Element X, Y, Z;
  };

  [[gnu::noinline]] CombPoint entry(const Element& x, const Element& y) const noexcept {
    return {multiply(Field::add(y, x), half_), multiply(Field::subtract(y, x), half_), multiply(d_, multiply(x, y))};
  }

  [[gnu::noinline]] static void add(CombSum& sum, const CombPoint& point, Element& X, Element& Y) noexcept {
    sum.add(point, X, Y);
    sum.sum = Field::add(Y, X), sum.difference = Field::subtract(Y, X);
  }

  // Window by window: 1, 3, 5 ... 31 times the window's point, each from the last one, and then 32 times, which is the
  // next window's. All additions are of affine points. One inversion makes a window affine (Montgomery's trick).
  [[gnu::noinline]] void fill(Element x, Element y) noexcept {
    for (auto& window : comb.points) {
      const CombPoint once = entry(x, y);
      CombSum sum = CombSum::neutral();
      Element X, Y;
      add(sum, once, X, Y);
      add(sum, once, X, Y);
      const Element z = inverse(sum.Z);
      const CombPoint twice = entry(multiply(X, z), multiply(Y, z));

      Projective points[window_entries + 1];
      Element products[window_entries + 1];  // of all Z so far
      sum = CombSum::neutral();
      for (int e = 0; e <= window_entries; ++e) {
        add(sum, e == 0 || e == window_entries ? once : twice, X, Y);
        points[e] = {X, Y, sum.Z};
        products[e] = e == 0 ? sum.Z : multiply(products[e - 1], sum.Z);
      }
      Element inverses = inverse(products[window_entries]);
      for (int e = window_entries; e >= 0; --e) {
        const Element one_over_z = e == 0 ? inverses : multiply(inverses, products[e - 1]);
        inverses = multiply(inverses, points[e].Z);
        x = multiply(points[e].X, one_over_z), y = multiply(points[e].Y, one_over_z);
        if (e == window_entries) {
          next_x_ = x, next_y_ = y;
        } else {
          window[e] = entry(x, y);
        }
      }
      x = next_x_, y = next_y_;
    }
  }

  Element d_, half_, next_x_, next_y_;
};

const Table& table() noexcept {
  static const Table made;
  return made;
}

void derive(const Derive& batch, u8*) noexcept {
  derive_items(batch, 0, batch.count);
  clear_stack();
  host::clear_vector_registers();
}

void public_key(const PublicKey& batch, u8*) noexcept {
  public_key_items(batch, 0, batch.count, table().comb);
  clear_stack();
  host::clear_vector_registers();
}

}  // namespace

void comb_entry(int window, int entry, std::uint8_t (&point)[3][32]) noexcept {
  const CombPoint& from = table().comb.points[window][entry];
  store_words(Field::encode(from.plus), point[0]);
  store_words(Field::encode(from.minus), point[1]);
  store_words(Field::encode(from.product), point[2]);
}

const X25519Kernels& portable() noexcept {
  static constexpr X25519Kernels kernels{"portable", 1, 0, derive, public_key};
  return kernels;
}

}  // namespace warpkem::curve
