// Attention, backward, on tensor cores: f16 and bf16 summed in f32, from architecture 8.0 on. Formulas, shapes and twins:
// src/attention.rs, attention_backward.cu, of which this is the same in results but for the rounding of the weights and
// of the gradients of the scores to the element type. Source: Dao, "FlashAttention-2" (2023), algorithm 2.
//
// In f16, as in FlashAttention-2, gradients of scores below 2^-25 become 0 and those from 65520 on infinity, although
// their sums may be neither. Those of a long mean over tokens are small: scale the loss, or take bf16, which has the
// range of f32.
//
// A block owns a tile of keys (or of queries) and has all queries that see them (or all keys that they see) stream by,
// so every sum belongs to one block and has one order: dk and dv are sums over queries, dq is one over keys. Owned rows
// are the rows of the scores: weights and their gradients go from one product to the next in registers. The next tile
// that streams by is copied while the present one is multiplied. Step 1, delta, is in attention_delta.cu.
//
// Definitions: OF_KEYS is 1 for dk and dv, 0 for dq. WITH_HEAD says that dk or dq is wanted, WITH_VALUE that dv is: where
// heads are wide, registers hold one of dk and dv. STAGES is 2, or 1 where shared memory has room for one tile alone that
// streams by.
#define PRODUCT_STEPS UNROLL_BY(1)
#include "attention_tensor.cuh"

#if OF_KEYS
const int OWN = KEYS, OTHERS = QUERIES;
#else
const int OWN = QUERIES, OTHERS = KEYS;
#endif
const int TILES = OWN / (THREADS / WARP * 16);
const int HEAD_TILES = HEAD_COLS / 8, VALUE_TILES = VALUE_COLS / 8;
const int OWN_SIZE = OWN * (HEAD_ROW + (WITH_HEAD ? VALUE_ROW : 0)), OTHERS_SIZE = OTHERS * (HEAD_ROW + VALUE_ROW);
const int ODD_WORDS = (OTHERS + 31) / 32;
typedef Fragment Scored[TILES][OTHERS / 8];

// The sums of a thread's rows: dk or dq, and dv.
struct Gradients {
    Fragment head[TILES][HEAD_TILES], value[TILES][VALUE_TILES];
};

// A tile of pairs in shared memory: rows of k and v and rows of q and do, lse (in powers of two) and then delta of the
// queries, the dropout's draw, and where the tile is.
struct Pairs {
    Elem *own, *others;
    const f32* saved;
    u8* kept;
    const f32* factors;  // the scale, and that of weights that dropout keeps
    u32* odd;  // which rows that stream by are not finite: words of the head dim's, then of the values'
    i64 query, key;
};

// Starts the copies of a tile of rows of k and v; the first key that does not exist is `end`.
DEVICE void fetch_keys(Elem* to, const AttentionParams& p, const Matrix& k_all, const Matrix& v_all, i64 key, i64 end) {
    fetch_rows<KEYS, HEAD_COLS>(to, k_all.from(key), end - key, p.head_dim);
    if (WITH_HEAD) fetch_rows<KEYS, VALUE_COLS>(to + KEYS * HEAD_ROW, v_all.from(key), end - key, p.value_dim);
}

// Starts the copies of a tile of rows of q and do, and loads lse and delta of the queries.
DEVICE void fetch_queries(Elem* to, f32* saved, const AttentionParams& p, const Elem* q, const Elem* d_o,
                          const f32* lse, const f32* delta, u64 batch, u64 head, i64 query) {
    const i64 queries = (i64)p.q_len - query;
    const u64 first = (batch * p.heads + head) * p.q_len + (u64)query;
    fetch_rows<QUERIES, HEAD_COLS>(to, matrix(q, p.q_strides, batch, head).from(query), queries, p.head_dim);
    fetch_rows<QUERIES, VALUE_COLS>(to + QUERIES * HEAD_ROW, matrix(d_o, p.do_strides, batch, head).from(query), queries,
                                    p.value_dim);
    for (int i = threadIdx.x; i < QUERIES; i += THREADS) {
        saved[i] = i < queries ? lse[first + i] * LOG2_E : 0.0f;
        saved[QUERIES + i] = i < queries ? delta[first + i] : 0.0f;
    }
}

// The query and the key of element (m, n, e) of a thread's scores, from the first of the tile.
DEVICE int own_row(int m, int e) {
    return ((int)threadIdx.x / WARP * TILES + m) * 16 + (int)threadIdx.x % WARP / 4 + e / 2 * 8;
}
DEVICE int other_row(int n, int e) { return 8 * n + (int)threadIdx.x % 4 * 2 + e % 2; }
DEVICE int query_of(int m, int n, int e) { return OF_KEYS ? other_row(n, e) : own_row(m, e); }
DEVICE int key_of(int m, int n, int e) { return OF_KEYS ? own_row(m, e) : other_row(n, e); }

