// K-PKE and ML-KEM, FIPS 203 sections 5 to 7, for a group of up to W items that go through each step together: in a
// full group each lane of the sponges belongs to one item. A smaller group (a tail, a small batch) fills the lanes with
// several entries of A, or several noise polynomials, of the same item; only its hashes leave lanes idle.
#pragma once

#include <cstddef>

#include "host/backends/cpu_kernels.hpp"
#include "host/backends/x86/hash.hpp"
#include "host/backends/x86/jobs.hpp"
#include "host/core/ct.hpp"

namespace warpkem::simd {
namespace {

using host::Batch;
using host::DkFormat;
using host::ItemStatus;
using host::Operation;

[[gnu::noinline]] void wipe(void* data, std::size_t bytes) {
  __builtin_memset(data, 0, bytes);
  asm volatile("" : : "r"(data) : "memory");
}

template <class P>
struct EkForm {
  NttPoly rows[P::k + 1][P::k];  // the columns of A_hat, then t_hat: each is multiplied by y_hat
  alignas(64) u8 h[64];          // H(ek), 32 bytes
};
template <class P>
struct DkForm {
  EkForm<P> ek;
  NttPoly s_hat[P::k], s_gamma[P::k];
  alignas(64) u8 z[64];  // 32 bytes
};

template <class P>
struct ItemSecrets {
  NttPoly x_hat[P::k], x_gamma[P::k];  // y_hat or s_hat, and as times_gamma() leaves it
  union {
    Poly e1[P::k];
    NttPoly e_hat[P::k];
  };
  Poly e2;
  alignas(64) u8 seeds[64];  // G's output: rho || sigma, or K || r
  alignas(64) u8 m_prime[32];
  u8 K_bar[32];
  alignas(64) u8 c_prime[P::c_bytes + 32];
  alignas(64) u8 dk[P::dk_bytes];  // of seed-form keys
};

// Wiped before run() returns; of `items` those that were used.
template <class P, class K>
struct Secrets {
  LaneStates<K::lanes> state;
  alignas(64) u8 squeezed[K::lanes][xof_bytes + 72];
  NttPoly product, operand[P::k];
  Poly poly, poly2;
  ItemSecrets<P> items[K::lanes];
};

template <class P, class K>
struct Workspace {
  static constexpr int W = K::lanes;
  // A full group samples one row at a time, a smaller one all its rows, to fill the lanes.
  static constexpr int entries = W * P::k > (W - 1) * P::k* P::k ? W* P::k : (W - 1) * P::k* P::k;
  MatrixEntry A_hat[entries];
  NttPoly t_hat[P::k];
  alignas(64) u8 h[W][32];
  Job jobs[(W - 1) * (P::k * P::k + 2)];  // of a smaller group
  Secrets<P, K> secrets;
};

template <class P, class K>
class Group {
 public:
  static constexpr int W = K::lanes, k = P::k;
  using Space = Workspace<P, K>;
  using Pointers = const u8* [W];

  Group(const Batch& batch, Space& space, std::size_t first, int size) noexcept
      : batch_(batch), space_(space), secrets_(space.secrets), first_(first), size_(size) {}

  void run() noexcept {
    switch (batch_.operation) {
      case Operation::keygen:
        return keygen();
      case Operation::encaps:
        return batch_.forms.data != nullptr ? Encaps_internal_prepared() : Encaps_internal();
      case Operation::decaps:
        return batch_.forms.data != nullptr ? Decaps_internal_prepared() : Decaps_internal();
      case Operation::check_ek:
        for (int l = 0; l < size_; ++l) finish(l, ek_status(batch_.ek[first_ + index(l)]));
        return;
      case Operation::check_dk:
        return check_dk();
      case Operation::prepare_ek:
        return prepare_ek();
      case Operation::prepare_dk:
        return prepare_dk();
    }
  }

 private:
  static constexpr std::size_t index(int l) noexcept { return static_cast<std::size_t>(l); }
  void finish(int l, ItemStatus status) noexcept { batch_.statuses[first_ + index(l)] = static_cast<u8>(status); }

  // Idle lanes work on the first item's bytes.
  template <class F>
  [[gnu::always_inline]] void each_lane(Pointers& p, F pointer) const noexcept {
    for (int l = 0; l < W; ++l) p[l] = pointer(l < size_ ? l : 0);
  }
  void rhos(Pointers& rho, const Pointers& ek) const noexcept {
    each_lane(rho, [&](int l) { return ek[l] + P::dk_pke_bytes; });
  }
  void squeezed_lanes(u8* (&p)[W], int offset) noexcept {
    for (int l = 0; l < W; ++l) p[l] = secrets_.squeezed[l] + offset;
  }

