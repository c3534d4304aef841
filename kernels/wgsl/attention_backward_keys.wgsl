// Attention, backward: dk and dv of one block of keys. Formulas: attention_backward.wgsl; twin: cuda/attention_backward.cu.
//
// Differs from CUDA: a file of its own, because its results have other names than those of the queries' kernel. Rows of a
// tile are keys and columns queries. Where registers do not hold both sums, each has a launch of its own.
//
// Definition: PART is DK, DV or BOTH.
// include: attention_gradient.wgsl

const DK = 0u;
const DV = 1u;
const BOTH = 2u;
const PUT_LANES: u32 = LANES_dk;
fn put(to: u32, at: u32, x: vec4<f32>, i: u32) {
    var lanes: Values_dk;
    for (var lane = 0u; lane < LANES_dk; lane++) { lanes[lane] = x[i + lane]; }
    if (to == DK) { store_lanes_dk(at, lanes); } else { store_lanes_dv(at, lanes); }
}

// 3. dv = (z p)^T do and dk = scale ds^T q of one block of keys, over the queries of all heads that share the key head.
@compute @workgroup_size(THREADS)
fn attention_backward_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                           @builtin(local_invocation_index) thread: u32) {
    let dim = max(select(p.head_dim, 0u, PART == DV), select(p.value_dim, 0u, PART == DK));
    let slices = max(1u, (dim + SUM_COLS - 1u) / SUM_COLS);
    let blocks = (p.k_len + TILE_ROWS - 1u) / TILE_ROWS;
    let index = block_index(group, groups);
    let first_col = index % slices * SUM_COLS;
    let key = index / slices % blocks * TILE_ROWS;
    let kv_head = index / (slices * blocks) % p.kv_heads;
    let batch = index / (slices * blocks) / p.kv_heads;
    if (batch >= p.batch) { return; }
    let heads = p.heads / p.kv_heads;
    let k_len = key_length(batch, thread);
    let keys = min(TILE_ROWS, k_len - min(k_len, key));
    let k_rows = matrix_from(matrix(OF_K, p.k_strides, batch, kv_head), key);
    let v_rows = matrix_from(matrix(OF_V, p.v_strides, batch, kv_head), key);
    let own_key = key + thread / WIDE * 4u;
    if (thread == 0u) { atomicStore(&not_finite, 0u); }

    var dk_sums = Sums();
    var dv_sums = Sums();
    // The first query that sees a key of this block by causality.
    let start = select(0u, u32(max(0, i32(key) - p.causal_offset)), p.causal == 1u);
    for (var head = kv_head * heads; head < select(kv_head, kv_head + 1u, keys > 0u) * heads; head++) {
        let scores = scores_of(batch, head, k_len);
        let q_all = matrix(OF_Q, p.q_strides, batch, head);
        let do_all = matrix(OF_DO, p.do_strides, batch, head);
        for (var query = start; query < p.q_len; query += TILE_COLS) {
            let queries = min(TILE_COLS, p.q_len - query);
            let q_rows = matrix_from(q_all, query);
            let do_rows = matrix_from(do_all, query);
            let own_query = query + thread % WIDE * 4u;
            let masked = is_masked(query, key + keys - 1u);
            let is_whole = !masked && queries == TILE_COLS && keys == TILE_ROWS;
            let own_lse = saved_of(0u, scores, own_query);
            let own_delta = saved_of(1u, scores, own_query);
            var s = products_of_rows(k_rows, keys, q_rows, queries, p.head_dim, p.scale, thread);
            s = adjust(scores, own_query, own_key, is_whole, true, s);
            let w = Block(weights_of(s.r0, own_lse), weights_of(s.r1, own_lse), weights_of(s.r2, own_lse),
                          weights_of(s.r3, own_lse));
            var z = Block();
            if (DROPOUT == 1u) { z = transposed(drop_block(scores, own_query, own_key)); }
            if (PART != DK) {
                if (DROPOUT == 1u) { store_weights(times(w, z), thread); } else { store_weights(w, thread); }
                add_product(&dv_sums, do_rows, first_col, p.value_dim, queries, 1.0, masked, thread);
            }
            if (PART == DV) { continue; }
            var dp = products_of_rows(v_rows, keys, do_rows, queries, p.value_dim, 1.0, thread);
            if (DROPOUT == 1u) { dp = times(dp, z); }
            store_weights(Block(gradient_of(w.r0, dp.r0, own_delta), gradient_of(w.r1, dp.r1, own_delta),
                                gradient_of(w.r2, dp.r2, own_delta), gradient_of(w.r3, dp.r3, own_delta)), thread);
            add_product(&dk_sums, q_rows, first_col, p.head_dim, queries, p.scale, masked, thread);
        }
    }
    let rows = min(TILE_ROWS, p.k_len - key);
    if (PART != DV) {
        let start = batch * p.dk_strides.x + kv_head * p.dk_strides.y + key * p.dk_strides.z;
        put_sums(DK, start, p.dk_strides, rows, first_col, p.head_dim, &dk_sums, vec4(1.0), thread);
    }
    if (PART != DK) {
        let start = batch * p.dv_strides.x + kv_head * p.dv_strides.y + key * p.dv_strides.z;
        put_sums(DV, start, p.dv_strides, rows, first_col, p.value_dim, &dv_sums, vec4(1.0), thread);
    }
}
