// The elements of many tensors together, in chunks that never span two tensors; a block takes one chunk.
#pragma once
#include "prelude.cuh"

const u64 CHUNK = 4096;

// One parameter with what belongs to it: the host's `Entry` in src/cuda/tensor_list.rs.
struct Tensor {
    u64 first_chunk, len;
    u64 packed;  // 1 where all of it is aligned for packs of PACK
    const Elem* grad;
    Elem* param;
    Compute* states[3];
};

// Elements of one access: at most 16 bytes of the states.
const int PACK = 16 / sizeof(Compute);

// The last tensor that starts at or before the chunk: one with no elements starts where its successor does.
DEVICE const Tensor& tensor_of(const Tensor* tensors, u64 count, u64 chunk) {
    u64 low = 0, high = count;
    while (high - low > 1) {
        const u64 middle = (low + high) / 2;
        if (tensors[middle].first_chunk <= chunk) low = middle;
        else high = middle;
    }
    return tensors[low];
}

// Calls f.template at<N>(tensor, i) for all elements i .. i + N of the block's chunk.
template <class F> DEVICE void for_each_pack(const Tensor* tensors, u64 count, const F& f) {
    const Tensor& tensor = tensor_of(tensors, count, block_index());
    const u64 first = (block_index() - tensor.first_chunk) * CHUNK, end = min(first + CHUNK, tensor.len);
    if (first >= end) return;
    const u64 packs_end = tensor.packed ? end - (end - first) % PACK : first;
    for (u64 i = first + threadIdx.x * PACK; i < packs_end; i += blockDim.x * PACK) f.template at<PACK>(tensor, i);
    for (u64 i = packs_end + threadIdx.x; i < end; i += blockDim.x) f.template at<1>(tensor, i);
}

// N neighbouring elements in the compute type, read and written at once.
template <int N, class S> DEVICE void read(Compute (&v)[N], const S* x, u64 i) {
    const Pack<S, N> pack = *(const Pack<S, N>*)(x + i);
UNROLL for (int j = 0; j < N; j++) v[j] = convert<Compute>(pack.v[j]);
}
template <int N, class S> DEVICE void write(S* y, u64 i, const Compute (&v)[N]) {
    Pack<S, N> pack;
UNROLL for (int j = 0; j < N; j++) pack.v[j] = convert<S>(v[j]);
    *(Pack<S, N>*)(y + i) = pack;
}