  // ---- hashes, FIPS 203 4.1 ----

  [[gnu::noinline]] void H(const Pointers& ek, u8 (&h)[W][32]) noexcept {
    Sponge<K> sponge(secrets_.state, sha3_256_rate, size_);
    sponge.absorb(ek, P::ek_bytes / 8);
    sponge.finish(sha3_padding);
    u8* out[W];
    squeezed_lanes(out, 0);
    sponge.copy_out(out, 4);
    for (int l = 0; l < size_; ++l) __builtin_memcpy(h[l], out[l], 32);
  }

  [[gnu::noinline]] void J(const Pointers& z, const Pointers& c) noexcept {
    Sponge<K> sponge(secrets_.state, shake256_rate, size_);
    sponge.absorb(z, 4);
    sponge.absorb(c, P::c_bytes / 8);
    sponge.finish(shake_padding);
    u8* out[W];
    squeezed_lanes(out, 0);
    sponge.copy_out(out, 4);
    for (int l = 0; l < size_; ++l) __builtin_memcpy(secrets_.items[l].K_bar, out[l], 32);
  }

  // G(m || h), or G(d || k) where there is no h, to `seeds`.
  [[gnu::noinline]] void G(const Pointers& m, const Pointers* h) noexcept {
    Sponge<K> sponge(secrets_.state, sha3_512_rate, size_);
    sponge.absorb(m, 4);
    if (h != nullptr) {
      sponge.absorb(*h, 4);
      sponge.finish(sha3_padding);
    } else {
      sponge.absorb_word(static_cast<u64>(k) | sha3_padding << 8);
      sponge.close();
    }
    u8* out[W];
    squeezed_lanes(out, 0);
    sponge.copy_out(out, 8);
    for (int l = 0; l < size_; ++l) __builtin_memcpy(secrets_.items[l].seeds, out[l], 64);
  }

  // ---- smaller groups: hashes and A_hat side by side ----

  bool full() const noexcept { return size_ == W; }

  void add_H(const Pointers& ek, u8 (&h)[W][32]) noexcept {
    for (int l = 0; l < size_; ++l) {
      space_.jobs[num_jobs_++] = {{ek[l], nullptr}, {P::ek_bytes / 8, 0}, sha3_padding, nullptr, h[l]};
    }
  }
  void add_J(const Pointers& z, const Pointers& c) noexcept {
    for (int l = 0; l < size_; ++l) {
      space_.jobs[num_jobs_++] = {{z[l], c[l]}, {4, P::c_bytes / 8}, shake_padding, nullptr, secrets_.items[l].K_bar};
    }
  }
  template <bool transposed>
  void add_rows(const Pointers& rho) noexcept {
    for (int l = 0; l < size_; ++l) {
      for (int i = 0; i < k; ++i) {
        for (int j = 0; j < k; ++j) {
          space_.jobs[num_jobs_++] = {
              {rho[l], nullptr}, {4, 0}, position_of<transposed>(i, j), row_of(i, l) + j, nullptr};
        }
      }
    }
  }
  void run_jobs() noexcept {
    Jobs<K>(secrets_.state, secrets_.squeezed).run(space_.jobs, num_jobs_);
    num_jobs_ = 0;
  }

  // ---- A_hat ----

  // The last word of rho || j || i with its padding: entry (i, j) of A_hat, or of its transpose.
  template <bool transposed>
  static constexpr u64 position_of(int i, int j) noexcept {
    return static_cast<u64>(transposed ? i | j << 8 : j | i << 8) | shake_padding << 16;
  }

  // A full group samples one row at a time, a smaller one all of A_hat at once.
  int rows_at_once() const noexcept { return full() ? 1 : k; }
  MatrixEntry* row_of(int row, int l) noexcept { return space_.A_hat + (row * size_ + l) * k; }

