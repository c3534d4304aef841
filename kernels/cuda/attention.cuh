// What forward and backward of attention share: the parameters, one head's tensors, and products of tiles in shared
// memory. Formulas: src/attention.rs; twins: src/cpu/attention_head.rs, src/cpu/attention_tile.rs.
//
// A block of THREADS threads, 16 wide, works on a tile of QUERIES x KEYS scores. Scores are sums over the head dim, which
// is staged DEPTH columns at a time, so any head dim will do; sums of rows (o, dq, dk, dv) stay in registers and are
// HEAD_COLS or VALUE_COLS wide: wider ones are dealt to several blocks.
#pragma once
#include "philox.cuh"

#ifndef QUERIES
#define QUERIES 64
#endif
#ifndef KEYS
#define KEYS 64
#endif
#ifndef DEPTH
#define DEPTH 32
#endif
#ifndef HEAD_COLS
#define HEAD_COLS 64
#endif
#ifndef VALUE_COLS
#define VALUE_COLS 64
#endif
// 1 where columns are neighbours and every group of four of them is aligned as one access needs it.
#ifndef ALIGNED
#define ALIGNED 0
#endif
#ifdef CHAINRULE_EMU
#define UNROLL_BY(n)
#else
#define PRAGMA(text) _Pragma(#text)
#define UNROLL_BY(n) PRAGMA(unroll n)
#endif

struct AttentionParams {
    u64 batch, heads, kv_heads, q_len, k_len, head_dim, value_dim;
    i64 q_strides[4], k_strides[4], v_strides[4], o_strides[4];
    i64 do_strides[4], dq_strides[4], dk_strides[4], dv_strides[4];
    i64 bias_strides[4], mask_strides[4];
    f64 scale;
    u64 causal;
    i64 causal_offset;
    u64 has_bias, has_mask, has_key_lengths;
    f64 dropout;
    Stream dropout_stream;
};

// N values that are accessed as one, or as several accesses of 16 bytes.
template <class T, int N> struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Group {
    T v[N];
};
typedef Group<Compute, 4> Quad;

const int WIDE = 16;              // threads along keys, or along columns
const int HIGH = THREADS / WIDE;  // threads along queries
const int ROWS = QUERIES / HIGH;  // queries of a thread: its number along HIGH, and every HIGH-th from there
const int COLS = KEYS / WIDE;     // keys of a thread, likewise
// Rows in shared memory are padded so that threads that read neighbouring rows meet different banks.
const int DEPTH_ROW = DEPTH + 4;
const int WEIGHT_ROW = KEYS + 8;
const int STAGE = (QUERIES + KEYS) * DEPTH_ROW;

DEVICE int along_wide() { return (int)threadIdx.x % WIDE; }
DEVICE int along_high() { return (int)threadIdx.x / WIDE; }

// Rows of one head: element (row, col) is at row * rows + col * cols.
struct Matrix {
    const Elem* data;
    i64 row, col;
    DEVICE Matrix from(i64 first) const { return Matrix{data + first * row, row, col}; }
};
DEVICE Matrix matrix(const Elem* data, const i64 (&strides)[4], u64 batch, u64 head) {
    return Matrix{data + (i64)batch * strides[0] + (i64)head * strides[1], strides[2], strides[3]};
}

// What decides who sees whom in one head, and the bias.
struct Scores {
    const Elem* bias;
    const boolean* mask;
    i64 k_len;         // the keys of this batch: all, or its key length
    u64 first_weight;  // the dropout's number of weight (0, 0)
};
DEVICE Scores scores_of(const AttentionParams& p, const Elem* bias, const boolean* mask, const i64* key_lengths,
                        u64 batch, u64 head) {
    Scores scores = {nullptr, nullptr, (i64)p.k_len, (batch * p.heads + head) * (p.q_len * p.k_len)};
    if (p.has_bias) scores.bias = bias + (i64)batch * p.bias_strides[0] + (i64)head * p.bias_strides[1];
    if (p.has_mask) scores.mask = mask + (i64)batch * p.mask_strides[0] + (i64)head * p.mask_strides[1];
    if (p.has_key_lengths) scores.k_len = max((i64)0, min(scores.k_len, key_lengths[batch]));
    return scores;
}