DEVICE bool is_kept(const Pairs& at, int query, int key) {
    return at.kept[query * (KEYS / 4) + key / 4] >> key % 4 & 1;
}

// Products of queries and keys become weights exp(scale q k^T + bias - lse); a hidden pair has none, whatever the lse of
// its query is. Most tiles are `plain`: they hide nothing and have no bias.
DEVICE void weights_of(Scored& s, const AttentionParams& p, const Scores& scores, const Pairs& at, bool plain) {
    const f32 scale = at.factors[0];
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int n = 0; n < OTHERS / 8; n++)
    UNROLL for (int e = 0; e < 4; e++) s[m][n][e] *= scale;
    if (!plain) {
        const Window window = window_of(p, scores, at.query, at.key);
    UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int n = 0; n < OTHERS / 8; n++) {
        UNROLL for (int e = 0; e < 4; e++)
                s[m][n][e] = adjusted(window, p, query_of(m, n, e), key_of(m, n, e), s[m][n][e]);
            // A few pairs after the other: there are no registers for the loads of all of them at once.
            __syncwarp();
        }
    }
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int n = 0; n < OTHERS / 8; n++)
    UNROLL for (int e = 0; e < 4; e++)
        s[m][n][e] = s[m][n][e] == -INFINITY ? 0.0f : exp2(s[m][n][e] * LOG2_E - at.saved[query_of(m, n, e)]);
}

// ds = p * (z dp - delta), in place of dp. A hidden key may be anything, also NaN; it has no gradient.
DEVICE void gradients_of_scores(Scored& dp, const Scored& weights, const AttentionParams& p, const Pairs& at) {
    const bool has_dropout = p.dropout > 0;
    const f32 factor = at.factors[1];
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int n = 0; n < OTHERS / 8; n++)
    UNROLL for (int e = 0; e < 4; e++) {
            const int query = query_of(m, n, e);
            f32 value = dp[m][n][e];
            if (has_dropout) value *= is_kept(at, query, key_of(m, n, e)) ? factor : 0.0f;
            dp[m][n][e] = weights[m][n][e] == 0 ? 0.0f : weights[m][n][e] * (value - at.saved[QUERIES + query]);
        }
}

// Adds a tile of pairs to the sums; `head_rows` and `value_rows` are what streams by in global memory. `dbias` is that of
// pair (0, 0) of the tile, or null.
DEVICE void add_pairs(Gradients& sums, const AttentionParams& p, const Scores& scores, const Pairs& at, Matrix head_rows,
                      Matrix value_rows, Elem* dbias) {
    const int warp_row = (int)threadIdx.x / WARP * TILES * 16;
    Elem* other_values = at.others + OTHERS * HEAD_ROW;
    const i64 keys = min((i64)KEYS, scores.k_len - at.key);
    const bool masked = is_masked(p, at.query, at.key + keys - 1);
    const bool whole = at.query + QUERIES <= (i64)p.q_len && keys == KEYS;

    // 2. p = exp(scale q k^T + bias - lse) and dp = do v^T, with keys or queries as rows
    Scored s, ds;
    multiply_rows<HEAD_COLS>(s, at.own + warp_row * HEAD_ROW, at.others);
    weights_of(s, p, scores, at, whole && !p.has_bias && !masked);
    if (WITH_HEAD) multiply_rows<VALUE_COLS>(ds, at.own + OWN * HEAD_ROW + warp_row * VALUE_ROW, other_values);
    if (masked || p.dropout > 0) __syncthreads();
    if (WITH_HEAD) gradients_of_scores(ds, s, p, at);
    if (masked) {
        if (WITH_HEAD) set_aside<OTHERS, HEAD_COLS>(at.others, at.odd);
        if (WITH_VALUE) set_aside<OTHERS, VALUE_COLS>(other_values, at.odd + ODD_WORDS);
        __syncthreads();
    }

    // 3. dv += (z p)^T do, whose factor comes at the end
    if (WITH_VALUE) {
        if (p.dropout > 0) {
        UNROLL for (int m = 0; m < TILES; m++)
        UNROLL for (int n = 0; n < OTHERS / 8; n++)
            UNROLL for (int e = 0; e < 4; e++)
                if (!is_kept(at, query_of(m, n, e), key_of(m, n, e))) s[m][n][e] = 0;
        }
        if (masked) add_odd_rows(sums.value, s, at.odd + ODD_WORDS, value_rows, p.value_dim);
        add_weighted<VALUE_COLS>(sums.value, s, other_values);
    }
    // 4. ds itself is the gradient of the bias; dk += ds^T q or dq += ds k, whose factor comes at the end
    if (WITH_HEAD) {
        if (masked) add_odd_rows(sums.head, ds, at.odd, head_rows, p.head_dim);
        add_weighted<HEAD_COLS>(sums.head, ds, at.others);
    }
    if (dbias != nullptr) {
    UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int n = 0; n < OTHERS / 8; n++)
        UNROLL for (int e = 0; e < 4; e++) {
                const int query = query_of(m, n, e), key = key_of(m, n, e);
                if (at.query + query < (i64)p.q_len && key < keys)
                    store(dbias + scores.first_weight + (at.query + query) * (i64)p.k_len + at.key + key, ds[m][n][e]);
            }
    }
}

