// K-PKE.KeyGen from the matrix and the noise on: half a warp per item.
#include "kernels/halfwarp_item.cuh"
#include "kernels/kpke.cuh"

namespace warpkem::kernels {
namespace {

template <class P>
__global__ void __launch_bounds__(policy::arithmetic_threads)
    keygen_kernel(Rows A, Noise noise, Rows ek, Rows dk_pke, u32 items) {
  __shared__ ArithmeticShared shared;
  const HalfwarpItem item = halfwarp_item(shared, items);
  const u8* const eta1 = noise.eta1[item.index];
  prefetch_record(A[item.index], 512 * P::k * P::k);
  prefetch_record(eta1, 2 * P::k * 64 * P::eta1);
  kpke::KeyGen<P>(A[item.index], eta1, ek[item.index], dk_pke.data != nullptr ? dk_pke[item.index] : nullptr,
                  item.store, item.exchange);
  wipe(item);
}

}  // namespace

template <class P>
cudaError_t keygen(Rows A, Noise noise, Rows ek, Rows dk_pke, u32 items, cudaStream_t stream) noexcept {
  keygen_kernel<P><<<arithmetic_blocks(items), policy::arithmetic_threads, 0, stream>>>(A, noise, ek, dk_pke, items);
  return cudaGetLastError();
}

template cudaError_t keygen<MlKem512>(Rows, Noise, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t keygen<MlKem768>(Rows, Noise, Rows, Rows, u32, cudaStream_t) noexcept;
template cudaError_t keygen<MlKem1024>(Rows, Noise, Rows, Rows, u32, cudaStream_t) noexcept;

KernelList keygen_kernels() noexcept {
  static const void* const all[] = {reinterpret_cast<const void*>(&keygen_kernel<MlKem512>),
                                    reinterpret_cast<const void*>(&keygen_kernel<MlKem768>),
                                    reinterpret_cast<const void*>(&keygen_kernel<MlKem1024>)};
  return all;
}

}  // namespace warpkem::kernels
