// Reductions over any dims of an input with any strides: the ways through memory.
//
//   y[kept] = finish(fold over reduced of x[kept, reduced])     x: kept and reduced dims in any order in memory
//
// reduce_rows    some lanes for each output: reduced elements are neighbours, or nothing is
// reduce_columns neighbouring threads for neighbouring outputs: kept elements are neighbours
// reduce_rows_parts, reduce_columns_parts, reduce_parts
//                where few outputs have many elements, each part of them goes to a workgroup of its own, which keeps its
//                accumulator, and the last one merges them
//
// The kernel's own file includes this one and has the op: `Acc`, `start`, `acc_of` an element, `acc_of_four` elements a
// step apart, `merge`, `finish`, and how an accumulator is kept in words. The host adds `Compute`, what load_x gives, and
// `Out`, what the output is made of. Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cu.
// Differs from CUDA: there is no entry for packs, because elements are read by words anyway.

// Sizes and strides of up to 8 dims, outermost first. Unused places have size 1 and stride 0.
struct Dims { shape: array<vec4<u32>, 2>, strides: array<vec4<u32>, 2> }
struct ReduceParams {
    rows: u32,
    cols: u32,
    // How outputs and their elements are shared out: `lanes` threads for each output of a part, of `part_len` elements.
    lanes: u32,
    parts: u32,
    part_len: u32,
    kept_rank: u32,
    reduced_rank: u32,
    argument: f32,  // of a norm its order, of a variance what it divides by
    root: f32,  // of a norm what the sum is raised to
    kept: Dims,
    reduced: Dims,
}
@group(1) @binding(1) var<uniform> p: ReduceParams;

// Groups of four elements that are folded before the result goes into the total, so that chains of additions stay short.
const RUN: u32 = 64u;

// Where element i of the walk is; strides are negative modulo 2^32.
fn kept_place(i: u32) -> u32 {
    var rest = i;
    var offset = 0u;
    for (var dim = p.kept_rank; dim > 1u; dim -= 1u) {
        let at = dim - 1u;
        let outer = rest / p.kept.shape[at / 4u][at % 4u];
        offset += (rest - outer * p.kept.shape[at / 4u][at % 4u]) * p.kept.strides[at / 4u][at % 4u];
        rest = outer;
    }
    return offset + rest * p.kept.strides[0][0];
}
fn reduced_place(i: u32) -> u32 {
    var rest = i;
    var offset = 0u;
    for (var dim = p.reduced_rank; dim > 1u; dim -= 1u) {
        let at = dim - 1u;
        let outer = rest / p.reduced.shape[at / 4u][at % 4u];
        offset += (rest - outer * p.reduced.shape[at / 4u][at % 4u]) * p.reduced.strides[at / 4u][at % 4u];
        rest = outer;
    }
    return offset + rest * p.reduced.strides[0][0];
}

// Elements first, first + step, ... below `end` of the output whose first element is at `origin`.
fn fold_steps(origin: u32, first: u32, end: u32, step: u32) -> Acc {
    var total = start();
    for (var run = first; run < end; run += 4u * RUN * step) {
        var part = start();
        for (var i = run; i < run + 4u * RUN * step && i < end; i += 4u * step) {
            if (i + 3u * step < end) {
                let v = vec4<Compute>(load_x(origin + reduced_place(i)), load_x(origin + reduced_place(i + step)),
                                      load_x(origin + reduced_place(i + 2u * step)),
                                      load_x(origin + reduced_place(i + 3u * step)));
                part = merge(part, acc_of_four(v, i, step));
            } else {
                for (var j = i; j < end; j += step) { part = merge(part, acc_of(load_x(origin + reduced_place(j)), j)); }
            }
        }
        total = merge(total, part);
    }
    return total;
}

// What of the work is a thread's: a lane of a part of an output. The lanes of an output are `distance` threads apart.
struct Work { row: u32, part: u32, lane: u32, distance: u32 }
fn row_work(block: u32, thread: u32) -> Work {
    let row = block / p.parts * (THREADS / p.lanes) + thread / p.lanes;
    return Work(row, block % p.parts, thread % p.lanes, 1u);
}
// A workgroup has THREADS / lanes neighbouring outputs.
fn column_work(block: u32, thread: u32) -> Work {
    let width = THREADS / p.lanes;
    return Work(block / p.parts * width + thread % width, block % p.parts, thread / width, width);
}
fn is_last(work: Work) -> bool { return work.row < p.rows && work.lane == 0u; }

// The merge over the lanes of an output; lane 0 has it.
var<workgroup> lane_accs: array<Acc, THREADS>;
fn merge_lanes(acc: Acc, work: Work, thread: u32) -> Acc {
    lane_accs[thread] = acc;
    workgroupBarrier();
    for (var half = p.lanes / 2u; half > 0u; half /= 2u) {
        if (work.lane < half) { lane_accs[thread] = merge(lane_accs[thread], lane_accs[thread + half * work.distance]); }
        workgroupBarrier();
    }
    return lane_accs[thread];
}

fn fold(work: Work, thread: u32) -> Acc {
    let begin = work.part * p.part_len;
    let end = select(p.cols, begin + p.part_len, begin + p.part_len < p.cols);
    var acc = start();
    if (work.row < p.rows) { acc = fold_steps(kept_place(work.row), begin + work.lane, end, p.lanes); }
    return merge_lanes(acc, work, thread);
}

@compute @workgroup_size(THREADS)
fn reduce_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) thread: u32) {
    let work = row_work(block_index(group, groups), thread);
    let acc = fold(work, thread);
    if (is_last(work)) { store_y(work.row, finish(acc)); }
}
@compute @workgroup_size(THREADS)
fn reduce_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) thread: u32) {
    let work = column_work(block_index(group, groups), thread);
    let acc = fold(work, thread);
    if (is_last(work)) { store_y(work.row, finish(acc)); }
}

@compute @workgroup_size(THREADS)
fn reduce_rows_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    let work = row_work(block_index(group, groups), thread);
    let acc = fold(work, thread);
    if (is_last(work)) { save_acc(work.row * p.parts + work.part, acc); }
}
@compute @workgroup_size(THREADS)
fn reduce_columns_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(local_invocation_index) thread: u32) {
    let work = column_work(block_index(group, groups), thread);
    let acc = fold(work, thread);
    if (is_last(work)) { save_acc(work.row * p.parts + work.part, acc); }
}

// `lanes` threads for each output.
@compute @workgroup_size(THREADS)
fn reduce_parts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups) * (THREADS / p.lanes) + thread / p.lanes;
    let work = Work(row, 0u, thread % p.lanes, 1u);
    var acc = start();
    if (row < p.rows) {
        for (var part = work.lane; part < p.parts; part += p.lanes) { acc = merge(acc, saved_acc(row * p.parts + part)); }
    }
    acc = merge_lanes(acc, work, thread);
    if (is_last(work)) { store_y(row, finish(acc)); }
}
