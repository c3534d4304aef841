// Rotary position embedding: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; elements from rotary_dim on are copied.
// x and y [B, H, T, D] with any strides, tables [positions, R / 2]. Formulas and twins: src/rope.rs, src/cpu/rope.rs,
// cuda/rope.cu.
//
// Differs from CUDA: an invocation takes one element of y, or those of a word of it, and not the two of a pair, which may
// lie far apart.

struct RopeParams {
    x_strides: vec4<u32>,
    y_strides: vec4<u32>,
    batch: u32,
    heads: u32,
    len: u32,
    dim: u32,
    rotary_dim: u32,
    table_rows: u32,
    table_stride: u32,
    first_position: u32,
    has_positions: u32,
    position_stride_b: u32,
    position_stride_t: u32,
    interleaved: u32,
    sign: f32,
}
@group(1) @binding(1) var<uniform> p: RopeParams;

// The position of element t of sequence b; one that is negative is beyond every table.
fn position_of(b: u32, t: u32) -> u32 {
    if (p.has_positions == 0u) { return p.first_position + t; }
    return u32(load_positions(b * p.position_stride_b + t * p.position_stride_t));
}

// Rows of positions that the tables lack are reported and left as they are, whatever else a row has to do.
@compute @workgroup_size(THREADS)
fn check_positions(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let at = block_index(group, groups) * THREADS + thread;
    if (at >= p.batch * p.len) { return; }
    let position = position_of(at / p.len, at % p.len);
    if (position >= p.table_rows) { report(i32(position), i32(p.table_rows), at); }
}

// Element d of a row of x, turned. `x_row` is where the row starts, and `angles` is where its angles do in the tables.
fn turned(x_row: u32, d: u32, angles: u32) -> f32 {
    let half = p.rotary_dim / 2u;
    let pair = select(d % half, d / 2u, p.interleaved != 0u);
    let is_first = select(d < half, d % 2u == 0u, p.interleaved != 0u);
    let apart = select(half, 1u, p.interleaved != 0u);
    let other = select(d - apart, d + apart, is_first);
    let cosine = load_cos(angles + pair);
    let sine = p.sign * load_sin(angles + pair);
    return load_x(x_row + d * p.x_strides[3]) * cosine
        + load_x(x_row + other * p.x_strides[3]) * select(sine, -sine, is_first);
}

@compute @workgroup_size(THREADS)
fn rope_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let unit = (block_index(group, groups) * THREADS + thread) * LANES_y;
    let row = unit / p.dim;
    let first = unit - row * p.dim;
    if (row >= p.batch * p.heads * p.len) { return; }
    let line = row / p.len;
    let t = row - line * p.len;
    let b = line / p.heads;
    let h = line - b * p.heads;
    let x_row = b * p.x_strides[0] + h * p.x_strides[1] + t * p.x_strides[2];
    let y_row = b * p.y_strides[0] + h * p.y_strides[1] + t * p.y_strides[2];
    var lanes: Values_y;
    if (first >= p.rotary_dim) {
        // 1. Elements beyond rotary_dim.
        for (var lane = 0u; lane < LANES_y; lane++) { lanes[lane] = load_x(x_row + (first + lane) * p.x_strides[3]); }
    } else {
        // 2. Pairs.
        let position = position_of(b, t);
        if (position >= p.table_rows) { return; }
        for (var lane = 0u; lane < LANES_y; lane++) {
            lanes[lane] = turned(x_row, first + lane, position * p.table_stride);
        }
    }
    store_lanes_y(y_row + first * p.y_strides[3], lanes);
}
