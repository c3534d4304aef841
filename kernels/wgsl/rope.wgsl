// Rotary position embedding: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; elements from rotary_dim on are copied.
// x and y [B, H, T, D] with any strides, tables [positions, R / 2]. Formulas and twins: src/rope.rs, src/cpu/rope.rs,
// cuda/rope.cu.
//
// Differs from CUDA: an invocation takes one pair, and y has one element to a word.

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

@compute @workgroup_size(THREADS)
fn rope_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let unit = block_index(group, groups) * THREADS + thread;
    let turned = p.rotary_dim / 2u;
    let per_row = turned + (p.dim - p.rotary_dim);
    let row = unit / per_row;
    let at = unit - row * per_row;
    if (row >= p.batch * p.heads * p.len) { return; }
    let line = row / p.len;
    let t = row - line * p.len;
    let b = line / p.heads;
    let h = line - b * p.heads;
    let x_row = b * p.x_strides[0] + h * p.x_strides[1] + t * p.x_strides[2];
    let y_row = b * p.y_strides[0] + h * p.y_strides[1] + t * p.y_strides[2];
    // 1. Elements beyond rotary_dim.
    if (at >= turned) {
        let d = turned + at;
        store_y(y_row + d * p.y_strides[3], load_x(x_row + d * p.x_strides[3]));
        return;
    }
    // 2. Pairs.
    let position = position_of(b, t);
    if (position >= p.table_rows) { return; }
    let first = select(at, 2u * at, p.interleaved != 0u);
    let second = select(at + turned, 2u * at + 1u, p.interleaved != 0u);
    let angle = position * p.table_stride + at;
    let cosine = load_cos(angle);
    let sine = p.sign * load_sin(angle);
    let x1 = load_x(x_row + first * p.x_strides[3]);
    let x2 = load_x(x_row + second * p.x_strides[3]);
    store_y(y_row + first * p.y_strides[3], x1 * cosine - x2 * sine);
    store_y(y_row + second * p.y_strides[3], x2 * cosine + x1 * sine);
}
