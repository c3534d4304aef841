// y = the places of all x that are not 0, in order; what of y they do not fill is 0.
//
// The elements are cut into parts, one for each workgroup: how many each has, how many come before it, then their places.
// Twins: src/index.rs, src/cpu/index.rs, cuda/nonzero.cu.
// include: block_scan.wgsl

struct NonzeroParams {
    // Of n elements the places of `size`.
    size: u32,
    n: u32,
    parts: u32,
    part_len: u32,
}
@group(1) @binding(1) var<uniform> p: NonzeroParams;

// Neighbouring elements that an invocation looks at together.
const ITEMS: u32 = 4u;

// NaN is true, whatever the device makes of comparisons with one.
fn is_true_f32(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) != 0u; }

// Bit i tells whether element first + i is not 0.
fn truths(first: u32, end: u32) -> u32 {
    var bits = 0u;
    for (var i = 0u; i < ITEMS; i++) {
        if (first + i < end && is_true(load_x(first + i))) { bits |= 1u << i; }
    }
    return bits;
}

// counts[part] = how many of its elements are not 0.
@compute @workgroup_size(THREADS)
fn nonzero_counts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) thread: u32) {
    let part = block_index(group, groups);
    if (part >= p.parts) { return; }
    let end = min((part + 1u) * p.part_len, p.n);
    var count = 0u;
    for (var first = part * p.part_len + thread * ITEMS; first < end; first += THREADS * ITEMS) {
        count += countOneBits(truths(first, end));
    }
    let found = block_scan(count, thread);
    if (thread == 0u) { store_counts(part, found.all); }
}

// counts[part] = how many come before it, and counts[parts] = all of them; by one workgroup.
@compute @workgroup_size(THREADS)
fn nonzero_starts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) thread: u32) {
    if (block_index(group, groups) > 0u) { return; }
    var carry = 0u;
    for (var first = 0u; first < p.parts; first += THREADS) {
        let part = first + thread;
        var count = 0u;
        if (part < p.parts) { count = load_counts(part); }
        let found = block_scan(count, thread);
        if (part < p.parts) { store_counts(part, carry + found.before); }
        carry += found.all;
    }
    if (thread == 0u) { store_counts(p.parts, carry); }
}

@compute @workgroup_size(THREADS)
fn nonzero(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) thread: u32) {
    let part = block_index(group, groups);
    if (part >= p.parts) { return; }
    let end = min((part + 1u) * p.part_len, p.n);
    var next = load_counts(part);
    for (var tile = part * p.part_len; tile < end; tile += THREADS * ITEMS) {
        let first = tile + thread * ITEMS;
        let bits = truths(first, end);
        let found = block_scan(countOneBits(bits), thread);
        var place = next + found.before;
        for (var i = 0u; i < ITEMS; i++) {
            if ((bits >> i & 1u) == 1u) {
                if (place < p.size) { store_y(place, first + i); }
                place++;
            }
        }
        next += found.all;
    }
    for (var i = load_counts(p.parts) + part * THREADS + thread; i < p.size; i += p.parts * THREADS) { store_y(i, 0u); }
}
