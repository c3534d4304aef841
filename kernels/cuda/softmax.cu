// Softmax and log-softmax over one dim of a contiguous [outer, len, inner].
//   softmax  y = exp(x - max) / sum exp(x - max)        log_softmax  y = (x - max) - ln sum exp(x - max)
// Formulas and twins: src/softmax.rs, src/cpu/softmax.rs.
#include "softmax_sums.cuh"

struct SoftmaxParams {
    u64 outer, len, inner;
};

template <bool LOG> DEVICE void forward_row(const Elem* x, Elem* y, u64 len) {
    Compute v[ITEMS];
    // 1. and 2. The maximum, and the sum of exponentials.
    const Exponentials row = exponentials<!LOG>(v, x, len);
    const Compute norm = LOG ? log(row.sum) : 1 / row.sum;
    // 3. Normalise. Subtracting the maximum first keeps both differences small where x is large.
    for (u64 tile = 0; tile < end_of_tiles(len); tile += TILE) {
        if (!WHOLE) read_tile(v, x, tile, len, -INFINITY);
UNROLL for (int k = 0; k < ITEMS; k++)
            v[k] = LOG ? v[k] - row.max - norm : WHOLE ? v[k] * norm : exp(v[k] - row.max) * norm;
UNROLL for (int k = 0; k < ITEMS; k += VEC)
            if (place(tile, k) < len) write_pack(y, place(tile, k), v + k);
    }
}

// dx from y, dy and the row's total.
template <bool LOG> DEVICE Compute gradient(Compute y, Compute dy, Compute total) {
    return LOG ? dy - exp(y) * total : y * (dy - total);
}

template <bool LOG> DEVICE void backward_row(const Elem* y, const Elem* dy, Elem* dx, u64 len) {
    Compute v[ITEMS], dv[ITEMS];
    Compute total = 0;
    for (u64 tile = 0; tile < end_of_tiles(len); tile += TILE) {
        read_tile(v, y, tile, len, 0);
        read_tile(dv, dy, tile, len, 0);
        Compute sum = 0;
UNROLL for (int k = 0; k < ITEMS; k++) sum += LOG ? dv[k] : v[k] * dv[k];
        total += sum;
    }
    total = row_fold<Sum>(total);
    for (u64 tile = 0; tile < end_of_tiles(len); tile += TILE) {
        if (!WHOLE) {
            read_tile(v, y, tile, len, 0);
            read_tile(dv, dy, tile, len, 0);
        }
UNROLL for (int k = 0; k < ITEMS; k++) v[k] = gradient<LOG>(v[k], dv[k], total);
UNROLL for (int k = 0; k < ITEMS; k += VEC)
            if (place(tile, k) < len) write_pack(dx, place(tile, k), v + k);
    }
}

KERNEL(softmax_forward, const Elem* x, Elem* y, SoftmaxParams p) {
    const u64 at = own_row() * p.len;
    if (own_row() < p.outer) forward_row<false>(x + at, y + at, p.len);
}
KERNEL(log_softmax_forward, const Elem* x, Elem* y, SoftmaxParams p) {
    const u64 at = own_row() * p.len;
    if (own_row() < p.outer) forward_row<true>(x + at, y + at, p.len);
}
KERNEL(softmax_backward, const Elem* y, const Elem* dy, Elem* dx, SoftmaxParams p) {
    const u64 at = own_row() * p.len;
    if (own_row() < p.outer) backward_row<false>(y + at, dy + at, dx + at, p.len);
}
KERNEL(log_softmax_backward, const Elem* y, const Elem* dy, Elem* dx, SoftmaxParams p) {
    const u64 at = own_row() * p.len;
    if (own_row() < p.outer) backward_row<true>(y + at, dy + at, dx + at, p.len);
}

