// K-PKE.Encrypt from the matrix and the noise on: half a warp per item. And the modulus check of ek.
#include "kernels/halfwarp_item.cuh"
#include "kernels/kpke.cuh"

namespace warpkem::kernels {
namespace {

template <class P>
__global__ void __launch_bounds__(policy::arithmetic_threads)
    encrypt_kernel(KeyRows key, Noise noise, Rows m, Rows c, u32 items) {
  __shared__ ArithmeticShared shared;
  const HalfwarpItem item = halfwarp_item(shared, items);
  u8* const to = c[item.index];
  kpke::Encrypt<P>(key.A[item.index], key.ek[item.index], noise.eta1 + u64{item.index} * (P::k * 64 * P::eta1),
                   noise.eta2 + u64{item.index} * ((P::k + 1) * 64 * P::eta2), m[item.index], item.exchange,
                   [&]<int d>(const halfwarp::Packed<d>& p, u32 offset) {
                     u32* words = reinterpret_cast<u32*>(to + offset) + halfwarp::first_word<d>();
#pragma unroll
                     for (int i = 0; i < p.words; ++i) {
                       if (item.store && halfwarp::owns_word<d>(i)) words[i] = p.w[i];
                     }
                   });
  wipe(item);
}

// FIPS 203, 7.2: one warp per item; ek is public.
__global__ void __launch_bounds__(policy::record_threads)
    check_modulus_kernel(Rows ek, u32 k, u8* statuses, u32 items) {
  const u32 item = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
  if (item >= items) return;
  const u32* words = reinterpret_cast<const u32*>(ek[item]);
  bool bad = false;
  for (u32 group = lane; group < 32 * k; group += 32) {  // 8 coefficients
    halfwarp::Packed<12> p{};
#pragma unroll
    for (int i = 0; i < 3; ++i) p.w[i] = words[3 * group + i];
#pragma unroll
    for (int i = 0; i < 8; ++i) bad |= halfwarp::field<12>(p, i) >= integer_base + q;
  }
  if (__any_sync(0xFFFFFFFF, bad) && lane == 0 && statuses[item] == 0) statuses[item] = 3;
}

}  // namespace

template <class P>
cudaError_t encrypt(const KeyRows& key, Noise noise, Rows m, Rows c, u32 items, cudaStream_t stream) noexcept {
  encrypt_kernel<P><<<arithmetic_blocks(items), policy::arithmetic_threads, 0, stream>>>(key, noise, m, c, items);
  return cudaGetLastError();
}

template cudaError_t encrypt<MlKem512>(const KeyRows&, Noise, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t encrypt<MlKem768>(const KeyRows&, Noise, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t encrypt<MlKem1024>(const KeyRows&, Noise, Rows, Rows, u32, cudaStream_t) noexcept;

cudaError_t check_modulus(Rows ek, u32 k, u8* statuses, u32 items, cudaStream_t stream) noexcept {
  constexpr u32 per_block = policy::record_threads / 32;
  check_modulus_kernel<<<(items + per_block - 1) / per_block, policy::record_threads, 0, stream>>>(ek, k, statuses,
                                                                                                   items);
  return cudaGetLastError();
}

}  // namespace warpkem::kernels
