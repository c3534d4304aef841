// The maximum of a row and its sum of exponentials: what softmax and cross-entropy begin with. The row is
// `x[start .. start + cols]`.

// Of some elements: their maximum, NaN passed over, and the sum of exp(x - max).
struct Exponentials { max: f32, sum: f32 }

fn no_exponentials() -> Exponentials { return Exponentials(-inf(), 0.0); }

// What exponents are shifted by: no element is above it. With it a part of a row that is all negative infinity adds 0,
// and not NaN; a whole row of it becomes NaN when it is normalised.
fn shift_of(max: f32) -> f32 { return select(max, 0.0, max == -inf()); }

// `so_far` with four more elements, negative infinity where there is none.
fn with_more(so_far: Exponentials, v: vec4<f32>) -> Exponentials {
    let max = larger(larger(larger(larger(so_far.max, v.x), v.y), v.z), v.w);
    let shift = shift_of(max);
    let sum = (exp(v.x - shift) + exp(v.z - shift)) + (exp(v.y - shift) + exp(v.w - shift));
    return Exponentials(max, so_far.sum * exp(so_far.max - shift) + sum);
}

fn merged(x: Exponentials, y: Exponentials) -> Exponentials {
    let max = larger(x.max, y.max);
    let shift = shift_of(max);
    return Exponentials(max, x.sum * exp(x.max - shift) + y.sum * exp(y.max - shift));
}

// Element `col` of the row, negative infinity past its end.
fn x_or_lowest(start: u32, col: u32, cols: u32) -> f32 {
    if (col < cols) { return load_x(start + col); }
    return -inf();
}

// Of a row; all threads get it.
fn exponentials(start: u32, cols: u32, thread: u32) -> Exponentials {
    // 1. and 2. in one pass: each thread rescales its sum when it meets a larger element.
    var own = no_exponentials();
    for (var run = 0u; run < cols; run += RUN) {
        var part = no_exponentials();
        for (var col = run + thread; col < end_of_run(run, cols); col += 4u * THREADS) {
            let v = vec4<f32>(x_or_lowest(start, col, cols), x_or_lowest(start, col + THREADS, cols),
                              x_or_lowest(start, col + 2u * THREADS, cols), x_or_lowest(start, col + 3u * THREADS, cols));
            part = with_more(part, v);
        }
        own = merged(own, part);
    }
    let max = block_max(own.max, thread);
    return Exponentials(max, block_sum(own.sum * exp(own.max - shift_of(max)), thread));
}
