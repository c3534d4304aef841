// Variance and standard deviation.
// Formulas and twins: src/reduce.rs, src/cpu/reduce, cuda/reduce.cuh.
// Differs from the host: one read instead of two. Four elements at a time have their own mean, about which they are
// squared, and are merged by Chan, Golub and LeVeque, 1983, eq. 2.1, which holds where the mean is large, too.
// include: reduce.wgsl

// Values of the host's OP.
const VARIANCE: u32 = 0u;
const DEVIATION: u32 = 1u;

// Count, mean, and sum of squares about the mean: m2.
struct Acc { n: f32, mean: f32, m2: f32 }

fn start() -> Acc { return Acc(0.0, 0.0, 0.0); }
fn acc_of(x: f32, at: u32) -> Acc { return Acc(1.0, x, 0.0); }
fn acc_of_four(x: vec4<f32>, at: u32, step: u32) -> Acc {
    let mean = ((x.x + x.z) + (x.y + x.w)) * 0.25;
    let d = x - vec4<f32>(mean, mean, mean, mean);
    return Acc(4.0, mean, (d.x * d.x + d.z * d.z) + (d.y * d.y + d.w * d.w));
}
fn merge(a: Acc, b: Acc) -> Acc {
    let n = a.n + b.n;
    let share = select(0.0, b.n / n, n > 0.0);
    let delta = b.mean - a.mean;
    // The weights go in between, so that a square that overflows meets no 0.
    return Acc(n, a.mean + delta * share, a.m2 + b.m2 + delta * (delta * (a.n * share)));
}
fn finish(acc: Acc) -> Out {
    if (p.cols == 0u) { return nan(); }
    let variance = acc.m2 / p.argument;
    if (OP == DEVIATION) { return sqrt(variance); }
    return variance;
}

fn save_acc(at: u32, acc: Acc) {
    store_accs(3u * at, bitcast<u32>(acc.n));
    store_accs(3u * at + 1u, bitcast<u32>(acc.mean));
    store_accs(3u * at + 2u, bitcast<u32>(acc.m2));
}
fn saved_acc(at: u32) -> Acc {
    let mean = bitcast<f32>(load_accs(3u * at + 1u));
    return Acc(bitcast<f32>(load_accs(3u * at)), mean, bitcast<f32>(load_accs(3u * at + 2u)));
}
