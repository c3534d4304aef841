// The logarithm of the sum of exponentials.
// Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cuh.
// include: reduce.wgsl

// The greatest, NaN where there is one, and the sum of exp(x - shift(max)).
struct Acc { max: f32, sum: f32 }

// An infinite maximum is no shift to take: inf - inf is NaN, while exp(inf) and exp(-inf) are right as they are.
fn shift(max: f32) -> f32 { return select(max, 0.0, is_inf(max)); }
fn greater(a: f32, b: f32) -> f32 { return select(select(a, b, b > a || is_nan(b)), a, is_nan(a)); }

fn start() -> Acc { return Acc(lowest(), 0.0); }
fn acc_of(x: f32, at: u32) -> Acc { return Acc(x, exp(x - shift(x))); }
fn acc_of_four(x: vec4<f32>, at: u32, step: u32) -> Acc {
    let max = greater(greater(x.x, x.z), greater(x.y, x.w));
    let by = shift(max);
    return Acc(max, (exp(x.x - by) + exp(x.z - by)) + (exp(x.y - by) + exp(x.w - by)));
}
// The sum under another shift. A sum of 0 has no maximum yet, and the factor could overflow.
fn rescaled(acc: Acc, by: f32) -> f32 {
    if (acc.sum == 0.0) { return 0.0; }
    return acc.sum * exp(shift(acc.max) - by);
}
fn merge(a: Acc, b: Acc) -> Acc {
    let max = greater(a.max, b.max);
    let by = shift(max);
    return Acc(max, rescaled(a, by) + rescaled(b, by));
}
fn finish(acc: Acc) -> Out { return log(acc.sum) + shift(acc.max); }

fn save_acc(at: u32, acc: Acc) {
    store_accs(2u * at, bitcast<u32>(acc.max));
    store_accs(2u * at + 1u, bitcast<u32>(acc.sum));
}
fn saved_acc(at: u32) -> Acc { return Acc(bitcast<f32>(load_accs(2u * at)), bitcast<f32>(load_accs(2u * at + 1u))); }
