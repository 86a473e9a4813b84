// The steps that pass.hpp composes into operations: each enqueues one kernel. Internal to kernels/.
#pragma once

#include <cuda_runtime_api.h>

#include <span>

#include "kernels/field.hpp"
#include "kernels/status.hpp"

namespace warpkem::kernels {

// Records on the device, one per item, at multiples of 16 bytes: item i's is at data + i * stride, or, with `index`, at
// data + index[i] * stride.
struct Rows {
  u8* data = nullptr;
  u64 stride = 0;
  const u32* index = nullptr;

#ifdef __CUDACC__
  WARPKEM_FN u8* operator[](u32 item) const { return data + stride * (index != nullptr ? index[item] : item); }
#endif
  bool present() const noexcept { return data != nullptr; }
  Rows offset(std::size_t bytes) const noexcept {
    Rows rows = *this;
    if (rows.data != nullptr) rows.data += bytes;
    return rows;
  }
};

// Records of any alignment.
struct AnyRows {
  u8* data = nullptr;
  u64 stride = 0;
  u8* const* table = nullptr;

#ifdef __CUDACC__
  WARPKEM_FN u8* operator[](u32 item) const { return table != nullptr ? table[item] : data + item * stride; }
#endif
  bool present() const noexcept { return data != nullptr || table != nullptr; }
};

// A message of an optional 32-byte prefix and a body, of each item, hashed with SHA3-256 or SHAKE256 (rate 17
// words) or SHA3-512 (rate 9 words). `pad` follows the message: domain bits, and the byte k of G(d || k).
struct Sponge {
  Rows prefix, body;
  u32 body_words = 0;  // of 8 bytes
  u32 rate_words = 17;
  u64 pad = 0x06;
  Rows out[3];    // 32 bytes each, absent ones in between included; two of SHA3-512, three of SHAKE256
  Rows expected;  // if present, nothing is written, but the item fails as `failure` where the digest differs
  u8 failure = 0;
  Rows body_copy;           // if present, receives the body
  Rows also_from, also_to;  // if present, 32 bytes that are copied on the way
  // If present, G(m || the first 32 bytes of the digest) follows, to K and r: SHA3-512.
  Rows m, K, r;
};

// The parts of a key that Encrypt and Decrypt read.
struct KeyRows {
  Rows A;   // k * k polynomials of 256 u16: 16 * coefficient, A[i][j] at i * k + j
  Rows ek;  // ByteEncode_12(t_hat) || rho
  Rows h;   // H(ek)
  Rows s;   // dk_PKE = ByteEncode_12(s_hat)
  Rows z;   // 32 bytes
};

// Noise as PRF gave it: of an item 64 * eta bytes a polynomial, one behind the other.
struct Noise {
  Rows eta1, eta2;
};

struct PrfArgs {
  Rows seed;  // sigma or r, 32 bytes
  u8* out = nullptr;
  u32 polynomials = 0;  // per item
  u32 first = 0;        // N of the first polynomial
  u32 words = 0;        // 4-byte words per polynomial, 32 or 48
};

// SampleNTT of every entry of every item's matrix. By warp there is nothing but `all`.
struct MatrixArgs {
  Rows rho;
  Rows A;
  u32 k = 0;
  // Of SHAKE128, for an entry: as many as it needs; three, with which one in 120 is unfinished and noted; as many as
  // the noted ones need.
  enum class Blocks : u32 { all, three, rest } blocks = Blocks::all;
  u32* unfinished = nullptr;  // a bit per entry, in words of 32
  u32 one = 1;                // see thread::Column
};

// Hashing of which none waits for another: one launch. Each kind by one thread a state, for throughput, or by one warp,
// for latency.
struct HashJobs {
  static constexpr int most_sponges = 3, most_prfs = 2;
  Sponge sponges[most_sponges];
  PrfArgs prfs[most_prfs];
  MatrixArgs matrix;
  int num_sponges = 0, num_prfs = 0;
  bool has_matrix = false;
  bool sponges_by_warp = false, matrix_by_warp = false, prfs_by_warp[most_prfs] = {};

