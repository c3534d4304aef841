// What forward and backward of attention on tensor cores share: tiles of rows in shared memory, the products of two of
// them and of weights with one, and values that are not finite. From architecture 8.0 on, for f16 and bf16.
//
// A warp has TILES times 16 rows of a block's own tile and all rows of the other; its scores stay in registers in the
// layout of the product's result, which is that of the next product's left factor. The host has checked that head dims
// are multiples of 8 and that rows are aligned to 16 bytes; tiles are HEAD_COLS or VALUE_COLS wide, the head dims as
// multiples of 16, with zeros beyond them.
#pragma once
#include "attention.cuh"
#include "tensor_core.cuh"

// How the steps of a product of rows are unrolled: entirely, unless registers are short.
#ifndef PRODUCT_STEPS
#define PRODUCT_STEPS UNROLL
#endif

const f32 LOG2_E = 1.4426950408889634f, LN_2 = 0.6931471805599453f;
// Eight elements more than a row has: the eight rows that a load of a fragment reads lie on different banks.
const int HEAD_ROW = HEAD_COLS + 8, VALUE_ROW = VALUE_COLS + 8;
typedef f32 Fragment[4];

// Starts the copies of a tile of rows; what is beyond `rows` and `cols` is zero.
template <int HEIGHT, int WIDTH> DEVICE void fetch_rows(Elem* to, Matrix x, i64 rows, u64 cols) {
    const int CHUNKS = WIDTH / 8;
    // Copies in flight need no registers; addresses of several would.
UNROLL_BY(1) for (int at = threadIdx.x; at < HEIGHT * CHUNKS; at += THREADS) {
        const int row = at / CHUNKS, col = at % CHUNKS * 8;
        const bool exists = row < rows && col < (int)cols;
        cp_async_16(to + row * (WIDTH + 8) + col, x.data + (exists ? row * x.row + col : 0), exists ? 16 : 0);
    }
}

// Two values in one register, rounded; `low` comes first in memory.
DEVICE u32 packed(f32 low, f32 high) {
    return (u32)convert<Elem>(low).bits | (u32)convert<Elem>(high).bits << 16;
}

template <int TILES, int ACROSS> DEVICE void clear(Fragment (&sums)[TILES][ACROSS]) {
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int n = 0; n < ACROSS; n++)
    UNROLL for (int e = 0; e < 4; e++) sums[m][n][e] = 0;
}

// products[row][other] = sum over c of left[row][c] right[other][c], for the warp's rows: `left` is the first of them.
template <int WIDTH, int TILES, int ACROSS>
DEVICE void multiply_rows(Fragment (&products)[TILES][ACROSS], const Elem* left, const Elem* right) {
    const int ROW = WIDTH + 8, lane = threadIdx.x % WARP;
    // Lane 8 i + r gives row r of matrix i of a fragment.
    const Elem* own_left = left + lane % 16 * ROW + lane / 16 * 8;
    const Elem* own_right = right + (lane / 16 * 8 + lane % 8) * ROW + lane / 8 % 2 * 8;
    clear(products);
PRODUCT_STEPS for (int c = 0; c < WIDTH; c += 16) {
        u32 x[TILES][4];
    UNROLL for (int m = 0; m < TILES; m++) ldmatrix_x4(x[m], own_left + 16 * m * ROW + c);
    UNROLL for (int n = 0; n < ACROSS; n += 2) {
            u32 y[4];
            ldmatrix_x4(y, own_right + 8 * n * ROW + c);
            const u32 first[2] = {y[0], y[1]}, second[2] = {y[2], y[3]};
        UNROLL for (int m = 0; m < TILES; m++) {
                mma_m16n8k16<Elem>(products[m][n], x[m], first);
                mma_m16n8k16<Elem>(products[m][n + 1], x[m], second);
            }
        }
    }
}

// sums[row][c] += sum over `other` of weights[row][other] rows[other][c]; weights are rounded to the element type.
template <int WIDTH, int TILES, int OTHERS>
DEVICE void add_weighted(Fragment (&sums)[TILES][WIDTH / 8], const Fragment (&weights)[TILES][OTHERS],
                         const Elem* rows) {
    const int ROW = WIDTH + 8, lane = threadIdx.x % WARP;
    const Elem* own = rows + lane % 16 * ROW + lane / 16 * 8;
UNROLL for (int c = 0; c < OTHERS * 8; c += 16) {
        u32 x[TILES][4];
    UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int i = 0; i < 4; i++) {
            const Fragment& pairs = weights[m][c / 8 + i / 2];
            x[m][i] = packed(pairs[i % 2 * 2], pairs[i % 2 * 2 + 1]);
        }
    UNROLL for (int n = 0; n < WIDTH / 8; n += 2) {
            u32 y[4];
            ldmatrix_x4_trans(y, own + c * ROW + 8 * n);
            const u32 first[2] = {y[0], y[1]}, second[2] = {y[2], y[3]};
        UNROLL for (int m = 0; m < TILES; m++) {
                mma_m16n8k16<Elem>(sums[m][n], x[m], first);
                mma_m16n8k16<Elem>(sums[m][n + 1], x[m], second);
            }
        }
    }
}

