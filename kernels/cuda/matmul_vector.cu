// The product of matmul.cu where A has few rows or B few columns: what matters is to read the large operand, W, once.
//
// COUNT vectors x are multiplied with W: C[i, o] = sum over k of x[i, k] * W[o, k], or C[o, i] where W is A. With
// neighbours along k a warp sums ROWS places o, its lanes divide k; else each lane has LOAD places o and the warps of a
// block divide k. See src/matmul.rs.
//
// Definitions: COUNT is 1, 2, 4 or 8, no less than the vectors; W_IS_B and W_FAST_K are 0 or 1; LOAD is how many
// neighbours are read as one (the host has checked strides and alignment).
#include "matmul.cuh"

const int WARPS = THREADS / WARP;
const int ROWS = 2;
typedef Pack<Elem, LOAD> Loaded;

// LOAD neighbours of which `left` exist; what does not exist is 0.
DEVICE Loaded read(const Elem* at, i64 left) {
    if (left >= LOAD) return *(const Loaded*)at;
    Loaded x;
UNROLL for (int j = 0; j < LOAD; j++) x.v[j] = j < left ? at[j] : convert<Elem>((Compute)0);
    return x;
}

KERNEL(matmul_forward, const Elem* a, const Elem* b, Elem* c, Compute* workspace, MatmulEpilogue e, MatmulParams p,
       MatmulSplit s) {
    // 1. The places of this block, and both operands by their roles.
    const u32 OUTERS = W_FAST_K ? WARPS * ROWS : WARP * LOAD;
    const Place at = place_of(p, s, block_index(), W_IS_B ? COUNT : OUTERS, W_IS_B ? OUTERS : COUNT);
    if (at.item >= batch_of(p)) return;
    const BatchOffsets start = batch_offsets(p, at.item);
    const Elem* w = W_IS_B ? b + start.b : a + start.a;
    const Elem* x = W_IS_B ? a + start.a : b + start.b;
    const i64 w_outer = W_IS_B ? p.b_strides[1] : p.a_strides[0], w_k = W_IS_B ? p.b_strides[0] : p.a_strides[1];
    const i64 x_count = W_IS_B ? p.a_strides[0] : p.b_strides[1], x_k = W_IS_B ? p.a_strides[1] : p.b_strides[0];
    const i64 outers = W_IS_B ? p.n : p.m, count = W_IS_B ? p.m : p.n;
    const i64 first = W_IS_B ? at.col : at.row, k_end = at.k_end;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;

#if W_FAST_K
    // 2. Each lane sums its part of k. Places that do not exist repeat the last one and are not written.
    const i64 outer = first + warp * ROWS;
    Compute sums[ROWS][COUNT] = {};
    for (i64 k = (i64)at.k_first + lane * LOAD; k < k_end; k += WARP * LOAD) {
        Loaded row[ROWS];
UNROLL for (int r = 0; r < ROWS; r++) row[r] = read(w + min(outer + r, outers - 1) * w_outer + k * w_k, k_end - k);
UNROLL for (int i = 0; i < COUNT; i++) {
            const Loaded vector = read(x + min((i64)i, count - 1) * x_count + k * x_k, k_end - k);
UNROLL for (int r = 0; r < ROWS; r++)
UNROLL for (int j = 0; j < LOAD; j++)
                    sums[r][i] = times_plus(load(&row[r].v[j]), load(&vector.v[j]), sums[r][i]);
        }
    }

    // 3. The sum over lanes, scaled, accumulated, finished, rounded once.
UNROLL for (int r = 0; r < ROWS; r++)
UNROLL for (int i = 0; i < COUNT; i++) {
            const Compute sum = warp_fold<Sum>(sums[r][i]);
            if (lane != (r * COUNT + i) % WARP) continue;
            write_sums<1>(p, s, at, W_IS_B ? i : outer + r, W_IS_B ? outer + r : i, &sum, e, c, workspace);
        }
#else
    // 2. Each warp sums its part of k.
    const i64 outer = first + lane * LOAD;
    Compute sums[COUNT][LOAD] = {};
    for (i64 k = (i64)at.k_first + warp; k < k_end; k += WARPS) {
        const Loaded row = read(w + outer * w_outer + k * w_k, outers - outer);
UNROLL for (int i = 0; i < COUNT; i++) {
            const Compute factor = load(x + min((i64)i, count - 1) * x_count + k * x_k);
UNROLL for (int j = 0; j < LOAD; j++) sums[i][j] = times_plus(factor, load(&row.v[j]), sums[i][j]);
        }
    }

    // 3. The sum over warps in order, scaled, accumulated, finished, rounded once.
    SHARED(Compute, partial, [WARPS][WARP * LOAD]);
UNROLL for (int i = 0; i < COUNT; i++) {
UNROLL for (int j = 0; j < LOAD; j++) partial[warp][lane * LOAD + j] = sums[i][j];
        __syncthreads();
        for (int o = threadIdx.x; o < WARP * LOAD; o += THREADS) {
            Compute sum = 0;
UNROLL for (int part = 0; part < WARPS; part++) sum = times_plus((Compute)1, partial[part][o], sum);
            write_sums<1>(p, s, at, W_IS_B ? i : first + o, W_IS_B ? first + o : i, &sum, e, c, workspace);
        }
        __syncthreads();
    }
#endif
}
