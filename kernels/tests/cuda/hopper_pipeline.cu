// c[M, N] = a[M, K] * b as the Hopper kernels do it, in small: a producer warp that copies tiles into a ring, a warpgroup
// that multiplies them, and stores of whole boxes. b is [N, K] or, with B_IS_MN_MAJOR, [K, N].
// With MISTAKE it has one of those below: tests name the mistake and what must be seen of it (src/cuda/tests/hopper.rs).
#include "wgmma.cuh"

enum Mistake : int {
    NONE,
    NO_FULL_WAIT, NO_EMPTY_WAIT, FEWER_BYTES, MORE_BYTES, OTHER_PARITY, ENDLESS_TRY,
    SWAPPED_OFFSETS, OTHER_SWIZZLE, NO_WGMMA_WAIT, NO_WGMMA_FENCE, ONE_WARP_LESS,
    NO_STORE_WAIT, NO_INIT, TWO_INITS, ODD_REGISTERS, HALF_A_WARPGROUP, TOO_MANY_ARRIVALS, OUTSIDE_SHARED,
};

const int ROWS = 64, COLS = 128, DEPTH = 64, STAGES = 3;
// A row of a tile of a and b is one row of the swizzle's pattern: 128 bytes. A box of c has 32 columns for the same reason.
const int A_ELEMS = ROWS * DEPTH, B_ELEMS = COLS * DEPTH, STAGE_ELEMS = A_ELEMS + B_ELEMS;
const u32 STAGE_BYTES = STAGE_ELEMS * sizeof(Elem), PATTERN_BYTES = 8 * 128;
const int BOX_COLS = 32;

struct Ring {
    u64 full[STAGES], empty[STAGES];
};

DEVICE void produce(Elem* tiles, Ring& ring, const TensorMap& a, const TensorMap& b, i32 row, i32 col, u32 steps) {
    for (u32 step = 0; step < steps; step++) {
        const u32 stage = step % STAGES, round = step / STAGES;
        Elem *a_tile = tiles + stage * STAGE_ELEMS, *b_tile = a_tile + A_ELEMS;
        if (MISTAKE != NO_EMPTY_WAIT) mbarrier_wait(&ring.empty[stage], (round + 1) % 2);
        const u32 wrong = MISTAKE == FEWER_BYTES ? -16 : MISTAKE == MORE_BYTES ? 16 : 0;
        mbarrier_arrive_expect(&ring.full[stage], STAGE_BYTES + wrong);
        if (MISTAKE == TOO_MANY_ARRIVALS) mbarrier_arrive(&ring.full[stage]);
        tma_load_2d(a_tile, &a, step * DEPTH, row, &ring.full[stage]);
        if (B_IS_MN_MAJOR) {
            for (int part = 0; part < COLS / 64; part++)
                tma_load_2d(b_tile + part * 64 * DEPTH, &b, col + part * 64, step * DEPTH, &ring.full[stage]);
        } else {
            tma_load_2d(b_tile, &b, step * DEPTH, col, &ring.full[stage]);
        }
    }
}

// d += a's tile * b's tile.
DEVICE void multiply(f32 (&d)[COLS / 2], const Elem* a_tile, const Elem* b_tile, bool adds) {
    const Swizzle swizzle = MISTAKE == OTHER_SWIZZLE ? SWIZZLE_64 : SWIZZLE_128;
    // 64 columns on lies a box further, 8 along k one pattern.
    const u32 box_bytes = 64 * DEPTH * sizeof(Elem) + (MISTAKE == OUTSIDE_SHARED ? 1 << 16 : 0);
    const u64 a = matrix_descriptor(a_tile, 0, PATTERN_BYTES, swizzle);
    u64 b = matrix_descriptor(b_tile, box_bytes, PATTERN_BYTES, swizzle);
    if (MISTAKE == SWAPPED_OFFSETS) b = matrix_descriptor(b_tile, PATTERN_BYTES, B_IS_MN_MAJOR ? box_bytes : 0, swizzle);
    if (MISTAKE != NO_WGMMA_FENCE) wgmma_fence(d);
UNROLL for (int k = 0; k < DEPTH / 16; k++) {
        const u64 a_k = advance(a, k * 32), b_k = advance(b, B_IS_MN_MAJOR ? k * 2 * PATTERN_BYTES : k * 32);
        wgmma<Elem, COLS, K_MAJOR, B_IS_MN_MAJOR ? MN_MAJOR : K_MAJOR>(d, a_k, b_k, adds || k > 0);
    }
    wgmma_commit();
}

