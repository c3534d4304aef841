// C[.., m, n] = alpha * sum over k of A[.., m, k] * B[.., k, n] + beta * C[.., m, n] + bias[n].
//
// A residual or an activation may follow. A and B have any strides, C is row-major. Formulas and twins: src/matmul.rs,
// src/cpu/matmul.rs, cuda/matmul.cu. A workgroup computes a tile of TILE x TILE; its threads keep blocks of 4 x 4 in
// registers, LANE_TILE / 4 along each side. Panels of A and B lie in workgroup memory with k outermost; the next ones arrive
// in registers while the present ones are multiplied.
//
// Differs from CUDA: a panel lies in memory once, not twice, as tiles of 128 would need more than the 16 KiB that WebGPU
// promises; sums are named, because a register cannot be indexed and drivers need not unroll loops; a thread fetches
// four neighbours along m or n whatever the layout, because a vector in workgroup memory may only be written as a whole.
//
// Definitions: TILE, STEP_K and THREADS with TILE * STEP_K = 4 * THREADS; LANE_TILE is 4 or 8, with a thread for each block;
// A_FAST_K and B_FAST_K are 1 where neighbours along k lie closest, else 0.
// include: matmul_tile.wgsl

// One more group than there are elements keeps stores of neighbouring k on different banks.
const ROW_GROUPS = TILE / V + 1u;
const LANES = TILE / LANE_TILE;  // threads along each side of the tile
const GROUPS = LANE_TILE / V;    // blocks that a thread has along each side

var<workgroup> a_panel: array<vec4<Compute>, STEP_K * ROW_GROUPS>;
var<workgroup> b_panel: array<vec4<Compute>, STEP_K * ROW_GROUPS>;

// What a thread fetches of a panel: four places along m or n (`outer`) from `outer` on, at place `k`.
struct Panel { outer: u32, k: u32, start: u32, outer_stride: u32, step_stride: u32, outer_left: u32 }

fn panel_of(thread: u32, fast_k: bool, start: u32, outer_first: u32, outers: u32, outer_stride: u32, k_first: u32,
            k_stride: u32) -> Panel {
    var x: Panel;
    x.outer = select(thread % (TILE / V), thread / STEP_K, fast_k) * V;
    x.k = select(thread / (TILE / V), thread % STEP_K, fast_k);
    x.start = start + (outer_first + x.outer) * outer_stride + (k_first + x.k) * k_stride;
    x.outer_stride = outer_stride;
    x.step_stride = STEP_K * k_stride;
    x.outer_left = outers - min(outers, outer_first + x.outer);
    return x;
}

// Reads the panel of the next STEP_K places, of which `k_left` exist; what does not exist is 0.
fn fetch_a(x: Panel, k_left: u32) -> vec4<Compute> {
    var held = vec4<Compute>();
    let left = select(0u, x.outer_left, x.k < k_left);
    if (left > 0u) { held.x = load_a(x.start); }
    if (left > 1u) { held.y = load_a(x.start + x.outer_stride); }
    if (left > 2u) { held.z = load_a(x.start + 2u * x.outer_stride); }
    if (left > 3u) { held.w = load_a(x.start + 3u * x.outer_stride); }
    return held;
}

fn fetch_b(x: Panel, k_left: u32) -> vec4<Compute> {
    var held = vec4<Compute>();
    let left = select(0u, x.outer_left, x.k < k_left);
    if (left > 0u) { held.x = load_b(x.start); }
    if (left > 1u) { held.y = load_b(x.start + x.outer_stride); }
    if (left > 2u) { held.z = load_b(x.start + 2u * x.outer_stride); }
    if (left > 3u) { held.w = load_b(x.start + 3u * x.outer_stride); }
    return held;
}

// Sums of 4 x 4 neighbours, a row each.
struct Block { r0: vec4<Compute>, r1: vec4<Compute>, r2: vec4<Compute>, r3: vec4<Compute> }
// The sums of a thread: blocks of the upper rows and, in tiles of 8 x 8 for each thread, of the lower ones.
struct Sums { b00: Block, b01: Block, b10: Block, b11: Block }

