// Attention, forward, on tensor cores: f16 and bf16 summed in f32, from architecture 8.0 on. Formulas, shapes and twins:
// src/attention.rs, attention.cu, of which this is the same in results but for the rounding of the weights.
//
// Keys and values arrive by asynchronous copies: values while scores are computed, the next keys while the softmax and
// the second product are. Softmax is in powers of two.
#include "attention_tensor.cuh"

const int TILES = QUERIES / (THREADS / WARP * 16);
const int KEY_TILES = KEYS / 8, VALUE_TILES = VALUE_COLS / 8;

// The fold of a row's maximum or sum over the four lanes that share it.
DEVICE f32 row_max(f32 x) {
UNROLL for (int step = 1; step <= 2; step *= 2) {
        const f32 other = __shfl_xor_sync(FULL, x, step);
        x = other > x ? other : x;
    }
    return x;
}
DEVICE f32 row_sum(f32 x) {
UNROLL for (int step = 1; step <= 2; step *= 2) x += __shfl_xor_sync(FULL, x, step);
    return x;
}

KERNEL(attention_tensor_forward, const Elem* q, const Elem* k, const Elem* v, const Elem* bias, const boolean* mask,
       const i64* key_lengths, Elem* o, f32* lse, AttentionParams p) {
    DYNAMIC_SHARED(Elem, q_tile);
    SHARED(u8, kept, [QUERIES * KEYS / 4]);
    SHARED(u32, odd, [(KEYS + 31) / 32]);
    Elem *k_tile = q_tile + QUERIES * HEAD_ROW, *v_tile = k_tile + KEYS * HEAD_ROW;

    // Blocks of the last queries see the most keys by causality, so they go first.
    const u64 blocks = (p.q_len + QUERIES - 1) / QUERIES;
    u64 at = block_index();
    const u64 block = blocks - 1 - at % blocks;
    at /= blocks;
    const u64 head = at % p.heads, batch = at / p.heads, kv_head = head / (p.heads / p.kv_heads);
    if (batch >= p.batch) return;
    const i64 query = (i64)(block * QUERIES), queries = min((i64)QUERIES, (i64)p.q_len - query);
    const Scores scores = scores_of(p, bias, mask, key_lengths, batch, head);
    const Matrix k_all = matrix(k, p.k_strides, batch, kv_head), v_all = matrix(v, p.v_strides, batch, kv_head);
    const int lane = threadIdx.x % WARP, group = lane / 4, pair = lane % 4 * 2;
    const int warp_row = (int)threadIdx.x / WARP * TILES * 16;
    const f32 scale = (f32)p.scale;

    Fragment sums[TILES][VALUE_TILES];
    clear(sums);
    f32 top[TILES][2], total[TILES][2];
UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int half = 0; half < 2; half++) top[m][half] = -INFINITY, total[m][half] = 0;
    const i64 end = seen(p, query + queries - 1, scores.k_len);
    if (end > 0) {
        fetch_rows<QUERIES, HEAD_COLS>(q_tile, matrix(q, p.q_strides, batch, head).from(query), queries, p.head_dim);
        fetch_rows<KEYS, HEAD_COLS>(k_tile, k_all, end, p.head_dim);
        cp_async_commit();
    }
    for (i64 key = 0; key < end; key += KEYS) {
        const i64 keys = min((i64)KEYS, end - key);
        const bool masked = is_masked(p, query, key + keys - 1);
        // The keys are there, and all warps are done with the values before.
        cp_async_wait<0>();
        __syncthreads();
        fetch_rows<KEYS, VALUE_COLS>(v_tile, v_all.from(key), keys, p.value_dim);
        cp_async_commit();
        if (p.dropout > 0) draw_dropout(p, scores, query, key, kept);
        if (threadIdx.x < (KEYS + 31) / 32) odd[threadIdx.x] = 0;

        // 1. s = scale q k^T + bias, hidden keys at -inf
        Fragment s[TILES][KEY_TILES];
        multiply_rows<HEAD_COLS>(s, q_tile + warp_row * HEAD_ROW, k_tile);
        const bool whole = query + QUERIES <= (i64)p.q_len && key + KEYS <= scores.k_len;
        const bool plain = whole && !p.has_bias && !masked && !is_masked(p, query, key + KEYS - 1);
    UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int n = 0; n < KEY_TILES; n++)
        UNROLL for (int e = 0; e < 4; e++) {
            f32 score = s[m][n][e] * scale;
            if (!plain)
                score = adjusted(p, scores, query + warp_row + 16 * m + group + e / 2 * 8, key + 8 * n + pair + e % 2, score);
            s[m][n][e] = score * LOG2_E;
        }
        // All warps are done with the keys; the next ones may come.
        __syncthreads();
        if (key + KEYS < end) fetch_rows<KEYS, HEAD_COLS>(k_tile, k_all.from(key + KEYS), end - key - KEYS, p.head_dim);
        cp_async_commit();

        // 2. m' = max(m, rowmax s), p = exp(s - m'), l = l exp(m - m') + rowsum p
    UNROLL for (int m = 0; m < TILES; m++)
    UNROLL for (int half = 0; half < 2; half++) {
            f32 now = top[m][half];
        UNROLL for (int n = 0; n < KEY_TILES; n++)
            UNROLL for (int e = 0; e < 2; e++) now = s[m][n][2 * half + e] > now ? s[m][n][2 * half + e] : now;
            now = row_max(now);
            // While a query has seen no key, its weights are e^(-inf - 0).
            const f32 safe = now == -INFINITY ? 0.0f : now;
            const f32 factor = exp2(top[m][half] - safe);
            f32 sum = 0;
        UNROLL for (int n = 0; n < KEY_TILES; n++)
            UNROLL for (int e = 0; e < 2; e++) {
                const f32 weight = exp2(s[m][n][2 * half + e] - safe);
                sum += weight;
                s[m][n][2 * half + e] = weight;
            }
            total[m][half] = total[m][half] * factor + sum;
            top[m][half] = now;
        UNROLL for (int n = 0; n < VALUE_TILES; n++)
            UNROLL for (int e = 0; e < 2; e++) sums[m][n][2 * half + e] *= factor;
        }
        // Kept weights are scaled at the end.
        if (p.dropout > 0) {
        UNROLL for (int m = 0; m < TILES; m++)
        UNROLL for (int n = 0; n < KEY_TILES; n++)
            UNROLL for (int e = 0; e < 4; e++) {
                const int row = warp_row + 16 * m + group + e / 2 * 8, col = 8 * n + pair + e % 2;
                if (!(kept[row * (KEYS / 4) + col / 4] >> col % 4 & 1)) s[m][n][e] = 0;
            }
        }

        // 3. o = o exp(m - m') + dropout(p) v
        cp_async_wait<1>();
        __syncthreads();
        if (masked) {
            set_aside<KEYS, VALUE_COLS>(v_tile, odd);
            __syncthreads();
        }
        add_weighted<VALUE_COLS>(sums, s, v_tile);
        if (masked) add_odd_rows(sums, s, odd, v_all.from(key), p.value_dim);
    }

    // 4. at the end: o / l, lse = m + log l; a query that sees no key has l = 0: o = 0 and lse = -inf
    Elem* o_head = o + (i64)batch * p.o_strides[0] + (i64)head * p.o_strides[1];
UNROLL for (int m = 0; m < TILES; m++)
UNROLL for (int half = 0; half < 2; half++) {
        const f32 sum = row_sum(total[m][half]);
        const i64 row = query + warp_row + 16 * m + group + 8 * half;
        if (row >= (i64)p.q_len) continue;
        const bool is_blind = sum == 0;
        const f32 factor = is_blind ? 0.0f : (p.dropout > 0 ? kept_factor(p) : 1.0f) / sum;
        if (pair == 0)
            lse[(batch * p.heads + head) * p.q_len + row] = is_blind ? -INFINITY : (top[m][half] + log2(sum)) * LN_2;
        store_row(o_head + row * p.o_strides[2], sums[m], half, factor, p.value_dim);
    }
}
