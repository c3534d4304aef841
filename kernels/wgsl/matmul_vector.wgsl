// The product of matmul.wgsl where A has few rows or B few columns: what matters is to read the large operand, W, once.
//
// COUNT vectors x are multiplied with W: C[i, o] = sum over k of x[i, k] * W[o, k], or C[o, i] where W is A. With
// neighbours along k, 32 threads sum ROWS places o and divide k; else each thread has four places o and groups of 32
// threads divide k. See src/matmul.rs; twin: cuda/matmul_vector.cu.
//
// Differs from CUDA: sums of several threads meet in workgroup memory, because nothing is known of subgroups, and C takes
// whole sums of 32 bits: the host has them packed by matmul_reduce.
//
// Definitions: THREADS; COUNT is 1, 2, 4 or 8, no less than the vectors; W_IS_B and W_FAST_K are 0 or 1. W is bound as w,
// the vectors as x.
// include: matmul_tile.wgsl

const WARP = 32u;  // neighbours that work on one place
const WARPS = THREADS / WARP;
const ROWS = 2u;
const OUTERS = select(WARP * V, WARPS * ROWS, W_FAST_K == 1u);

var<workgroup> partial: array<vec4<Compute>, THREADS>;

// Both operands by their roles: where they start, how they are stepped through, and how many places there are.
struct Roles { w: u32, w_outer: u32, w_k: u32, x: u32, x_count: u32, x_k: u32, outers: u32, count: u32, first: u32 }

fn roles_of(at: Place) -> Roles {
    let start = batch_offsets(at.item);
    if (W_IS_B == 1u) {
        return Roles(start.b, p.b_strides.y, p.b_strides.x, start.a, p.a_strides.x, p.a_strides.y, p.n, p.m, at.col);
    }
    return Roles(start.a, p.a_strides.x, p.a_strides.y, start.b, p.b_strides.y, p.b_strides.x, p.m, p.n, at.row);
}

// A number for each vector.
struct PerVector { low: vec4<Compute>, high: vec4<Compute> }

// Place k of vector i. Vectors that do not exist repeat the last one and are not written.
fn load_vector(r: Roles, i: u32, k: u32) -> Compute {
    return load_x(r.x + min(i, r.count - 1u) * r.x_count + k * r.x_k);
}

fn load_vectors(r: Roles, k: u32) -> PerVector {
    var v = PerVector();
    v.low.x = load_vector(r, 0u, k);
    if (COUNT > 1u) { v.low.y = load_vector(r, 1u, k); }
    if (COUNT > 2u) { v.low.z = load_vector(r, 2u, k); v.low.w = load_vector(r, 3u, k); }
    if (COUNT > 4u) {
        v.high.x = load_vector(r, 4u, k);
        v.high.y = load_vector(r, 5u, k);
        v.high.z = load_vector(r, 6u, k);
        v.high.w = load_vector(r, 7u, k);
    }
    return v;
}

// Writes C of vector `i` and place `outer`, in the order that belongs to their roles.
fn write_sum(at: Place, i: u32, outer: u32, sum: Compute) {
    let row = select(outer, i, W_IS_B == 1u);
    let col = select(i, outer, W_IS_B == 1u);
    if (row >= p.m || col >= p.n) { return; }
    let part = select(at.item, at.split * p.batch + at.item, SPLIT == 1u);
    let to = (part * p.m + row) * p.n + col;
    var lanes: Values_y;
    lanes[0] = sum;
    if (SPLIT == 0u) { lanes[0] = finish(sum, to, col); }
    store(to, lanes);
}

// The sum over the 32 threads of a place, scaled, accumulated, with the bias: four vectors from `i` on.
fn write_rows(at: Place, thread: u32, outer: u32, i: u32, sums: vec4<Compute>) {
    let lane = thread % WARP;
    workgroupBarrier();
    partial[thread] = sums;
    workgroupBarrier();
    for (var step = WARP / 2u; step > 0u; step /= 2u) {
        if (lane < step) { partial[thread] += partial[thread + step]; }
        workgroupBarrier();
    }
    if (lane < 4u && i + lane < COUNT) { write_sum(at, i + lane, outer, partial[thread - lane][lane]); }
}

