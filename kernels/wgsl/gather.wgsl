// Reading and writing along one dim at the places that an index of the same rank names: gather, scatter, scatter_add.
// Formulas and twins: src/gather.rs, src/cpu/gather.rs, cuda/gather.cu.
//
// No result depends on the order of threads. Where several elements meet, scatter lets the greatest position claim the
// place (an integer maximum, which has no order), and scatter_add adds in the order of the index: one invocation walks a
// line along the dim, or all that goes to one place after grouping (groups.wgsl).
//
// Differs from CUDA: an output that is added to has one element to a word here, and f16 and bf16 are f32 in it.

// The walk of the index (its shape, with the array's strides but 0 along the dim), the array's stride and size along the
// dim, the index's elements, and how they lie in lines along the dim.
struct GatherParams {
    shape: array<vec4<u32>, 2>,
    strides: array<vec4<u32>, 2>,
    rank: u32,
    stride: u32,
    size: u32,
    n: u32,
    lines: u32,
    len: u32,
    inner: u32,
    // A key that is no place of y: its length.
    none: u32,
}
@group(1) @binding(1) var<uniform> p: GatherParams;

// Where element i of the index lies in the array, but for the dim that it indexes. Wraps, as strides may be negative.
fn base_of(i: u32) -> u32 {
    var offset = 0u;
    var linear = i;
    for (var dim = p.rank; dim > 0u; dim--) {
        let at = dim - 1u;
        let extent = p.shape[at / 4u][at % 4u];
        let outer = linear / extent;
        offset += (linear - outer * extent) * p.strides[at / 4u][at % 4u];
        linear = outer;
    }
    return offset;
}

// Element i of the index; one that is negative is beyond every size.
fn index_at(i: u32) -> u32 { return u32(load_index(i)); }

fn place_of(i: u32) -> u32 { return base_of(i) + index_at(i) * p.stride; }

// Whether element i of the index is inside the dim, with a report where it is not.
fn is_inside(i: u32) -> bool {
    let at = index_at(i);
    if (at >= p.size) { report(i32(at), i32(p.size), i); }
    return at < p.size;
}

// y[i] = x[place(i)], by words of y.
@compute @workgroup_size(THREADS)
fn gather(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_y;
    if (first >= p.n) { return; }
    var lanes: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        let i = first + lane;
        if (i < p.n && is_inside(i)) { lanes[lane] = load_x(place_of(i)); }
    }
    store_word_y(word, pack_y(lanes));
}

// y[place(i)] = src[i], where no two meet.
@compute @workgroup_size(THREADS)
fn scatter(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i < p.n && is_inside(i)) { put_y(place_of(i), load_src(i)); }
}

// 1. winners[place(i)] = 0. `winners` has a place for each of y, and only those that are written count.
@compute @workgroup_size(THREADS)
fn scatter_clear(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i < p.n && is_inside(i)) { put_winners(place_of(i), 0u); }
}
// 2. winners[place(i)] = the greatest i + 1.
@compute @workgroup_size(THREADS)
fn scatter_claim(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i < p.n && index_at(i) < p.size) { raise_winners(place_of(i), i + 1u); }
}
// 3. y[place(i)] = src[i] where i has won.
@compute @workgroup_size(THREADS)
fn scatter_write(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i < p.n && index_at(i) < p.size) {
        let to = place_of(i);
        if (load_winners(to) == i + 1u) { put_y(to, load_src(i)); }
    }
}

// y[place] += src, an invocation for each line of `len` elements along the dim, `inner` apart; no two lines meet.
@compute @workgroup_size(THREADS)
fn scatter_add_lines(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    let line = block_index(group, groups) * THREADS + thread;
    if (line >= p.lines) { return; }
    let outer = line / p.inner;
    let first = outer * p.len * p.inner + (line - outer * p.inner);
    let base = base_of(first);
    for (var step = 0u; step < p.len; step++) {
        let i = first + step * p.inner;
        if (is_inside(i)) {
            let to = base + index_at(i) * p.stride;
            store_y(to, load_y(to) + load_src(i));
        }
    }
}

// keys[i] = place(i), or `none` where it is outside.
@compute @workgroup_size(THREADS)
fn scatter_add_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i >= p.n) { return; }
    store_keys(i, p.none);
    if (is_inside(i)) { store_keys(i, place_of(i)); }
}
// y[key] += src[order] over the places with that key, in order: an invocation for each key, at its first place.
@compute @workgroup_size(THREADS)
fn scatter_add_groups(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) thread: u32) {
    let i = block_index(group, groups) * THREADS + thread;
    if (i >= p.n) { return; }
    let key = load_keys(i);
    if (key == p.none) { return; }
    if (i > 0u) { if (load_keys(i - 1u) == key) { return; } }
    var total = load_y(key);
    for (var at = i; at < p.n; at++) {
        if (load_keys(at) != key) { break; }
        total += load_src(load_order(at));
    }
    store_y(key, total);
}
