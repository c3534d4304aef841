// A row shared out over the threads of a workgroup: sums whose error does not grow with its length, and sums over rows.
//
// Thread t takes elements t, t + THREADS, ... of the row `x[start .. start + cols]`. What it adds up goes into its total
// after each RUN of the row, so chains of additions stay short. src/wgpu/rows.rs chooses THREADS.
// Differs from CUDA: a row is read again in each pass, because arrays that are indexed in loops are not sure to be kept
// in registers; and a workgroup has one row, because nothing here depends on the size of a subgroup.

const RUN: u32 = 64u * THREADS;
fn end_of_run(run: u32, cols: u32) -> u32 { return lesser(run + RUN, cols); }
fn lesser(a: u32, b: u32) -> u32 { return select(a, b, b < a); }

// The larger of two; NaN is passed over: a sum that follows meets it again.
fn larger(a: f32, b: f32) -> f32 { return select(a, b, b > a); }

// A value that all threads have, as one that a barrier's control flow may depend on.
var<workgroup> agreed: f32;
fn agreed_on(x: f32, thread: u32) -> f32 {
    if (thread == 0u) { agreed = x; }
    return workgroupUniformLoad(&agreed);
}

// 1 / sqrt(squares / cols + eps), where `squares` is the sum of (x - mean)^2. Where that overflowed, it is taken again of
// what was divided by its largest magnitude; eps is then far below the last digit. As in src/cpu/rows.rs.
fn inverse_rms(start: u32, cols: u32, mean: f32, squares: f32, eps: f32, thread: u32) -> f32 {
    let n = f32(cols);
    if (agreed_on(squares, thread) == inf()) {
        var largest = -inf();
        for (var col = thread; col < cols; col += THREADS) { largest = larger(largest, abs(load_x(start + col) - mean)); }
        largest = block_max(largest, thread);
        var own = 0.0;
        for (var run = 0u; run < cols; run += RUN) {
            var sum = 0.0;
            for (var col = run + thread; col < end_of_run(run, cols); col += THREADS) {
                let scaled = (load_x(start + col) - mean) / largest;
                sum += scaled * scaled;
            }
            own += sum;
        }
        let scaled = block_sum(own, thread);
        if (largest < inf()) { return 1.0 / (largest * sqrt(scaled / n)); }
    }
    return 1.0 / sqrt(squares / n + eps);
}

// Sums over rows: a workgroup takes WIDTH neighbouring columns of GROUP_ROWS rows. Its threads are lanes of WIDTH, each
// of which takes every LANES-th row.
const WIDTH: u32 = 32u;
const GROUP_ROWS: u32 = 256u;
const LANES: u32 = THREADS / WIDTH;

// The sum over the lanes of a column, in the threads of lane 0.
var<workgroup> lane_sums: array<vec2<f32>, THREADS>;
fn sum_of_lanes(own: vec2<f32>, thread: u32) -> vec2<f32> {
    lane_sums[thread] = own;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if (thread < half * WIDTH) { lane_sums[thread] += lane_sums[thread + half * WIDTH]; }
        workgroupBarrier();
    }
    return lane_sums[thread];
}