// Neighbours along k lie closest.
fn sum_rows(at: Place, r: Roles, thread: u32) {
    // 2. Each thread sums its part of k. Places that do not exist repeat the last one and are not written.
    let outer = r.first + thread / WARP * ROWS;
    let row_0 = r.w + min(outer, r.outers - 1u) * r.w_outer;
    let row_1 = r.w + min(outer + 1u, r.outers - 1u) * r.w_outer;
    var sums_0 = PerVector();
    var sums_1 = PerVector();
    for (var k = at.k_first + thread % WARP; k < at.k_end; k += WARP) {
        let w_0 = load_w(row_0 + k * r.w_k);
        let w_1 = load_w(row_1 + k * r.w_k);
        let v = load_vectors(r, k);
        sums_0 = PerVector(sums_0.low + w_0 * v.low, sums_0.high + w_0 * v.high);
        sums_1 = PerVector(sums_1.low + w_1 * v.low, sums_1.high + w_1 * v.high);
    }

    // 3. The sum over threads, scaled, accumulated, with the bias, rounded once.
    write_rows(at, thread, outer, 0u, sums_0.low);
    write_rows(at, thread, outer + 1u, 0u, sums_1.low);
    if (COUNT > 4u) {
        write_rows(at, thread, outer, 4u, sums_0.high);
        write_rows(at, thread, outer + 1u, 4u, sums_1.high);
    }
}

// The sums of four places for each vector.
struct Columns {
    v0: vec4<Compute>, v1: vec4<Compute>, v2: vec4<Compute>, v3: vec4<Compute>,
    v4: vec4<Compute>, v5: vec4<Compute>, v6: vec4<Compute>, v7: vec4<Compute>,
}

// The places of W that a thread has: every 32nd from its number on.
fn load_places(r: Roles, outer: u32, k: u32) -> vec4<Compute> {
    var row = vec4<Compute>();
    let place = r.w + outer * r.w_outer + k * r.w_k;
    let left = r.outers - min(r.outers, outer);
    if (left > 0u) { row.x = load_w(place); }
    if (left > WARP) { row.y = load_w(place + WARP * r.w_outer); }
    if (left > 2u * WARP) { row.z = load_w(place + 2u * WARP * r.w_outer); }
    if (left > 3u * WARP) { row.w = load_w(place + 3u * WARP * r.w_outer); }
    return row;
}

// The sum over groups of threads in order, scaled, accumulated, with the bias: vector `i`.
fn write_columns(at: Place, r: Roles, thread: u32, i: u32, sums: vec4<Compute>) {
    workgroupBarrier();
    partial[thread] = sums;
    workgroupBarrier();
    if (thread < WARP * V) {
        var sum = Compute(0);
        for (var part = 0u; part < WARPS; part++) { sum += partial[part * WARP + thread % WARP][thread / WARP]; }
        write_sum(at, i, r.first + thread, sum);
    }
}

// Neighbours along o lie closest.
fn sum_columns(at: Place, r: Roles, thread: u32) {
    // 2. Each group of threads sums its part of k.
    let outer = r.first + thread % WARP;
    var s = Columns();
    for (var k = at.k_first + thread / WARP; k < at.k_end; k += WARPS) {
        let row = load_places(r, outer, k);
        let factor = load_vectors(r, k);
        s.v0 += factor.low.x * row;
        if (COUNT > 1u) { s.v1 += factor.low.y * row; }
        if (COUNT > 2u) { s.v2 += factor.low.z * row; s.v3 += factor.low.w * row; }
        if (COUNT > 4u) {
            s.v4 += factor.high.x * row;
            s.v5 += factor.high.y * row;
            s.v6 += factor.high.z * row;
            s.v7 += factor.high.w * row;
        }
    }

    // 3. The sum over groups of threads in order, scaled, accumulated, with the bias, rounded once.
    write_columns(at, r, thread, 0u, s.v0);
    if (COUNT > 1u) { write_columns(at, r, thread, 1u, s.v1); }
    if (COUNT > 2u) {
        write_columns(at, r, thread, 2u, s.v2);
        write_columns(at, r, thread, 3u, s.v3);
    }
    if (COUNT > 4u) {
        write_columns(at, r, thread, 4u, s.v4);
        write_columns(at, r, thread, 5u, s.v5);
        write_columns(at, r, thread, 6u, s.v6);
        write_columns(at, r, thread, 7u, s.v7);
    }
}

@compute @workgroup_size(THREADS)
fn matmul_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) thread: u32) {
    // 1. The places of this workgroup, and both operands by their roles.
    let at = place_of(block_index(group, groups), select(OUTERS, COUNT, W_IS_B == 1u), select(COUNT, OUTERS, W_IS_B == 1u));
    if (at.item >= p.batch) { return; }
    let roles = roles_of(at);
    if (W_FAST_K == 1u) {
        sum_rows(at, roles, thread);
    } else {
        sum_columns(at, roles, thread);
    }
}