  void add(const Sponge& job, bool by_warp) noexcept { sponges[num_sponges++] = job, sponges_by_warp = by_warp; }
  void add(const PrfArgs& args, bool by_warp) noexcept { prfs_by_warp[num_prfs] = by_warp, prfs[num_prfs++] = args; }
  void add(const MatrixArgs& args, bool by_warp) noexcept {
    matrix = args, matrix_by_warp = by_warp, has_matrix = true;
  }
};
cudaError_t hash(const HashJobs& jobs, u8* statuses, u32 items, cudaStream_t stream) noexcept;

// Counts the failed items into *failed (added to), and zeroes their records of up to three outputs: multiples of 16
// bytes. Does nothing where that is not wanted.
struct FinishArgs {
  struct Output {
    Rows rows;
    u32 bytes = 0;
  };
  u8* statuses = nullptr;
  u64* failed = nullptr;
  Output outputs[3];
};

// Hashing of another pass, in the launch of this one's arithmetic. By thread.
struct Beside {
  HashJobs jobs;
  u8* statuses = nullptr;
  u32 items = 0;
};

// K-PKE.KeyGen from line 8 on: dk_PKE (absent: not wanted) and the ByteEncode_12(t_hat) part of ek. Noise: 2k of eta1.
struct KeygenArgs {
  Rows A;
  Noise noise;
  Rows ek, dk_pke;
};
template <class P>
cudaError_t keygen(const KeygenArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept;

// K-PKE.Encrypt from line 9 on, and finish(). Noise: k of eta1, k + 1 of eta2. With `checks`, also check_modulus().
struct EncryptArgs {
  KeyRows key;
  Noise noise;
  Rows m, c;
  bool checks = false;
  FinishArgs last;
};
template <class P>
cudaError_t encrypt(const EncryptArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept;

// K-PKE.Decrypt.
template <class P>
cudaError_t decrypt(const KeyRows& key, Rows c, Rows m, u32 items, cudaStream_t stream) noexcept;

// ML-KEM.Decaps_internal lines 8-11: re-encrypts, compares with c and selects K out of K_prime and K_bar; and finish().
struct ReencryptArgs {
  KeyRows key;
  Noise noise;
  Rows m, c, K_prime, K_bar, K;
  FinishArgs last;
};
template <class P>
cudaError_t reencrypt(const ReencryptArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept;

// Section 7.2: a coefficient of ByteDecode_12(ek) not below q fails the item.
cudaError_t check_modulus(Rows ek, u32 k, u8* statuses, u32 items, cudaStream_t stream) noexcept;

// Statuses of a batch with prepared keys; `safe` gets the index, or 0 where it is bad.
cudaError_t resolve_keys(const u32* index, u64 num_keys, const u8* key_statuses, u32* safe, u8* statuses, u32 items,
                         cudaStream_t stream) noexcept;

// Of X25519, records of 32 bytes: element = X25519(k, 9). If present, `also_to` gets the element too, and k_copy k.
struct PublicKeyArgs {
  Rows k, element;
  Rows also_to, k_copy;
};
cudaError_t public_keys(const PublicKeyArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept;

// secret = X25519(k, element).
struct DeriveArgs {
  Rows k, element, secret;
  Rows element_copy;  // if present, receives the element
};
cudaError_t derive(const DeriveArgs& args, u32 items, int num_multiprocessors, cudaStream_t stream) noexcept;

// Fails the items whose secret is zero, or whose element gives one that is. Statuses of other failures stay.
cudaError_t check_secrets(Rows secrets, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept;
cudaError_t check_elements(Rows elements, ItemStatus failure, u8* statuses, u32 items, cudaStream_t stream) noexcept;

cudaError_t copy_records(AnyRows from, AnyRows to, u32 bytes, u32 items, cudaStream_t stream) noexcept;

cudaError_t finish(const FinishArgs& args, u32 items, cudaStream_t stream) noexcept;

// Every kernel of each file, as the runtime knows them.
using KernelList = std::span<const void* const>;
KernelList hash_kernels() noexcept;
KernelList keygen_kernels() noexcept;
KernelList encaps_kernels() noexcept;
KernelList decaps_kernels() noexcept;
KernelList records_kernels() noexcept;
KernelList x25519_kernels() noexcept;

}  // namespace warpkem::kernels