// The tile of c in shared memory, as boxes that the copy engine takes, and from there to c.
DEVICE void give_out(const f32 (&d)[COLS / 2], f32* boxes, const TensorMap& c, i32 row, i32 col) {
    const u32 thread = threadIdx.x % 128, lane = thread % WARP, warp = thread / WARP;
UNROLL for (int i = 0; i < COLS / 2; i++) {
        const u32 at_row = warp * 16 + lane / 4 + i / 2 % 2 * 8, at_col = i / 4 * 8 + lane % 4 * 2 + i % 2;
        const u32 in_box = at_col % BOX_COLS, piece = in_box / 4 ^ at_row % 8;
        boxes[at_col / BOX_COLS * ROWS * BOX_COLS + at_row * BOX_COLS + piece * 4 + in_box % 4] = d[i];
    }
    proxy_fence();
    named_barrier(1, 128);
    if (thread == 0) {
        for (int box = 0; box < COLS / BOX_COLS; box++)
            tma_store_2d(&c, col + box * BOX_COLS, row, boxes + box * ROWS * BOX_COLS);
        bulk_commit();
        if (MISTAKE != NO_STORE_WAIT) bulk_wait_read<0>();
    }
}

DEVICE void consume(Elem* tiles, Ring& ring, const TensorMap& c, i32 row, i32 col, u32 steps) {
    f32 d[COLS / 2];
    for (u32 step = 0; step < steps; step++) {
        const u32 stage = step % STAGES, parity = step / STAGES % 2;
        const Elem* tile = tiles + stage * STAGE_ELEMS;
        if (MISTAKE == ENDLESS_TRY) {
            while (!mbarrier_try_wait(&ring.empty[stage], parity)) {}
        } else if (MISTAKE != NO_FULL_WAIT) {
            mbarrier_wait(&ring.full[stage], MISTAKE == OTHER_PARITY ? 1 - parity : parity);
        }
        multiply(d, tile, tile + A_ELEMS, step > 0);
        // The products of the last step have ended: its stage may be filled again.
        wgmma_wait<1>();
        if (step > 0) mbarrier_arrive(&ring.empty[(step - 1) % STAGES]);
    }
    if (MISTAKE != NO_WGMMA_WAIT) wgmma_wait<0>(d);
    give_out(d, (f32*)(tiles + STAGES * STAGE_ELEMS), c, row, col);
}

KERNEL(pipeline, const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b,
       const __grid_constant__ TensorMap c, u32 col_tiles, u32 steps) {
    DYNAMIC_SHARED(Elem, tiles);
    SHARED(Ring, ring, [1]);
    const i32 row = (i32)(block_index() / col_tiles) * ROWS, col = (i32)(block_index() % col_tiles) * COLS;
    if (threadIdx.x == 0 && MISTAKE != NO_INIT) {
        for (int stage = 0; stage < STAGES; stage++) {
            mbarrier_init(&ring[0].full[stage], 1);
            mbarrier_init(&ring[0].empty[stage], 128);
        }
        if (MISTAKE == TWO_INITS) mbarrier_init(&ring[0].empty[0], 128);
        mbarrier_init_fence();
    }
    __syncthreads();
    if (threadIdx.x < 128) {
        if (MISTAKE != HALF_A_WARPGROUP || threadIdx.x < 64) setmaxnreg_dec<MISTAKE == ODD_REGISTERS ? 42 : 40>();
        if (threadIdx.x < 32 && elect_one()) produce(tiles, ring[0], a, b, row, col, steps);
    } else {
        setmaxnreg_inc<232>();
        if (MISTAKE != ONE_WARP_LESS || threadIdx.x < 224) consume(tiles, ring[0], c, row, col, steps);
    }
}
