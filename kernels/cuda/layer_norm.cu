// Layer normalisation of each row of x [rows, cols].
//   y = (x - mean) rstd weight + bias     dx = rstd (g - sum(g) / cols - xhat sum(g xhat) / cols),  g = dy weight
// Formulas and twins: src/layer_norm.rs, src/cpu/layer_norm.rs.
#include "rows.cuh"

struct LayerNormParams {
    u64 rows, cols;
    f64 eps;
    u64 has_weight, has_bias, has_dweight, has_dbias;
};

// weight and bias are null where there is none.
KERNEL(layer_norm_forward, const Elem* x, const Elem* weight, const Elem* bias, Elem* y, Compute* mean_out,
       Compute* rstd_out, LayerNormParams p) {
    const u64 row = own_row(), cols = p.cols;
    if (row >= p.rows) return;
    x += row * cols;
    y += row * cols;
    const Compute n = (Compute)cols;
    Compute v[ITEMS];
    if (WHOLE) read_tile(v, x, 0, cols, 0);
    // 1. The mean.
    const Compute mean = row_sum(v, x, cols, [](Compute x) { return x; }) / n;
    // 2. The variance, and the correction of the mean by what is left after it is subtracted.
    Two own = {0, 0};
    for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
        if (!WHOLE) read_tile(v, x, tile, cols, 0);
        Two sum = {0, 0};
UNROLL for (int k = 0; k < ITEMS; k++)
            if (place(tile, k) < cols) sum = {sum.a + (v[k] - mean), sum.b + (v[k] - mean) * (v[k] - mean)};
        own = {own.a + sum.a, own.b + sum.b};
    }
    own = row_fold(own);
    const Compute rest = own.a / n;
    // Where the squares overflowed, so may the square of the rest.
    const Compute squares = own.b == (Compute)INFINITY ? own.b : own.b - n * rest * rest;
    const Compute rstd = inverse_rms(v, x, cols, mean, squares, (Compute)p.eps);
    // 3. Normalise.
    for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
        if (!WHOLE) read_tile(v, x, tile, cols, 0);
UNROLL for (int k = 0; k < ITEMS; k += VEC) {
            const u64 at = place(tile, k);
            if (at >= cols) continue;
            Compute w[VEC], b[VEC];
            read_pack(w, weight, at, cols, 1);
            read_pack(b, bias, at, cols, 0);
UNROLL for (int j = 0; j < VEC; j++) w[j] = ((v[k + j] - mean) - rest) * rstd * w[j] + b[j];
            write_pack(y, at, w);
        }
    }
    if (threadIdx.x % LANES == 0) {
        mean_out[row] = mean + rest;
        rstd_out[row] = rstd;
    }
}

// LANES threads take every groups-th row. Each adds up the shares of weight and bias of its own columns, in registers if
// a row is WHOLE, else in `partial` [groups, dweight and dbias as wanted, cols], whose rows column_sums.cu adds up.
KERNEL(layer_norm_backward, const Elem* dy_start, const Elem* x_start, const Compute* mean_in, const Compute* rstd_in,
       const Elem* weight, Elem* dx, Compute* partial, LayerNormParams p, u64 groups) {
    const u64 group = own_row(), cols = p.cols;
    if (group >= groups) return;
    const Compute per_col = 1 / (Compute)cols;
    Compute* dweight_sums = partial + group * (p.has_dweight + p.has_dbias) * cols;
    Compute* dbias_sums = dweight_sums + p.has_dweight * cols;
    Compute dy[ITEMS], xhat[ITEMS], w[ITEMS], dweight[ITEMS] = {}, dbias[ITEMS] = {};
    if (WHOLE) read_tile(w, weight, 0, cols, 1);
    for (u64 row = group; row < p.rows; row += groups) {
        const Elem *x_row = x_start + row * cols, *dy_row = dy_start + row * cols;
        const Compute mean = mean_in[row], rstd = rstd_in[row];
        Two own = {0, 0};
        for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
            read_tile(dy, dy_row, tile, cols, 0);
            read_tile(xhat, x_row, tile, cols, 0);
            if (!WHOLE) read_tile(w, weight, tile, cols, 1);
            Two sum = {0, 0};
UNROLL for (int k = 0; k < ITEMS; k++) {
                const u64 at = place(tile, k) + k % VEC;
                if (at >= cols) continue;
                // 1. Recompute the normalised row.
                xhat[k] = (xhat[k] - mean) * rstd;
                // 2. The shares of weight and bias.
                if (WHOLE) {
                    dweight[k] += dy[k] * xhat[k];
                    dbias[k] += dy[k];
                } else {
                    const bool first = row == group;
                    if (p.has_dweight) dweight_sums[at] = (first ? 0 : dweight_sums[at]) + dy[k] * xhat[k];
                    if (p.has_dbias) dbias_sums[at] = (first ? 0 : dbias_sums[at]) + dy[k];
                }
                sum = {sum.a + dy[k] * w[k], sum.b + dy[k] * w[k] * xhat[k]};
            }
            own = {own.a + sum.a, own.b + sum.b};
        }
        // 3. What of the normalised row's gradient only shifts or scales the row.
        own = row_fold(own);
        const Compute shift = own.a * per_col, scale = own.b * per_col;
        // 4. The rest of it.
        for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
            if (!WHOLE) {
                read_tile(dy, dy_row, tile, cols, 0);
                read_tile(xhat, x_row, tile, cols, 0);
                read_tile(w, weight, tile, cols, 1);
            }
UNROLL for (int k = 0; k < ITEMS; k++) {
                if (!WHOLE) xhat[k] = (xhat[k] - mean) * rstd;
                dy[k] = rstd * (dy[k] * w[k] - shift - xhat[k] * scale);
            }
UNROLL for (int k = 0; k < ITEMS; k += VEC)
                if (place(tile, k) < cols) write_pack(dx + row * cols, place(tile, k), dy + k);
        }
    }
UNROLL for (int k = 0; k < ITEMS; k++) {
        const u64 at = place(0, k) + k % VEC;
        if (WHOLE && at < cols && p.has_dweight) dweight_sums[at] = dweight[k];
        if (WHOLE && at < cols && p.has_dbias) dbias_sums[at] = dbias[k];
    }
}
