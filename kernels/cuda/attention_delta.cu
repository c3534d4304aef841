// Attention, backward, step 1: delta[i] = sum over v of do[i, v] o[i, v], a warp for each query. Formulas and twins:
// src/attention.rs, src/cpu/attention_backward.rs. The further steps of every variant read it.
#include "attention.cuh"

KERNEL(attention_delta, const Elem* o, const Elem* d_o, Compute* delta, AttentionParams p) {
    const u64 rows = p.batch * p.heads * p.q_len;
    const u64 row = thread_index() / WARP;
    // Whole warps leave, so those that stay are complete.
    if (row >= rows) return;
    const u64 query = row % p.q_len, head = row / p.q_len % p.heads, batch = row / p.q_len / p.heads;
    const Elem* o_row = matrix(o, p.o_strides, batch, head).from((i64)query).data;
    const Elem* do_row = matrix(d_o, p.do_strides, batch, head).from((i64)query).data;
    Compute sum = 0;
    for (i64 c = threadIdx.x % WARP; c < (i64)p.value_dim; c += WARP)
        sum += load(o_row + c * p.o_strides[3]) * load(do_row + c * p.do_strides[3]);
    sum = warp_fold<Sum>(sum);
    if (threadIdx.x % WARP == 0) delta[row] = sum;
}