// How many of the first `most` keys query `query` may see by causality.
DEVICE i64 seen(const AttentionParams& p, i64 query, i64 most) {
    return p.causal ? max((i64)0, min(most, query + p.causal_offset + 1)) : most;
}

// True where a query of the tile may be kept from a key of it, other than by the ends of both.
DEVICE bool is_masked(const AttentionParams& p, i64 query, i64 last_key) {
    return p.has_mask || seen(p, query, last_key + 1) <= last_key;
}

// The score of a pair, given its product: with the bias, and -inf where the key is hidden.
DEVICE Compute adjusted(const AttentionParams& p, const Scores& scores, i64 query, i64 key, Compute score) {
    if (query >= (i64)p.q_len || key >= scores.k_len) return -INFINITY;
    if (p.causal && key > query + p.causal_offset) return -INFINITY;
    if (p.has_mask && scores.mask[query * p.mask_strides[2] + key * p.mask_strides[3]].byte == 0) return -INFINITY;
    if (p.has_bias) score += load(scores.bias + query * p.bias_strides[2] + key * p.bias_strides[3]);
    return score;
}

// All scores of a thread. Most tiles hide nothing and have no bias.
DEVICE void adjust(const AttentionParams& p, const Scores& scores, i64 query, i64 key, Compute (&s)[ROWS][COLS]) {
    const bool whole = query + QUERIES <= (i64)p.q_len && key + KEYS <= scores.k_len;
    if (whole && !p.has_bias && !is_masked(p, query, key + KEYS - 1)) return;
UNROLL for (int i = 0; i < ROWS; i++)
UNROLL for (int j = 0; j < COLS; j++)
        s[i][j] = adjusted(p, scores, query + along_high() + HIGH * i, key + along_wide() + WIDE * j, s[i][j]);
}

// The dropout's draw for a tile, a bit for each weight: bit j of kept[row][group] is that of key 4 group + j. One block
// of the generator gives four of them.
DEVICE void draw_dropout(const AttentionParams& p, const Scores& scores, i64 query, i64 key, u8* kept) {
    const u32 threshold = threshold_of(1.0 - p.dropout);
    for (int at = threadIdx.x; at < QUERIES * KEYS / 4; at += THREADS) {
        const int row = at / (KEYS / 4), group = at % (KEYS / 4);
        const u64 first = scores.first_weight + (u64)(query + row) * p.k_len + (u64)(key + 4 * group);
        const u32 skipped = (u32)(first % 4);
        const Words low = random_block(p.dropout_stream, first / 4);
        u32 bits = 0;
    UNROLL for (int i = 0; i < 4; i++) bits |= (u32)happens(low.w[i], threshold) << i;
        if (skipped != 0) {
            const Words high = random_block(p.dropout_stream, first / 4 + 1);
        UNROLL for (int i = 0; i < 4; i++) bits |= (u32)happens(high.w[i], threshold) << (4 + i);
        }
        kept[at] = (u8)(bits >> skipped & 15);
    }
}
DEVICE Compute kept_factor(const AttentionParams& p) {
    return p.dropout < 1.0 ? (Compute)(1.0 / (1.0 - p.dropout)) : (Compute)0;
}