  // Rows [row, row + rows_at_once()) of A_hat, or of its transpose, for all items, to row_of(0, ...) onwards.
  template <bool transposed>
  [[gnu::noinline]] void sample_rows(const Pointers& rho, int row) noexcept {
    const int entries = rows_at_once() * k * size_;
    int i = 0, j = 0, l = 0;
    for (int done = 0; done < entries; done += W) {
      const int active = entries - done < W ? entries - done : W;
      Pointers seed;
      u64 position[W];
      MatrixEntry* entry[W];
      for (int lane = 0; lane < W; ++lane) {
        if (lane >= active) {
          seed[lane] = seed[0], position[lane] = position[0];
          continue;
        }
        seed[lane] = rho[l], position[lane] = position_of<transposed>(row + i, j), entry[lane] = row_of(i, l) + j;
        if (++l == size_) {
          l = 0;
          if (++j == k) j = 0, ++i;
        }
      }
      SampleNTT(seed, position, entry, active);
    }
  }

  // SampleNTT(rho || j || i), FIPS 203 Algorithm 7, in each of `active` lanes.
  [[gnu::always_inline]] void SampleNTT(const Pointers& rho, const u64 (&position)[W], MatrixEntry* const (&entry)[W],
                                        int active) noexcept {
    Sponge<K> sponge(secrets_.state, shake128_rate, active);
    sponge.absorb(rho, 4);
    sponge.absorb_words(position);
    sponge.close();
    u8* out[W];
    for (int block = 0; block < 3; ++block) {
      if (block != 0) sponge.next_block();
      squeezed_lanes(out, 168 * block);
      sponge.copy_out(out, shake128_rate);
    }
    int have[W], least = n;
    for (int l = 0; l < active; ++l) {
      have[l] = SampleNTT_first_blocks(secrets_.squeezed[l], *entry[l]);
      if (have[l] < least) least = have[l];
    }
    while (least < n) [[unlikely]] {
        sponge.next_block();
        squeezed_lanes(out, 0);
        sponge.copy_out(out, shake128_rate);
        least = n;
        for (int l = 0; l < active; ++l) {
          if (have[l] < n) have[l] = SampleNTT_next_block(secrets_.squeezed[l], *entry[l], have[l]);
          if (have[l] < least) least = have[l];
        }
      }
  }

  // ---- noise ----

  // PRF_eta(seed, nonce), FIPS 203 (4.3), in each of `active` lanes. `position` holds a nonce and the padding.
  template <int eta>
  [[gnu::always_inline]] void PRF(const u8* const (&seed)[W], const u64 (&position)[W], int active) noexcept {
    constexpr int words = 8 * eta;
    Sponge<K> sponge(secrets_.state, shake256_rate, active);
    sponge.absorb(seed, 4);
    sponge.absorb_words(position);
    sponge.close();
    u8* out[W];
    squeezed_lanes(out, 0);
    sponge.copy_out(out, words < shake256_rate ? words : shake256_rate);
    if constexpr (words > shake256_rate) {
      sponge.next_block();
      squeezed_lanes(out, 8 * shake256_rate);
      sponge.copy_out(out, words - shake256_rate);
    }
  }

  // SamplePolyCBD_eta(PRF_eta(sigma, nonce)) for nonces [first, last) of all items, each given to take(item, nonce,
  // poly).
  template <int eta, class F>
  [[gnu::always_inline]] void sample_noise(int first, int last, F take) noexcept {
    const int tasks = (last - first) * size_;
    int nonce = first, l = 0;
    for (int done = 0; done < tasks; done += W) {
      const int active = tasks - done < W ? tasks - done : W;
      const u8* seed[W];
      u64 position[W];
      int item[W], nonces[W];
      for (int lane = 0; lane < W; ++lane) {
        if (lane >= active) {
          seed[lane] = seed[0], position[lane] = position[0];
          continue;
        }
        item[lane] = l, nonces[lane] = nonce;
        seed[lane] = secrets_.items[l].seeds + 32;
        position[lane] = static_cast<u64>(nonce) | shake_padding << 8;
        if (++l == size_) l = 0, ++nonce;
      }
      PRF<eta>(seed, position, active);
      for (int lane = 0; lane < active; ++lane) {
        SamplePolyCBD<eta>(secrets_.squeezed[lane], secrets_.poly);
        take(item[lane], nonces[lane], secrets_.poly);
      }
    }
  }

  // ---- K-PKE ----

