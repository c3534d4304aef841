// Argmax and argmin: among equal elements, of which NaN is one, the first counts.
// Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cuh.
// include: reduce.wgsl

// Values of the host's OP.
const GREATEST: u32 = 0u;
const LEAST: u32 = 1u;

// A value and where it is.
struct Acc { value: Compute, at: u32 }

fn start() -> Acc {
    if (OP == GREATEST) { return Acc(lowest(), 0xffffffffu); }
    return Acc(highest(), 0xffffffffu);
}
fn acc_of(x: Compute, at: u32) -> Acc { return Acc(x, at); }
fn acc_of_four(x: vec4<Compute>, at: u32, step: u32) -> Acc {
    let even = merge(acc_of(x.x, at), acc_of(x.z, at + 2u * step));
    return merge(even, merge(acc_of(x.y, at + step), acc_of(x.w, at + 3u * step)));
}
fn merge(a: Acc, b: Acc) -> Acc {
    let both = is_nan(a.value) && is_nan(b.value);
    if (both || a.value == b.value) { return Acc(a.value, select(a.at, b.at, b.at < a.at)); }
    var is_further = b.value > a.value;
    if (OP == LEAST) { is_further = b.value < a.value; }
    if (!is_nan(a.value) && (is_nan(b.value) || is_further)) { return b; }
    return a;
}
fn finish(acc: Acc) -> Out { return acc.at; }

fn save_acc(at: u32, acc: Acc) {
    store_accs(2u * at, bitcast<u32>(acc.value));
    store_accs(2u * at + 1u, acc.at);
}
fn saved_acc(at: u32) -> Acc { return Acc(bitcast<Compute>(load_accs(2u * at)), load_accs(2u * at + 1u)); }
