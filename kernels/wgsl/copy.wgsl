// Moving elements: strided to contiguous, into a part of a larger tensor, from one dtype to another, and filling.
// Formulas and twins: src/copy.rs, src/cpu/copy.rs, cuda/copy.cu.
//
// The host adds `convert`, from an element of x to one of y.

struct CopyParams {
    len: u32, rank: u32, y_offset: u32, words: u32,
    shape: array<vec4<u32>, 2>,
    x_strides: array<vec4<i32>, 2>,
    y_strides: array<vec4<i32>, 2>,
}
@group(1) @binding(1) var<uniform> p: CopyParams;

struct Places { x: u32, y: u32 }
fn places_of(linear: u32) -> Places {
    var at = Places(0u, p.y_offset);
    var left = linear;
    for (var dim = i32(p.rank) - 1; dim >= 0; dim--) {
        let size = p.shape[dim / 4][dim % 4];
        let outer = left / size;
        let i = left - outer * size;
        at.x += i * u32(p.x_strides[dim / 4][dim % 4]);
        at.y += i * u32(p.y_strides[dim / 4][dim % 4]);
        left = outer;
    }
    return at;
}

// y[i] = convert(x[places]): y is contiguous and written whole, a word by each invocation.
@compute @workgroup_size(THREADS)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_y;
    if (first >= p.len) { return; }
    var values: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        if (first + lane < p.len) { values[lane] = convert(load_x(places_of(first + lane).x)); }
    }
    store_word_y(word, pack_y(values));
}

// y[places] = x[places]: other elements of the words stay as they are.
@compute @workgroup_size(THREADS)
fn copy_into(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i >= p.len) { return; }
    let at = places_of(i);
    put_y(at.y, load_x(at.x));
}

struct FillParams { words: u32, word: u32 }
@group(1) @binding(1) var<uniform> f: FillParams;

// Every word of y is the same.
@compute @workgroup_size(THREADS)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    if (word < f.words) { store_word_y(word, f.word); }
}

// From floats to integers: truncated, held within the range, NaN as 0.
fn f32_to_i32(x: f32) -> i32 {
    if (is_nan(x)) { return 0; }
    if (x >= 2147483648.0) { return 2147483647; }
    if (x <= -2147483648.0) { return bitcast<i32>(0x80000000u); }
    return i32(x);
}
fn f32_to_u32(x: f32) -> u32 {
    if (is_nan(x) || x <= 0.0) { return 0u; }
    if (x >= 4294967296.0) { return 0xffffffffu; }
    return u32(x);
}
fn f32_to_u8(x: f32) -> u32 {
    if (is_nan(x) || x <= 0.0) { return 0u; }
    return select(u32(x), 255u, x >= 255.0);
}
fn f32_to_bool(x: f32) -> u32 { return u32((bitcast<u32>(x) & 0x7fffffffu) != 0u); }