// A tile of rows into shared memory, times `scale`, with zeros beyond `rows` and `cols`. False where the calling thread
// met a value that is not finite.
template <int HEIGHT, int WIDTH, int TO_ROW>
DEVICE bool load_rows(Compute* to, Matrix x, i64 first_col, i64 cols, i64 rows, Compute scale) {
    bool finite = true;
    for (int at = threadIdx.x; at < HEIGHT * (WIDTH / 4); at += THREADS) {
        const int row = at / (WIDTH / 4), col = at % (WIDTH / 4) * 4;
        Quad quad = {};
        if (row < rows) {
            const Elem* from = x.data + row * x.row + (first_col + col) * x.col;
#if ALIGNED
            if (first_col + col < cols) {
                const Group<Elem, 4> group = *(const Group<Elem, 4>*)from;
            UNROLL for (int i = 0; i < 4; i++) quad.v[i] = convert<Compute>(group.v[i]) * scale;
            }
#else
        UNROLL for (int i = 0; i < 4; i++)
                if (first_col + col + i < cols) quad.v[i] = load(from + i * x.col) * scale;
#endif
        }
    UNROLL for (int i = 0; i < 4; i++) finite &= quad.v[i] - quad.v[i] == 0;
        *(Quad*)(to + row * TO_ROW + col) = quad;
    }
    return finite;
}

// s[query][key] = scale * sum over c of x[query][c] y[key][c].
DEVICE void products_of_rows(Compute (&s)[ROWS][COLS], Matrix x, i64 queries, Matrix y, i64 keys, i64 depth,
                             Compute scale, Compute* stage) {
UNROLL for (int i = 0; i < ROWS; i++)
UNROLL for (int j = 0; j < COLS; j++) s[i][j] = 0;
    const Compute* own_x = stage + along_high() * DEPTH_ROW;
    const Compute* own_y = stage + (QUERIES + along_wide()) * DEPTH_ROW;
    i64 first = 0;
    do {
        __syncthreads();
        load_rows<QUERIES, DEPTH, DEPTH_ROW>(stage, x, first, depth, queries, scale);
        load_rows<KEYS, DEPTH, DEPTH_ROW>(stage + QUERIES * DEPTH_ROW, y, first, depth, keys, 1);
        __syncthreads();
    UNROLL_BY(1) for (int c = 0; c < DEPTH; c += 4) {
            Quad left[ROWS], right[COLS];
        UNROLL for (int i = 0; i < ROWS; i++) left[i] = *(const Quad*)(own_x + HIGH * i * DEPTH_ROW + c);
        UNROLL for (int j = 0; j < COLS; j++) right[j] = *(const Quad*)(own_y + WIDE * j * DEPTH_ROW + c);
        UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < COLS; j++)
            UNROLL for (int d = 0; d < 4; d++) s[i][j] += left[i].v[d] * right[j].v[d];
        }
        first += DEPTH;
    } while (first < depth);
}

// How many neighbouring columns of a sum of rows a thread has: the widest that wastes no more than two do.
DEVICE constexpr int columns_together(int width) {
    return width <= 16 ? 1 : (width + 63) / 64 * 64 == (width + 31) / 32 * 32 ? 4 : 2;
}
// A sum of rows of WIDTH columns, in registers: a thread has ACROSS groups of TOGETHER columns.
template <int HEIGHT, int WIDTH> struct Sums {
    static const int TOGETHER = columns_together(WIDTH), ACROSS = (WIDTH + WIDE * TOGETHER - 1) / (WIDE * TOGETHER);
    static const int PADDED = ACROSS * WIDE * TOGETHER;
    Compute v[HEIGHT][ACROSS][TOGETHER];

    DEVICE void clear() {
    UNROLL for (int i = 0; i < HEIGHT; i++)
    UNROLL for (int g = 0; g < ACROSS; g++)
        UNROLL for (int c = 0; c < TOGETHER; c++) v[i][g][c] = 0;
    }

    DEVICE void scale_row(int i, Compute factor) {
    UNROLL for (int g = 0; g < ACROSS; g++)
    UNROLL for (int c = 0; c < TOGETHER; c++) v[i][g][c] *= factor;
    }

    // Writes row i, times `factor`, as far as there are columns.
    DEVICE void store_row(int i, Elem* to, i64 col_stride, i64 first_col, i64 cols, Compute factor) const {
    UNROLL for (int g = 0; g < ACROSS; g++) {
            const i64 col = first_col + (g * WIDE + along_wide()) * TOGETHER;
            if (col >= cols) continue;
#if ALIGNED
            Group<Elem, TOGETHER> group;
        UNROLL for (int c = 0; c < TOGETHER; c++) group.v[c] = convert<Elem>(v[i][g][c] * factor);
            *(Group<Elem, TOGETHER>*)(to + col) = group;
#else
        UNROLL for (int c = 0; c < TOGETHER; c++)
                if (col + c < cols) store(to + (col + c) * col_stride, v[i][g][c] * factor);
#endif
        }
    }
};

