// The Philox 4x32-10 counter-based generator: random numbers as a pure function of (seed, stream, position), the same
// bits as on every other device. Definition, numbering of words and source: src/philox.rs. Twin: cuda/philox.cuh.
//
// Differs from CUDA: WGSL has no 64-bit integers, so a number of 64 bits is vec2(low, high).

// One sequence of random words, independent of every other stream of the same seed.
struct Stream {
    seed: vec2<u32>,
    number: vec2<u32>,
}

// The product of two words: the low half, and the high half from products of halves of 16 bits.
fn multiply_words(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low_high = a_low * b_high;
    let high_low = a_high * b_low;
    // Three numbers below 2^16 cannot overflow.
    let carried = ((a_low * b_low) >> 16u) + (low_high & 0xffffu) + (high_low & 0xffffu);
    return vec2<u32>(a * b, a_high * b_high + (low_high >> 16u) + (high_low >> 16u) + (carried >> 16u));
}

// The sum of two numbers of 64 bits; wraps.
fn add_words(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < a.x));
}

// Four random words of 32 bits for a counter and a key.
fn philox4x32_10(counter: vec4<u32>, key: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var k = key;
    for (var round = 0u; round < 10u; round++) {
        let p0 = multiply_words(0xD2511F53u, c.x);
        let p1 = multiply_words(0xCD9E8D57u, c.z);
        c = vec4<u32>(p1.y ^ c.y ^ k.x, p1.x, p0.y ^ c.w ^ k.y, p0.x);
        k += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// Block `index`: elements 4 index to 4 index + 3 of the stream.
fn random_block(stream: Stream, index: vec2<u32>) -> vec4<u32> {
    return philox4x32_10(vec4<u32>(index, stream.number), stream.seed);
}

// Element `i` of the first 2^32. Where an invocation needs neighbours, one block gives four.
fn random_word(stream: Stream, i: u32) -> u32 {
    return random_block(stream, vec2<u32>(i / 4u, 0u))[i % 4u];
}

// A word as a number in [0, 1): its upper 24 bits times 2^-24, exact.
fn unit_f32(word: u32) -> f32 {
    return f32(word >> 8u) * (1.0 / 16777216.0);
}

// For the test of an event of probability p (bernoulli; with 1 - p, what dropout keeps): the event is
// `happens(word, threshold)` with threshold = ceil(p 2^24) from the host, the same as unit_f32(word) < p.
fn happens(word: u32, threshold: u32) -> bool {
    return (word >> 8u) < threshold;
}
