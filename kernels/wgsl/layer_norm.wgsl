// Layer normalisation of each row of x [rows, cols].
//   y = (x - mean) rstd weight + bias     dx = rstd (g - sum(g) / cols - xhat sum(g xhat) / cols),  g = dy weight
// Formulas and twins: src/layer_norm.rs, src/cpu/layer_norm.rs, cuda/layer_norm.cu.
// include: rows.wgsl

// `groups` is how many groups of GROUP_ROWS rows there are.
struct LayerNormParams {
    rows: u32,
    cols: u32,
    eps: f32,
    has_weight: u32,
    has_dweight: u32,
    has_dbias: u32,
    groups: u32,
}
@group(1) @binding(1) var<uniform> p: LayerNormParams;

fn weight_or_one(col: u32) -> f32 {
    if (p.has_weight != 0u) { return load_weight(col); }
    return 1.0;
}

// An absent bias is 0.
@compute @workgroup_size(THREADS)
fn layer_norm_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let start = row * p.cols;
    let n = f32(p.cols);
    // 1. The mean.
    var total = 0.0;
    for (var run = 0u; run < p.cols; run += RUN) {
        var sum = 0.0;
        for (var col = run + thread; col < end_of_run(run, p.cols); col += THREADS) { sum += load_x(start + col); }
        total += sum;
    }
    let mean = block_sum(total, thread) / n;
    // 2. The variance, and the correction of the mean by what is left after it is subtracted.
    var own = vec2<f32>(0.0, 0.0);
    for (var run = 0u; run < p.cols; run += RUN) {
        var sum = vec2<f32>(0.0, 0.0);
        for (var col = run + thread; col < end_of_run(run, p.cols); col += THREADS) {
            let centred = load_x(start + col) - mean;
            sum += vec2<f32>(centred, centred * centred);
        }
        own += sum;
    }
    own = block_sum2(own, thread);
    let rest = own.x / n;
    // Where the squares overflowed, so may the square of the rest.
    let squares = select(own.y - n * rest * rest, own.y, own.y == inf());
    let rstd = inverse_rms(start, p.cols, mean, squares, p.eps, thread);
    // 3. Normalise.
    for (var col = LANES_y * thread; col < p.cols; col += LANES_y * THREADS) {
        var lanes: Values_y;
        for (var lane = 0u; lane < LANES_y; lane++) {
            let xhat = ((load_x(start + col + lane) - mean) - rest) * rstd;
            lanes[lane] = xhat * weight_or_one(col + lane) + load_bias(col + lane);
        }
        store_lanes_y(start + col, lanes);
    }
    if (thread == 0u) {
        store_mean_out(row, mean + rest);
        store_rstd_out(row, rstd);
    }
}

// Differs from CUDA: the shares of weight and bias are summed by an entry of their own, since a workgroup that takes many
// rows would have to keep its columns' sums in memory in between.
@compute @workgroup_size(THREADS)
fn layer_norm_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                       @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let start = row * p.cols;
    let per_col = 1.0 / f32(p.cols);
    let mean = load_mean(row);
    let rstd = load_rstd(row);
    var own = vec2<f32>(0.0, 0.0);
    for (var run = 0u; run < p.cols; run += RUN) {
        var sum = vec2<f32>(0.0, 0.0);
        for (var col = run + thread; col < end_of_run(run, p.cols); col += THREADS) {
            // 1. Recompute the normalised row.
            let xhat = (load_x(start + col) - mean) * rstd;
            let g = load_dy(start + col) * weight_or_one(col);
            sum += vec2<f32>(g, g * xhat);
        }
        own += sum;
    }
    // 3. What of the normalised row's gradient only shifts or scales the row.
    own = block_sum2(own, thread) * per_col;
    // 4. The rest of it.
    for (var col = LANES_dx * thread; col < p.cols; col += LANES_dx * THREADS) {
        var lanes: Values_dx;
        for (var lane = 0u; lane < LANES_dx; lane++) {
            let xhat = (load_x(start + col + lane) - mean) * rstd;
            let g = load_dy(start + col + lane) * weight_or_one(col + lane);
            lanes[lane] = rstd * (g - own.x - xhat * own.y);
        }
        store_lanes_dx(start + col, lanes);
    }
}

// The sums over GROUP_ROWS rows, for column_sums.wgsl to add up: partial [groups, dweight and dbias as wanted, cols].
@compute @workgroup_size(THREADS)
fn layer_norm_backward_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                            @builtin(local_invocation_index) thread: u32) {
    let tiles = (p.cols + WIDTH - 1u) / WIDTH;
    let part = block_index(group, groups) / tiles;
    let col = block_index(group, groups) % tiles * WIDTH + thread % WIDTH;
    let end = select(0u, lesser((part + 1u) * GROUP_ROWS, p.rows), col < p.cols);
    // 2. The shares of weight and bias.
    var own = vec2<f32>(0.0, 0.0);
    for (var row = part * GROUP_ROWS + thread / WIDTH; row < end; row += LANES) {
        let dy = load_dy(row * p.cols + col);
        let xhat = (load_x(row * p.cols + col) - load_mean(row)) * load_rstd(row);
        own += vec2<f32>(dy * xhat, dy);
    }
    own = sum_of_lanes(own, thread);
    if (thread >= WIDTH || col >= p.cols || part >= p.groups) { return; }
    let at = part * (p.has_dweight + p.has_dbias) * p.cols + col;
    if (p.has_dweight != 0u) { store_partial(at, own.x); }
    if (p.has_dbias != 0u) { store_partial(at + p.has_dweight * p.cols, own.y); }
}
