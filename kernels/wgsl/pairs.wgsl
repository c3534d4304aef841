// Numbers as unevaluated sums of two f32, some 48 bits: the second is below half a unit in the last place of the first.
// Sources: Dekker, "A floating-point technique for extending the available precision" (1971); Knuth, "The Art of Computer
// Programming" volume 2, 4.2.2, theorem B (the error of a sum).
// include: exact.wgsl

// The pair of a number and what is to be added to it, which is smaller.
fn normal_pair_of(x: f32, rest: f32) -> vec2<f32> {
    let sum = add(x, rest);
    if (!is_finite(sum)) { return vec2<f32>(sum, 0.0); }
    return vec2<f32>(sum, add(rest, -add(sum, -x)));
}

fn add_pairs(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let sum = add(a.x, b.x);
    if (!is_finite(sum)) { return vec2<f32>(sum, 0.0); }
    let of_b = add(sum, -a.x);
    let error = add(add(a.x, -add(sum, -of_b)), add(b.x, -of_b));
    return normal_pair_of(sum, add(error, add(a.y, b.y)));
}

// Products of upper and lower halves of 12 bits are exact.
fn upper_half(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }

fn multiply_pairs(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    let product = mul(a.x, b.x);
    if (!is_finite(product)) { return vec2<f32>(product, 0.0); }
    let a_high = upper_half(a.x);
    let b_high = upper_half(b.x);
    let a_low = add(a.x, -a_high);
    let b_low = add(b.x, -b_high);
    let cross = add(add(mul(a_high, b_high), -product), add(mul(a_high, b_low), mul(a_low, b_high)));
    let error = add(cross, mul(a_low, b_low));
    return normal_pair_of(product, add(error, add(mul(a.x, b.y), mul(a.y, b.x))));
}
