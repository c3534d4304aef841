// Instructions of the tensor cores on registers and memory that the host has filled, one product in each block: which
// thread holds which element (src/cuda/tests/fragments.rs).
#include "tensor_core.cuh"
#include "wgmma.cuh"

// Fragments of four matrices of 8 x 8; lane l gives row l of `rows`, a place in `x` in elements.
KERNEL(load_plain, const u16* x, const u32* rows, u32* y) {
    SHARED(u16, tile, [1024]);
    for (u32 i = threadIdx.x; i < 1024; i += WARP) tile[i] = x[i];
    __syncthreads();
    u32 fragment[4];
    ldmatrix_x4(fragment, tile + rows[threadIdx.x]);
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = fragment[i];
}

KERNEL(load_transposed, const u16* x, const u32* rows, u32* y) {
    SHARED(u16, tile, [1024]);
    for (u32 i = threadIdx.x; i < 1024; i += WARP) tile[i] = x[i];
    __syncthreads();
    u32 fragment[4];
    ldmatrix_x4_trans(fragment, tile + rows[threadIdx.x]);
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = fragment[i];
}

DEVICE void product(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#if defined(ELEM_F32)
    mma_m16n8k8_tf32(d, a, b);
#else
    mma_m16n8k16<Elem>(d, a, b);
#endif
}
KERNEL(mma, const u32* a, const u32* b, f32* d) {
    const u64 thread = block_index() * WARP + threadIdx.x;
    u32 own_a[4], own_b[2];
    f32 own_d[4];
    for (int i = 0; i < 4; i++) own_a[i] = a[thread * 4 + i], own_d[i] = d[thread * 4 + i];
    for (int i = 0; i < 2; i++) own_b[i] = b[thread * 2 + i];
    product(own_d, own_a, own_b);
    for (int i = 0; i < 4; i++) d[thread * 4 + i] = own_d[i];
}

KERNEL(round_to_tf32, const f32* x, u32* y) { y[thread_index()] = to_tf32(x[thread_index()]); }

#if defined(COLS)
// What a descriptor says of the first byte of shared memory that is `start` on, and where that is.
KERNEL(descriptor, u64* y, u32 start, u32 leading_bytes, u32 stride_bytes, u32 swizzle) {
    DYNAMIC_SHARED(u8, tile);
    if (threadIdx.x > 0) return;
    y[0] = matrix_descriptor(tile + start, leading_bytes, stride_bytes, (Swizzle)swizzle);
    y[1] = shared_address(tile + start);
    y[2] = advance(y[0], 96);
}

struct Offsets {
    u32 leading_bytes, stride_bytes, swizzle, bytes;
};
// A warpgroup's product; `a` holds registers, or as b an image of shared memory of `bytes` bytes, a multiple of 1024.
KERNEL(warpgroup_product, const u32* a, const u32* b, f32* y, Offsets a_at, Offsets b_at) {
    DYNAMIC_SHARED(u32, tile);
    u32* b_tile = tile + a_at.bytes / 4;
    for (u32 i = threadIdx.x; i < a_at.bytes / 4; i += 128) tile[i] = a[i];
    for (u32 i = threadIdx.x; i < b_at.bytes / 4; i += 128) b_tile[i] = b[i];
    proxy_fence();
    __syncthreads();
    u32 own[4];
    f32 d[COLS / 2];
UNROLL for (int i = 0; i < 4; i++) own[i] = a[threadIdx.x * 4 + i];
UNROLL for (int i = 0; i < COLS / 2; i++) d[i] = y[threadIdx.x * (COLS / 2) + i];
    const u64 b_matrix = matrix_descriptor(b_tile, b_at.leading_bytes, b_at.stride_bytes, (Swizzle)b_at.swizzle);
    wgmma_fence(d, own);
#if A_IN_REGISTERS
    wgmma<Elem, COLS, B_MAJOR>(d, own, b_matrix, true);
#else
    const u64 a_matrix = matrix_descriptor(tile, a_at.leading_bytes, a_at.stride_bytes, (Swizzle)a_at.swizzle);
    wgmma<Elem, COLS, A_MAJOR, B_MAJOR>(d, a_matrix, b_matrix, true);
#endif
    wgmma_commit();
    wgmma_wait<0>(d, own);
UNROLL for (int i = 0; i < COLS / 2; i++) y[threadIdx.x * (COLS / 2) + i] = d[i];
}
#endif
