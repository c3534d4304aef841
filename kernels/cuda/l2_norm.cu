// The sum of squares over many tensors, in two stages: each block sums chunks of all of them, one block the blocks' sums.
// Clipping by it: x = x max_norm / (norm + eps) where that factor is below 1, with norm the root of the sum.
// Method and twins: src/l2_norm.rs, src/cpu/l2_norm.rs.
#include "prelude.cuh"

const u64 CHUNK = 8192;
// Elements of one access.
const int PACK = 16 / sizeof(Elem);

// Calls f.template at<N>(x, i) for all elements i .. i + N of the block's chunks, which are number block, block + blocks,
// ... of the tensors laid end to end. The lengths are on the device, so each block walks the list by itself.
template <class T, class F> DEVICE void for_each_pack(const i64* lens, T* const* tensors, u64 count, u64 blocks, F& f) {
    u64 chunk = block_index(), start = 0;
    for (u64 t = 0; t < count; t++) {
        const u64 len = (u64)lens[t], end_chunk = start + (len + CHUNK - 1) / CHUNK;
        for (; chunk < end_chunk; chunk += blocks) {
            const u64 first = (chunk - start) * CHUNK, end = min(first + CHUNK, len);
            T* x = tensors[t];
            const u64 packs_end = (u64)x % 16 == 0 ? end - (end - first) % PACK : first;
            for (u64 i = first + threadIdx.x * PACK; i < packs_end; i += blockDim.x * PACK) f.template at<PACK>(x, i);
            for (u64 i = packs_end + threadIdx.x; i < end; i += blockDim.x) f.template at<1>(x, i);
        }
        start = end_chunk;
    }
}

struct SumOfSquares {
    f64 sum;
    template <int N> DEVICE void at(const Elem* x, u64 i) {
        const Pack<Elem, N> pack = *(const Pack<Elem, N>*)(x + i);
UNROLL for (int j = 0; j < N; j++) sum += convert<f64>(pack.v[j]) * convert<f64>(pack.v[j]);
    }
};

// The number of blocks depends on the number of elements only, and so does the result.
KERNEL(l2_norm_squared, const i64* lens, const Elem* const* tensors, f64* partial, u64 count, u64 blocks) {
    SHARED(f64, scratch, [THREADS / WARP]);
    SumOfSquares squares = {0};
    for_each_pack(lens, tensors, count, blocks, squares);
    const f64 sum = block_fold<Sum>(squares.sum, scratch);
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

struct Scale {
    Compute factor;
    template <int N> DEVICE void at(Elem* x, u64 i) {
        Pack<Elem, N> pack = *(const Pack<Elem, N>*)(x + i);
UNROLL for (int j = 0; j < N; j++) pack.v[j] = convert<Elem>(convert<Compute>(pack.v[j]) * factor);
        *(Pack<Elem, N>*)(x + i) = pack;
    }
};

// Each block computes the factor by itself. A norm that is not finite is reported, and nothing is scaled by it.
KERNEL(l2_norm_clip, const i64* lens, Elem* const* tensors, const void* squared, u64 count, u64 blocks, f64 max_norm,
       f64 eps, u32 squared_dtype, FaultArg fault) {
    const f64 norm = sqrt(load_as<f64>(squared, 0, squared_dtype));
    if (!(norm < (f64)INFINITY)) {
        if (block_index() == 0 && threadIdx.x == 0) report(fault, (i64)__double_as_longlong(norm), 0, 0);
        return;
    }
    const f64 factor = max_norm / (norm + eps);
    if (factor >= 1 || block_index() >= blocks) return;
    Scale scale = {(Compute)factor};
    for_each_pack(lens, tensors, count, blocks, scale);
}
