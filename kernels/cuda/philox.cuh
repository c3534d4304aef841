// The Philox 4x32-10 counter-based generator: random numbers as a pure function of (seed, stream, position), the same
// bits as on every other device. Definition, numbering of words and source: src/philox.rs.
#pragma once
#include "prelude.cuh"

// One sequence of random words, independent of every other stream of the same seed.
struct Stream {
    u64 seed, number;
};

// The four words of a block: elements 4 index to 4 index + 3 of the stream.
struct Words {
    u32 w[4];
};

// Four random words of 32 bits for a counter and a key.
DEVICE Words philox4x32_10(Words c, u32 k0, u32 k1) {
UNROLL for (int round = 0; round < 10; round++) {
        u64 p0 = (u64)0xD2511F53u * c.w[0], p1 = (u64)0xCD9E8D57u * c.w[2];
        c = Words{{(u32)(p1 >> 32) ^ c.w[1] ^ k0, (u32)p1, (u32)(p0 >> 32) ^ c.w[3] ^ k1, (u32)p0}};
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return c;
}

// Block `index`.
DEVICE Words random_block(Stream stream, u64 index) {
    Words counter = {{(u32)index, (u32)(index >> 32), (u32)stream.number, (u32)(stream.number >> 32)}};
    return philox4x32_10(counter, (u32)stream.seed, (u32)(stream.seed >> 32));
}

// Word `which` of a block. Selecting keeps the words in registers, which an index known at run time only would not.
DEVICE u32 word_of(Words words, u32 which) {
    u32 low = which & 1 ? words.w[1] : words.w[0], high = which & 1 ? words.w[3] : words.w[2];
    return which & 2 ? high : low;
}

// Element `i`. Where a thread needs neighbours, one block gives four.
DEVICE u32 random_word(Stream stream, u64 i) { return word_of(random_block(stream, i / 4), (u32)(i % 4)); }

// A word as a number in [0, 1): its upper 24 bits times 2^-24, exact.
DEVICE f32 unit_f32(u32 word) { return (f32)(i32)(word >> 8) * (1.0f / 16777216.0f); }

// Two words as a number in [0, 1): 53 bits times 2^-53, exact.
DEVICE f64 unit_f64(u32 low, u32 high) {
    return (f64)(i64)(((u64)high << 32 | low) >> 11) * (1.0 / 9007199254740992.0);
}

// For the test of an event of probability `p` (bernoulli; with 1 - p, what dropout keeps): the event is
// `happens(word, threshold_of(p))`, the same as unit_f32(word) < p. Saturates as Rust's `as u32`.
DEVICE u32 threshold_of(f64 p) { return (u32)saturate(ceil(p * 16777216.0), 0, 4294967295LL); }
DEVICE bool happens(u32 word, u32 threshold) { return word >> 8 < threshold; }
