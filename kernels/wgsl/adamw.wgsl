// AdamW for one of many tensors.
//   m = lerp(m, g, 1 - beta1)   v = beta2 v + (1 - beta2) g g   p = p (1 - lr decay) - step_size m / (sqrt(v) / .. + eps)
// Formulas and twins: src/adamw.rs, src/cpu/adamw.rs, cuda/adamw.cu.
//
// Differs from CUDA: a launch for each tensor, as buffers have no addresses here that a list could hold. An invocation
// updates the elements of one word of the parameter.

// The scalars of a step, combined on the host.
struct Scalars {
    len: u32,
    grad_scale: f32,
    decay: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    negative_step_size: f32,
    root_bias_correction2: f32,
    eps: f32,
}
@group(1) @binding(1) var<uniform> s: Scalars;

// m and v of element i, updated.
fn moments(i: u32) -> vec2<f32> {
    let g = load_grad(i) * s.grad_scale;
    // Of the two forms of an interpolation, the one that is exact at the nearer end, as PyTorch's `lerp`.
    var m = g - (g - load_exp_avg(i)) * s.beta1;
    if (s.beta1 > s.one_minus_beta1) { m = load_exp_avg(i) + s.one_minus_beta1 * (g - load_exp_avg(i)); }
    let v = load_exp_avg_sq(i) * s.beta2 + s.one_minus_beta2 * g * g;
    store_exp_avg(i, m);
    store_exp_avg_sq(i, v);
    return vec2<f32>(m, v);
}

// The new value of element i of the parameter.
fn updated(i: u32, m: f32, v: f32) -> f32 {
    let denominator = sqrt(v) / s.root_bias_correction2 + s.eps;
    return load_param(i) * s.decay + s.negative_step_size * m / denominator;
}

@compute @workgroup_size(THREADS)
fn adamw(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_param;
    if (first >= s.len) { return; }
    var lanes: Values_param;
    for (var lane = 0u; lane < LANES_param; lane++) {
        let i = first + lane;
        if (i < s.len) {
            let of_i = moments(i);
            lanes[lane] = updated(i, of_i.x, of_i.y);
        }
    }
    store_word_param(word, pack_param(lanes));
}

// The same with the largest v so far in its place.
@compute @workgroup_size(THREADS)
fn adamw_amsgrad(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_param;
    if (first >= s.len) { return; }
    var lanes: Values_param;
    for (var lane = 0u; lane < LANES_param; lane++) {
        let i = first + lane;
        if (i < s.len) {
            let of_i = moments(i);
            // A NaN in either stays.
            var largest = load_max_exp_avg_sq(i);
            if (is_nan(of_i.y) || (!is_nan(largest) && largest < of_i.y)) { largest = of_i.y; }
            store_max_exp_avg_sq(i, largest);
            lanes[lane] = updated(i, of_i.x, largest);
        }
    }
    store_word_param(word, pack_param(lanes));
}
