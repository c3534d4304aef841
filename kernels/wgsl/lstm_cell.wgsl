// The LSTM cell: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(gates + gates_h), c_next = f c + i g,
// h = o tanh(c_next). gates [rows, 4 cols], c, c_next, h [rows, cols]. Formulas and twins: src/lstm_cell.rs,
// src/cpu/lstm_cell.rs, cuda/lstm_cell.cu.

struct LstmCellParams { rows: u32, cols: u32 }
@group(1) @binding(1) var<uniform> p: LstmCellParams;

// Where an element's gate i is; f, g and o are one, two and three times `cols` further on.
fn gate_of(unit: u32) -> u32 { return unit + 3u * (unit / p.cols) * p.cols; }

// The gates i, f, g, o of an element after their activations.
fn activations(unit: u32) -> vec4<f32> {
    let at = gate_of(unit);
    // An absent gates_h is 0.
    return vec4<f32>(sigmoid(load_gates(at) + load_gates_h(at)),
                     sigmoid(load_gates(at + p.cols) + load_gates_h(at + p.cols)),
                     tanh(load_gates(at + 2u * p.cols) + load_gates_h(at + 2u * p.cols)),
                     sigmoid(load_gates(at + 3u * p.cols) + load_gates_h(at + 3u * p.cols)));
}

// A thread for each element of the state, or for those that share a word.
@compute @workgroup_size(THREADS)
fn lstm_cell_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    let unit = (block_index(group, groups) * THREADS + thread) * LANES_h;
    if (unit >= p.rows * p.cols) { return; }
    var h: Values_h;
    var c_next: Values_c_next;
    for (var lane = 0u; lane < LANES_h; lane++) {
        // 1. The activations.
        let a = activations(unit + lane);
        // 2. The states.
        let cn = a.y * load_c(unit + lane) + a.x * a.z;
        h[lane] = a.w * tanh(cn);
        c_next[lane] = cn;
    }
    store_lanes_h(unit, h);
    store_lanes_c_next(unit, c_next);
}

@compute @workgroup_size(THREADS)
fn lstm_cell_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) thread: u32) {
    let unit = (block_index(group, groups) * THREADS + thread) * LANES_dc;
    if (unit >= p.rows * p.cols) { return; }
    var dgates: array<Values_dgates, 4>;
    var dc: Values_dc;
    for (var lane = 0u; lane < LANES_dc; lane++) {
        // 1. The activations, again.
        let a = activations(unit + lane);
        let i = a.x;
        let f = a.y;
        let g = a.z;
        let o = a.w;
        let c = load_c(unit + lane);
        let t = tanh(f * c + i * g);
        // 2. What arrives at c_next, directly and through h.
        let dh = load_dh(unit + lane);
        let dcn = load_dc_next(unit + lane) + dh * o * (1.0 - t * t);
        // 3. The gradients.
        dgates[0][lane] = dcn * g * i * (1.0 - i);
        dgates[1][lane] = dcn * c * f * (1.0 - f);
        dgates[2][lane] = dcn * i * (1.0 - g * g);
        dgates[3][lane] = dh * t * o * (1.0 - o);
        dc[lane] = dcn * f;
    }
    for (var gate = 0u; gate < 4u; gate++) { store_lanes_dgates(gate_of(unit) + gate * p.cols, dgates[gate]); }
    store_lanes_dc(unit, dc);
}