  // K-PKE.KeyGen, FIPS 203 Algorithm 13, from `seeds` = rho || sigma. ek[l] and dk[l] may be null.
  [[gnu::noinline]] void KeyGen(u8* const (&ek)[W], u8* const (&dk)[W]) noexcept {
    sample_noise<P::eta1>(0, 2 * k, [this](int l, int nonce, const Poly& f) {
      ItemSecrets<P>& item = secrets_.items[l];
      if (nonce < k) {
        NTT(f, item.x_hat[nonce]);
        times_gamma(item.x_hat[nonce], item.x_gamma[nonce]);
      } else {
        NTT(f, item.e_hat[nonce - k]);
      }
    });
    Pointers rho;
    each_lane(rho, [this](int l) { return secrets_.items[l].seeds; });
    for (int row = 0; row < k; row += rows_at_once()) {
      sample_rows<false>(rho, row);
      for (int i = 0; i < rows_at_once(); ++i) {
        for (int l = 0; l < size_; ++l) {
          ItemSecrets<P>& item = secrets_.items[l];
          inner_product<k>(row_of(i, l)->c, entry_stride, item.x_hat, item.x_gamma, secrets_.product);
          scale_and_add(secrets_.product, item.e_hat[row + i]);
          ByteEncode<12>(secrets_.product, ek[l] + P::poly_bytes * index(row + i));
        }
      }
    }
    for (int l = 0; l < size_; ++l) {
      __builtin_memcpy(ek[l] + P::dk_pke_bytes, secrets_.items[l].seeds, 32);
      host::declassify(ek[l], P::ek_bytes);  // the public key, complete
      if (dk[l] == nullptr) continue;
      for (int j = 0; j < k; ++j) ByteEncode<12>(secrets_.items[l].x_hat[j], dk[l] + P::poly_bytes * index(j));
    }
  }

  // K-PKE.Encrypt, FIPS 203 Algorithm 14: m[l] to c[l] with r from `seeds`; rows(i) are asked for in order, the last is
  // t.
  template <class Prepare, class Row>
  [[gnu::always_inline]] void Encrypt(const Pointers& m, u8* const (&c)[W], Prepare prepare, Row row) noexcept {
    const auto take = [this](int l, int nonce, const Poly& f) {
      ItemSecrets<P>& item = secrets_.items[l];
      if (nonce < k) {
        NTT(f, item.x_hat[nonce]);
        times_gamma(item.x_hat[nonce], item.x_gamma[nonce]);
      } else {
        (nonce < 2 * k ? item.e1[nonce - k] : item.e2) = f;
      }
    };
    if constexpr (P::eta1 == P::eta2) {
      sample_noise<P::eta1>(0, 2 * k + 1, take);
    } else {
      sample_noise<P::eta1>(0, k, take);
      sample_noise<P::eta2>(k, 2 * k + 1, take);
    }
    for (int first = 0; first < k; first += rows_at_once()) {
      prepare(first);
      for (int i = first; i < first + rows_at_once(); ++i) {
        for (int l = 0; l < size_; ++l) {
          const ItemSecrets<P>& item = secrets_.items[l];
          int stride;
          const i16* a = row(l, i, stride);
          inner_product<k>(a, stride, item.x_hat, item.x_gamma, secrets_.product);
          InverseNTT(secrets_.product, secrets_.poly);
          encode_compressed<P::du>(secrets_.poly, item.e1[i], c[l] + 32 * P::du * i);
        }
      }
    }
    for (int l = 0; l < size_; ++l) {
      ItemSecrets<P>& item = secrets_.items[l];
      int stride;
      const i16* t = row(l, k, stride);
      inner_product<k>(t, stride, item.x_hat, item.x_gamma, secrets_.product);
      InverseNTT(secrets_.product, secrets_.poly);
      add_message(m[l], item.e2);
      encode_compressed<P::dv>(secrets_.poly, item.e2, c[l] + P::u_bytes);
    }
  }

  // To the encoded key ek[l]. A smaller group has sampled A_hat's transpose before.
  [[gnu::noinline]] void encrypt_to_bytes(const Pointers& ek, const Pointers& m, u8* const (&c)[W]) noexcept {
    Pointers rho;
    rhos(rho, ek);
    int first_row = 0;
    Encrypt(
        m, c,
        [&](int row) {
          first_row = row;
          if (full()) sample_rows<true>(rho, row);
        },
        [&](int l, int i, int& stride) -> const i16* {
          if (i < k) {
            stride = entry_stride;
            return row_of(i - first_row, l)->c;
          }
          for (int j = 0; j < k; ++j) ByteDecode<12>(ek[l] + P::poly_bytes * index(j), space_.t_hat[j]);
          stride = n;
          return space_.t_hat[0].c;
        });
  }

