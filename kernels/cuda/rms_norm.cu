// Root-mean-square normalisation of each row of x [rows, cols].
//   y = x rstd weight                     dx = rstd (g - xhat sum(g xhat) / cols),  g = dy weight
// Formulas and twins: src/rms_norm.rs, src/cpu/rms_norm.rs.
#include "rows.cuh"

struct RmsNormParams {
    u64 rows, cols;
    f64 eps;
    u64 has_weight, has_dweight;
};

// weight is null where there is none.
KERNEL(rms_norm_forward, const Elem* x, const Elem* weight, Elem* y, Compute* rstd_out, RmsNormParams p) {
    const u64 row = own_row(), cols = p.cols;
    if (row >= p.rows) return;
    x += row * cols;
    y += row * cols;
    Compute v[ITEMS];
    if (WHOLE) read_tile(v, x, 0, cols, 0);
    const Compute squares = row_sum(v, x, cols, [](Compute x) { return x * x; });
    const Compute rstd = inverse_rms(v, x, cols, 0, squares, (Compute)p.eps);
    for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
        if (!WHOLE) read_tile(v, x, tile, cols, 0);
UNROLL for (int k = 0; k < ITEMS; k += VEC) {
            const u64 at = place(tile, k);
            if (at >= cols) continue;
            Compute w[VEC];
            read_pack(w, weight, at, cols, 1);
UNROLL for (int j = 0; j < VEC; j++) w[j] = v[k + j] * rstd * w[j];
            write_pack(y, at, w);
        }
    }
    if (threadIdx.x % LANES == 0) rstd_out[row] = rstd;
}

// As layer_norm_backward: `partial` is [groups, cols] where dweight is wanted.
KERNEL(rms_norm_backward, const Elem* dy_start, const Elem* x_start, const Compute* rstd_in, const Elem* weight, Elem* dx,
       Compute* partial, RmsNormParams p, u64 groups) {
    const u64 group = own_row(), cols = p.cols;
    if (group >= groups) return;
    const Compute per_col = 1 / (Compute)cols;
    Compute* dweight_sums = partial + group * p.has_dweight * cols;
    Compute dy[ITEMS], xhat[ITEMS], w[ITEMS], dweight[ITEMS] = {};
    if (WHOLE) read_tile(w, weight, 0, cols, 1);
    for (u64 row = group; row < p.rows; row += groups) {
        const Elem *x_row = x_start + row * cols, *dy_row = dy_start + row * cols;
        const Compute rstd = rstd_in[row];
        Compute own = 0;
        for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
            read_tile(dy, dy_row, tile, cols, 0);
            read_tile(xhat, x_row, tile, cols, 0);
            if (!WHOLE) read_tile(w, weight, tile, cols, 1);
            Compute sum = 0;
UNROLL for (int k = 0; k < ITEMS; k++) {
                const u64 at = place(tile, k) + k % VEC;
                if (at >= cols) continue;
                // 1. Recompute the normalised row.
                xhat[k] *= rstd;
                // 2. The share of the weight.
                if (WHOLE) dweight[k] += dy[k] * xhat[k];
                else if (p.has_dweight) dweight_sums[at] = (row == group ? 0 : dweight_sums[at]) + dy[k] * xhat[k];
                sum += dy[k] * w[k] * xhat[k];
            }
            own += sum;
        }
        // 3. What of the normalised row's gradient only scales the row.
        const Compute scale = row_fold<Sum>(own) * per_col;
        // 4. The rest of it.
        for (u64 tile = 0; tile < end_of_tiles(cols); tile += TILE) {
            if (!WHOLE) {
                read_tile(dy, dy_row, tile, cols, 0);
                read_tile(xhat, x_row, tile, cols, 0);
                read_tile(w, weight, tile, cols, 1);
            }
UNROLL for (int k = 0; k < ITEMS; k++) {
                if (!WHOLE) xhat[k] *= rstd;
                dy[k] = rstd * (dy[k] * w[k] - xhat[k] * scale);
            }
UNROLL for (int k = 0; k < ITEMS; k += VEC)
                if (place(tile, k) < cols) write_pack(dx + row * cols, place(tile, k), dy + k);
        }
    }
UNROLL for (int k = 0; k < ITEMS; k++) {
        const u64 at = place(0, k) + k % VEC;
        if (WHOLE && at < cols && p.has_dweight) dweight_sums[at] = dweight[k];
    }
}
