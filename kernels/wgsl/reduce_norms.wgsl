// Norms of order infinity, -infinity, 0, 1, 2, and any other.
// Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cuh.
// include: reduce.wgsl
// include: reals.wgsl

// Values of the host's OP.
const GREATEST: u32 = 0u;
const LEAST: u32 = 1u;
const COUNT: u32 = 2u;
const TOTAL: u32 = 3u;
const EUCLIDEAN: u32 = 4u;
const POWER: u32 = 5u;

alias Acc = f32;

fn start() -> Acc {
    if (OP == GREATEST) { return lowest(); }
    if (OP == LEAST) { return highest(); }
    return 0.0;
}
fn acc_of(x: f32, at: u32) -> Acc {
    if (OP == COUNT) { return f32(is_true(x)); }
    if (OP == EUCLIDEAN) { return x * x; }
    if (OP == POWER) { return pow(abs(x), p.argument); }
    return abs(x);
}
fn acc_of_four(x: vec4<f32>, at: u32, step: u32) -> Acc {
    return merge(merge(acc_of(x.x, at), acc_of(x.z, at)), merge(acc_of(x.y, at), acc_of(x.w, at)));
}
fn merge(a: Acc, b: Acc) -> Acc {
    if (OP == GREATEST) { return select(select(a, b, b > a || is_nan(b)), a, is_nan(a)); }
    if (OP == LEAST) { return select(select(a, b, b < a || is_nan(b)), a, is_nan(a)); }
    return a + b;
}
fn finish(acc: Acc) -> Out {
    if (OP == EUCLIDEAN) { return sqrt(acc); }
    if (OP == POWER) { return pow(acc, p.root); }
    return acc;
}

fn save_acc(at: u32, acc: Acc) { store_accs(at, bitcast<u32>(acc)); }
fn saved_acc(at: u32) -> Acc { return bitcast<f32>(load_accs(at)); }
