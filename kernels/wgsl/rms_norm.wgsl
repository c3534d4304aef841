// Root-mean-square normalisation of each row of x [rows, cols].
//   y = x rstd weight                     dx = rstd (g - xhat sum(g xhat) / cols),  g = dy weight
// Formulas and twins: src/rms_norm.rs, src/cpu/rms_norm.rs, cuda/rms_norm.cu.
// include: rows.wgsl

// `groups` is how many groups of GROUP_ROWS rows there are.
struct RmsNormParams {
    rows: u32,
    cols: u32,
    eps: f32,
    has_weight: u32,
    groups: u32,
}
@group(1) @binding(1) var<uniform> p: RmsNormParams;

fn weight_or_one(col: u32) -> f32 {
    if (p.has_weight != 0u) { return load_weight(col); }
    return 1.0;
}

@compute @workgroup_size(THREADS)
fn rms_norm_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let start = row * p.cols;
    var own = 0.0;
    for (var run = 0u; run < p.cols; run += RUN) {
        var sum = 0.0;
        for (var col = run + thread; col < end_of_run(run, p.cols); col += THREADS) {
            let x = load_x(start + col);
            sum += x * x;
        }
        own += sum;
    }
    let rstd = inverse_rms(start, p.cols, 0.0, block_sum(own, thread), p.eps, thread);
    for (var col = LANES_y * thread; col < p.cols; col += LANES_y * THREADS) {
        var lanes: Values_y;
        for (var lane = 0u; lane < LANES_y; lane++) {
            lanes[lane] = load_x(start + col + lane) * rstd * weight_or_one(col + lane);
        }
        store_lanes_y(start + col, lanes);
    }
    if (thread == 0u) { store_rstd_out(row, rstd); }
}

// Differs from CUDA: as layer_norm_backward does.
@compute @workgroup_size(THREADS)
fn rms_norm_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let start = row * p.cols;
    let per_col = 1.0 / f32(p.cols);
    let rstd = load_rstd(row);
    var own = 0.0;
    for (var run = 0u; run < p.cols; run += RUN) {
        var sum = 0.0;
        for (var col = run + thread; col < end_of_run(run, p.cols); col += THREADS) {
            // 1. Recompute the normalised row.
            let xhat = load_x(start + col) * rstd;
            sum += load_dy(start + col) * weight_or_one(col) * xhat;
        }
        own += sum;
    }
    // 3. What of the normalised row's gradient only scales the row.
    let scale = block_sum(own, thread) * per_col;
    // 4. The rest of it.
    for (var col = LANES_dx * thread; col < p.cols; col += LANES_dx * THREADS) {
        var lanes: Values_dx;
        for (var lane = 0u; lane < LANES_dx; lane++) {
            let xhat = load_x(start + col + lane) * rstd;
            lanes[lane] = rstd * (load_dy(start + col + lane) * weight_or_one(col + lane) - xhat * scale);
        }
        store_lanes_dx(start + col, lanes);
    }
}

// As layer_norm_backward_sums: partial [groups, cols].
@compute @workgroup_size(THREADS)
fn rms_norm_backward_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) thread: u32) {
    let tiles = (p.cols + WIDTH - 1u) / WIDTH;
    let part = block_index(group, groups) / tiles;
    let col = block_index(group, groups) % tiles * WIDTH + thread % WIDTH;
    let end = select(0u, lesser((part + 1u) * GROUP_ROWS, p.rows), col < p.cols);
    // 2. The share of the weight.
    var own = vec2<f32>(0.0, 0.0);
    for (var row = part * GROUP_ROWS + thread / WIDTH; row < end; row += LANES) {
        let xhat = load_x(row * p.cols + col) * load_rstd(row);
        own.x += load_dy(row * p.cols + col) * xhat;
    }
    own = sum_of_lanes(own, thread);
    if (thread < WIDTH && col < p.cols && part < p.groups) { store_partial(part * p.cols + col, own.x); }
}