// A tile of scores as its pairs see it: how many queries and keys it has, which keys causality hides, mask and bias from
// its first pair on. Places in a tile are small, so this takes few registers.
struct Window {
    int queries, keys, ahead;
    const boolean* mask;
    const Elem* bias;
};
DEVICE Window window_of(const AttentionParams& p, const Scores& scores, i64 query, i64 key) {
    const i64 ahead = p.causal ? max((i64)-KEYS - QUERIES, min((i64)KEYS, query + p.causal_offset - key)) : (i64)KEYS;
    Window window = {(int)min((i64)QUERIES, (i64)p.q_len - query), (int)min((i64)KEYS, scores.k_len - key), (int)ahead};
    window.mask = p.has_mask ? scores.mask + query * p.mask_strides[2] + key * p.mask_strides[3] : nullptr;
    window.bias = p.has_bias ? scores.bias + query * p.bias_strides[2] + key * p.bias_strides[3] : nullptr;
    return window;
}

// The score of a pair, given its product: with the bias, and -inf where the key is hidden.
DEVICE f32 adjusted(const Window& window, const AttentionParams& p, int query, int key, f32 score) {
    if (query >= window.queries || key >= window.keys || key > query + window.ahead) return -INFINITY;
    if (window.mask != nullptr && window.mask[query * p.mask_strides[2] + key * p.mask_strides[3]].byte == 0)
        return -INFINITY;
    if (window.bias != nullptr) score += load(window.bias + query * p.bias_strides[2] + key * p.bias_strides[3]);
    return score;
}

// A product would spread what is not finite in a row to weights of 0 too: in a tile with hidden pairs it becomes 0, and
// bit `row` of `odd` says in which rows that was.
template <int HEIGHT, int WIDTH> DEVICE void set_aside(Elem* tile, u32* odd) {
    const u32 EXPONENT = convert<Elem>(INFINITY).bits;
    const int CHUNKS = WIDTH / 8;
UNROLL_BY(1) for (int at = threadIdx.x; at < HEIGHT * CHUNKS; at += THREADS) {
        const int row = at / CHUNKS;
        Pack<u16, 8>* chunk = (Pack<u16, 8>*)(tile + row * (WIDTH + 8) + at % CHUNKS * 8);
        Pack<u16, 8> values = *chunk;
        bool found = false;
    UNROLL for (int i = 0; i < 8; i++) {
            const bool is_odd = (values.v[i] & EXPONENT) == EXPONENT;
            if (is_odd) values.v[i] = 0;
            found |= is_odd;
        }
        if (!found) continue;
        *chunk = values;
        atomicOr(odd + row / 32, 1u << row % 32);
    }
}

// The same number, of which the compiler does not know that it is: what is computed from it is not kept in registers over
// a loop that seldom runs.
DEVICE int opaque(int x) {
#ifndef CHAINRULE_EMU
    asm volatile("" : "+r"(x));
#endif
    return x;
}

// sums += weights row for one row of the other tile that was set aside, as far as it was: only for weights that are
// not 0. `row` is the row as it was.
template <int TILES, int OTHERS, int ACROSS>
DEVICE void add_odd_row(Fragment (&sums)[TILES][ACROSS], const Fragment (&weights)[TILES][OTHERS], int other,
                        const Elem* row, u64 cols) {
    f32 own_weights[TILES][2];
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int half = 0; half < 2; half++) {
        // Selected by masks: a choice by `other` would put the weights into memory.
        u32 own = 0;
    UNROLL for (int n = 0; n < OTHERS; n++)
        UNROLL for (int e = 0; e < 2; e++)
                own |= bits_of(weights[m][n][2 * half + e]) & (0u - (u32)(8 * n + e == (other & ~6)));
        own_weights[m][half] = float_of(__shfl_sync(FULL, own, other % 8 / 2, 4));
    }
    const int pair = opaque((int)threadIdx.x % 4 * 2);
UNROLL for (int n = 0; n < ACROSS; n++) {
    UNROLL for (int e = 0; e < 2; e++) {
            const int col = 8 * n + pair + e;
            const f32 value = col < (int)cols ? load(row + col) : 0.0f;
        UNROLL for (int m = 0; m < TILES; m++)
        UNROLL for (int half = 0; half < 2; half++)
                if (own_weights[m][half] != 0 && value - value != 0)
                    sums[m][n][2 * half + e] += own_weights[m][half] * value;
        }
        // One load after the other: there are no registers for all of them at once.
        __syncwarp();
    }
}

// The same for all rows that `odd` names; `rows` are those in global memory.
template <int TILES, int OTHERS, int ACROSS>
DEVICE void add_odd_rows(Fragment (&sums)[TILES][ACROSS], const Fragment (&weights)[TILES][OTHERS], const u32* odd,
                         Matrix rows, u64 cols) {
    for (int word = 0; word < (OTHERS + 3) / 4; word++)
        for (u32 bits = odd[word]; bits != 0; bits &= bits - 1) {
            const int other = 32 * word + __ffs((int)bits) - 1;
            add_odd_row(sums, weights, other, rows.from(other).data, cols);
        }
}

// Writes the pairs of columns of one row of a warp's tile m: row `group + 8 half`, times `factor`.
template <int ACROSS>
DEVICE void store_row(Elem* to, const Fragment (&sums)[ACROSS], int half, f32 factor, u64 cols) {
    const int pair = threadIdx.x % 4 * 2;
UNROLL for (int n = 0; n < ACROSS; n++)
        if (8 * n < (int)cols)
            *(u32*)(to + 8 * n + pair) = packed(sums[n][2 * half] * factor, sums[n][2 * half + 1] * factor);
}
