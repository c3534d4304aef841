// Attention, backward: dq, dk, dv and the gradient of the bias, from recomputed weights p = exp(s - lse).
// delta = rowsum(do * o),  ds = p * (z * (do v^T) - delta),  dv = (z * p)^T do,  dk = scale ds^T q,  dq = scale ds k, with
// the dropout's factors z. Formulas and twins: src/attention.rs, src/cpu/attention_backward.rs.
//
// Keys and queries have a kernel each, so that every sum belongs to one block and has one order. Step 1, delta, is in
// attention_delta.cu.
#include "attention.cuh"

// What a tile of gradients is computed from: lse and delta of its queries, and the dropout's draw.
struct Saved {
    Compute *lse, *delta;
    u8* kept;
};

DEVICE void load_saved(const Saved& saved, const Compute* lse, const Compute* delta, i64 queries) {
    for (int i = threadIdx.x; i < QUERIES; i += THREADS) {
        saved.lse[i] = i < queries ? lse[i] : 0;
        saved.delta[i] = i < queries ? delta[i] : 0;
    }
}

// Scores become weights; a hidden pair has none, whatever the lse of its query is.
DEVICE void weights_of(Compute (&s)[ROWS][COLS], const Saved& saved) {
UNROLL for (int i = 0; i < ROWS; i++) {
        const Compute lse = saved.lse[along_high() + HIGH * i];
    UNROLL for (int j = 0; j < COLS; j++) s[i][j] = s[i][j] == -INFINITY ? (Compute)0 : exp(s[i][j] - lse);
    }
}

// The dropout's factor of a thread's weight (i, j).
DEVICE Compute drop_factor(const u8* kept, int i, int j, Compute factor) {
    const int row = along_high() + HIGH * i, key = along_wide() + WIDE * j;
    return kept[row * (KEYS / 4) + key / 4] >> key % 4 & 1 ? factor : (Compute)0;
}

// 2. ds = p * (z dp - delta), in place of dp. A hidden key may be anything, also NaN; it has no gradient.
DEVICE void gradients_of_scores(const AttentionParams& p, const Compute (&weights)[ROWS][COLS],
                                Compute (&dp)[ROWS][COLS], const Saved& saved) {
    const bool has_dropout = p.dropout > 0;
    const Compute factor = kept_factor(p);
UNROLL for (int i = 0; i < ROWS; i++) {
        const Compute delta = saved.delta[along_high() + HIGH * i];
    UNROLL for (int j = 0; j < COLS; j++) {
            if (has_dropout) dp[i][j] *= drop_factor(saved.kept, i, j, factor);
            dp[i][j] = weights[i][j] == 0 ? (Compute)0 : weights[i][j] * (dp[i][j] - delta);
        }
    }
}

DEVICE void store_tile(Compute* to, const Compute (&values)[ROWS][COLS]) {
UNROLL for (int i = 0; i < ROWS; i++)
UNROLL for (int j = 0; j < COLS; j++)
        to[(along_high() + HIGH * i) * WEIGHT_ROW + along_wide() + WIDE * j] = values[i][j];
}

#define ATTENTION_SHARED                                \
    SHARED(Quad, stage_quads, [STAGE / 4]);             \
    SHARED(Quad, weight_quads, [QUERIES * WEIGHT_ROW / 4]); \
    SHARED(Compute, own_lse, [QUERIES]);                \
    SHARED(Compute, own_delta, [QUERIES]);              \
    SHARED(u8, kept, [QUERIES * KEYS / 4]);             \
    SHARED(u32, not_finite, [1]);                       \
    Compute* stage = (Compute*)stage_quads;             \
    Compute* weights = (Compute*)weight_quads;          \
    const Saved saved = {own_lse, own_delta, kept}

