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

// A thread for each element of the state.
@compute @workgroup_size(THREADS)
fn lstm_cell_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                     @builtin(local_invocation_index) thread: u32) {
    let unit = block_index(group, groups) * THREADS + thread;
    if (unit >= p.rows * p.cols) { return; }
    // 1. The activations.
    let a = activations(unit);
    // 2. The states.
    let cn = a.y * load_c(unit) + a.x * a.z;
    store_h(unit, a.w * tanh(cn));
    store_c_next(unit, cn);
}

@compute @workgroup_size(THREADS)
fn lstm_cell_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) thread: u32) {
    let unit = block_index(group, groups) * THREADS + thread;
    if (unit >= p.rows * p.cols) { return; }
    // 1. The activations, again.
    let a = activations(unit);
    let i = a.x;
    let f = a.y;
    let g = a.z;
    let o = a.w;
    let c = load_c(unit);
    let t = tanh(f * c + i * g);
    // 2. What arrives at c_next, directly and through h.
    let dh = load_dh(unit);
    let dcn = load_dc_next(unit) + dh * o * (1.0 - t * t);
    // 3. The gradients.
    let at = gate_of(unit);
    store_dgates(at, dcn * g * i * (1.0 - i));
    store_dgates(at + p.cols, dcn * c * f * (1.0 - f));
    store_dgates(at + 2u * p.cols, dcn * i * (1.0 - g * g));
    store_dgates(at + 3u * p.cols, dh * t * o * (1.0 - o));
    store_dc(unit, dcn * f);
}
