// Attention, backward: dq and the gradient of the bias, from recomputed weights p = exp(s - lse), and what all gradients
// need of each query; dk and dv are in attention_backward_keys.wgsl.
// delta = rowsum(do * o),  ds = p * (z * (do v^T) - delta),  dv = (z * p)^T do,  dk = scale ds^T q,  dq = scale ds k, with
// the dropout's factors z. Formulas and twins: src/attention.rs, src/cpu/attention_backward.rs, cuda/attention_backward.cu.
//
// Keys and queries have a kernel each, so that every sum belongs to one workgroup and has one order.
//
// Differs from CUDA: lse, delta and the key lengths are one buffer, `saved`, because a kernel has eight at most.
// include: attention_gradient.wgsl

const PUT_LANES: u32 = LANES_dq;
fn put(to: u32, at: u32, x: vec4<f32>, i: u32) {
    var lanes: Values_dq;
    for (var lane = 0u; lane < LANES_dq; lane++) { lanes[lane] = x[i + lane]; }
    store_lanes_dq(at, lanes);
}

const ROW_THREADS = 16u;  // threads that share a query
var<workgroup> partial: array<f32, THREADS>;

// 1. delta[i] = sum over v of do[i, v] o[i, v]: 16 threads for each query. A query that sees no key has an lse of 0.
@compute @workgroup_size(THREADS)
fn attention_delta(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let rows = p.batch * p.heads * p.q_len;
    let block = block_index(group, groups);
    let row = block * (THREADS / ROW_THREADS) + thread / ROW_THREADS;
    let head = row / p.q_len % p.heads;
    let batch = row / p.q_len / p.heads;
    let at = vec4(batch, head, row % p.q_len, 0u);
    let o_at = at * p.o_strides;
    let do_at = at * p.do_strides;
    var sum = 0.0;
    if (row < rows) {
        for (var c = thread % ROW_THREADS; c < p.value_dim; c += ROW_THREADS) {
            let o_value = load_o(o_at.x + o_at.y + o_at.z + c * p.o_strides.w);
            sum += o_value * load_d_o(do_at.x + do_at.y + do_at.z + c * p.do_strides.w);
        }
    }
    partial[thread] = sum;
    workgroupBarrier();
    if (row < rows && thread % ROW_THREADS == 0u) {
        var total = 0.0;
        for (var i = 0u; i < ROW_THREADS; i++) { total += partial[thread + i]; }
        let own_lse = load_lse(row);
        store_saved(row, select(own_lse, 0.0, bitcast<u32>(own_lse) == NEG_INFINITY_BITS));
        store_saved(rows + row, total);
    }
    let item = block * THREADS + thread;
    if (p.has_key_lengths == 1u && item < p.batch) {
        store_saved(2u * rows + item, bitcast<f32>(min(u32(max(load_key_lengths(item), 0)), p.k_len)));
    }
}

// 3. dq = scale ds k of one block of queries, and ds itself as the gradient of the bias (where HAS_DBIAS is 1).
@compute @workgroup_size(THREADS)
fn attention_backward_queries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                              @builtin(local_invocation_index) thread: u32) {
    let slices = max(1u, (p.head_dim + SUM_COLS - 1u) / SUM_COLS);
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
    let do_rows = matrix_from(matrix(OF_DO, p.do_strides, batch, head), query);
    let k_all = matrix(OF_K, p.k_strides, batch, kv_head);
    let v_all = matrix(OF_V, p.v_strides, batch, kv_head);
    let own_query = query + thread / WIDE * 4u;
    let own_col = thread % WIDE * 4u;
    let own_lse = saved_of(0u, scores, own_query);
    let own_delta = saved_of(1u, scores, own_query);
    if (thread == 0u) { atomicStore(&not_finite, 0u); }

    var sums = Sums();
    let end = seen(query + queries - 1u, scores.k_len);
    for (var key = 0u; key < end; key += TILE_COLS) {
        let keys = min(TILE_COLS, end - key);
        let k_rows = matrix_from(k_all, key);
        let masked = is_masked(query, key + keys - 1u);
        let is_whole = !masked && queries == TILE_ROWS && keys == TILE_COLS;
        var s = products_of_rows(q_rows, queries, k_rows, keys, p.head_dim, p.scale, thread);
        s = adjust(scores, own_query, key + own_col, is_whole, false, s);
        let w = Block(weights_of(s.r0, vec4(own_lse.x)), weights_of(s.r1, vec4(own_lse.y)),
                      weights_of(s.r2, vec4(own_lse.z)), weights_of(s.r3, vec4(own_lse.w)));
        var dp = products_of_rows(do_rows, queries, matrix_from(v_all, key), keys, p.value_dim, 1.0, thread);
        if (DROPOUT == 1u) { dp = times(dp, drop_block(scores, own_query, key + own_col)); }
        let ds = Block(gradient_of(w.r0, dp.r0, vec4(own_delta.x)), gradient_of(w.r1, dp.r1, vec4(own_delta.y)),
                       gradient_of(w.r2, dp.r2, vec4(own_delta.z)), gradient_of(w.r3, dp.r3, vec4(own_delta.w)));
        store_weights(ds, thread);
        if (HAS_DBIAS == 1u && slice == 0u) { write_dbias(scores, own_query, key + own_col, end, ds); }
        add_product(&sums, k_rows, slice * SUM_COLS, p.head_dim, keys, 1.0, masked, thread);
    }
    // Keys that no query of this block sees have no gradient.
    if (HAS_DBIAS == 1u && slice == 0u) {
        for (var row = thread / WIDE; row < queries; row += HIGH) {
            for (var key = end + thread % WIDE; key < p.k_len; key += WIDE) {
                store_dbias((scores.first_row + query + row) * p.k_len + key, 0.0);
            }
        }
    }
    let start = batch * p.dq_strides.x + head * p.dq_strides.y + query * p.dq_strides.z;
    put_sums(0u, start, p.dq_strides, queries, slice * SUM_COLS, p.head_dim, &sums, vec4(p.scale), thread);
}

// The gradient of the bias for a thread's pairs, as far as there are queries and keys before `end`.
fn write_dbias(scores: Scores, query: u32, key: u32, end: u32, ds: Block) {
    let at = (scores.first_row + query) * p.k_len + key;
    let left = end - min(end, key);
    if (query < p.q_len) { write_dbias_row(at, left, ds.r0); }
    if (query + 1u < p.q_len) { write_dbias_row(at + p.k_len, left, ds.r1); }
    if (query + 2u < p.q_len) { write_dbias_row(at + 2u * p.k_len, left, ds.r2); }
    if (query + 3u < p.q_len) { write_dbias_row(at + 3u * p.k_len, left, ds.r3); }
}
fn write_dbias_row(at: u32, left: u32, ds: vec4<f32>) {
    if (left > 0u) { store_dbias(at, ds.x); }
    if (left > 1u) { store_dbias(at + 1u, ds.y); }
    if (left > 2u) { store_dbias(at + 2u, ds.z); }
    if (left > 3u) { store_dbias(at + 3u, ds.w); }
}