  [[gnu::noinline]] void encrypt_to_forms(const EkForm<P>* const (&form)[W], const Pointers& m,
                                          u8* const (&c)[W]) noexcept {
    Encrypt(
        m, c, [](int) {},
        [&](int l, int i, int& stride) -> const i16* {
          stride = n;
          return form[l]->rows[i][0].c;
        });
  }

  // K-PKE.Decrypt, FIPS 203 Algorithm 15, to m_prime. s_hat and s_gamma as times_gamma() takes and gives them.
  [[gnu::noinline]] void Decrypt(int l, const NttPoly* s_hat, const NttPoly* s_gamma, const u8* c) noexcept {
    for (int i = 0; i < k; ++i) {
      decode_compressed<P::du>(c + 32 * P::du * i, secrets_.poly);
      NTT(secrets_.poly, secrets_.operand[i]);
    }
    inner_product<k>(secrets_.operand[0].c, n, s_hat, s_gamma, secrets_.product);
    InverseNTT(secrets_.product, secrets_.poly);
    decode_compressed<P::dv>(c + P::u_bytes, secrets_.poly2);
    encode_message(secrets_.poly2, secrets_.poly, secrets_.items[l].m_prime);
  }

  // ---- ML-KEM ----

  ItemStatus ek_status(const u8* ek) const noexcept { return below_q(ek, k) ? ItemStatus::ok : ItemStatus::invalid_ek; }

  // The hash check of FIPS 203, 7.3, once h holds H(ek). Public data only.
  void compare_hashes(const Pointers& dk, ItemStatus (&status)[W]) noexcept {
    for (int l = 0; l < size_; ++l) {
      const Vector difference = _mm256_xor_si256(load(space_.h[l]), load(dk[l] + P::dk_h_offset));
      status[l] = _mm256_testz_si256(difference, difference) != 0 ? ItemStatus::ok : ItemStatus::invalid_dk;
    }
  }
  void dk_statuses(const Pointers& dk, ItemStatus (&status)[W]) noexcept {
    Pointers ek;
    each_lane(ek, [&](int l) { return dk[l] + P::dk_ek_offset; });
    H(ek, space_.h);
    compare_hashes(dk, status);
  }

  // ML-KEM.KeyGen_internal, FIPS 203 Algorithm 16. dk[l] may be null.
  [[gnu::noinline]] void KeyGen_internal(const Pointers& seeds, u8* const (&ek)[W], u8* const (&dk)[W]) noexcept {
    G(seeds, nullptr);
    for (int l = 0; l < size_; ++l) host::declassify(secrets_.items[l].seeds, 32);  // rho
    KeyGen(ek, dk);
    if (dk[0] == nullptr) return;
    Pointers eks;
    each_lane(eks, [&](int l) { return ek[l]; });
    H(eks, space_.h);
    for (int l = 0; l < size_; ++l) {
      if (ek[l] != dk[l] + P::dk_ek_offset) __builtin_memcpy(dk[l] + P::dk_ek_offset, ek[l], P::ek_bytes);
      __builtin_memcpy(dk[l] + P::dk_h_offset, space_.h[l], 32);
      __builtin_memcpy(dk[l] + P::dk_z_offset, seeds[l] + 32, 32);
    }
  }

  void keygen() noexcept {
    Pointers seeds;
    each_lane(seeds, [this](int l) { return batch_.seeds[first_ + index(l)]; });
    const bool expanded = batch_.dk_format == DkFormat::expanded;
    u8 *ek[W], *dk[W];
    for (int l = 0; l < W; ++l) {
      ek[l] = l < size_ ? batch_.ek_out[first_ + index(l)] : nullptr;
      dk[l] = l < size_ && expanded ? batch_.dk_out[first_ + index(l)] : nullptr;
    }
    KeyGen_internal(seeds, ek, dk);
    for (int l = 0; l < size_; ++l) {
      if (!expanded) __builtin_memcpy(batch_.dk_out[first_ + index(l)], seeds[l], P::seed_bytes);
      finish(l, ItemStatus::ok);
    }
  }

  void outputs(u8* (&c)[W]) const noexcept {
    for (int l = 0; l < W; ++l) c[l] = l < size_ ? batch_.c_out[first_ + index(l)] : nullptr;
  }
  void give_K(int l, ItemStatus status) noexcept {
    __builtin_memcpy(batch_.K_out[first_ + index(l)], secrets_.items[l].seeds, 32);
    finish(l, status);
  }

