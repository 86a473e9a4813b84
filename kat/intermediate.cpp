#include "kat/intermediate.hpp"

#include <cstdint>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "kat/kem.hpp"
#include "tests/backends/primitives.hpp"
#include "warpkem/params.hpp"

namespace warpkem::kat {
namespace {

using primitives::Coefficients;
using Vector = std::vector<Coefficients>;
using Index = std::vector<Coefficients>::size_type;

Coefficients add(const Coefficients& f, const Coefficients& g) {
  Coefficients h;
  for (Index i = 0; i < h.size(); ++i) h[i] = static_cast<std::uint16_t>((f[i] + g[i]) % MlKem768::q);
  return h;
}

Coefficients subtract(const Coefficients& f, const Coefficients& g) {
  Coefficients h;
  for (Index i = 0; i < h.size(); ++i) h[i] = static_cast<std::uint16_t>((f[i] + MlKem768::q - g[i]) % MlKem768::q);
  return h;
}

Coefficients compress(int d, Coefficients f) {
  for (auto& x : f) x = primitives::Compress(d, x);
  return f;
}

Coefficients decompress(int d, Coefficients f) {
  for (auto& x : f) x = primitives::Decompress(d, x);
  return f;
}

Bytes encode(int d, const Coefficients& f) {
  Bytes bytes(32 * static_cast<Index>(d));
  primitives::ByteEncode(d, f, bytes.data());
  return bytes;
}

Bytes operator+(Bytes first, const Bytes& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Bytes first_32(const Bytes& bytes) { return Bytes(bytes.begin(), bytes.begin() + 32); }
Bytes last_32(const Bytes& bytes) { return Bytes(bytes.end() - 32, bytes.end()); }

Bytes counting_from(std::uint8_t first) {
  Bytes bytes(32);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

class Text {
 public:
  void section(const std::string& title) { out_ << "\n# " << title << "\n"; }
  void value(const std::string& name, const Bytes& bytes) { out_ << name << " = " << hex(bytes) << "\n"; }
  void value(const std::string& name, const Coefficients& f) {
    out_ << name << " =";
    for (Index i = 0; i < f.size(); ++i) out_ << (i % 16 == 0 ? "\n  " : " ") << f[i];
    out_ << "\n";
  }
  void value(const std::string& name, const Vector& vector) {
    for (Index i = 0; i < vector.size(); ++i) value(name + "[" + std::to_string(i) + "]", vector[i]);
  }
  std::string str() const { return out_.str(); }
  std::ostringstream& stream() { return out_; }

 private:
  std::ostringstream out_;
};

Coefficients sample(int eta, const Bytes& s, std::uint8_t b) {
  const Bytes prf = primitives::SHAKE256(s + Bytes{b}, 32, 64 * static_cast<Index>(eta));
  return primitives::SamplePolyCBD(eta, prf.data());
}

Coefficients inner_product(const Vector& f_hat, const Vector& g_hat) {
  Coefficients sum{};
  for (Index i = 0; i < f_hat.size(); ++i) sum = add(sum, primitives::MultiplyNTTs(f_hat[i], g_hat[i]));
  return sum;
}

Vector each(Coefficients (*function)(const Coefficients&) noexcept, const Vector& vector) {
  Vector result;
  for (const Coefficients& f : vector) result.push_back(function(f));
  return result;
}

template <ParameterSet P>
class Instance {
 public:
  std::string text() {
    header();
    keygen();
    encaps();
    decaps();
    return text_.str();
  }

 private:
  static constexpr Index k = P::k;

  void header() {
    text_.stream()
        << "# " << warpkem_algorithm_name(P::id)
        << ", FIPS 203: one instance with its intermediate values.\n"
           "# Byte strings in hex. Polynomials, also in the NTT domain, as 256 integers mod q = 3329, in the\n"
           "# standard's order; s, e, y, e1, e2 are small, negative numbers being q less than zero.\n";
    text_.section("Input");
    text_.value("d", d_);
    text_.value("z", z_);
    text_.value("m", m_);
  }

  void keygen() {
    text_.section("ML-KEM.KeyGen_internal (Algorithm 16), K-PKE.KeyGen (Algorithm 13)");
    const Bytes hash = primitives::SHA3_512(d_ + Bytes{static_cast<std::uint8_t>(k)});
    const Bytes rho = first_32(hash), sigma = last_32(hash);
    text_.value("rho", rho);
    text_.value("sigma", sigma);
    for (Index i = 0; i < k; ++i) {
      A_hat_.emplace_back();
      for (Index j = 0; j < k; ++j) {
        A_hat_[i].push_back(
            primitives::SampleNTT(rho.data(), static_cast<std::uint8_t>(j), static_cast<std::uint8_t>(i)));
      }
      text_.value("A_hat[" + std::to_string(i) + "]", A_hat_[i]);
    }
    Vector s, e;
    std::uint8_t N = 0;
    for (Index i = 0; i < k; ++i) s.push_back(sample(P::eta1, sigma, N++));
    for (Index i = 0; i < k; ++i) e.push_back(sample(P::eta1, sigma, N++));
    text_.value("s", s);
    text_.value("e", e);
    s_hat_ = each(primitives::NTT, s);
    const Vector e_hat = each(primitives::NTT, e);
    text_.value("s_hat", s_hat_);
    text_.value("e_hat", e_hat);
    Bytes dk_pke;
    for (Index i = 0; i < k; ++i) {
      t_hat_.push_back(add(inner_product(A_hat_[i], s_hat_), e_hat[i]));
      ek_ = ek_ + encode(12, t_hat_[i]);
      dk_pke = dk_pke + encode(12, s_hat_[i]);
    }
    ek_ = ek_ + rho;
    text_.value("t_hat", t_hat_);
    h_ = primitives::SHA3_256(ek_);
    text_.value("H(ek)", h_);
    text_.value("ek", ek_);
    text_.value("dk", dk_pke + ek_ + h_ + z_);
  }

  // Also with m' and r' in Decaps; `name` tells which.
  Bytes encrypt(const Bytes& m, const Bytes& r, const std::string& mark) {
    Vector y, e1;
    std::uint8_t N = 0;
    for (Index i = 0; i < k; ++i) y.push_back(sample(P::eta1, r, N++));
    for (Index i = 0; i < k; ++i) e1.push_back(sample(P::eta2, r, N++));
    const Coefficients e2 = sample(P::eta2, r, N);
    const Vector y_hat = each(primitives::NTT, y);
    Bytes c;
    Vector u;
    for (Index i = 0; i < k; ++i) {
      Vector column;
      for (Index j = 0; j < k; ++j) column.push_back(A_hat_[j][i]);
      u.push_back(add(primitives::InverseNTT(inner_product(column, y_hat)), e1[i]));
      c = c + encode(P::du, compress(P::du, u[i]));
    }
    const Coefficients mu = decompress(1, primitives::ByteDecode(1, m.data()));
    const Coefficients v = add(add(primitives::InverseNTT(inner_product(t_hat_, y_hat)), e2), mu);
    c = c + encode(P::dv, compress(P::dv, v));
    if (mark.empty()) {
      text_.value("y", y);
      text_.value("e1", e1);
      text_.value("e2", e2);
      text_.value("y_hat", y_hat);
      text_.value("u", u);
      text_.value("mu", mu);
      text_.value("v", v);
    }
    text_.value("c" + mark, c);
    return c;
  }

  void encaps() {
    text_.section("ML-KEM.Encaps_internal (Algorithm 17), K-PKE.Encrypt (Algorithm 14)");
    const Bytes hash = primitives::SHA3_512(m_ + h_);
    text_.value("K", first_32(hash));
    text_.value("r", last_32(hash));
    c_ = encrypt(m_, last_32(hash), "");
  }

  Bytes decrypt(const Bytes& c) {
    Vector u;
    for (Index i = 0; i < k; ++i) {
      u.push_back(decompress(P::du, primitives::ByteDecode(P::du, c.data() + 32 * P::du * i)));
    }
    const Coefficients v = decompress(P::dv, primitives::ByteDecode(P::dv, c.data() + P::u_bytes));
    const Coefficients w = subtract(v, primitives::InverseNTT(inner_product(s_hat_, each(primitives::NTT, u))));
    text_.value("u'", u);
    text_.value("v'", v);
    text_.value("w", w);
    return encode(1, compress(1, w));
  }

  void decaps() {
    text_.section("ML-KEM.Decaps_internal (Algorithm 18), K-PKE.Decrypt (Algorithm 15), of c");
    const Bytes m = decrypt(c_);
    text_.value("m'", m);
    if (m != m_) throw std::runtime_error("m' is not m");
    text_.section("ML-KEM.Decaps_internal of a changed ciphertext: c' is not c, so that K_bar is returned");
    Bytes c = c_;
    c[0] ^= 1;
    text_.value("changed c", c);
    const Bytes hash = primitives::SHA3_512(m + h_);  // the change is too small to change m'
    text_.value("K'", first_32(hash));
    text_.value("r'", last_32(hash));
    encrypt(m, last_32(hash), "'");
    text_.value("K_bar", primitives::SHAKE256(z_ + c, 0, 32));
  }

  Text text_;
  const Bytes d_ = counting_from(0x00), z_ = counting_from(0x20), m_ = counting_from(0x40);
  std::vector<Vector> A_hat_;
  Vector s_hat_, t_hat_;
  Bytes ek_, h_, c_;
};

}  // namespace

std::string intermediate_text(warpkem_algorithm algorithm) {
  switch (algorithm) {
    case MlKem512::id:
      return Instance<MlKem512>().text();
    case MlKem768::id:
      return Instance<MlKem768>().text();
    case MlKem1024::id:
      return Instance<MlKem1024>().text();
    default:
      throw std::runtime_error("no such parameter set");
  }
}

std::map<std::string, std::string> parse_intermediate(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream in(text);
  std::string name;
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line[0] == '#') continue;
    const std::size_t equals = line.find(" =");
    if (line[0] != ' ') {
      if (equals == std::string::npos) throw std::runtime_error("a line without '=': " + line);
      name = line.substr(0, equals);
      values[name] = line.size() > equals + 3 ? line.substr(equals + 3) : "";
    } else {
      values[name] += line;
    }
  }
  return values;
}

}  // namespace warpkem::kat
