// The second stage of sums over rows: adds up the rows of partial sums that groups of rows left.
//   y[col] = sum over groups of partial[group, first + col],  partial [groups, columns]
// Twin: cuda/column_sums.cu.
// include: rows.wgsl

// Differs from CUDA: an output takes `cols` columns from `first` on, and there is a launch for each output, because one
// that is absent cannot be bound.
struct ColumnSumsParams { groups: u32, columns: u32, first: u32, cols: u32 }
@group(1) @binding(1) var<uniform> p: ColumnSumsParams;

// WIDTH columns for each workgroup, in a fixed order.
@compute @workgroup_size(THREADS)
fn column_sums(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) thread: u32) {
    let col = block_index(group, groups) * WIDTH + thread % WIDTH;
    let end = select(0u, p.groups, col < p.cols);
    var sum = vec2<f32>(0.0, 0.0);
    for (var run = thread / WIDTH; run < end; run += GROUP_ROWS) {
        var part = 0.0;
        for (var row = run; row < lesser(run + GROUP_ROWS, end); row += LANES) {
            part += load_partial(row * p.columns + p.first + col);
        }
        sum.x += part;
    }
    sum = sum_of_lanes(sum, thread);
    if (thread < WIDTH && col < p.cols) { store_y(col, sum.x); }
}