  // ML-KEM.Encaps_internal, FIPS 203 Algorithm 17, with the check of 7.2.
  void Encaps_internal() noexcept {
    Pointers ek, m, h;
    each_lane(ek, [this](int l) { return batch_.ek[first_ + index(l)]; });
    each_lane(m, [this](int l) { return batch_.m[first_ + index(l)]; });
    const bool knows_h = batch_.h.present();
    each_lane(h, [&](int l) { return knows_h ? batch_.h[first_ + index(l)] : space_.h[l]; });
    u8* c[W];
    outputs(c);
    if (full()) {
      if (!knows_h) H(ek, space_.h);
    } else {
      Pointers rho;
      rhos(rho, ek);
      if (!knows_h) add_H(ek, space_.h);
      add_rows<true>(rho);
      run_jobs();
    }
    G(m, &h);
    encrypt_to_bytes(ek, m, c);
    for (int l = 0; l < size_; ++l) {
      host::declassify(c[l], P::c_bytes);  // the ciphertext, complete
      give_K(l, ek_status(ek[l]));
    }
  }

  // The same with the expanded key of a prepared set, which was checked before.
  void Encaps_internal_prepared() noexcept {
    const EkForm<P>* form[W];
    for (int l = 0; l < W; ++l) form[l] = &ek_form(l < size_ ? l : 0);
    Pointers m, h;
    each_lane(m, [this](int l) { return batch_.m[first_ + index(l)]; });
    each_lane(h, [&](int l) { return form[l]->h; });
    u8* c[W];
    outputs(c);
    G(m, &h);
    encrypt_to_forms(form, m, c);
    for (int l = 0; l < size_; ++l) {
      host::declassify(c[l], P::c_bytes);  // the ciphertext, complete
      give_K(l, ItemStatus::ok);
    }
  }

  // Line 6 and lines 8 to 12 of Decaps_internal: m_prime and K_bar are there already.
  // What comes of comparing c with c' stays in a mask.
  template <class F>
  [[gnu::always_inline]] void reencrypt(const Pointers& h, const Pointers& c, const ItemStatus (&status)[W],
                                        F encrypt) noexcept {
    Pointers m;
    u8* c_prime[W];
    each_lane(m, [this](int l) { return secrets_.items[l].m_prime; });
    for (int l = 0; l < W; ++l) c_prime[l] = secrets_.items[l].c_prime;
    G(m, &h);
    encrypt(m, c_prime);
    for (int l = 0; l < size_; ++l) {
      const ItemSecrets<P>& item = secrets_.items[l];
      Vector difference = _mm256_setzero_si256();
      for (std::size_t i = 0; i < P::c_bytes; i += 32) {
        difference = _mm256_or_si256(difference, _mm256_xor_si256(load(c[l] + i), load(item.c_prime + i)));
      }
      u64 word[4];
      store(word, difference);
      const u64 any = word[0] | word[1] | word[2] | word[3];
      u64 mask = 0 - ((any | (0 - any)) >> 63);  // all ones where they differ
      asm("" : "+r"(mask));                      // the compiler shall not see that it has two values only
      const Vector K_prime = load(item.seeds), K_bar = load(item.K_bar);
      const Vector chosen = _mm256_set1_epi64x(static_cast<long long>(mask));
      // No blend: for AVX-512 gcc makes it one whose mask, a secret, decides what is read of K_bar in memory.
      const Vector difference_of_keys = _mm256_xor_si256(K_prime, K_bar);
      store(batch_.K_out[first_ + index(l)], _mm256_xor_si256(K_prime, _mm256_and_si256(difference_of_keys, chosen)));
      finish(l, status[l]);
    }
  }

  // The keys of `dk` in expanded form: as they are, or expanded from their seeds within the workspace.
  void expanded_dks(Pointers& dk) noexcept {
    each_lane(dk, [this](int l) { return batch_.dk[first_ + index(l)]; });
    if (batch_.dk_format == DkFormat::expanded) {
      for (int l = 0; l < size_; ++l) host::declassify(dk[l] + P::dk_ek_offset, P::ek_bytes + 32);  // ek, H(ek) in a dk
      return;
    }
    u8 *ek_out[W], *dk_out[W];
    for (int l = 0; l < W; ++l) {
      dk_out[l] = secrets_.items[l].dk;
      ek_out[l] = dk_out[l] + P::dk_ek_offset;
    }
    KeyGen_internal(dk, ek_out, dk_out);
    each_lane(dk, [this](int l) { return secrets_.items[l].dk; });
  }

