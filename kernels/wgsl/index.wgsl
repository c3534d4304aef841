// Rows picked by a list of ids, sums back into them, and one-hot rows.
// Formulas, shapes and twins: src/index.rs, src/cpu/index.rs, cuda/index.cu.
//
// Sums have a fixed order: ids are grouped (groups.wgsl), and each row adds up its own in the order of the list, in runs
// that are summed first and then added to the total, as on the host. Runs of long groups are summed side by side, so
// that a frequent id does not keep one invocation busy while others wait.
//
// Differs from CUDA: an output that is picked is written by words. One that is added to has one element to a word.

struct IndexParams {
    outer: u32,
    size: u32,
    n: u32,
    inner: u32,
    fresh: u32,
    // An id whose rows are left out; 2^32 - 1, which is no id, for none.
    padding: u32,
    // The elements of y.
    len: u32,
}
@group(1) @binding(1) var<uniform> p: IndexParams;

// Id j; one that is negative is beyond every size.
fn id_at(j: u32) -> u32 { return u32(load_ids(j)); }

// Whether id j is below the size, with a report where it is not.
fn is_inside(j: u32) -> bool {
    let id = id_at(j);
    if (id >= p.size) { report(i32(id), i32(p.size), j); }
    return id < p.size;
}

// Ids of rows that have no elements are checked alone.
@compute @workgroup_size(THREADS)
fn check_ids(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) thread: u32) {
    let j = block_index(group, groups) * THREADS + thread;
    if (j < p.n) { _ = is_inside(j); }
}

// y[o, j, i] = x[o, ids[j], i].
@compute @workgroup_size(THREADS)
fn pick(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    if (word * LANES_y >= p.len) { return; }
    var lanes: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        let e = word * LANES_y + lane;
        let row = e / p.inner;
        let outer = row / p.n;
        let j = row - outer * p.n;
        if (e < p.len && is_inside(j)) {
            lanes[lane] = load_x((outer * p.size + id_at(j)) * p.inner + (e - row * p.inner));
        }
    }
    store_word_y(word, pack_y(lanes));
}

// y[j, v] = 1 where ids[j] = v, else 0.
@compute @workgroup_size(THREADS)
fn one_hot(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    if (word * LANES_y >= p.len) { return; }
    var lanes: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        let e = word * LANES_y + lane;
        let row = e / p.size;
        if (e < p.len && is_inside(row)) { lanes[lane] = Value_y(u32(id_at(row) == e - row * p.size)); }
    }
    store_word_y(word, pack_y(lanes));
}

// Rows added up before their sum goes into the total.
const RUN: u32 = 64u;

// The sum of rows order[first..end] of src, which starts at `source`, the invocation's column.
fn sum_run(source: u32, first: u32, end: u32) -> Elem {
    var part = Elem(0);
    for (var at = first; at < end; at++) {
        part += load_src(source + load_order(at) * p.inner);
    }
    return part;
}

// keys[j] = ids[j], or `size` where it is outside.
@compute @workgroup_size(THREADS)
fn index_keys(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let j = block_index(group, groups) * THREADS + thread;
    if (j >= p.n) { return; }
    store_keys(j, p.size);
    if (is_inside(j)) { store_keys(j, id_at(j)); }
}

// The runs of a group start at its first place and every RUN from there. In a chunk of RUN places start at most two runs
// of groups longer than one run: a further run of the group that is there already, and the first run of another. So run
// sums are kept at slots 2 chunk and 2 chunk + 1.
fn slot_of(first: u32, group_start: u32) -> u32 { return first / RUN * 2u + u32(first == group_start); }
fn slots() -> u32 { return (p.n + RUN - 1u) / RUN * 2u; }

// runs[outer, slot, :] = the sum of the run that belongs to the slot.
@compute @workgroup_size(THREADS)
fn index_runs(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let unit = block_index(group, groups) * THREADS + thread;
    if (unit >= p.outer * slots() * p.inner) { return; }
    // 1. The run, if there is one.
    let row = unit / p.inner;
    let col = unit - row * p.inner;
    let outer = row / slots();
    let slot = row - outer * slots();
    let chunk = slot / 2u * RUN;
    let last = min(chunk + RUN, p.n) - 1u;
    let is_first = slot % 2u == 1u;
    let id = load_keys(select(chunk, last, is_first));
    if (id >= p.size || id == p.padding) { return; }
    let start = load_starts(id);
    let end = load_starts(id + 1u);
    if (end - start <= RUN || select(start == chunk, start < chunk, is_first)) { return; }
    var first = start;
    if (!is_first) { first += (chunk - start + RUN - 1u) / RUN * RUN; }
    if (first >= end) { return; }
    // 2. Its sum.
    store_runs(unit, sum_run(outer * p.n * p.inner + col, first, min(first + RUN, end)));
}

// y[o, id, :] += the sum of the rows of src that have the id; the old contents do not count where p.fresh is 1.
@compute @workgroup_size(THREADS)
fn index_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let unit = block_index(group, groups) * THREADS + thread;
    if (unit >= p.len) { return; }
    let row = unit / p.inner;
    let col = unit - row * p.inner;
    let outer = row / p.size;
    let id = row - outer * p.size;
    let start = load_starts(id);
    let end = select(load_starts(id + 1u), start, id == p.padding);
    if (start == end && p.fresh == 0u) { return; }
    var total = Elem(0);
    if (p.fresh == 0u) { total = load_y(unit); }
    let source = outer * p.n * p.inner + col;
    for (var first = start; first < end; first += RUN) {
        if (end - start <= RUN) {
            total += sum_run(source, first, end);
        } else {
            total += load_runs((outer * slots() + slot_of(first, start)) * p.inner + col);
        }
    }
    store_y(unit, total);
}