// Dropout's draw, and no row that is not finite yet: read after a barrier.
DEVICE void begin(const Pairs& at, const AttentionParams& p, const Scores& scores) {
    if (p.dropout > 0) draw_dropout(p, scores, at.query, at.key, at.kept);
    if (threadIdx.x < 2 * ODD_WORDS) at.odd[threadIdx.x] = 0;
}

// Writes a thread's sums of the owned rows, the first of which is `first` of `rows`.
template <int ACROSS>
DEVICE void store_rows(Elem* to, i64 row_stride, const Fragment (&sums)[TILES][ACROSS], i64 first, u64 rows, f32 factor,
                       u64 cols) {
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int half = 0; half < 2; half++) {
        const i64 row = first + own_row(m, 2 * half);
        if (row < (i64)rows) store_row(to + row * row_stride, sums[m], half, factor, cols);
    }
}

#if OF_KEYS
// dk and dv of one block of keys, over the queries of all heads that share the key head.
KERNEL(attention_tensor_backward_keys, const Elem* q, const Elem* k, const Elem* v, const Elem* bias,
       const boolean* mask, const i64* key_lengths, const Elem* d_o, const f32* lse, const f32* delta, Elem* dk, Elem* dv,
       AttentionParams p) {
    DYNAMIC_SHARED(Elem, own);
    SHARED(f32, saved, [STAGES][2 * QUERIES]);
    SHARED(u8, kept, [QUERIES * KEYS / 4]);
    SHARED(u32, odd, [2 * ODD_WORDS]);
    SHARED(f32, factors, [2]);

    const u64 blocks = (p.k_len + KEYS - 1) / KEYS, group = p.heads / p.kv_heads;
    const u64 block = block_index() % blocks, kv_head = block_index() / blocks % p.kv_heads;
    const u64 batch = block_index() / blocks / p.kv_heads, last_head = (kv_head + 1) * group;
    if (batch >= p.batch) return;
    const i64 key = (i64)(block * KEYS), q_len = (i64)p.q_len;
    Scores scores = scores_of(p, bias, mask, key_lengths, batch, kv_head * group);
    const Matrix k_all = matrix(k, p.k_strides, batch, kv_head), v_all = matrix(v, p.v_strides, batch, kv_head);
    // The first query that sees a key of this block by causality.
    const i64 start = p.causal ? max((i64)0, key - p.causal_offset) : 0;

    // Not in registers, which are needed for sums.
    if (threadIdx.x == 0) factors[0] = (f32)p.scale, factors[1] = kept_factor(p);
    Gradients sums;
    clear(sums.head);
    clear(sums.value);
    i64 query = start;
    u64 head = key < scores.k_len && start < q_len ? kv_head * group : last_head;
    int stage = 0;
    if (head < last_head) {
        fetch_keys(own, p, k_all, v_all, key, scores.k_len);
        fetch_queries(own + OWN_SIZE, saved[0], p, q, d_o, lse, delta, batch, head, query);
        cp_async_commit();
    }
    while (head < last_head) {
        const bool is_last = query + QUERIES >= q_len;
        const i64 next_query = is_last ? start : query + QUERIES;
        const u64 next_head = is_last ? head + 1 : head;
        // This tile is there, and all warps are done with the one before.
        cp_async_wait<0>();
        __syncthreads();
        const int next_stage = (stage + 1) % STAGES;
        Elem* const next = own + OWN_SIZE + next_stage * OTHERS_SIZE;
        if (STAGES > 1 && next_head < last_head) {
            fetch_queries(next, saved[next_stage], p, q, d_o, lse, delta, batch, next_head, next_query);
            cp_async_commit();
        }
        const Pairs at = {own, own + OWN_SIZE + stage * OTHERS_SIZE, saved[stage], kept, factors, odd, query, key};
        begin(at, p, scores);
        add_pairs(sums, p, scores, at, matrix(q, p.q_strides, batch, head).from(query),
                  matrix(d_o, p.do_strides, batch, head).from(query), nullptr);
        if (STAGES == 1) {
            __syncthreads();
            if (next_head < last_head) {
                fetch_queries(next, saved[next_stage], p, q, d_o, lse, delta, batch, next_head, next_query);
                cp_async_commit();
            }
        }
        if (next_head != head && next_head < last_head)
            scores = scores_of(p, bias, mask, key_lengths, batch, next_head);
        query = next_query, head = next_head, stage = next_stage;
    }
    if (WITH_HEAD)
        store_rows(dk + (i64)batch * p.dk_strides[0] + (i64)kv_head * p.dk_strides[1], p.dk_strides[2], sums.head, key,
                   p.k_len, (f32)p.scale, p.head_dim);
    if (WITH_VALUE)
        store_rows(dv + (i64)batch * p.dv_strides[0] + (i64)kv_head * p.dv_strides[1], p.dv_strides[2], sums.value, key,
                   p.k_len, p.dropout > 0 ? kept_factor(p) : 1.0f, p.value_dim);
}
#else
// dq of one block of queries, and ds itself as the gradient of the bias (where dbias is not null).
KERNEL(attention_tensor_backward_queries, const Elem* q, const Elem* k, const Elem* v, const Elem* bias,
       const boolean* mask, const i64* key_lengths, const Elem* d_o, const f32* lse, const f32* delta, Elem* dq,
       Elem* dbias, AttentionParams p) {
    DYNAMIC_SHARED(Elem, own);
    SHARED(f32, saved, [2 * QUERIES]);
    SHARED(u8, kept, [QUERIES * KEYS / 4]);
    SHARED(u32, odd, [2 * ODD_WORDS]);
    SHARED(f32, factors, [2]);

    // Blocks of the last queries see the most keys by causality, so they go first.
    const u64 blocks = (p.q_len + QUERIES - 1) / QUERIES;
    const u64 block = blocks - 1 - block_index() % blocks, head = block_index() / blocks % p.heads;
    const u64 batch = block_index() / blocks / p.heads, kv_head = head / (p.heads / p.kv_heads);
    if (batch >= p.batch) return;
    const i64 query = (i64)(block * QUERIES), queries = min((i64)QUERIES, (i64)p.q_len - query);
    const Scores scores = scores_of(p, bias, mask, key_lengths, batch, head);
    const Matrix k_all = matrix(k, p.k_strides, batch, kv_head), v_all = matrix(v, p.v_strides, batch, kv_head);
    // Not in registers, which are needed for sums.
    if (threadIdx.x == 0) factors[0] = (f32)p.scale, factors[1] = kept_factor(p);
    Gradients sums;
    clear(sums.head);
    const i64 end = seen(p, query + queries - 1, scores.k_len);
    if (end > 0) {
        fetch_queries(own, saved, p, q, d_o, lse, delta, batch, head, query);
        fetch_keys(own + OWN_SIZE, p, k_all, v_all, 0, end);
        cp_async_commit();
    }
    const int tiles = (int)((end + KEYS - 1) / KEYS);
    for (int tile = 0; tile < tiles; tile++) {
        const i64 key = (i64)tile * KEYS;
        // This tile is there, and all warps are done with the one before.
        cp_async_wait<0>();
        __syncthreads();
        Elem* const next = own + OWN_SIZE + (tile + 1) % STAGES * OTHERS_SIZE;
        if (STAGES > 1 && tile + 1 < tiles) {
            fetch_keys(next, p, k_all, v_all, key + KEYS, end);
            cp_async_commit();
        }
        const Pairs at = {own, own + OWN_SIZE + tile % STAGES * OTHERS_SIZE, saved, kept, factors, odd, query, key};
        begin(at, p, scores);
        add_pairs(sums, p, scores, at, k_all.from(key), v_all.from(key), dbias);
        if (STAGES == 1) {
            __syncthreads();
            if (tile + 1 < tiles) {
                fetch_keys(next, p, k_all, v_all, key + KEYS, end);
                cp_async_commit();
            }
        }
    }
    if (dbias != nullptr) {
        // Keys of tiles that no query of this block sees have no gradient.
        const i64 written = min((i64)tiles * KEYS, scores.k_len), k_len = (i64)p.k_len;
        for (i64 row = threadIdx.x / WARP; row < queries; row += THREADS / WARP)
            for (i64 at = written + threadIdx.x % WARP; at < k_len; at += WARP) store(dbias + scores.first_weight + (query + row) * k_len + at, 0);
    }
    store_rows(dq + (i64)batch * p.dq_strides[0] + (i64)head * p.dq_strides[1], p.dq_strides[2], sums.head, query,
               p.q_len, (f32)p.scale, p.head_dim);
}
#endif
