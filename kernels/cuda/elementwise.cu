// Elementwise ops: y[i] = op(a[i], b[i], c[i]) over operands of any dtypes and strides.
//
// The host defines what one op is: ARITY, and EXPRESSION, the text of its row of src/elementwise/table.rs, with operands
// x, y, z and parameters s0, s1. With the dtype of the results, Result, a unit holds the kernel of contiguous operands,
// else that of any: an op waits for the compiler once for what it uses. Twins: src/elementwise/mod.rs, src/cpu/elementwise.rs.
#include "prelude.cuh"

struct ElementwiseParams {
    u64 len, op, rank;
    u64 kinds[3];
    u64 shape[MAX_RANK];
    i64 strides[3][MAX_RANK];
    f64 scalars[2];
    f64 values[3];
    i64 integers[3];
};
enum Kind : u64 { NONE, VIEW, SCALAR, OUTPUT };
struct Operands {
    const void* views[3];
    u32 dtypes[3];
    u32 y_dtype;
};

#if ELEM_IS_FLOAT
// The functions of the table for floats. Inside, `::name` is the language's own.
struct Real {
    typedef Compute C;
    static DEVICE C c(f64 value) { return (C)value; }
    static DEVICE C select(C no, C yes, bool condition) { return condition ? yes : no; }
    static DEVICE bool is_nan(C x) { return x != x; }
    static DEVICE bool is_inf(C x) { return ::fabs(x) == (C)INFINITY; }
    static DEVICE bool is_finite(C x) { return ::fabs(x) < (C)INFINITY; }
    static DEVICE C abs(C x) { return ::fabs(x); }
    static DEVICE C sign(C x) { return (C)(x > 0) - (C)(x < 0); }
    static DEVICE C round_ties_even(C x) { return ::rint(x); }
    // Written so that NaN as the first operand stays.
    static DEVICE C max(C x, C low) { return x < low ? low : x; }
    static DEVICE C min(C x, C high) { return x > high ? high : x; }
    // NaN if either is.
    static DEVICE C maximum(C x, C y) { return x > y || x != x ? x : y; }
    static DEVICE C minimum(C x, C y) { return x < y || x != x ? x : y; }
    static DEVICE C sigmoid(C x) {
        C e = ::exp(-::fabs(x));
        return (x >= 0 ? (C)1 : e) / (1 + e);
    }
    static DEVICE C softplus(C x) { return (x < 0 ? (C)0 : x) + ::log1p(::exp(-::fabs(x))); }
    static DEVICE C fmod(C x, C y) { return ::fmod(x, y); }
    // The remainder with the sign of the divisor.
    static DEVICE C rem(C x, C y) {
        C remainder = ::fmod(x, y);
        bool crosses = (remainder < 0) != (y < 0);
        return remainder != 0 && crosses ? remainder + y : remainder;
    }
    // The floor of the exact quotient: x / y after rounding may be an integer above it.
    static DEVICE C floor_div(C x, C y) {
        if (y == 0) return x / y;
        C remainder = ::fmod(x, y);
        bool crosses = remainder != 0 && (remainder < 0) != (y < 0);
        C quotient = (x - remainder) / y - (C)crosses;
        if (quotient == 0) return ::copysign((C)0, x / y);
        C floor = ::floor(quotient);
        return quotient - floor > (C)0.5 ? floor + 1 : floor;
    }
    // From the nearer end, so that both ends are exact.
    static DEVICE C lerp(C x, C y, C w) { return ::fabs(w) < (C)0.5 ? x + w * (y - x) : y - (y - x) * (1 - w); }
    static DEVICE C gelu_tanh_backward(C x, C dy) {
        C t = ::tanh((C)0.7978845608028654 * (x + (C)0.044715 * x * x * x));
        C slope = (C)0.7978845608028654 * (1 + (C)(3 * 0.044715) * x * x);
        return dy * (C)0.5 * (1 + t + x * (1 - t * t) * slope);
    }
};
typedef Real Functions;
#else
// The functions of the table that have a meaning for integers and truth values.
struct Integer {
    typedef i64 C;
    static DEVICE C c(f64 value) { return (C)value; }
    static DEVICE C select(C no, C yes, bool condition) { return condition ? yes : no; }
    static DEVICE bool is_nan(C) { return false; }
    static DEVICE bool is_inf(C) { return false; }
    static DEVICE bool is_finite(C) { return true; }
    static DEVICE C abs(C x) { return x < 0 ? (C)(0 - (u64)x) : x; }
    static DEVICE C sign(C x) { return (x > 0) - (x < 0); }
    static DEVICE C floor(C x) { return x; }
    static DEVICE C ceil(C x) { return x; }
    static DEVICE C trunc(C x) { return x; }
    static DEVICE C round_ties_even(C x) { return x; }
    static DEVICE C max(C x, C y) { return x < y ? y : x; }
    static DEVICE C min(C x, C y) { return x > y ? y : x; }
    static DEVICE C maximum(C x, C y) { return max(x, y); }
    static DEVICE C minimum(C x, C y) { return min(x, y); }
    // A divisor of 0 is reported; -1 is apart because the least number has no negative.
    static DEVICE C fmod(C x, C y) { return y == 0 || y == -1 ? 0 : x % y; }
    static DEVICE C rem(C x, C y) {
        C remainder = fmod(x, y);
        return remainder != 0 && (remainder < 0) != (y < 0) ? remainder + y : remainder;
    }
    static DEVICE C floor_div(C x, C y) {
        if (y == 0) return 0;
        if (y == -1) return (C)(0 - (u64)x);
        return x / y - (x % y != 0 && (x < 0) != (y < 0));
    }
    // Negative powers are 0 but for those of 1 and -1.
    static DEVICE C pow(C x, C y) {
        if (y < 0) return x == 1 ? 1 : x == -1 ? 1 - 2 * (y & 1) : 0;
        u64 power = 1, base = (u64)x;
        for (; y > 0; y >>= 1, base *= base)
            if (y & 1) power *= base;
        return (C)power;
    }
};
typedef Integer Functions;
#endif

