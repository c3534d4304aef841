// A row shared out over the threads that work on it: how its elements are read, kept, folded and written.
//
// LANES threads work on a row, a warp or a whole block. Each keeps ITEMS elements of a tile in registers, VEC neighbours
// in one access. Where the row fits one tile (WHOLE) it is read once; a longer one is read again in each pass.
// src/cuda/rows.rs chooses.
#pragma once
#include "prelude.cuh"

#ifndef LANES
#define LANES 32
#define ITEMS 8
#define VEC 1
#define WHOLE 0
#endif

const u64 TILE = LANES * ITEMS;

// The row of this thread; it may be past the last.
DEVICE u64 own_row() { return block_index() * (blockDim.x / LANES) + threadIdx.x / LANES; }

// Tiles start at 0, TILE, ... below this: the compiler sees that a whole row has one.
DEVICE u64 end_of_tiles(u64 cols) { return WHOLE ? 1 : cols; }

// Where in the row the elements k .. k + VEC of this thread are.
DEVICE u64 place(u64 tile, int k) { return tile + ((u64)(k / VEC) * LANES + threadIdx.x % LANES) * VEC; }

// VEC elements of a row from `at` on: `absent` past its end, and everywhere where there is no array.
DEVICE void read_pack(Compute* v, const Elem* x, u64 at, u64 cols, Compute absent) {
    if (x != nullptr && at < cols) {
        const Pack<Elem, VEC> pack = *(const Pack<Elem, VEC>*)(x + at);
UNROLL for (int j = 0; j < VEC; j++) v[j] = load(&pack.v[j]);
    } else {
UNROLL for (int j = 0; j < VEC; j++) v[j] = absent;
    }
}
DEVICE void write_pack(Elem* y, u64 at, const Compute* v) {
    Pack<Elem, VEC> pack;
UNROLL for (int j = 0; j < VEC; j++) store(&pack.v[j], v[j]);
    *(Pack<Elem, VEC>*)(y + at) = pack;
}
DEVICE void read_tile(Compute (&v)[ITEMS], const Elem* x, u64 tile, u64 cols, Compute absent) {
UNROLL for (int k = 0; k < ITEMS; k += VEC) read_pack(v + k, x, place(tile, k), cols, absent);
}

// The larger of two; NaN is passed over: a sum that follows meets it again.
struct Larger { template <class T> static DEVICE T of(T a, T b) { return b > a ? b : a; } };

// The fold over the threads of a row, the same in all of them.
template <class Op> DEVICE Compute row_fold(Compute x) {
#if LANES == 32
    return warp_fold<Op>(x);
#else
    SHARED(Compute, scratch, [LANES / WARP]);
    return block_fold<Op>(x, scratch);
#endif
}

// Two sums over the threads of a row at once.
struct Two { Compute a, b; };
DEVICE Two row_fold(Two x) {
    x.a = warp_fold<Sum>(x.a);
    x.b = warp_fold<Sum>(x.b);
#if LANES > 32
    SHARED(Two, scratch, [LANES / WARP]);
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = x;
    __syncthreads();
    x = scratch[0];
    for (u32 i = 1; i < LANES / WARP; i++) x = Two{x.a + scratch[i].a, x.b + scratch[i].b};
    __syncthreads();
#endif
    return x;
}

// The sum over a row of f(x). `v` holds the row if it is WHOLE.
template <class F> DEVICE Compute row_sum(Compute (&v)[ITEMS], const Elem* x, u64 cols, F f) {
    Compute total = 0;
    for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
        if (!WHOLE) read_tile(v, x, tile, cols, 0);
        Compute sum = 0;
UNROLL for (int k = 0; k < ITEMS; k++)
            if (place(tile, k) < cols) sum += f(v[k]);
        total += sum;
    }
    return row_fold<Sum>(total);
}

// 1 / sqrt(squares / cols + eps), where `squares` is the sum of (x - mean)^2. Where that overflowed, it is taken again of
// what was divided by its largest magnitude; eps is then far below the last digit. As in src/cpu/rows.rs.
DEVICE Compute inverse_rms(Compute (&v)[ITEMS], const Elem* x, u64 cols, Compute mean, Compute squares, Compute eps) {
    const Compute n = (Compute)cols;
    if (squares == (Compute)INFINITY) {
        Compute largest = -INFINITY;
        for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
            if (!WHOLE) read_tile(v, x, tile, cols, 0);
UNROLL for (int k = 0; k < ITEMS; k++)
                if (place(tile, k) < cols) largest = Larger::of(largest, (Compute)fabs(v[k] - mean));
        }
        largest = row_fold<Larger>(largest);
        if (largest < (Compute)INFINITY) {
            const Compute scaled =
                row_sum(v, x, cols, [&](Compute x) { return (x - mean) / largest * ((x - mean) / largest); });
            return 1 / (largest * sqrt(scaled / n));
        }
    }
    return 1 / sqrt(squares / n + eps);
}