// Adds the products at place `k` of the panels.
fn add_step(sums: ptr<function, Sums>, k: u32, lane_row: u32, lane_col: u32) {
    let x = a_panel[k * ROW_GROUPS + lane_row];
    let y = b_panel[k * ROW_GROUPS + lane_col];
    (*sums).b00.r0 += x.x * y;
    (*sums).b00.r1 += x.y * y;
    (*sums).b00.r2 += x.z * y;
    (*sums).b00.r3 += x.w * y;
    if (GROUPS == 2u) {
        let x_low = a_panel[k * ROW_GROUPS + LANES + lane_row];
        let y_right = b_panel[k * ROW_GROUPS + LANES + lane_col];
        (*sums).b01.r0 += x.x * y_right;
        (*sums).b01.r1 += x.y * y_right;
        (*sums).b01.r2 += x.z * y_right;
        (*sums).b01.r3 += x.w * y_right;
        (*sums).b10.r0 += x_low.x * y;
        (*sums).b10.r1 += x_low.y * y;
        (*sums).b10.r2 += x_low.z * y;
        (*sums).b10.r3 += x_low.w * y;
        (*sums).b11.r0 += x_low.x * y_right;
        (*sums).b11.r1 += x_low.y * y_right;
        (*sums).b11.r2 += x_low.z * y_right;
        (*sums).b11.r3 += x_low.w * y_right;
    }
}

fn write_block(at: Place, row: u32, col: u32, sums: Block) {
    write_sums(at, row, col, sums.r0);
    write_sums(at, row + 1u, col, sums.r1);
    write_sums(at, row + 2u, col, sums.r2);
    write_sums(at, row + 3u, col, sums.r3);
}

@compute @workgroup_size(THREADS)
fn matmul_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                  @builtin(local_invocation_index) thread: u32) {
    // 1. The tile of this workgroup, and the part of each thread: 32 neighbours cover 4 x 8 threads of it.
    let at = place_of(block_index(group, groups), TILE, TILE);
    if (at.item >= p.batch) { return; }
    let lane_row = thread / 32u / (LANES / 8u) * 4u + thread % 32u / 8u;
    let lane_col = thread / 32u % (LANES / 8u) * 8u + thread % 8u;
    let start = batch_offsets(at.item);
    var a_next = panel_of(thread, A_FAST_K == 1u, start.a, at.row, p.m, p.a_strides.x, at.k_first, p.a_strides.y);
    var b_next = panel_of(thread, B_FAST_K == 1u, start.b, at.col, p.n, p.b_strides.y, at.k_first, p.b_strides.x);
    let a_own = a_next.k * ROW_GROUPS + a_next.outer / V;
    let b_own = b_next.k * ROW_GROUPS + b_next.outer / V;
    var sums = Sums();

    // 2. Sum over k: put the panels that have arrived, fetch the next, multiply the present ones.
    var a_held = fetch_a(a_next, at.k_end - at.k_first);
    var b_held = fetch_b(b_next, at.k_end - at.k_first);
    for (var k = at.k_first; k < at.k_end; k += STEP_K) {
        workgroupBarrier();
        a_panel[a_own] = a_held;
        b_panel[b_own] = b_held;
        workgroupBarrier();
        a_next.start += a_next.step_stride;
        b_next.start += b_next.step_stride;
        let k_left = at.k_end - min(at.k_end, k + STEP_K);
        a_held = fetch_a(a_next, k_left);
        b_held = fetch_b(b_next, k_left);
        for (var i = 0u; i < STEP_K; i += 4u) {
            add_step(&sums, i, lane_row, lane_col);
            add_step(&sums, i + 1u, lane_row, lane_col);
            add_step(&sums, i + 2u, lane_row, lane_col);
            add_step(&sums, i + 3u, lane_row, lane_col);
        }
    }

    // 3. Scale, accumulate, add the bias and round once.
    let row = at.row + lane_row * V;
    let col = at.col + lane_col * V;
    write_block(at, row, col, sums.b00);
    if (GROUPS == 2u) {
        write_block(at, row, col + LANES * V, sums.b01);
        write_block(at, row + LANES * V, col, sums.b10);
        write_block(at, row + LANES * V, col + LANES * V, sums.b11);
    }
}
