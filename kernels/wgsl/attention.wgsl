// Attention, forward: o and lse of one block of queries, with the online softmax over blocks of keys.
// s = scale q k^T + bias,  lse = log sum exp s,  o = dropout(exp(s - lse)) v;  q [B, H, Tq, D], k [B, Hkv, Tk, D],
// v [B, Hkv, Tk, Dv]. Formulas and twins: src/attention.rs, src/cpu/attention.rs, cuda/attention.cu.
//
// Differs from CUDA: the threads of a row tell each other its maximum through workgroup memory, and its sum at the end;
// hidden scores are NEG_LARGE, because a driver need not honour infinities.
// include: attention_tile.wgsl

const PUT_LANES: u32 = LANES_o;
fn put(to: u32, at: u32, x: vec4<f32>, i: u32) {
    var lanes: Values_o;
    for (var lane = 0u; lane < LANES_o; lane++) { lanes[lane] = x[i + lane]; }
    store_lanes_o(at, lanes);
}

// The keys of a batch, the same for all threads: what is read from a buffer may differ, as far as a browser knows.
var<workgroup> shared_k_len: u32;
fn key_length(batch: u32, thread: u32) -> u32 {
    if (p.has_key_lengths == 0u) { return p.k_len; }
    if (thread == 0u) { shared_k_len = min(u32(max(load_key_lengths(batch), 0)), p.k_len); }
    return workgroupUniformLoad(&shared_k_len);
}

// A number for each of a thread's rows, for all threads of these rows, until they pass another barrier.
fn share(x: vec4<f32>, thread: u32) {
    workgroupBarrier();
    weights[thread / WIDE * WEIGHT_ROW + thread % WIDE] = x;
    workgroupBarrier();
}
fn shared_by(part: u32, thread: u32) -> vec4<f32> { return weights[thread / WIDE * WEIGHT_ROW + part]; }

fn larger4(x: vec4<f32>, y: vec4<f32>) -> vec4<f32> { return select(x, y, y > x); }
fn max_of_rows(s: Block) -> vec4<f32> {
    let t = transposed(s);
    return larger4(larger4(t.r0, t.r1), larger4(t.r2, t.r3));
}
fn sum_of_rows(s: Block) -> vec4<f32> {
    let t = transposed(s);
    return (t.r0 + t.r1) + (t.r2 + t.r3);
}

// e^(s - top), and 0 for hidden keys.
fn weights_below(s: vec4<f32>, top: f32) -> vec4<f32> {
    return select(exp4(s - vec4(top)), vec4(0.0), s == vec4(NEG_LARGE));
}

@compute @workgroup_size(THREADS)
fn attention_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    // Blocks of the last queries see the most keys by causality, so they go first.
    let slices = max(1u, (p.value_dim + SUM_COLS - 1u) / SUM_COLS);
    let blocks = (p.q_len + TILE_ROWS - 1u) / TILE_ROWS;
    let index = block_index(group, groups);
    let slice = index % slices;
    let query = (blocks - 1u - index / slices % blocks) * TILE_ROWS;
    let head = index / (slices * blocks) % p.heads;
    let batch = index / (slices * blocks) / p.heads;
    if (batch >= p.batch) { return; }
    let kv_head = head / (p.heads / p.kv_heads);
    let queries = min(TILE_ROWS, p.q_len - query);
    let scores = scores_of(batch, head, key_length(batch, thread));
    let q_rows = matrix_from(matrix(OF_Q, p.q_strides, batch, head), query);
    let k_all = matrix(OF_K, p.k_strides, batch, kv_head);
    let v_all = matrix(OF_V, p.v_strides, batch, kv_head);
    let own_query = query + thread / WIDE * 4u;
    let own_col = thread % WIDE * 4u;
    if (thread == 0u) { atomicStore(&not_finite, 0u); }

    var sums = Sums();
    var top = vec4(NEG_LARGE);  // the running maximum of each row
    var total = vec4(0.0);      // this thread's part of its sum
    let end = seen(query + queries - 1u, scores.k_len);
    for (var key = 0u; key < end; key += TILE_COLS) {
        let keys = min(TILE_COLS, end - key);
        let masked = is_masked(query, key + keys - 1u);
        // 1. s = scale q k^T + bias, hidden keys at NEG_LARGE
        var s = products_of_rows(q_rows, queries, matrix_from(k_all, key), keys, p.head_dim, p.scale, thread);
        let is_whole = !masked && queries == TILE_ROWS && keys == TILE_COLS;
        s = adjust(scores, own_query, key + own_col, is_whole, false, s);
        // 2. m' = max(m, rowmax s), p = exp(s - m'), l = l exp(m - m') + rowsum p
        let before = top;
        share(max_of_rows(s), thread);
        for (var part = 0u; part < WIDE; part++) { top = larger4(top, shared_by(part, thread)); }
        workgroupBarrier();
        // While a query has seen no key, its maximum is NEG_LARGE and its factor 1, of sums that are 0.
        let factors = exp4(before - top);
        s = Block(weights_below(s.r0, top.x), weights_below(s.r1, top.y), weights_below(s.r2, top.z),
                  weights_below(s.r3, top.w));
        total = total * factors + sum_of_rows(s);
        if (DROPOUT == 1u) { s = times(s, drop_block(scores, own_query, key + own_col)); }
        store_weights(s, thread);
        // 3. o = o exp(m - m') + dropout(p) v
        scale_rows(&sums, factors);
        add_product(&sums, matrix_from(v_all, key), slice * SUM_COLS, p.value_dim, keys, 1.0, masked, thread);
    }

    // 4. at the end: o / l, lse = m + log l; a query that sees no key has l = 0: o = 0 and lse = -inf
    share(total, thread);
    total = vec4(0.0);
    for (var part = 0u; part < WIDE; part++) { total += shared_by(part, thread); }
    let is_blind = total == vec4(0.0);
    if (slice == 0u && thread % WIDE == 0u) {
        for (var i = 0u; i < 4u; i++) {
            if (own_query + i >= p.q_len) { continue; }
            store_lse(scores.first_row + own_query + i, select(top[i] + log(total[i]), -inf(), is_blind[i]));
        }
    }
    let start = batch * p.o_strides.x + head * p.o_strides.y + query * p.o_strides.z;
    let factors = select(1.0 / total, vec4(0.0), is_blind);
    put_sums(0u, start, p.o_strides, queries, slice * SUM_COLS, p.value_dim, &sums, factors, thread);
}

// Bias and mask as one: the bias, and negative infinity where the mask hides. Sizes are 1 where both are broadcast.
@compute @workgroup_size(THREADS)
fn attention_hiding(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    let n = p.hiding_sizes;
    if (i >= n.x * n.y * n.z * n.w) { return; }
    let at = vec4(i / (n.w * n.z * n.y), i / (n.w * n.z) % n.y, i / n.w % n.z, i % n.w);
    let bias_at = at * p.bias_strides;
    let mask_at = at * p.mask_strides;
    let is_seen = load_mask(mask_at.x + mask_at.y + mask_at.z + mask_at.w) != 0u;
    store_hiding(i, select(-inf(), load_bias(bias_at.x + bias_at.y + bias_at.z + bias_at.w), is_seen));
}