// 3. dv = (z p)^T do and dk = scale ds^T q of one block of keys, over the queries of all heads that share the key head.
KERNEL(attention_backward_keys, const Elem* q, const Elem* k, const Elem* v, const Elem* bias, const boolean* mask,
       const i64* key_lengths, const Elem* d_o, const Compute* lse, const Compute* delta, Elem* dk, Elem* dv,
       AttentionParams p) {
    ATTENTION_SHARED;
    const int HEIGHT = KEYS / HIGH;  // keys of a thread in the sums: neighbours
    const u64 slices = max((u64)1, max((p.value_dim + VALUE_COLS - 1) / VALUE_COLS,
                                       (p.head_dim + HEAD_COLS - 1) / HEAD_COLS));
    const u64 blocks = (p.k_len + KEYS - 1) / KEYS;
    u64 at = block_index();
    const u64 slice = at % slices, block = at / slices % blocks;
    at /= slices * blocks;
    const u64 kv_head = at % p.kv_heads, batch = at / p.kv_heads, group = p.heads / p.kv_heads;
    if (batch >= p.batch) return;
    const i64 key = (i64)(block * KEYS), q_len = (i64)p.q_len;
    const i64 head_dim = (i64)p.head_dim, value_dim = (i64)p.value_dim;
    const i64 head_col = (i64)(slice * HEAD_COLS), value_col = (i64)(slice * VALUE_COLS);
    const Matrix k_rows = matrix(k, p.k_strides, batch, kv_head).from(key);
    const Matrix v_rows = matrix(v, p.v_strides, batch, kv_head).from(key);
    if (threadIdx.x == 0) *not_finite = 0;

    Sums<HEIGHT, HEAD_COLS> dk_sums;
    Sums<HEIGHT, VALUE_COLS> dv_sums;
    dk_sums.clear();
    dv_sums.clear();
    for (u64 head = kv_head * group; head < (kv_head + 1) * group; head++) {
        const Scores scores = scores_of(p, bias, mask, key_lengths, batch, head);
        const i64 keys = min((i64)KEYS, scores.k_len - key);
        if (keys <= 0) break;
        const Matrix q_all = matrix(q, p.q_strides, batch, head), do_all = matrix(d_o, p.do_strides, batch, head);
        const u64 first_row = (batch * p.heads + head) * p.q_len;
        // The first query that sees a key of this block by causality.
        const i64 start = p.causal ? max((i64)0, key - p.causal_offset) : 0;
        for (i64 query = start; query < q_len; query += QUERIES) {
            const i64 queries = min((i64)QUERIES, q_len - query);
            const bool masked = is_masked(p, query, key + keys - 1);
            load_saved(saved, lse + first_row + query, delta + first_row + query, queries);
            if (p.dropout > 0) draw_dropout(p, scores, query, key, kept);
            Compute s[ROWS][COLS], dp[ROWS][COLS];
            const Matrix q_rows = q_all.from(query), do_rows = do_all.from(query);
            products_of_rows(s, q_rows, queries, k_rows, keys, head_dim, (Compute)p.scale, stage);
            adjust(p, scores, query, key, s);
            weights_of(s, saved);
        UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < COLS; j++)
                dp[i][j] = p.dropout > 0 ? s[i][j] * drop_factor(kept, i, j, kept_factor(p)) : s[i][j];
            store_tile(weights, dp);
            add_product<true>(dv_sums, weights, do_rows, value_col, value_dim, queries, 1, masked, stage, not_finite);
            products_of_rows(dp, do_rows, queries, v_rows, keys, value_dim, 1, stage);
            gradients_of_scores(p, s, dp, saved);
            store_tile(weights, dp);
            add_product<true>(dk_sums, weights, q_rows, head_col, head_dim, queries, (Compute)p.scale, masked, stage,
                              not_finite);
        }
    }
    Elem* dk_rows = dk + (i64)batch * p.dk_strides[0] + (i64)kv_head * p.dk_strides[1];
    Elem* dv_rows = dv + (i64)batch * p.dv_strides[0] + (i64)kv_head * p.dv_strides[1];
UNROLL for (int i = 0; i < HEIGHT; i++) {
        const i64 own = key + along_high() * HEIGHT + i;
        if (own >= (i64)p.k_len) continue;
        dk_sums.store_row(i, dk_rows + own * p.dk_strides[2], p.dk_strides[3], head_col, head_dim, 1);
        dv_sums.store_row(i, dv_rows + own * p.dv_strides[2], p.dv_strides[3], value_col, value_dim, 1);
    }
}

