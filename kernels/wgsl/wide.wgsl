// Elements that share words, to one element a word and back. See src/wgpu/wide.rs.

struct WideParams { len: u32 }
@group(1) @binding(1) var<uniform> p: WideParams;

// y[i] = x[i], one element to a word.
@compute @workgroup_size(THREADS)
fn unpack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i < p.len) { store_y(i, load_x(i)); }
}

// A word of y from its elements in x; beyond the last there are zeros.
@compute @workgroup_size(THREADS)
fn pack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_y;
    if (first >= p.len) { return; }
    var values: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        if (first + lane < p.len) { values[lane] = load_x(first + lane); }
    }
    store_word_y(word, pack_y(values));
}
