// K-PKE.Decrypt, and the re-encryption with its comparison and selection: half a warp per item.
#include "kernels/arithmetic.cuh"
#include "kernels/kpke.cuh"

namespace warpkem::kernels {
namespace {

template <class P>
__global__ void __launch_bounds__(policy::arithmetic_threads) decrypt_kernel(KeyRows key, Rows c, Rows m, u32 items) {
  __shared__ ArithmeticShared shared;
  const HalfwarpItem item = halfwarp_item(shared, items);
  const u32 word = kpke::Decrypt<P>(key.s[item.index], c[item.index], item.exchange);
  if (item.store && halfwarp::lane() < 8) reinterpret_cast<u32*>(m[item.index])[halfwarp::lane()] = word;
  wipe(item);
}

}  // namespace

template <class P>
WARPKEM_FN void compute(const ReencryptArgs& args, const HalfwarpItem& item) {
  const u32 i = item.index;
  const u8* const c = args.c[i];
  const u8* const noise2 = args.noise.eta2[i];
  prefetch_record(args.key.A[i], 512 * P::k * P::k);
  prefetch_record(args.key.ek[i], P::dk_pke_bytes);
  prefetch_record(noise2, (P::k + 1) * 64 * P::eta2);
  prefetch_record(c, P::c_bytes);
  u32 difference = 0;
  kpke::Encrypt<P>(args.key.A[i], args.key.ek[i], args.noise.eta1[i], noise2, args.m[i], item.exchange,
                   [&]<int d>(const halfwarp::Moved<d>& moved, u32 offset) {
                     const u32* words = reinterpret_cast<const u32*>(c + offset) + halfwarp::lane();
#pragma unroll
                     for (int n = 0; n < halfwarp::moved_words<d>; ++n) {
                       if (halfwarp::moves<d>(n)) difference |= moved.w[n] ^ words[16 * n];
                     }
                   });
#pragma unroll
  for (int step = 8; step > 0; step /= 2) difference |= __shfl_xor_sync(all_lanes, difference, step, 16);
  // All ones where c' differs from c. No branch: nobody may learn which of the two keys was taken.
  const u32 reject = static_cast<u32>(static_cast<int>(difference | (0 - difference)) >> 31);
  if (halfwarp::lane() < 8) {
    const u32 n = halfwarp::lane();
    const u32 good = reinterpret_cast<const u32*>(args.K_prime[i])[n];
    const u32 bar = reinterpret_cast<const u32*>(args.K_bar[i])[n];
    if (item.store) reinterpret_cast<u32*>(args.K[i])[n] = (bar & reject) | (good & ~reject);
  }
  const bool failed = args.last.statuses[i] != 0;
  wipe(item);
  finish(args.last, item, failed);
}

template <class P>
cudaError_t decrypt(const KeyRows& key, Rows c, Rows m, u32 items, cudaStream_t stream) noexcept {
  decrypt_kernel<P><<<arithmetic_blocks(items), policy::arithmetic_threads, 0, stream>>>(key, c, m, items);
  return cudaGetLastError();
}

template <class P>
cudaError_t reencrypt(const ReencryptArgs& args, u32 items, const Beside* beside, cudaStream_t stream) noexcept {
  return launch_arithmetic<P>(args, items, beside, stream);
}

template cudaError_t decrypt<MlKem512>(const KeyRows&, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t decrypt<MlKem768>(const KeyRows&, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t decrypt<MlKem1024>(const KeyRows&, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t reencrypt<MlKem512>(const ReencryptArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t reencrypt<MlKem768>(const ReencryptArgs&, u32, const Beside*, cudaStream_t) noexcept;
template cudaError_t reencrypt<MlKem1024>(const ReencryptArgs&, u32, const Beside*, cudaStream_t) noexcept;

KernelList decaps_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&decrypt_kernel<MlKem512>),
                                    reinterpret_cast<const void*>(&decrypt_kernel<MlKem768>),
                                    reinterpret_cast<const void*>(&decrypt_kernel<MlKem1024>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem512, ReencryptArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem768, ReencryptArgs>),
                                    reinterpret_cast<const void*>(&arithmetic_kernel<MlKem1024, ReencryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem512, ReencryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem768, ReencryptArgs>),
                                    reinterpret_cast<const void*>(&mixed_kernel<MlKem1024, ReencryptArgs>)};
  return all;
}

}  // namespace warpkem::kernels
