// The product of matmul.cu on tensor cores, summed in f32, from architecture 8.0 on: of f16 and bf16 as they are, of f32
// rounded to tf32, 10 bits behind the point, where the caller allows it.
//
// A block computes a tile of TILE x TILE, each warp TILE / 2 rows by 32 columns of it, in steps of 64 bytes along k. Panels
// of A and B arrive in shared memory by asynchronous copies of 16 bytes, STAGES of them in turn. Either operand may have
// its neighbours along k or along m or n; the host has checked that its rows are aligned to 16 bytes. See src/matmul.rs.
//
// Definitions: TILE is 128 or 64; STAGES; A_FAST_K and B_FAST_K as in matmul.cu.
#if TILE == 128
#define THREADS 256
#define MIN_BLOCKS 2
#else
#define THREADS 128
#endif
#include "matmul.cuh"
#include "tensor_core.cuh"

const int STEP_K = 64 / sizeof(Elem);
const int CHUNK = 16 / sizeof(Elem);                         // elements of 16 bytes
const int MMA_K = 2 * CHUNK;                                 // places along k of one mma
const int PANEL = TILE * STEP_K / CHUNK;                     // chunks of one panel
const int COPIES = PANEL / THREADS;                          // of each thread, for each panel
const int WARP_COLS = 32, WARP_ROWS = TILE / 2;
const int MMA_ROWS = WARP_ROWS / 16, MMA_COLS = WARP_COLS / 8;
typedef Pack<Elem, CHUNK> Chunk;

// A panel of one operand: TILE places along m or n (`outer`) and STEP_K along k. Its rows run along whichever dim has its
// neighbours in memory.
template <bool FAST_K> struct Panel {
    static const int CHUNKS = (FAST_K ? STEP_K : TILE) / CHUNK;  // in a row
    static const int ROW_STEP = THREADS / CHUNKS;                // rows between a thread's copies
    const Elem *base, *from;
    i64 row_stride, step_stride, outer_left;
    int row, chunk;

    DEVICE Panel(const Elem* x, u64 outer_first, u64 outers, i64 outer_stride, u64 k_first, i64 k_stride) {
        row = threadIdx.x / CHUNKS;
        chunk = threadIdx.x % CHUNKS;
        row_stride = FAST_K ? outer_stride : k_stride;
        step_stride = STEP_K * k_stride;
        outer_left = (i64)outers - (i64)outer_first;
        base = x;
        from = x + (i64)outer_first * outer_stride + (i64)k_first * k_stride + row * row_stride + chunk * CHUNK;
    }

    // Where chunk `chunk` of row `row` lies. What one load of a fragment reads (eight chunks in as many rows, or eight
    // f32 in each of four rows), and the chunks that neighbouring threads write, all lie on different banks.
    static DEVICE int place(int row, int chunk) {
        return row * CHUNKS + (chunk ^ (FAST_K ? row / 2 % 4 : sizeof(Elem) == 2 ? row % 8 : row % 4 * 2));
    }

    // Starts the copies of the next STEP_K places, of which `k_left` exist; what does not exist is 0.
    DEVICE void fetch(Chunk* panel, i64 k_left) {
UNROLL for (int i = 0; i < COPIES; i++) {
            const i64 rows_left = (FAST_K ? outer_left : k_left) - row - i * ROW_STEP;
            const i64 left = (FAST_K ? k_left : outer_left) - chunk * CHUNK;
            const i64 valid = rows_left <= 0 || left <= 0 ? 0 : left < CHUNK ? left : CHUNK;
            const Elem* at = valid > 0 ? from + i * ROW_STEP * row_stride : base;
            cp_async_16(panel + place(row + i * ROW_STEP, chunk), at, (u32)(valid * sizeof(Elem)));
        }
        from += step_stride;
    }

    // Four matrices of 8 places along `outer` by one chunk along k: the second is the next along `outer` where K_LAST, else
    // along k. The lane gets of each what an mma wants of it.
    template <bool K_LAST> static DEVICE void fragments(u32 (&fragment)[4], const Chunk* panel, int outer, int k) {
        const int lane = threadIdx.x % WARP, matrix = lane / 8, r = lane % 8;
        const int outer_block = K_LAST ? matrix % 2 : matrix / 2, k_block = K_LAST ? matrix / 2 : matrix % 2;
        if (FAST_K) {
            ldmatrix_x4(fragment, panel + place(outer + outer_block * 8 + r, k / CHUNK + k_block));
        } else if (sizeof(Elem) == 2) {
            ldmatrix_x4_trans(fragment, panel + place(k + k_block * 8 + r, outer / CHUNK + outer_block));
        } else {
            // No load transposes elements of 32 bits.
UNROLL for (int i = 0; i < 4; i++) {
                const int o = outer + (K_LAST ? i % 2 : i / 2) * 8 + lane / 4, row = k + (K_LAST ? i / 2 : i % 2) * 4;
                fragment[i] = ((const u32*)(panel + place(row + lane % 4, o / CHUNK)))[o % CHUNK];
            }
        }
#ifdef ELEM_F32
UNROLL for (int i = 0; i < 4; i++) fragment[i] = to_tf32(float_of(fragment[i]));
#endif
    }
};

