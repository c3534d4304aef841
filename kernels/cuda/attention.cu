// Attention, forward: o and lse of one block of queries, with the online softmax over blocks of keys.
// s = scale q k^T + bias,  lse = log sum exp s,  o = dropout(exp(s - lse)) v;  q [B, H, Tq, D], k [B, Hkv, Tk, D],
// v [B, Hkv, Tk, Dv]. Formulas and twins: src/attention.rs, src/cpu/attention.rs.
#include "attention.cuh"

// Threads that share a query in the softmax.
const int PARTS = THREADS / QUERIES;

// The running maximum of a query, and its thread's part of the sum.
struct Softmax {
    Compute max, sum;
};

// Step 2 for one query: scores become weights; gives the factor by which earlier sums shrink. A thread takes every
// PARTS-th group of four keys.
DEVICE Compute update(Softmax& state, Compute* scores, bool has_dropout, const u8* kept, Compute kept_factor) {
    const int part = (int)threadIdx.x % PARTS;
    Compute top = state.max;
    for (int group = part; group < KEYS / 4; group += PARTS) {
        const Quad quad = *(const Quad*)(scores + 4 * group);
    UNROLL for (int d = 0; d < 4; d++) top = quad.v[d] > top ? quad.v[d] : top;
    }
UNROLL for (int step = PARTS / 2; step > 0; step /= 2) {
        const Compute other = __shfl_xor_sync(FULL, top, step);
        top = other > top ? other : top;
    }
    // While a query has seen no key, its weights are e^(-inf - 0).
    const Compute safe = top == -INFINITY ? (Compute)0 : top;
    Compute sum = 0;
    for (int group = part; group < KEYS / 4; group += PARTS) {
        Quad quad = *(const Quad*)(scores + 4 * group);
        const u32 bits = has_dropout ? kept[group] : 0;
    UNROLL for (int d = 0; d < 4; d++) {
            const Compute weight = exp(quad.v[d] - safe);
            sum += weight;
            quad.v[d] = !has_dropout ? weight : bits >> d & 1 ? weight * kept_factor : (Compute)0;
        }
        *(Quad*)(scores + 4 * group) = quad;
    }
    const Compute factor = exp(state.max - safe);
    state.sum = state.sum * factor + sum;
    state.max = top;
    return factor;
}

KERNEL(attention_forward, const Elem* q, const Elem* k, const Elem* v, const Elem* bias, const boolean* mask,
       const i64* key_lengths, Elem* o, Compute* lse, AttentionParams p) {
    SHARED(Quad, stage_quads, [STAGE / 4]);
    SHARED(Quad, weight_quads, [QUERIES * WEIGHT_ROW / 4]);
    SHARED(Compute, factors, [QUERIES]);
    SHARED(u8, kept, [QUERIES * KEYS / 4]);
    SHARED(u32, not_finite, [1]);
    Compute* stage = (Compute*)stage_quads;
    Compute* weights = (Compute*)weight_quads;

    // Blocks of the last queries see the most keys by causality, so they go first.
    const u64 slices = max((u64)1, (p.value_dim + VALUE_COLS - 1) / VALUE_COLS);
    const u64 blocks = (p.q_len + QUERIES - 1) / QUERIES;
    u64 at = block_index();
    const u64 slice = at % slices, block = blocks - 1 - at / slices % blocks;
    at /= slices * blocks;
    const u64 head = at % p.heads, batch = at / p.heads, kv_head = head / (p.heads / p.kv_heads);
    if (batch >= p.batch) return;
    const i64 query = (i64)(block * QUERIES), queries = min((i64)QUERIES, (i64)p.q_len - query);
    const i64 first_col = (i64)(slice * VALUE_COLS), value_dim = (i64)p.value_dim;
    const Scores scores = scores_of(p, bias, mask, key_lengths, batch, head);
    const Matrix q_rows = matrix(q, p.q_strides, batch, head).from(query);
    const Matrix k_all = matrix(k, p.k_strides, batch, kv_head), v_all = matrix(v, p.v_strides, batch, kv_head);
    const bool has_dropout = p.dropout > 0;
    const int row = (int)threadIdx.x / PARTS;  // the softmax's query of this thread
    if (threadIdx.x == 0) *not_finite = 0;

    Sums<ROWS, VALUE_COLS> sums;
    sums.clear();
    Softmax state = {-INFINITY, 0};
    const i64 end = seen(p, query + queries - 1, scores.k_len);
    for (i64 key = 0; key < end; key += KEYS) {
        const i64 keys = min((i64)KEYS, end - key);
        // 1. s = scale q k^T + bias, hidden keys at -inf
        Compute s[ROWS][COLS];
        products_of_rows(s, q_rows, queries, k_all.from(key), keys, (i64)p.head_dim, (Compute)p.scale, stage);
        adjust(p, scores, query, key, s);
    UNROLL for (int i = 0; i < ROWS; i++)
    UNROLL for (int j = 0; j < COLS; j++)
            weights[(along_high() + HIGH * i) * WEIGHT_ROW + along_wide() + WIDE * j] = s[i][j];
        if (has_dropout) draw_dropout(p, scores, query, key, kept);
        __syncthreads();
        // 2. m' = max(m, rowmax s), p = exp(s - m'), l = l exp(m - m') + rowsum p
        const Compute factor =
            update(state, weights + row * WEIGHT_ROW, has_dropout, kept + row * (KEYS / 4), kept_factor(p));
        if (threadIdx.x % PARTS == 0) factors[row] = factor;
        __syncthreads();
        // 3. o = o exp(m - m') + dropout(p) v
    UNROLL for (int i = 0; i < ROWS; i++) sums.scale_row(i, factors[along_high() + HIGH * i]);
        const bool masked = is_masked(p, query, key + keys - 1);
        add_product<false>(sums, weights, v_all.from(key), first_col, value_dim, keys, 1, masked, stage, not_finite);
    }

    // 4. at the end: o / l, lse = m + log l; a query that sees no key has l = 0: o = 0 and lse = -inf
UNROLL for (int step = PARTS / 2; step > 0; step /= 2) state.sum += __shfl_xor_sync(FULL, state.sum, step);
    __syncthreads();
    if (threadIdx.x % PARTS == 0) {
        const bool is_blind = state.sum == 0;
        factors[row] = is_blind ? (Compute)0 : 1 / state.sum;
        if (slice == 0 && row < queries)
            lse[(batch * p.heads + head) * p.q_len + query + row] = is_blind ? -INFINITY : state.max + log(state.sum);
    }
    __syncthreads();
    Elem* o_rows = o + (i64)batch * p.o_strides[0] + (i64)head * p.o_strides[1] + query * p.o_strides[2];
UNROLL for (int i = 0; i < ROWS; i++) {
        const int own = along_high() + HIGH * i;
        if (own < queries)
            sums.store_row(i, o_rows + own * p.o_strides[2], p.o_strides[3], first_col, value_dim, factors[own]);
    }
}
