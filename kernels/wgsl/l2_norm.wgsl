// The sum of squares over many tensors: each workgroup sums a chunk of one of them, then one workgroup the chunks' sums.
// Clipping by it: x = x max_norm / (norm + eps) where that factor is below 1, with norm the root of the sum.
// Method and twins: src/l2_norm.rs, src/cpu/l2_norm.rs, cuda/l2_norm.cu.
// Differs from CUDA: there is a launch for each tensor, for want of pointers; squares are of f32, for want of f64.
// include: rows.wgsl

// `len` elements of a tensor, whose chunks' sums start at `first`; in the last stage, `len` sums.
struct L2NormParams { len: u32, first: u32 }
@group(1) @binding(1) var<uniform> p: L2NormParams;

const CHUNK: u32 = 8192u;

// Workgroup i takes chunk i.
@compute @workgroup_size(THREADS)
fn l2_norm_squared(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let chunk = block_index(group, groups);
    let first = chunk * CHUNK;
    if (first >= p.len) { return; }
    var own = 0.0;
    for (var i = first + thread; i < lesser(first + CHUNK, p.len); i += THREADS) {
        let x = load_x(i);
        own += x * x;
    }
    let sum = block_sum(own, thread);
    if (thread == 0u) { store_partial(p.first + chunk, sum); }
}

// One workgroup: the sum of the chunks' sums.
@compute @workgroup_size(THREADS)
fn l2_norm_total(@builtin(local_invocation_index) thread: u32) {
    var own = 0.0;
    for (var run = 0u; run < p.len; run += RUN) {
        var part = 0.0;
        for (var i = run + thread; i < end_of_run(run, p.len); i += THREADS) { part += load_partial(i); }
        own += part;
    }
    let sum = block_sum(own, thread);
    if (thread == 0u) { store_y(0, sum); }
}

struct ClipParams { len: u32, max_norm: f32, eps: f32 }
@group(1) @binding(1) var<uniform> clip: ClipParams;

// Each invocation computes the factor by itself, and scales a word. A norm that is not finite is reported, and nothing is
// scaled by it.
@compute @workgroup_size(THREADS)
fn l2_norm_clip(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let norm = sqrt(load_squared(0u));
    if (!is_finite(norm)) {
        if (word == 0u) { report(bitcast<i32>(norm), 0, 0u); }
        return;
    }
    let factor = clip.max_norm / (norm + clip.eps);
    let first = word * LANES_x;
    if (factor >= 1.0 || first >= clip.len) { return; }
    var values: Values_x;
    for (var lane = 0u; lane < LANES_x; lane++) {
        if (first + lane < clip.len) { values[lane] = load_x(first + lane) * factor; }
    }
    store_word_x(word, pack_x(values));
}
