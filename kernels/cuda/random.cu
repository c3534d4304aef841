// Arrays of random numbers: uniform, normal, integers, bernoulli; element i is a function of words of the stream.
// Formulas and twins: src/random.rs, src/cpu/random.rs.
//
// The host's bits: each product and sum is rounded by itself (__fmul_rn and its kin are never fused).
#include "philox.cuh"

struct RandomParams {
    Stream stream;
    f64 a, b;
};
struct RandomIntegerParams {
    Stream stream;
    i64 low;
    u64 range;
};

DEVICE f32 mul(f32 a, f32 b) { return __fmul_rn(a, b); }
DEVICE f32 add(f32 a, f32 b) { return __fadd_rn(a, b); }
DEVICE f64 mul(f64 a, f64 b) { return __dmul_rn(a, b); }
DEVICE f64 add(f64 a, f64 b) { return __dadd_rn(a, b); }

// Writes elements first to first + N - 1 of `len`, as one access where all are there. Buffers start aligned.
template <int N> DEVICE void store_all(Elem* y, u64 first, u64 len, const Pack<Elem, N>& values) {
    if (first + N <= len) {
        *(Pack<Elem, N>*)(y + first) = values;
    } else {
UNROLL for (int i = 0; i < N; i++)
            if (first + i < len) y[first + i] = values.v[i];
    }
}

// Fills y with four elements for each block of words.
template <class F> DEVICE void by_words(Elem* y, u64 len, Stream stream, F f) {
    for (u64 block = thread_index(); 4 * block < len; block += grid_threads())
        store_all<4>(y, 4 * block, len, f(random_block(stream, block)));
}

// Fills y with two elements for each block of words: each is made of 64 bits.
template <class F> DEVICE void by_two_words(Elem* y, u64 len, Stream stream, F f) {
    for (u64 block = thread_index(); 2 * block < len; block += grid_threads()) {
        Words w = random_block(stream, block);
        store_all<2>(y, 2 * block, len, Pack<Elem, 2>{{f(w.w[0], w.w[1]), f(w.w[2], w.w[3])}});
    }
}

// y[i] = 1 with probability a, else 0.
KERNEL(bernoulli, Elem* y, u64 len, RandomParams p) {
    const u32 threshold = threshold_of(p.a);
    const Elem zero = convert<Elem>(0LL), one = convert<Elem>(1LL);
    by_words(y, len, p.stream, [=](Words words) {
        Pack<Elem, 4> values;
UNROLL for (int i = 0; i < 4; i++) values.v[i] = happens(words.w[i], threshold) ? one : zero;
        return values;
    });
}

// y[i] = low + (range * u >> 64).
KERNEL(integers, Elem* y, u64 len, RandomIntegerParams p) {
    by_two_words(y, len, p.stream, [=](u32 low, u32 high) {
        return convert<Elem>((i64)((u64)p.low + __umul64hi((u64)high << 32 | low, p.range)));
    });
}

#if defined(ELEM_F64)
// y[i] = a + (b - a) u.
KERNEL(uniform, Elem* y, u64 len, RandomParams p) {
    const f64 range = p.b - p.a;
    by_two_words(y, len, p.stream, [=](u32 low, u32 high) {
        f64 value = add(p.a, mul(range, unit_f64(low, high)));
        return value < p.b ? value : p.a;
    });
}

// y = a + b z, two z from each block.
KERNEL(normal, Elem* y, u64 len, RandomParams p) {
    for (u64 block = thread_index(); 2 * block < len; block += grid_threads()) {
        Words w = random_block(p.stream, block);
        f64 r = sqrt(-2.0 * log(unit_f64(w.w[0], w.w[1]) + 1.0 / 9007199254740992.0));
        f64 t = 6.283185307179586 * unit_f64(w.w[2], w.w[3]);
        Pack<Elem, 2> values = {{add(p.a, mul(p.b, mul(r, cos(t)))), add(p.a, mul(p.b, mul(r, sin(t))))}};
        store_all<2>(y, 2 * block, len, values);
    }
}
#elif ELEM_IS_FLOAT
// The bits that the element type holds.
#if defined(ELEM_F16)
const int BITS = 11;
#elif defined(ELEM_BF16)
const int BITS = 8;
#else
const int BITS = 24;
#endif

