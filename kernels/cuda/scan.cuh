// Running folds over the threads of a warp and of a block.
#pragma once
#include "prelude.cuh"

// What came before a thread, and all there is.
template <class T> struct Scanned {
    T before, all;
};

// The fold of x over the threads before this one of a block (a multiple of 32), and over all of them. `scratch` is
// shared, one place for each warp. It may be used again at once.
template <class Op, class T> DEVICE Scanned<T> block_scan(T x, T neutral, T* scratch) {
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
UNROLL for (int step = 1; step < WARP; step *= 2) {
        const T other = __shfl_up_sync(FULL, x, step);
        if (lane >= step) x = Op::of(other, x);
    }
    T before = __shfl_up_sync(FULL, x, 1);
    if (lane == 0) before = neutral;
    if (lane == WARP - 1) scratch[warp] = x;
    __syncthreads();
    T all = neutral, outside = neutral;
    for (int i = 0; i < warps; i++) {
        if (i == warp) outside = all;
        all = Op::of(all, scratch[i]);
    }
    __syncthreads();
    return {Op::of(outside, before), all};
}