// 3. dq = scale ds k of one block of queries, and ds itself as the gradient of the bias (where dbias is not null).
KERNEL(attention_backward_queries, const Elem* q, const Elem* k, const Elem* v, const Elem* bias, const boolean* mask,
       const i64* key_lengths, const Elem* d_o, const Compute* lse, const Compute* delta, Elem* dq, Elem* dbias,
       AttentionParams p) {
    ATTENTION_SHARED;
    const u64 slices = max((u64)1, (p.head_dim + HEAD_COLS - 1) / HEAD_COLS);
    const u64 blocks = (p.q_len + QUERIES - 1) / QUERIES;
    u64 at = block_index();
    const u64 slice = at % slices, block = blocks - 1 - at / slices % blocks;
    at /= slices * blocks;
    const u64 head = at % p.heads, batch = at / p.heads, kv_head = head / (p.heads / p.kv_heads);
    if (batch >= p.batch) return;
    const i64 query = (i64)(block * QUERIES), queries = min((i64)QUERIES, (i64)p.q_len - query);
    const i64 head_col = (i64)(slice * HEAD_COLS), head_dim = (i64)p.head_dim, k_len = (i64)p.k_len;
    const Scores scores = scores_of(p, bias, mask, key_lengths, batch, head);
    const Matrix q_rows = matrix(q, p.q_strides, batch, head).from(query);
    const Matrix do_rows = matrix(d_o, p.do_strides, batch, head).from(query);
    const Matrix k_all = matrix(k, p.k_strides, batch, kv_head), v_all = matrix(v, p.v_strides, batch, kv_head);
    const u64 first_row = (batch * p.heads + head) * p.q_len + (u64)query;
    if (threadIdx.x == 0) *not_finite = 0;
    load_saved(saved, lse + first_row, delta + first_row, queries);
    if (dbias != nullptr) dbias += first_row * p.k_len;
    const bool writes_bias = dbias != nullptr && slice == 0;

    Sums<ROWS, HEAD_COLS> sums;
    sums.clear();
    const i64 end = seen(p, query + queries - 1, scores.k_len);
    for (i64 key = 0; key < end; key += KEYS) {
        const i64 keys = min((i64)KEYS, end - key);
        const Matrix k_rows = k_all.from(key);
        if (p.dropout > 0) draw_dropout(p, scores, query, key, kept);
        Compute s[ROWS][COLS], dp[ROWS][COLS];
        products_of_rows(s, q_rows, queries, k_rows, keys, head_dim, (Compute)p.scale, stage);
        adjust(p, scores, query, key, s);
        weights_of(s, saved);
        products_of_rows(dp, do_rows, queries, v_all.from(key), keys, (i64)p.value_dim, 1, stage);
        gradients_of_scores(p, s, dp, saved);
        store_tile(weights, dp);
        if (writes_bias) {
        UNROLL for (int i = 0; i < ROWS; i++)
        UNROLL for (int j = 0; j < COLS; j++) {
                const i64 row = along_high() + HIGH * i, col = along_wide() + WIDE * j;
                if (row < queries && col < keys) store(dbias + row * k_len + key + col, dp[i][j]);
            }
        }
        const bool masked = is_masked(p, query, key + keys - 1);
        add_product<false>(sums, weights, k_rows, head_col, head_dim, keys, 1, masked, stage, not_finite);
    }
    // Keys that no query of this block sees have no gradient.
    if (writes_bias) {
        for (i64 row = along_high(); row < queries; row += HIGH)
            for (i64 col = end + along_wide(); col < k_len; col += WIDE) store(dbias + row * k_len + col, (Compute)0);
    }
    Elem* dq_rows = dq + (i64)batch * p.dq_strides[0] + (i64)head * p.dq_strides[1] + query * p.dq_strides[2];
UNROLL for (int i = 0; i < ROWS; i++) {
        const int own = along_high() + HIGH * i;
        if (own < queries)
            sums.store_row(i, dq_rows + own * p.dq_strides[2], p.dq_strides[3], head_col, head_dim, (Compute)p.scale);
    }
}
