// C[.., m, n] = alpha * sum over k of A[.., m, k] * B[.., k, n] + beta * C[.., m, n] + bias[n], and of that the GELU or
// the sum with a residual where the host defines so (matmul.cuh), on ordinary cores.
//
// A and B have any strides, C is row-major. Formulas and twins: src/matmul.rs, src/cpu/matmul.rs. A block computes a
// tile of TILE x TILE; its threads keep parts of LANE_TILE x LANE_TILE in registers. Panels of A and B lie in shared
// memory with k outermost, twice, so that the next ones arrive while the present ones are multiplied.
//
// Definitions: TILE is 128, 64 or 32. A_FAST_K and B_FAST_K are 1 where neighbours along k lie closest, else 0. VECTOR
// is 1 where both operands can be read V elements at a time (the host has checked strides and alignment).
#if TILE == 128
#define THREADS 256
#if VECTOR
#define MIN_BLOCKS 2
#endif
#define LANE_TILE 8
#define STEP_K 8
#elif TILE == 64
#define THREADS 256
#define LANE_TILE 4
#define STEP_K 16
#else
#define THREADS 64
#define LANE_TILE 4
#define STEP_K 16
#endif
#include "matmul.cuh"

typedef Pack<Compute, V> Group;

// One more group than there are elements keeps transposed stores on different banks.
const int ROW_GROUPS = TILE / V + 1;
const int LANES = TILE / LANE_TILE;    // threads along each side of the tile
const int GROUPS = LANE_TILE / V;      // groups that a thread has along each side
const int LOAD = VECTOR ? V : 1;       // elements of one load
const int LOADS = TILE * STEP_K / LOAD / THREADS;

// A panel of one operand on its way from global to shared memory: TILE places along m or n (`outer`), STEP_K along k.
template <bool FAST_K> struct Panel {
    static const int FAST = (FAST_K ? STEP_K : TILE) / LOAD;  // loads along the dim whose neighbours lie closest
    static const int SLOW_STEP = THREADS / FAST;              // places along the other dim between a thread's loads
    const Elem* from;
    i64 load_stride, step_stride;
    int outer, k, outer_left;
    Pack<Elem, LOAD> held[LOADS];

    DEVICE Panel(const Elem* x, u64 outer_first, u64 outers, i64 outer_stride, u64 k_first, i64 k_stride) {
        const int fast = threadIdx.x % FAST * LOAD, slow = threadIdx.x / FAST;
        outer = FAST_K ? slow : fast;
        k = FAST_K ? fast : slow;
        from = x + (i64)(outer_first + outer) * outer_stride + (i64)(k_first + k) * k_stride;
        load_stride = SLOW_STEP * (FAST_K ? outer_stride : k_stride);
        step_stride = FAST_K && VECTOR ? STEP_K : STEP_K * k_stride;
        outer_left = (int)min(outers - outer_first, (u64)TILE);
    }

    // Reads the panel of the next STEP_K places, of which `k_left` exist; what does not exist is 0.
    DEVICE void fetch(int k_left) {
UNROLL for (int i = 0; i < LOADS; i++) {
            const int fast_left = FAST_K ? k_left - k : outer_left - outer;
            const int slow_left = FAST_K ? outer_left - outer - i * SLOW_STEP : k_left - k - i * SLOW_STEP;
            const Elem* at = from + i * load_stride;
            if (slow_left > 0 && fast_left >= LOAD) {
                held[i] = *(const Pack<Elem, LOAD>*)at;
            } else {
UNROLL for (int j = 0; j < LOAD; j++)
                    held[i].v[j] = slow_left > 0 && j < fast_left ? at[j] : convert<Elem>((Compute)0);
            }
        }
        from += step_stride;
    }

    DEVICE void put(Group (*panel)[ROW_GROUPS]) {
UNROLL for (int i = 0; i < LOADS; i++) {
            const int o = FAST_K ? outer + i * SLOW_STEP : outer, at_k = FAST_K ? k : k + i * SLOW_STEP;
            if (FAST_K || LOAD == 1) {
UNROLL for (int j = 0; j < LOAD; j++) ((Compute*)panel[at_k + j])[o] = load(&held[i].v[j]);
            } else {
                Group group;
UNROLL for (int j = 0; j < LOAD; j++) group.v[j] = load(&held[i].v[j]);
                panel[at_k][o / V] = group;
            }
        }
    }
};

KERNEL(matmul_forward, const Elem* a, const Elem* b, Elem* c, Compute* workspace, MatmulEpilogue e, MatmulParams p,
       MatmulSplit s) {
    SHARED(Group, a_panel, [2][STEP_K][ROW_GROUPS]);
    SHARED(Group, b_panel, [2][STEP_K][ROW_GROUPS]);

    // 1. The tile of this block, and the part of each thread: a warp covers 4 x 8 threads of it.
    const Place at = place_of(p, s, block_index(), TILE, TILE);
    if (at.item >= batch_of(p)) return;
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const u32 lane_row = warp / (LANES / 8) * 4 + lane / 8, lane_col = warp % (LANES / 8) * 8 + lane % 8;
    const BatchOffsets start = batch_offsets(p, at.item);
    Panel<A_FAST_K> a_next(a + start.a, at.row, p.m, p.a_strides[0], at.k_first, p.a_strides[1]);
    Panel<B_FAST_K> b_next(b + start.b, at.col, p.n, p.b_strides[1], at.k_first, p.b_strides[0]);
    Compute sums[LANE_TILE][LANE_TILE] = {};

    // 2. Sum over k: fetch the next panels, multiply the present ones, put the next in the other half.
    i64 k_left = (i64)at.k_end - (i64)at.k_first;
    if (k_left > 0) {
        a_next.fetch((int)min(k_left, (i64)STEP_K));
        b_next.fetch((int)min(k_left, (i64)STEP_K));
        a_next.put(a_panel[0]);
        b_next.put(b_panel[0]);
    }
    __syncthreads();
    for (int now = 0; k_left > 0; now ^= 1) {
        k_left -= STEP_K;
        if (k_left > 0) {
            a_next.fetch((int)min(k_left, (i64)STEP_K));
            b_next.fetch((int)min(k_left, (i64)STEP_K));
        }
UNROLL for (int k = 0; k < STEP_K; k++) {
            Group x[GROUPS], y[GROUPS];
UNROLL for (int g = 0; g < GROUPS; g++) x[g] = a_panel[now][k][g * LANES + lane_row];
UNROLL for (int g = 0; g < GROUPS; g++) y[g] = b_panel[now][k][g * LANES + lane_col];
UNROLL for (int i = 0; i < LANE_TILE; i++)
UNROLL for (int j = 0; j < LANE_TILE; j++)
                    sums[i][j] = times_plus(x[i / V].v[i % V], y[j / V].v[j % V], sums[i][j]);
        }
        if (k_left > 0) {
            a_next.put(a_panel[now ^ 1]);
            b_next.put(b_panel[now ^ 1]);
        }
        __syncthreads();
    }

    // 3. Scale, accumulate, finish and round once. The place is computed anew: the sum needs all registers.
    const Place to = place_of(p, s, opaque(block_index()), TILE, TILE);
UNROLL for (int i = 0; i < LANE_TILE; i++) {
        const u64 row = to.row + (i / V * LANES + lane_row) * V + i % V;
UNROLL for (int g = 0; g < GROUPS; g++) {
            const u64 col = to.col + (g * LANES + lane_col) * V;
            write_sums<V>(p, s, to, row, col, &sums[i][g * V], e, c, workspace);
        }
    }
}
