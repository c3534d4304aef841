// Reductions whose accumulator is a number like the elements: sum, mean, prod, max, min, any, all.
// Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cuh.
// include: reduce.wgsl

// Values of the host's OP.
const SUM: u32 = 0u;
const MEAN: u32 = 1u;
const PROD: u32 = 2u;
const MAX: u32 = 3u;
const MIN: u32 = 4u;
const ANY: u32 = 5u;
const ALL: u32 = 6u;

alias Acc = Compute;

fn start() -> Acc {
    if (OP == MAX) { return lowest(); }
    if (OP == MIN) { return highest(); }
    return Compute(OP == PROD || OP == ALL);
}
// Any asks whether one is not 0, all whether none is: true for NaN, false for -0.0.
fn acc_of(x: Compute, at: u32) -> Acc {
    if (OP == ANY || OP == ALL) { return Compute(is_true(x)); }
    return x;
}
fn acc_of_four(x: vec4<Compute>, at: u32, step: u32) -> Acc {
    return merge(merge(acc_of(x.x, at), acc_of(x.z, at)), merge(acc_of(x.y, at), acc_of(x.w, at)));
}
// Integers wrap. NaN is the greatest and the least.
fn merge(a: Acc, b: Acc) -> Acc {
    if (OP == PROD) { return a * b; }
    if (OP == MAX || OP == ANY) { return select(select(a, b, b > a || is_nan(b)), a, is_nan(a)); }
    if (OP == MIN || OP == ALL) { return select(select(a, b, b < a || is_nan(b)), a, is_nan(a)); }
    return a + b;
}
fn finish(acc: Acc) -> Out {
    if (OP == MEAN) { return Out(acc / Compute(p.cols)); }
    return Out(acc);
}

fn save_acc(at: u32, acc: Acc) { store_accs(at, bitcast<u32>(acc)); }
fn saved_acc(at: u32) -> Acc { return bitcast<Acc>(load_accs(at)); }
