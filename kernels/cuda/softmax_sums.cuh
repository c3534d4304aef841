// The maximum of a row and its sum of exponentials: what softmax and cross-entropy begin with.
#pragma once
#include "rows.cuh"

// Of some elements: their maximum, NaN passed over, and the sum of exp(x - max).
struct Exponentials { Compute max, sum; };

// What exponents are shifted by: no element is above it. With it a part of a row that is all negative infinity adds 0,
// and not NaN; a whole row of it becomes NaN when it is normalised.
DEVICE Compute shift_of(Compute max) { return max == (Compute)-INFINITY ? (Compute)0 : max; }

// `so_far` with N more elements, negative infinity where there is none.
template <int N> DEVICE Exponentials with_more(Exponentials so_far, const Compute (&v)[N]) {
    Compute max = so_far.max;
UNROLL for (int k = 0; k < N; k++) max = Larger::of(max, v[k]);
    const Compute shift = shift_of(max);
    Compute sum = so_far.sum * exp(so_far.max - shift);
UNROLL for (int k = 0; k < N; k++) sum += exp(v[k] - shift);
    return {max, sum};
}

DEVICE Exponentials merged(Exponentials x, Exponentials y) {
    const Compute max = Larger::of(x.max, y.max), shift = shift_of(max);
    return {max, x.sum * exp(x.max - shift) + y.sum * exp(y.max - shift)};
}

// Of a row. If it is WHOLE, `v` is left holding the row, or with KEEP its exponentials.
template <bool KEEP> DEVICE Exponentials exponentials(Compute (&v)[ITEMS], const Elem* x, u64 cols) {
    if (WHOLE) {
        read_tile(v, x, 0, cols, -INFINITY);
        // 1. The maximum.
        Compute max = -INFINITY;
UNROLL for (int k = 0; k < ITEMS; k++) max = Larger::of(max, v[k]);
        max = row_fold<Larger>(max);
        // 2. The exponentials and their sum.
        Compute sum = 0;
UNROLL for (int k = 0; k < ITEMS; k++) {
            const Compute e = exp(v[k] - max);
            if (KEEP) v[k] = e;
            sum += e;
        }
        return {max, row_fold<Sum>(sum)};
    }
    // 1. and 2. in one pass: each thread rescales its sum when it meets a larger element.
    Exponentials own = {-INFINITY, 0};
    for (u64 tile = 0; tile < cols; tile += TILE) {
        read_tile(v, x, tile, cols, -INFINITY);
        own = with_more(own, v);
    }
    const Compute max = row_fold<Larger>(own.max);
    return {max, row_fold<Sum>(own.sum * exp(own.max - shift_of(max)))};
}