// The op. Names in the expression are found here first.
struct Op : Functions {
    static DEVICE Compute of(Compute x, Compute y, Compute z, Compute s0, Compute s1) { return (Compute)(EXPRESSION); }
};

#ifndef Result
// 64-bit division is slow on GPUs and takes a call: it is compiled in only where there are that many elements (FAR).
#if FAR
typedef u64 Index;
#else
typedef u32 Index;
#endif

// Where element `linear` of the shape is in each operand.
DEVICE void offsets(const ElementwiseParams& p, Index linear, i64* at) {
    for (int dim = (int)p.rank - 1; dim > 0; dim--) {
        Index outer = linear / (Index)p.shape[dim];
        i64 i = (i64)(linear - outer * (Index)p.shape[dim]);
        UNROLL for (int operand = 0; operand < ARITY; operand++) at[operand] += i * p.strides[operand][dim];
        linear = outer;
    }
    UNROLL for (int operand = 0; operand < ARITY; operand++) at[operand] += (i64)linear * p.strides[operand][0];
}

// Any dtypes, any strides.
KERNEL(elementwise, Operands operands, void* y, ElementwiseParams p, FaultArg fault, u64 check_divisor) {
    const Compute s0 = convert<Compute>(p.scalars[0]), s1 = convert<Compute>(p.scalars[1]);
    for (u64 i = thread_index(); i < p.len; i += grid_threads()) {
        i64 at[3] = {0, 0, 0};
        offsets(p, (Index)i, at);
        Compute in[3] = {0, 0, 0};
        UNROLL for (int operand = 0; operand < ARITY; operand++) {
            switch (p.kinds[operand]) {
                case VIEW: in[operand] = load_as<Compute>(operands.views[operand], at[operand], operands.dtypes[operand]); break;
                case OUTPUT: in[operand] = load_as<Compute>(y, (i64)i, operands.y_dtype); break;
                default: in[operand] = ELEM_IS_FLOAT ? convert<Compute>(p.values[operand]) : convert<Compute>(p.integers[operand]);
            }
        }
        if (check_divisor && in[1] == 0) report(fault, 0, 0, (i64)i);
        store_as(y, (i64)i, operands.y_dtype, Op::of(in[0], in[1], in[2], s0, s1));
    }
}

#else
// All operands are contiguous views of Elem or scalars, and y holds Result: sixteen bytes at a time. The host has
// checked alignment; the last elements are taken singly.
KERNEL(elementwise_contiguous, const Elem* a, const Elem* b, const Elem* c, Result* y, ElementwiseParams p) {
    const int N = 16 / sizeof(Elem);
    const Compute s0 = convert<Compute>(p.scalars[0]), s1 = convert<Compute>(p.scalars[1]);
    const Elem* views[3] = {a, b, c};
    const u64 packs = p.len / N;
    for (u64 i = thread_index(); i < packs; i += grid_threads()) {
        Compute in[3][N];
        UNROLL for (int operand = 0; operand < ARITY; operand++) {
            if (views[operand]) {
                Pack<Elem, N> pack = ((const Pack<Elem, N>*)views[operand])[i];
                UNROLL for (int j = 0; j < N; j++) in[operand][j] = load(&pack.v[j]);
            } else {
                Compute value = ELEM_IS_FLOAT ? convert<Compute>(p.values[operand]) : convert<Compute>(p.integers[operand]);
                UNROLL for (int j = 0; j < N; j++) in[operand][j] = value;
            }
        }
        Pack<Result, N> result;
        UNROLL for (int j = 0; j < N; j++) {
            Compute value = Op::of(in[0][j], ARITY > 1 ? in[1][j] : 0, ARITY > 2 ? in[2][j] : 0, s0, s1);
            result.v[j] = convert<Result>(value);
        }
        ((Pack<Result, N>*)y)[i] = result;
    }
    for (u64 i = packs * N + thread_index(); i < p.len; i += grid_threads()) {
        Compute in[3] = {0, 0, 0};
        UNROLL for (int operand = 0; operand < ARITY; operand++) {
            Compute value = ELEM_IS_FLOAT ? convert<Compute>(p.values[operand]) : convert<Compute>(p.integers[operand]);
            in[operand] = views[operand] ? load(&views[operand][i]) : value;
        }
        y[i] = convert<Result>(Op::of(in[0], in[1], in[2], s0, s1));
    }
}
#endif
