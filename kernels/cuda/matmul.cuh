// What the matrix products share: the parameters, which tile a block computes, and what is done with its sums.
#pragma once
#include "prelude.cuh"

const int MAX_BATCH_DIMS = 6;
struct MatmulParams {
    u64 m, n, k, has_bias, then, allows_tf32;
    u64 batch_sizes[MAX_BATCH_DIMS];
    i64 a_batch_strides[MAX_BATCH_DIMS], b_batch_strides[MAX_BATCH_DIMS];
    i64 a_strides[2];  // along m and k
    i64 b_strides[2];  // along k and n
    i64 bias_stride;
    f64 alpha, beta;
};

// How k is divided among blocks: with more than one split, sums go to a workspace [splits, batch, m, n] of Compute.
struct MatmulSplit {
    u64 splits, k_per_split;
};

// What goes into C beside the sums, and what is written beside C; addresses are 0 where there is nothing. The residual and
// the pre-activation lie as C does.
struct MatmulEpilogue {
    const Elem *bias, *residual;
    Elem* pre;
};

#ifdef ACTIVATION
// The activation of this unit: the expression of its row of src/elementwise/table.rs.
struct Activation {
    static DEVICE Compute c(f64 value) { return (Compute)value; }
    static DEVICE Compute of(Compute x) { return (Compute)(ACTIVATION); }
};
#endif

// Neighbours that are read and written as one: 16 bytes of Compute.
const int V = sizeof(Compute) == 8 ? 2 : 4;

// a * b + sum; integers wrap.
DEVICE f32 times_plus(f32 a, f32 b, f32 sum) { return a * b + sum; }
DEVICE f64 times_plus(f64 a, f64 b, f64 sum) { return a * b + sum; }
DEVICE i64 times_plus(i64 a, i64 b, i64 sum) { return (i64)((u64)a * (u64)b + (u64)sum); }

// The same value, of which the compiler does not know so: what follows from it is computed again rather than kept.
DEVICE u64 opaque(u64 x) {
#ifndef CHAINRULE_EMU
    asm volatile("" : "+l"(x));
#endif
    return x;
}

DEVICE u64 batch_of(const MatmulParams& p) {
    u64 batch = 1;
    for (int dim = 0; dim < MAX_BATCH_DIMS; dim++) batch *= p.batch_sizes[dim];
    return batch;
}

// Where product `item` of the batch starts in A and B.
struct BatchOffsets {
    i64 a, b;
};
DEVICE BatchOffsets batch_offsets(const MatmulParams& p, u64 item) {
    BatchOffsets at = {0, 0};
    for (int dim = MAX_BATCH_DIMS - 1; dim >= 0; dim--) {
        if (p.batch_sizes[dim] == 1) continue;
        const i64 i = (i64)(item % p.batch_sizes[dim]);
        item /= p.batch_sizes[dim];
        at.a += i * p.a_batch_strides[dim];
        at.b += i * p.b_batch_strides[dim];
    }
    return at;
}

// What a block computes: rows from `row` and columns from `col` of product `item`, summed over k from k_first to k_end.
struct Place {
    u64 item, split, row, col, k_first, k_end;
};

// Blocks that run at the same time share rows of A and columns of B: tiles go down 8 rows before the next column.
DEVICE Place place_of(const MatmulParams& p, const MatmulSplit& s, u64 block, u32 tile_m, u32 tile_n) {
    const u64 GROUP = 8;
    const u64 rows = (p.m + tile_m - 1) / tile_m, cols = (p.n + tile_n - 1) / tile_n;
    const u64 part = block / (rows * cols), tile = block - part * (rows * cols);
    const u64 group = tile / (GROUP * cols), within = tile - group * (GROUP * cols);
    const u64 height = min(GROUP, rows - group * GROUP);
    Place at;
    at.item = part / s.splits;
    at.split = part - at.item * s.splits;
    at.col = within / height * tile_n;
    at.row = (group * GROUP + within % height) * tile_m;
    at.k_first = at.split * s.k_per_split;
    at.k_end = min(p.k, at.k_first + s.k_per_split);
    return at;
}

// alpha * sum + beta * c + bias; where beta is 0, c is not read.
DEVICE Compute scaled(const MatmulParams& p, Compute sum, const Elem* c, const Elem* bias, u64 col) {
    const Compute beta = convert<Compute>(p.beta);
    Compute value = times_plus(convert<Compute>(p.alpha), sum, (Compute)0);
    if (beta != 0) value = times_plus(beta, load(c), value);
    return p.has_bias ? times_plus((Compute)1, load(bias + (i64)col * p.bias_stride), value) : value;
}

// Writes N neighbours as one where that is said to be possible, else singly those of which there are `left`.
template <class T, int N> DEVICE void write(T* to, const Pack<T, N>& pack, bool as_one, u64 left) {
    if (as_one) {
        *(Pack<T, N>*)to = pack;
    } else {
UNROLL for (int i = 0; i < N; i++)
            if (i < left) to[i] = pack.v[i];
    }
}

// Takes N neighbouring sums to C at element `to`, which is in column `col`. Definitions: RESIDUAL where one is added, and
// ACTIVATION where C is a function of what was rounded to Elem, so that its bits do not depend on being fused.
// C and the pre-activation start aligned, so where n is a multiple of N, so is every place that is written.
template <int N>
DEVICE void finish(const MatmulParams& p, const MatmulEpilogue& e, const Compute* sums, u64 to, u64 col, Elem* c) {
    bool as_one = p.n % N == 0;
#ifdef RESIDUAL
    as_one = as_one && (u64)e.residual % sizeof(Pack<Elem, N>) == 0;
    Pack<Elem, N> residual;
    if (as_one) residual = *(const Pack<Elem, N>*)(e.residual + to);
#endif
    Pack<Elem, N> y, pre;
UNROLL for (int i = 0; i < N; i++) {
        if (!as_one && col + i >= p.n) break;
        Compute value = scaled(p, sums[i], c + to + i, e.bias, col + i);
#ifdef RESIDUAL
        value = times_plus((Compute)1, as_one ? load(&residual.v[i]) : load(e.residual + to + i), value);
#endif
#ifdef ACTIVATION
        store(&pre.v[i], value);
        value = Activation::of(load(&pre.v[i]));
#endif
        store(&y.v[i], value);
    }
#ifdef ACTIVATION
    if (e.pre) write(e.pre + to, pre, as_one, p.n - col);
#endif
    write(c + to, y, as_one, p.n - col);
}

// Takes N neighbouring sums of row `row` from column `col` on, a multiple of N, to C or to the workspace.
template <int N>
DEVICE void write_sums(const MatmulParams& p, const MatmulSplit& s, const Place& at, u64 row, u64 col,
                       const Compute* sums, const MatmulEpilogue& e, Elem* c, Compute* workspace) {
    if (row >= p.m || col >= p.n) return;
    if (s.splits == 1) return finish<N>(p, e, sums, (at.item * p.m + row) * p.n + col, col, c);
    Pack<Compute, N> pack;
UNROLL for (int i = 0; i < N; i++) pack.v[i] = sums[i];
    write(workspace + ((at.split * batch_of(p) + at.item) * p.m + row) * p.n + col, pack, p.n % N == 0, p.n - col);
}