// The rows of a sum's other factor that the stage has room for.
__device__ constexpr int rows_staged(int most, int width) {
    return most * width <= STAGE ? most : rows_staged(most / 2, width);
}

// sums[m][..] += sum over n of weights(m, n) * staged[n][..], n from `first` to `first + COUNT`. BY_KEY says that m is
// the key and n the query. EXACT passes over weights that are 0, so that hidden rows may hold anything.
template <bool BY_KEY, bool EXACT, int COUNT, int HEIGHT, int WIDTH>
DEVICE void add_staged(Sums<HEIGHT, WIDTH>& sums, const Compute* weights, int first, const Compute* stage) {
    typedef Sums<HEIGHT, WIDTH> S;
    typedef Group<Compute, S::TOGETHER> Columns;
    const int N = BY_KEY ? 1 : 4;  // terms whose weights are read together: neighbours along keys are
UNROLL_BY(1) for (int n = 0; n < COUNT; n += N) {
        Compute w[HEIGHT][N];
        if constexpr (BY_KEY) {
        UNROLL for (int i = 0; i < HEIGHT; i += 4) {
                const Quad quad = *(const Quad*)(weights + (first + n) * WEIGHT_ROW + along_high() * HEIGHT + i);
            UNROLL for (int d = 0; d < 4; d++) w[i + d][0] = quad.v[d];
            }
        } else {
        UNROLL for (int i = 0; i < HEIGHT; i++) {
                const Quad quad = *(const Quad*)(weights + (along_high() + HIGH * i) * WEIGHT_ROW + first + n);
            UNROLL for (int d = 0; d < 4; d++) w[i][d] = quad.v[d];
            }
        }
    UNROLL for (int d = 0; d < N; d++)
    UNROLL for (int g = 0; g < S::ACROSS; g++) {
            const Compute* row = stage + (n + d) * S::PADDED + (g * WIDE + along_wide()) * S::TOGETHER;
            const Columns columns = *(const Columns*)row;
        UNROLL for (int i = 0; i < HEIGHT; i++)
        UNROLL for (int c = 0; c < S::TOGETHER; c++)
                if (!EXACT || w[i][d] != 0) sums.v[i][g][c] += w[i][d] * columns.v[c];
        }
    }
}

// sums += weights * x (or its transpose times x) over `count` rows of x, staged in parts. `not_finite` is shared and
// stays 1 once a value was met that a hidden pair must not spread; `masked` says whether there are such pairs here.
template <bool BY_KEY, int HEIGHT, int WIDTH>
DEVICE void add_product(Sums<HEIGHT, WIDTH>& sums, const Compute* weights, Matrix x, i64 first_col, i64 cols, i64 count,
                        Compute scale, bool masked, Compute* stage, u32* not_finite) {
    const int MOST = BY_KEY ? QUERIES : KEYS, PADDED = Sums<HEIGHT, WIDTH>::PADDED;
    const int COUNT = rows_staged(MOST, PADDED);
    for (int first = 0; first < MOST && first < count; first += COUNT) {
        __syncthreads();
        if (!load_rows<COUNT, PADDED, PADDED>(stage, x.from(first), first_col, cols, count - first, scale))
            atomicOr(not_finite, 1u);
        __syncthreads();
        if (masked && *not_finite) {
            add_staged<BY_KEY, true, COUNT>(sums, weights, first, stage);
        } else {
            add_staged<BY_KEY, false, COUNT>(sums, weights, first, stage);
        }
    }
}