  // ML-KEM.Decaps_internal, FIPS 203 Algorithm 18, with the check of 7.3.
  void Decaps_internal() noexcept {
    Pointers dk, c, ek, h, z;
    expanded_dks(dk);
    each_lane(c, [this](int l) { return batch_.c[first_ + index(l)]; });
    each_lane(ek, [&](int l) { return dk[l] + P::dk_ek_offset; });
    each_lane(h, [&](int l) { return dk[l] + P::dk_h_offset; });
    each_lane(z, [&](int l) { return dk[l] + P::dk_z_offset; });
    const bool check = batch_.dk_format == DkFormat::expanded;
    if (full()) {
      if (check) H(ek, space_.h);
      J(z, c);
    } else {
      Pointers rho;
      rhos(rho, ek);
      add_J(z, c);
      if (check) add_H(ek, space_.h);
      add_rows<true>(rho);
      run_jobs();
    }
    ItemStatus status[W] = {};
    if (check) compare_hashes(dk, status);
    for (int l = 0; l < size_; ++l) {
      ItemSecrets<P>& item = secrets_.items[l];
      decode_s(dk[l], item.x_hat, item.x_gamma);
      Decrypt(l, item.x_hat, item.x_gamma, c[l]);
    }
    reencrypt(h, c, status, [&](const Pointers& m, u8* const(&c_prime)[W]) { encrypt_to_bytes(ek, m, c_prime); });
  }

  void Decaps_internal_prepared() noexcept {
    const EkForm<P>* form[W];
    Pointers c, h, z;
    each_lane(c, [this](int l) { return batch_.c[first_ + index(l)]; });
    each_lane(z, [this](int l) { return dk_form(l).z; });
    for (int l = 0; l < W; ++l) {
      form[l] = &dk_form(l < size_ ? l : 0).ek;
      h[l] = form[l]->h;
    }
    for (int l = 0; l < size_; ++l) Decrypt(l, dk_form(l).s_hat, dk_form(l).s_gamma, c[l]);
    J(z, c);
    const ItemStatus status[W] = {};
    reencrypt(h, c, status, [&](const Pointers& m, u8* const(&c_prime)[W]) { encrypt_to_forms(form, m, c_prime); });
  }

  static void decode_s(const u8* dk, NttPoly* s_hat, NttPoly* s_gamma) noexcept {
    for (int j = 0; j < k; ++j) {
      ByteDecode<12>(dk + P::poly_bytes * index(j), s_hat[j]);
      times_gamma(s_hat[j], s_gamma[j]);
    }
  }

  void check_dk() noexcept {
    ItemStatus status[W] = {};
    if (batch_.dk_format == DkFormat::expanded) {
      Pointers dk;
      expanded_dks(dk);
      dk_statuses(dk, status);
    }
    for (int l = 0; l < size_; ++l) finish(l, status[l]);
  }

  // ---- prepared keys ----

  EkForm<P>& ek_form(int l) const noexcept {
    return *reinterpret_cast<EkForm<P>*>(batch_.forms.data + batch_.key_of(first_ + index(l)) * batch_.forms.stride);
  }
  DkForm<P>& dk_form(int l) const noexcept {
    return *reinterpret_cast<DkForm<P>*>(batch_.forms.data + batch_.key_of(first_ + index(l)) * batch_.forms.stride);
  }
  template <class Form>
  Form& new_form(int l) const noexcept {
    return *reinterpret_cast<Form*>(batch_.forms.data + (first_ + index(l)) * batch_.forms.stride);
  }

  [[gnu::noinline]] void expand(const Pointers& ek, EkForm<P>* const (&form)[W]) noexcept {
    Pointers rho;
    rhos(rho, ek);
    for (int first = 0; first < k; first += rows_at_once()) {
      sample_rows<true>(rho, first);
      for (int i = 0; i < rows_at_once(); ++i) {
        for (int l = 0; l < size_; ++l) {
          for (int j = 0; j < k; ++j)
            __builtin_memcpy(form[l]->rows[first + i][j].c, row_of(i, l)[j].c, sizeof(NttPoly));
        }
      }
    }
    for (int l = 0; l < size_; ++l) {
      for (int j = 0; j < k; ++j) ByteDecode<12>(ek[l] + P::poly_bytes * index(j), form[l]->rows[k][j]);
    }
  }