// Over a dim that is not the last, a block takes `width` (a power of two) neighbouring columns, and its threads are
// `depth` groups that take every depth-th row of them.
const int GROUP = 4;
struct Columns {
    u64 start, first;  // of this thread: the column's first element, and the row of the column that it begins with
    u32 width, depth;
    bool inside;
};
DEVICE Columns own_columns(const SoftmaxParams& p, u32 width) {
    const u64 tiles = (p.inner + width - 1) / width, o = block_index() / tiles;
    const u64 i = block_index() % tiles * width + threadIdx.x % width;
    return {o * p.len * p.inner + i, threadIdx.x / width, width, blockDim.x / width, o < p.outer && i < p.inner};
}
// GROUP elements of the column, a depth apart.
DEVICE void read_column(Compute (&v)[GROUP], const Elem* x, const Columns& c, u64 row, const SoftmaxParams& p,
                        Compute absent) {
UNROLL for (int k = 0; k < GROUP; k++) {
        const u64 l = row + k * c.depth;
        v[k] = c.inside && l < p.len ? load(x + c.start + l * p.inner) : absent;
    }
}

template <bool LOG> DEVICE void forward_columns(const Elem* x, Elem* y, const SoftmaxParams& p, u32 width) {
    const Columns c = own_columns(p, width);
    const u64 step = c.depth * GROUP;
    Compute v[GROUP];
    // 1. and 2. The maximum and the sum of exponentials of each column.
    Exponentials own = {-INFINITY, 0};
    for (u64 row = c.first; row < p.len; row += step) {
        read_column(v, x, c, row, p, -INFINITY);
        own = with_more(own, v);
    }
    SHARED(Exponentials, all, [THREADS]);
    all[threadIdx.x] = own;
    __syncthreads();
    for (u32 half = blockDim.x / 2; half >= width; half /= 2) {
        if (threadIdx.x < half) all[threadIdx.x] = merged(all[threadIdx.x], all[threadIdx.x + half]);
        __syncthreads();
    }
    own = all[threadIdx.x % width];
    const Compute norm = LOG ? log(own.sum) : 1 / own.sum;
    // 3. Normalise.
    for (u64 l = c.first; c.inside && l < p.len; l += c.depth) {
        const u64 at = c.start + l * p.inner;
        const Compute shifted = load(x + at) - own.max;
        store(y + at, LOG ? shifted - norm : exp(shifted) * norm);
    }
}

template <bool LOG>
DEVICE void backward_columns(const Elem* y, const Elem* dy, Elem* dx, const SoftmaxParams& p, u32 width) {
    const Columns c = own_columns(p, width);
    const u64 step = c.depth * GROUP;
    Compute v[GROUP], dv[GROUP];
    Compute own = 0;
    for (u64 row = c.first; row < p.len; row += step) {
        read_column(v, y, c, row, p, 0);
        read_column(dv, dy, c, row, p, 0);
        Compute sum = 0;
UNROLL for (int k = 0; k < GROUP; k++) sum += LOG ? dv[k] : v[k] * dv[k];
        own += sum;
    }
    SHARED(Compute, all, [THREADS]);
    all[threadIdx.x] = own;
    __syncthreads();
    for (u32 half = blockDim.x / 2; half >= width; half /= 2) {
        if (threadIdx.x < half) all[threadIdx.x] += all[threadIdx.x + half];
        __syncthreads();
    }
    const Compute total = all[threadIdx.x % width];
    for (u64 l = c.first; c.inside && l < p.len; l += c.depth) {
        const u64 at = c.start + l * p.inner;
        store(dx + at, gradient<LOG>(load(y + at), load(dy + at), total));
    }
}

KERNEL(softmax_forward_columns, const Elem* x, Elem* y, SoftmaxParams p, u32 width) {
    forward_columns<false>(x, y, p, width);
}
KERNEL(log_softmax_forward_columns, const Elem* x, Elem* y, SoftmaxParams p, u32 width) {
    forward_columns<true>(x, y, p, width);
}
KERNEL(softmax_backward_columns, const Elem* y, const Elem* dy, Elem* dx, SoftmaxParams p, u32 width) {
    backward_columns<false>(y, dy, dx, p, width);
}
KERNEL(log_softmax_backward_columns, const Elem* y, const Elem* dy, Elem* dx, SoftmaxParams p, u32 width) {
    backward_columns<true>(y, dy, dx, p, width);
}