DEVICE void multiply(f32 (&sums)[4], const u32 (&x)[4], const u32 (&y)[2]) {
#ifdef ELEM_F32
    mma_m16n8k8_tf32(sums, x, y);
#else
    mma_m16n8k16<Elem>(sums, x, y);
#endif
}

// Of a row of four blocks of 8 columns, lane t of four holds columns 2t and 2t + 1 of each block; afterwards it holds all
// of block t. This transposes a matrix of 4 x 4 pairs in two exchanges.
DEVICE void gather_columns(f32 (&x)[4][2]) {
UNROLL for (int step = 1; step < 4; step *= 2) {
        const bool upper = threadIdx.x & step;
UNROLL for (int low = 0; low < 4; low++) {
            if (low & step) continue;
UNROLL for (int i = 0; i < 2; i++) {
                const f32 got = __shfl_xor_sync(FULL, upper ? x[low][i] : x[low + step][i], step);
                (upper ? x[low][i] : x[low + step][i]) = got;
            }
        }
    }
}

KERNEL(matmul_forward, const Elem* a, const Elem* b, Elem* c, Compute* workspace, MatmulEpilogue e, MatmulParams p,
       MatmulSplit s) {
    DYNAMIC_SHARED(Chunk, panels);  // [STAGES][2][PANEL]

    // 1. The tile of this block, and the part of each warp.
    const Place at = place_of(p, s, block_index(), TILE, TILE);
    if (at.item >= batch_of(p)) return;
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int warp_row = warp / (TILE / WARP_COLS) * WARP_ROWS, warp_col = warp % (TILE / WARP_COLS) * WARP_COLS;
    const BatchOffsets start = batch_offsets(p, at.item);
    typedef Panel<A_FAST_K> PanelA;
    typedef Panel<B_FAST_K> PanelB;
    PanelA a_next(a + start.a, at.row, p.m, p.a_strides[0], at.k_first, p.a_strides[1]);
    PanelB b_next(b + start.b, at.col, p.n, p.b_strides[1], at.k_first, p.b_strides[0]);
    f32 sums[MMA_ROWS][MMA_COLS][4] = {};

    // 2. All but one stage are on their way before the first is used. A group may be empty: counting stays simple.
    const i64 k_len = (i64)at.k_end - (i64)at.k_first;
    i64 k_left = k_len;
UNROLL for (int stage = 0; stage < STAGES - 1; stage++) {
        if (k_left > 0) {
            a_next.fetch(panels + stage * 2 * PANEL, k_left);
            b_next.fetch(panels + stage * 2 * PANEL + PANEL, k_left);
        }
        k_left -= STEP_K;
        cp_async_commit();
    }

    // 3. Sum over k. The barrier also says that all have done with the stage that is filled next.
    int now = 0, next = STAGES - 1;
    for (i64 done = 0; done < k_len; done += STEP_K) {
        cp_async_wait<STAGES - 2>();
        __syncthreads();
        if (k_left > 0) {
            a_next.fetch(panels + next * 2 * PANEL, k_left);
            b_next.fetch(panels + next * 2 * PANEL + PANEL, k_left);
        }
        k_left -= STEP_K;
        cp_async_commit();
        const Chunk *a_panel = panels + now * 2 * PANEL, *b_panel = a_panel + PANEL;
UNROLL for (int k = 0; k < STEP_K; k += MMA_K) {
            u32 x[MMA_ROWS][4], y[MMA_COLS / 2][4];
UNROLL for (int i = 0; i < MMA_ROWS; i++) PanelA::template fragments<true>(x[i], a_panel, warp_row + i * 16, k);
UNROLL for (int j = 0; j < MMA_COLS / 2; j++) PanelB::template fragments<false>(y[j], b_panel, warp_col + j * 16, k);
UNROLL for (int i = 0; i < MMA_ROWS; i++)
UNROLL for (int j = 0; j < MMA_COLS; j++) {
                    const u32 column[2] = {y[j / 2][j % 2 * 2], y[j / 2][j % 2 * 2 + 1]};
                    multiply(sums[i][j], x[i], column);
                }
        }
        now = now + 1 == STAGES ? 0 : now + 1;
        next = next + 1 == STAGES ? 0 : next + 1;
    }

    // 4. Scale, accumulate, finish and round once, eight neighbours at a time.
UNROLL for (int i = 0; i < MMA_ROWS; i++)
UNROLL for (int half = 0; half < 2; half++) {
            f32 x[MMA_COLS][2];
UNROLL for (int j = 0; j < MMA_COLS; j++) x[j][0] = sums[i][j][half * 2], x[j][1] = sums[i][j][half * 2 + 1];
            gather_columns(x);
            const u64 row = at.row + warp_row + i * 16 + half * 8 + lane / 4, col = at.col + warp_col + lane % 4 * 8;
            write_sums<8>(p, s, at, row, col, &x[0][0], e, c, workspace);
        }
}
