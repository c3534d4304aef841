// Moving elements: strided to contiguous, into a part of a larger tensor, added to it, from one dtype to another, and
// filling.
// Formulas and twins: src/copy.rs, src/cpu/copy.rs.
#include "prelude.cuh"

struct CopyParams {
    u64 len, rank, y_offset;
    u64 shape[MAX_RANK];
    i64 x_strides[MAX_RANK], y_strides[MAX_RANK];
};
struct FillParams {
    u64 len;
    f64 value;
    i64 integer;
};

struct Places { i64 x, y; };
DEVICE Places places(const CopyParams& p, u64 linear) {
    Places at = {0, (i64)p.y_offset};
    for (int dim = (int)p.rank - 1; dim >= 0; dim--) {
        u64 outer = dim > 0 ? linear / p.shape[dim] : 0;
        i64 i = (i64)(linear - outer * p.shape[dim]);
        at.x += i * p.x_strides[dim];
        at.y += i * p.y_strides[dim];
        linear = outer;
    }
    return at;
}

// y[places] = x[places], any strides.
KERNEL(copy, const Elem* x, Elem* y, CopyParams p) {
    for (u64 i = thread_index(); i < p.len; i += grid_threads()) {
        Places at = places(p, i);
        y[at.y] = x[at.x];
    }
}

// y[i] = x[i], sixteen bytes at a time; the host has checked alignment. The rest is copied singly.
KERNEL(copy_contiguous, const Elem* x, Elem* y, u64 len) {
    const int N = 16 / sizeof(Elem);
    u64 packs = len / N;
    for (u64 i = thread_index(); i < packs; i += grid_threads()) ((Pack<Elem, N>*)y)[i] = ((const Pack<Elem, N>*)x)[i];
    for (u64 i = packs * N + thread_index(); i < len; i += grid_threads()) y[i] = x[i];
}

// y[i] = x[places] converted to the dtype of y.
KERNEL(cast, const Elem* x, void* y, CopyParams p, u32 y_dtype) {
    for (u64 i = thread_index(); i < p.len; i += grid_threads()) {
        Places at = places(p, i);
        store_as(y, at.y, y_dtype, x[at.x]);
    }
}

// y[i] = value.
KERNEL(fill, Elem* y, FillParams p) {
    const Elem value = ELEM_IS_INT ? convert<Elem>(p.integer) : convert<Elem>(p.value);
    for (u64 i = thread_index(); i < p.len; i += grid_threads()) y[i] = value;
}

// y[places] += the sum of x[places + inside], where no two places of y are the same; `inside` are the dims along which y
// does not move, `n_inside` elements. Rounded once.
KERNEL(add_into, const Elem* x, Elem* y, CopyParams p, Dims inside, u64 n_inside) {
    for (u64 i = thread_index(); i < p.len; i += grid_threads()) {
        const Places at = places(p, i);
        Compute total = load(&y[at.y]);
        for (u64 k = 0; k < n_inside; k++) total = Sum::of(total, load(&x[at.x + offset_of(inside, k)]));
        store(&y[at.y], total);
    }
}

// The same with a block for each place of y, where much is added to each.
KERNEL(add_into_rows, const Elem* x, Elem* y, CopyParams p, Dims inside, u64 n_inside) {
    SHARED(Compute, scratch, [THREADS / WARP]);
    if (block_index() >= p.len) return;
    const Places at = places(p, block_index());
    Compute part = 0;
    for (u64 k = threadIdx.x; k < n_inside; k += THREADS) part = Sum::of(part, load(&x[at.x + offset_of(inside, k)]));
    part = block_fold<Sum>(part, scratch);
    if (threadIdx.x == 0) store(&y[at.y], Sum::of(load(&y[at.y]), part));
}
