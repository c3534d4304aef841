// Reductions of a workgroup where the device has subgroups: they stand in for those of prelude.wgsl.
//
// A subgroup reduces the values of its invocations at once, and every invocation then goes through the results of all
// subgroups in their order: two barriers, where a tree has one for each of its levels. Nothing depends on how large a
// subgroup is, or on which invocations it has; on one device the order of additions is always the same.

// The subgroup of an invocation, how many there are, and the invocation's place in it: the host adds these built-in
// values to the entry's parameters, see src/wgpu/source.rs.
var<private> own_subgroup: vec3<u32>;

fn block_sum(x: f32, thread: u32) -> f32 {
    let own = subgroupAdd(x);
    if (own_subgroup.z == 0u) { scratch[own_subgroup.x] = own; }
    workgroupBarrier();
    var sum = scratch[0];
    for (var other = 1u; other < own_subgroup.y; other++) { sum += scratch[other]; }
    // Nobody writes again before all have read.
    workgroupBarrier();
    return sum;
}

fn block_sum2(x: vec2<f32>, thread: u32) -> vec2<f32> {
    let own = subgroupAdd(x);
    if (own_subgroup.z == 0u) { scratch2[own_subgroup.x] = own; }
    workgroupBarrier();
    var sum = scratch2[0];
    for (var other = 1u; other < own_subgroup.y; other++) { sum += scratch2[other]; }
    workgroupBarrier();
    return sum;
}

// Floats as numbers of the same order, NaN above all: what a maximum of floats makes of NaN is up to the driver.
fn rank_of(x: f32) -> u32 {
    let bits = bitcast<u32>(x);
    if (is_nan(x)) { return 0xffffffffu; }
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}
fn of_rank(rank: u32) -> f32 {
    if (rank == 0xffffffffu) { return nan(); }
    return bitcast<f32>(select(~rank, rank & 0x7fffffffu, rank >= 0x80000000u));
}

var<workgroup> scratch_ranks: array<u32, THREADS>;

fn block_max(x: f32, thread: u32) -> f32 {
    let own = subgroupMax(rank_of(x));
    if (own_subgroup.z == 0u) { scratch_ranks[own_subgroup.x] = own; }
    workgroupBarrier();
    var largest = scratch_ranks[0];
    for (var other = 1u; other < own_subgroup.y; other++) { largest = max(largest, scratch_ranks[other]); }
    workgroupBarrier();
    return of_rank(largest);
}
