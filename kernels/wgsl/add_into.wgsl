// Adding elements to strided elements of a tensor: y[places] += the sum of x[places + inside], where no two places of y are
// the same; `inside` are the dims along which y does not move, `n_inside` elements.
// Formula and twins: src/copy.rs, src/cpu/copy.rs, cuda/copy.cu.
//
// Differs from CUDA: y has one element to a word, and f16 and bf16 are f32 in it until all is added.

struct AddParams {
    shape: array<vec4<u32>, 2>,
    x_strides: array<vec4<u32>, 2>,
    y_strides: array<vec4<u32>, 2>,
    inside_shape: array<vec4<u32>, 2>,
    inside_strides: array<vec4<u32>, 2>,
    len: u32,
    rank: u32,
    inside_rank: u32,
    n_inside: u32,
    x_offset: u32,
    y_offset: u32,
}
@group(1) @binding(1) var<uniform> p: AddParams;

struct Places {
    x: u32,
    y: u32,
}

// Wraps, as strides may be negative.
fn places_of(i: u32) -> Places {
    var at = Places(p.x_offset, p.y_offset);
    var linear = i;
    for (var dim = p.rank; dim > 0u; dim--) {
        let d = dim - 1u;
        let extent = p.shape[d / 4u][d % 4u];
        let outer = linear / extent;
        let along = linear - outer * extent;
        at.x += along * p.x_strides[d / 4u][d % 4u];
        at.y += along * p.y_strides[d / 4u][d % 4u];
        linear = outer;
    }
    return at;
}

// Where element k of those inside is, from the first.
fn inside(k: u32) -> u32 {
    var offset = 0u;
    var linear = k;
    for (var dim = p.inside_rank; dim > 0u; dim--) {
        let d = dim - 1u;
        let extent = p.inside_shape[d / 4u][d % 4u];
        let outer = linear / extent;
        offset += (linear - outer * extent) * p.inside_strides[d / 4u][d % 4u];
        linear = outer;
    }
    return offset;
}

@compute @workgroup_size(THREADS)
fn add_into(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i >= p.len) { return; }
    let at = places_of(i);
    var total = load_y(at.y);
    for (var k = 0u; k < p.n_inside; k++) { total += load_x(at.x + inside(k)); }
    store_y(at.y, total);
}

var<workgroup> parts: array<Elem, THREADS>;

// The same with a workgroup for each place of y, where much is added to each.
@compute @workgroup_size(THREADS)
fn add_into_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups);
    if (i >= p.len) { return; }
    let at = places_of(i);
    var part = Elem(0);
    for (var k = thread; k < p.n_inside; k += THREADS) { part += load_x(at.x + inside(k)); }
    parts[thread] = part;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        if (thread < step) { parts[thread] += parts[thread + step]; }
        workgroupBarrier();
    }
    if (thread == 0u) { store_y(at.y, load_y(at.y) + parts[0]); }
}