  void prepare_ek() noexcept {
    Pointers ek;
    each_lane(ek, [this](int l) { return batch_.ek[first_ + index(l)]; });
    EkForm<P>* form[W];
    for (int l = 0; l < W; ++l) form[l] = &new_form<EkForm<P>>(l < size_ ? l : 0);
    H(ek, space_.h);
    expand(ek, form);
    for (int l = 0; l < size_; ++l) {
      __builtin_memcpy(form[l]->h, space_.h[l], 32);
      finish(l, ek_status(ek[l]));
    }
  }

  void prepare_dk() noexcept {
    Pointers dk, ek;
    ItemStatus status[W] = {};
    expanded_dks(dk);
    if (batch_.dk_format == DkFormat::expanded) dk_statuses(dk, status);
    each_lane(ek, [&](int l) { return dk[l] + P::dk_ek_offset; });
    EkForm<P>* form[W];
    for (int l = 0; l < W; ++l) form[l] = &new_form<DkForm<P>>(l < size_ ? l : 0).ek;
    expand(ek, form);
    for (int l = 0; l < size_; ++l) {
      DkForm<P>& whole = new_form<DkForm<P>>(l);
      __builtin_memcpy(whole.ek.h, dk[l] + P::dk_h_offset, 32);
      __builtin_memcpy(whole.z, dk[l] + P::dk_z_offset, 32);
      decode_s(dk[l], whole.s_hat, whole.s_gamma);
      finish(l, status[l]);
    }
  }

  const Batch& batch_;
  Space& space_;
  Secrets<P, K>& secrets_;
  const std::size_t first_;
  const int size_;
  int num_jobs_ = 0;
};

// ---- what CpuKernels needs ----

template <class P, class K>
[[gnu::noinline]] void run_groups(const Batch& batch, u8* workspace) noexcept {
  auto& space = *reinterpret_cast<Workspace<P, K>*>(workspace);
  for (std::size_t first = 0; first < batch.count; first += K::lanes) {
    const std::size_t left = batch.count - first;
    Group<P, K>(batch, space, first, left < K::lanes ? static_cast<int>(left) : K::lanes).run();
  }
  using AllSecrets = Secrets<P, K>;
  const std::size_t items = batch.count < K::lanes ? batch.count : K::lanes;
  wipe(&space.secrets, offsetof(AllSecrets, items) + items * sizeof(ItemSecrets<P>));
}

// Everything under run() uses less stack than this; tests measure it.
constexpr std::size_t most_stack_bytes = 6144;

[[gnu::noinline]] void wipe_stack() noexcept {
  alignas(64) u8 stack[most_stack_bytes];
  wipe(stack, sizeof(stack));
}

template <class K>
struct Kernels {
  static std::size_t workspace_bytes(std::uint32_t algorithm) noexcept {
    std::size_t bytes = 0;
    with_params(algorithm, [&](auto p) { bytes = sizeof(Workspace<decltype(p), K>); });
    return bytes;
  }
  static std::size_t ek_form_bytes(std::uint32_t algorithm) noexcept {
    std::size_t bytes = 0;
    with_params(algorithm, [&](auto p) { bytes = sizeof(EkForm<decltype(p)>); });
    return bytes;
  }
  static std::size_t dk_form_bytes(std::uint32_t algorithm) noexcept {
    std::size_t bytes = 0;
    with_params(algorithm, [&](auto p) { bytes = sizeof(DkForm<decltype(p)>); });
    return bytes;
  }
  static void run(const Batch& batch, u8* workspace) noexcept {
    with_params(batch.algorithm, [&](auto p) { run_groups<decltype(p), K>(batch, workspace); });
    wipe_stack();
    K::wipe_registers();
  }
  static void hash(const host::HashBatch& batch, u8* workspace) noexcept {
    auto& space = *reinterpret_cast<HashWorkspace<K>*>(workspace);
    const int common = absorb_common<K>(batch, space);
    for (std::size_t first = 0; first < batch.count; first += K::lanes) {
      const std::size_t left = batch.count - first;
      hash_group<K>(batch, space, first, left < K::lanes ? static_cast<int>(left) : K::lanes, common);
    }
    wipe(&space, sizeof space);
    wipe_stack();
    K::wipe_registers();
  }
};

}  // namespace
}  // namespace warpkem::simd
