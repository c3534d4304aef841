// The functions of the elementwise table that have a meaning for integers and truth values. Compute is i32, or u32 for u32.

fn c(value: f32) -> Compute { return Compute(value); }
fn is_nan(x: Compute) -> bool { return false; }
fn is_inf(x: Compute) -> bool { return false; }
fn is_finite(x: Compute) -> bool { return true; }
fn sign(x: Compute) -> Compute { return Compute(x > Compute(0)) - Compute(x < Compute(0)); }
fn floor(x: Compute) -> Compute { return x; }
fn ceil(x: Compute) -> Compute { return x; }
fn trunc(x: Compute) -> Compute { return x; }
fn round_ties_even(x: Compute) -> Compute { return x; }
fn maximum(x: Compute, y: Compute) -> Compute { return max(x, y); }
fn minimum(x: Compute, y: Compute) -> Compute { return min(x, y); }
// A divisor of 0 is reported; -1 is apart because the least number has no negative.
fn is_minus_one(y: Compute) -> bool { return y < Compute(0) && y + Compute(1) == Compute(0); }
fn fmod(x: Compute, y: Compute) -> Compute {
    if (y == Compute(0) || is_minus_one(y)) { return Compute(0); }
    return x % y;
}
fn rem(x: Compute, y: Compute) -> Compute {
    let remainder = fmod(x, y);
    let crosses = (remainder < Compute(0)) != (y < Compute(0));
    return select(remainder, remainder + y, remainder != Compute(0) && crosses);
}
fn floor_div(x: Compute, y: Compute) -> Compute {
    if (y == Compute(0)) { return Compute(0); }
    if (is_minus_one(y)) { return Compute(0) - x; }
    let crosses = x % y != Compute(0) && (x < Compute(0)) != (y < Compute(0));
    return x / y - Compute(crosses);
}
// Negative powers are 0 but for those of 1 and -1.
fn pow(x: Compute, y: Compute) -> Compute {
    if (y < Compute(0)) {
        if (x == Compute(1)) { return x; }
        return select(Compute(0), Compute(1) - Compute(2) * (y & Compute(1)), is_minus_one(x));
    }
    var power = Compute(1);
    var base = x;
    var left = u32(y);
    while (left > 0u) {
        if ((left & 1u) == 1u) { power = power * base; }
        base = base * base;
        left >>= 1u;
    }
    return power;
}
