// Stochastic gradient descent with momentum for one of many tensors.
//   g = grad grad_scale + weight_decay p    b = momentum b + (1 - dampening) g    p = p - lr (g + momentum b, b or g)
// Formulas and twins: src/sgd.rs, src/cpu/sgd.rs, cuda/sgd.cu.
//
// Differs from CUDA: a launch for each tensor, as buffers have no addresses here that a list could hold. An invocation
// updates the elements of one word of the parameter.

struct SgdParams {
    len: u32,
    nesterov: u32,
    first_step: u32,
    negative_lr: f32,
    momentum: f32,
    fresh: f32,
    weight_decay: f32,
    grad_scale: f32,
}
@group(1) @binding(1) var<uniform> s: SgdParams;

// The gradient of element i with what weight decay adds to it.
fn gradient(i: u32) -> f32 { return load_grad(i) * s.grad_scale + s.weight_decay * load_param(i); }

@compute @workgroup_size(THREADS)
fn sgd(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
       @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_param;
    if (first >= s.len) { return; }
    var lanes: Values_param;
    for (var lane = 0u; lane < LANES_param; lane++) {
        let i = first + lane;
        if (i < s.len) { lanes[lane] = load_param(i) + s.negative_lr * gradient(i); }
    }
    store_word_param(word, pack_param(lanes));
}

@compute @workgroup_size(THREADS)
fn sgd_momentum(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_param;
    if (first >= s.len) { return; }
    var lanes: Values_param;
    for (var lane = 0u; lane < LANES_param; lane++) {
        let i = first + lane;
        if (i < s.len) {
            let g = gradient(i);
            // In the first step the buffers hold nothing yet.
            var b = g;
            if (s.first_step == 0u) { b = s.momentum * load_buffer(i) + s.fresh * g; }
            store_buffer(i, b);
            lanes[lane] = load_param(i) + s.negative_lr * select(b, g + s.momentum * b, s.nesterov != 0u);
        }
    }
    store_word_param(word, pack_param(lanes));
}
