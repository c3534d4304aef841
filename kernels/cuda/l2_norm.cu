// The sum of squares over many tensors, in two stages: each block sums chunks of all of them, one block the blocks' sums.
// Method and twins: src/l2_norm.rs, src/cpu/l2_norm.rs.
#include "prelude.cuh"

const u64 CHUNK = 8192;
// Elements of one access.
const int PACK = 16 / sizeof(Elem);

DEVICE f64 square(Elem x) { return convert<f64>(x) * convert<f64>(x); }

// Block i takes chunks i, i + blocks, ... of the tensors laid end to end. The lengths are on the device, so each block
// walks the list by itself. The number of blocks depends on the number of elements only, and so does the result.
KERNEL(l2_norm_squared, const i64* lens, const Elem* const* tensors, f64* partial, u64 count, u64 blocks) {
    SHARED(f64, scratch, [THREADS / WARP]);
    f64 sum = 0;
    u64 chunk = block_index(), start = 0;
    for (u64 t = 0; t < count; t++) {
        const u64 len = (u64)lens[t], end_chunk = start + (len + CHUNK - 1) / CHUNK;
        for (; chunk < end_chunk; chunk += blocks) {
            const u64 first = (chunk - start) * CHUNK, end = min(first + CHUNK, len);
            const Elem* x = tensors[t];
            const u64 packs_end = (u64)x % 16 == 0 ? end - (end - first) % PACK : first;
            for (u64 i = first + threadIdx.x * PACK; i < packs_end; i += blockDim.x * PACK) {
                const Pack<Elem, PACK> pack = *(const Pack<Elem, PACK>*)(x + i);
UNROLL for (int j = 0; j < PACK; j++) sum += square(pack.v[j]);
            }
            for (u64 i = packs_end + threadIdx.x; i < end; i += blockDim.x) sum += square(x[i]);
        }
        start = end_chunk;
    }
    sum = block_fold<Sum>(sum, scratch);
    if (threadIdx.x == 0 && block_index() < blocks) partial[block_index()] = sum;
}

// One block: the sum of the blocks' sums, of dtype f32 or f64.
KERNEL(l2_norm_total, const f64* partial, void* out, u64 blocks, u32 out_dtype) {
    SHARED(f64, scratch, [THREADS / WARP]);
    f64 sum = 0;
    for (u64 i = threadIdx.x; i < blocks; i += blockDim.x) sum += partial[i];
    sum = block_fold<Sum>(sum, scratch);
    if (threadIdx.x == 0) store_as(out, 0, out_dtype, sum);
}
