// Dropout: y[i] = x[i] * scale where number i of the stream is below the threshold, else 0; scale = 1 / (1 - p).
// Formulas and twins: src/dropout.rs, src/cpu/dropout.rs, cuda/dropout.cu.
// include: philox.wgsl
// include: words.wgsl

struct DropoutParams {
    stream: Stream,
    len: u32,
    threshold: u32,
    scale: f32,
}
@group(1) @binding(1) var<uniform> p: DropoutParams;

@compute @workgroup_size(THREADS)
fn dropout_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups) * THREADS + thread;
    let first = 4u * block;
    if (first >= p.len) { return; }
    let words = random_block(p.stream, vec2<u32>(block, 0u));
    var values: array<Value_y, 4>;
    for (var i = 0u; i < 4u; i++) {
        if (first + i < p.len && happens(words[i], p.threshold)) {
            values[i] = load_x(first + i) * p.scale;
        }
    }
    store_four(first, p.len, values);
}
