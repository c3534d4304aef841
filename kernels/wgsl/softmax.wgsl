// Softmax and log-softmax over one dim of a contiguous [outer, len, inner].
//   softmax  y = exp(x - max) / sum exp(x - max)        log_softmax  y = (x - max) - ln sum exp(x - max)
// Formulas and twins: src/softmax.rs, src/cpu/softmax.rs, cuda/softmax.cu.
// include: rows.wgsl
// include: softmax_sums.wgsl

// `width` is for columns only.
struct SoftmaxParams { outer: u32, len: u32, inner: u32, width: u32 }
@group(1) @binding(1) var<uniform> p: SoftmaxParams;

fn forward_row(is_log: bool, row: u32, thread: u32) {
    let start = row * p.len;
    // 1. and 2. The maximum, and the sum of exponentials.
    let all = exponentials(start, p.len, thread);
    let norm = norm_of(is_log, all.sum);
    // 3. Normalise. Subtracting the maximum first keeps both differences small where x is large.
    for (var col = LANES_y * thread; col < p.len; col += LANES_y * THREADS) {
        var lanes: Values_y;
        for (var lane = 0u; lane < LANES_y; lane++) {
            lanes[lane] = normalised(is_log, load_x(start + col + lane) - all.max, norm);
        }
        store_lanes_y(start + col, lanes);
    }
}
fn norm_of(is_log: bool, sum: f32) -> f32 {
    if (is_log) { return log(sum); }
    return 1.0 / sum;
}
fn normalised(is_log: bool, shifted: f32, norm: f32) -> f32 {
    if (is_log) { return shifted - norm; }
    return exp(shifted) * norm;
}

// An element's share of the total that the gradient takes off, and the gradient.
fn share(is_log: bool, at: u32) -> f32 {
    if (is_log) { return load_dy(at); }
    return load_y(at) * load_dy(at);
}
fn gradient(is_log: bool, at: u32, total: f32) -> f32 {
    if (is_log) { return load_dy(at) - exp(load_y(at)) * total; }
    return load_y(at) * (load_dy(at) - total);
}

fn backward_row(is_log: bool, row: u32, thread: u32) {
    let start = row * p.len;
    var own = 0.0;
    for (var run = 0u; run < p.len; run += RUN) {
        var sum = 0.0;
        for (var col = run + thread; col < end_of_run(run, p.len); col += THREADS) { sum += share(is_log, start + col); }
        own += sum;
    }
    let total = block_sum(own, thread);
    for (var col = LANES_dx * thread; col < p.len; col += LANES_dx * THREADS) {
        var lanes: Values_dx;
        for (var lane = 0u; lane < LANES_dx; lane++) { lanes[lane] = gradient(is_log, start + col + lane, total); }
        store_lanes_dx(start + col, lanes);
    }
}

@compute @workgroup_size(THREADS)
fn softmax_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row < p.outer) { forward_row(false, row, thread); }
}
@compute @workgroup_size(THREADS)
fn log_softmax_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row < p.outer) { forward_row(true, row, thread); }
}
@compute @workgroup_size(THREADS)
fn softmax_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row < p.outer) { backward_row(false, row, thread); }
}
@compute @workgroup_size(THREADS)
fn log_softmax_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row < p.outer) { backward_row(true, row, thread); }
}

// Over a dim that is not the last, a workgroup takes `width` (a power of two) neighbouring columns, and its threads are
// `depth` groups that take every depth-th row of them.
struct Columns {
    start: u32,  // of this thread: the column's first element, and the row of the column that it begins with
    first: u32,
    depth: u32,
    end: u32,  // rows from here on are not its own: 0 where there is no column
}
fn own_columns(block: u32, thread: u32) -> Columns {
    let tiles = (p.inner + p.width - 1u) / p.width;
    let o = block / tiles;
    let i = block % tiles * p.width + thread % p.width;
    let inside = o < p.outer && i < p.inner;
    return Columns(o * p.len * p.inner + i, thread / p.width, THREADS / p.width, select(0u, p.len, inside));
}
// Rows of the column that a thread folds before the result goes into its total.
const COLUMN_RUN: u32 = 64u;
fn x_in_column(c: Columns, row: u32) -> f32 {
    if (row < c.end) { return load_x(c.start + row * p.inner); }
    return -inf();
}

var<workgroup> column_exponentials: array<Exponentials, THREADS>;
fn forward_columns(is_log: bool, block: u32, thread: u32) {
    let c = own_columns(block, thread);
    // 1. and 2. The maximum and the sum of exponentials of each column.
    var own = no_exponentials();
    for (var run = c.first; run < c.end; run += COLUMN_RUN * c.depth) {
        var part = no_exponentials();
        for (var row = run; row < lesser(run + COLUMN_RUN * c.depth, c.end); row += 4u * c.depth) {
            part = with_more(part, vec4<f32>(x_in_column(c, row), x_in_column(c, row + c.depth),
                                             x_in_column(c, row + 2u * c.depth), x_in_column(c, row + 3u * c.depth)));
        }
        own = merged(own, part);
    }
    column_exponentials[thread] = own;
    workgroupBarrier();
    for (var half = THREADS / 2u; half >= p.width; half /= 2u) {
        if (thread < half) {
            column_exponentials[thread] = merged(column_exponentials[thread], column_exponentials[thread + half]);
        }
        workgroupBarrier();
    }
    own = column_exponentials[thread % p.width];
    let norm = norm_of(is_log, own.sum);
    // 3. Normalise.
    for (var row = c.first; row < c.end; row += c.depth) {
        let at = c.start + row * p.inner;
        store_y(at, normalised(is_log, load_x(at) - own.max, norm));
    }
}

var<workgroup> column_totals: array<f32, THREADS>;
fn backward_columns(is_log: bool, block: u32, thread: u32) {
    let c = own_columns(block, thread);
    var own = 0.0;
    for (var run = c.first; run < c.end; run += COLUMN_RUN * c.depth) {
        var sum = 0.0;
        for (var row = run; row < lesser(run + COLUMN_RUN * c.depth, c.end); row += c.depth) {
            sum += share(is_log, c.start + row * p.inner);
        }
        own += sum;
    }
    column_totals[thread] = own;
    workgroupBarrier();
    for (var half = THREADS / 2u; half >= p.width; half /= 2u) {
        if (thread < half) { column_totals[thread] += column_totals[thread + half]; }
        workgroupBarrier();
    }
    let total = column_totals[thread % p.width];
    for (var row = c.first; row < c.end; row += c.depth) {
        let at = c.start + row * p.inner;
        store_dx(at, gradient(is_log, at, total));
    }
}

@compute @workgroup_size(THREADS)
fn softmax_forward_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                           @builtin(local_invocation_index) thread: u32) {
    forward_columns(false, block_index(group, groups), thread);
}
@compute @workgroup_size(THREADS)
fn log_softmax_forward_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                               @builtin(local_invocation_index) thread: u32) {
    forward_columns(true, block_index(group, groups), thread);
}
@compute @workgroup_size(THREADS)
fn softmax_backward_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) thread: u32) {
    backward_columns(false, block_index(group, groups), thread);
}
@compute @workgroup_size(THREADS)
fn log_softmax_backward_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                                @builtin(local_invocation_index) thread: u32) {
    backward_columns(true, block_index(group, groups), thread);
}