// y[i] = a + (b - a) n / 2^BITS; what rounds up to b becomes a.
KERNEL(uniform, Elem* y, u64 len, RandomParams p) {
    const f32 low = (f32)p.a, high = (f32)p.b, range = high - low;
    by_words(y, len, p.stream, [=](Words words) {
        Pack<Elem, 4> values;
UNROLL for (int i = 0; i < 4; i++) {
            f32 u = mul((f32)(i32)(words.w[i] >> (32 - BITS)), 1.0f / (f32)(1 << BITS));
            Elem value = convert<Elem>(add(low, mul(range, u)));
            values.v[i] = convert<f32>(value) < high ? value : convert<Elem>(low);
        }
        return values;
    });
}

// ln((n + 1) / 2^24) for the upper 24 bits n of a word, after Cephes `logf`.
DEVICE f32 ln_of_unit(u32 word) {
    f32 x = mul((f32)((i32)(word >> 8) + 1), 1.0f / 16777216.0f);
    // x = 2^e m with m in [sqrt(1/2), sqrt(2)).
    u32 bits = bits_of(x) - 0x3f3504f3u;
    f32 e = (f32)((i32)bits >> 23);
    f32 m = add(float_of((bits & 0x007fffffu) + 0x3f3504f3u), -1.0f);
    const f32 coefficients[8] = {-1.151461e-1f,  1.1676999e-1f, -1.2420141e-1f, 1.4249323e-1f,
                                 -1.6668058e-1f, 2.0000715e-1f, -2.4999994e-1f, 3.333333e-1f};
    f32 p = 7.0376836e-2f;
UNROLL for (int i = 0; i < 8; i++) p = add(mul(p, m), coefficients[i]);
    f32 z = mul(m, m);
    f32 y = add(add(mul(mul(p, m), z), mul(e, -2.1219444e-4f)), -mul(0.5f, z));
    return add(add(m, y), mul(e, 0.6933594f));
}

// cos and sin of at most an eighth of a turn either way, after Cephes `sinf`.
DEVICE void cos_sin(f32 t, f32& c, f32& s) {
    f32 z = mul(t, t);
    s = add(mul(add(mul(-1.9515296e-4f, z), 8.332161e-3f), z), -1.6666655e-1f);
    s = add(mul(mul(s, z), t), t);
    c = add(mul(add(mul(2.4433157e-5f, z), -1.3887316e-3f), z), 4.1666646e-2f);
    c = add(add(mul(mul(c, z), z), -mul(0.5f, z)), 1.0f);
}

// Two normal deviates from two words.
DEVICE void normal_pair(u32 v, u32 w, f32& z0, f32& z1) {
    f32 r = sqrtf(mul(-2.0f, ln_of_unit(v))), c, s;
    i32 steps = (i32)((w & 0x3fffffffu) >> 6) - (1 << 23);
    cos_sin(mul(1.57079637f, mul(add((f32)steps, 0.5f), 1.0f / 16777216.0f)), c, s);
    if (w & 0x80000000u) r = -r;
    z0 = mul(r, w & 0x40000000u ? -s : c);
    z1 = mul(r, w & 0x40000000u ? c : s);
}

// y = a + b z, four z from each block.
KERNEL(normal, Elem* y, u64 len, RandomParams p) {
    const f32 mean = (f32)p.a, std = (f32)p.b;
    by_words(y, len, p.stream, [=](Words words) {
        f32 z[4];
        normal_pair(words.w[0], words.w[1], z[0], z[1]);
        normal_pair(words.w[2], words.w[3], z[2], z[3]);
        Pack<Elem, 4> values;
UNROLL for (int i = 0; i < 4; i++) values.v[i] = convert<Elem>(add(mean, mul(std, z[i])));
        return values;
    });
}
#endif
