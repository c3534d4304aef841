// Elementwise ops: y[i] = op(a[i], b[i], c[i]) over operands of any dtypes and strides.
//
// The host defines what one op is: `op`, the text of its row of src/elementwise/table.rs with operands x, y, z and
// parameters s0, s1; what each operand is (KIND_A, KIND_B, KIND_C); and Compute. Twins: src/elementwise/mod.rs,
// src/cpu/elementwise.rs, cuda/elementwise.cu.

struct ElementwiseParams {
    len: u32, rank: u32, unused: vec2<u32>,
    shape: array<vec4<u32>, 2>,
    strides: array<vec4<i32>, 6>,  // of a, b, c
    scalars: vec4<u32>,            // bits of Compute
    values: vec4<u32>,             // bits of Compute
}
@group(1) @binding(1) var<uniform> p: ElementwiseParams;

const VIEW: u32 = 1u;
const SCALAR: u32 = 2u;
const OUTPUT: u32 = 3u;

// Where element `linear` of the shape is in each operand.
fn offsets(linear: u32) -> vec3<u32> {
    if (CONTIGUOUS == 1u) { return vec3<u32>(linear); }
    var at = vec3<u32>(0u);
    var left = linear;
    for (var dim = i32(p.rank) - 1; dim >= 0; dim--) {
        let size = p.shape[dim / 4][dim % 4];
        let outer = left / size;
        let i = left - outer * size;
        at.x += i * u32(p.strides[dim / 4][dim % 4]);
        if (ARITY > 1u) { at.y += i * u32(p.strides[2 + dim / 4][dim % 4]); }
        if (ARITY > 2u) { at.z += i * u32(p.strides[4 + dim / 4][dim % 4]); }
        left = outer;
    }
    return at;
}

fn operand_a(at: u32, i: u32) -> Compute {
    if (KIND_A == VIEW) { return Compute(load_a(at)); }
    if (KIND_A == OUTPUT) { return Compute(load_y(i)); }
    return bitcast<Compute>(p.values.x);
}
fn operand_b(at: u32) -> Compute {
    if (KIND_B == VIEW) { return Compute(load_b(at)); }
    return bitcast<Compute>(p.values.y);
}
fn operand_c(at: u32) -> Compute {
    if (KIND_C == VIEW) { return Compute(load_c(at)); }
    return bitcast<Compute>(p.values.z);
}

fn element(i: u32) -> Compute {
    let at = offsets(i);
    let x = operand_a(at.x, i);
    let y = operand_b(at.y);
    let z = operand_c(at.z);
    check(y, i);
    return op(x, y, z, bitcast<Compute>(p.scalars.x), bitcast<Compute>(p.scalars.y));
}

// An integer must not be divided by 0; the host adds `check`, which is this or nothing.
fn check_divisor(divisor: Compute, i: u32) { if (divisor == Compute(0)) { report(0, 0, i); } }

// A word of y by each invocation.
@compute @workgroup_size(THREADS)
fn elementwise(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) thread: u32) {
    let word = block_index(group, groups) * THREADS + thread;
    let first = word * LANES_y;
    if (first >= p.len) { return; }
    var values: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        if (first + lane < p.len) { values[lane] = Value_y(element(first + lane)); }
    }
    store_word_y(word, pack_y(values));
}
