// What the kernels of attention's backward share: what was saved of each query, and gradients of scores.
// See attention_backward.wgsl; twin: cuda/attention_backward.cu.
// include: attention_tile.wgsl

// What was saved: lse of every query, delta of every query, and the key length of every batch.
fn saved_number(which: u32, scores: Scores, query: u32) -> f32 {
    var value = 0.0;
    if (query < p.q_len) { value = load_saved(which * p.batch * p.heads * p.q_len + scores.first_row + query); }
    return value;
}
// Of four neighbouring queries.
fn saved_of(which: u32, scores: Scores, query: u32) -> vec4<f32> {
    return vec4(saved_number(which, scores, query), saved_number(which, scores, query + 1u),
                saved_number(which, scores, query + 2u), saved_number(which, scores, query + 3u));
}

// The keys of a batch, the same for all threads: what is read from a buffer may differ, as far as a browser knows.
var<workgroup> shared_k_len: u32;
fn key_length(batch: u32, thread: u32) -> u32 {
    if (p.has_key_lengths == 0u) { return p.k_len; }
    if (thread == 0u) { shared_k_len = bitcast<u32>(load_saved(2u * p.batch * p.heads * p.q_len + batch)); }
    return workgroupUniformLoad(&shared_k_len);
}

// Scores become weights; a hidden pair has none, whatever the lse of its query is.
fn weights_of(s: vec4<f32>, lse: vec4<f32>) -> vec4<f32> {
    return select(exp4(s - lse), vec4(0.0), s == vec4(NEG_LARGE));
}

// 2. ds = p * (z dp - delta), given z dp. A hidden key may be anything, also NaN; it has no gradient.
fn gradient_of(weights: vec4<f32>, dp: vec4<f32>, delta: vec4<f32>) -> vec4<f32> {
    return select(weights * (dp - delta), vec4(0.0), weights == vec4(0.0));
}
