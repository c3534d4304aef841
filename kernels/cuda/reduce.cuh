// What a reduction does with its elements: an accumulator of one element, a merge of two, and what the last one becomes.
// Every op reads its input once; orders of merging are fixed by the sizes, so results do not vary. Formulas:
// src/reduce.rs.
#pragma once
#include "prelude.cuh"

struct ReduceParams {
    u64 rows, cols;
    Dims kept, reduced;
    f64 argument;
};

// How elements become accumulators unless an op knows better: one by one, merged as a tree.
template <class Op, class A> struct Fold {
    typedef A Acc;
    // Takes in elements at, at + step, ... of the reduced ones.
    template <int N> static DEVICE void take(A& acc, const Compute (&x)[N], u64 at, u64 step, const ReduceParams& p) {
        A part[N];
UNROLL  for (int i = 0; i < N; i++) part[i] = Op::of(x[i], (i64)(at + i * step), p);
UNROLL  for (int half = N / 2; half > 0; half /= 2) {
UNROLL      for (int i = 0; i < half; i++) part[i] = Op::merge(part[i], part[i + half]);
        }
        acc = Op::merge(acc, part[0]);
    }
};

// What sums and products are stored as: floats as they are, all else as i64.
#if ELEM_IS_FLOAT
typedef Elem TotalElem;
DEVICE Compute lowest() { return -INFINITY; }
DEVICE Compute highest() { return INFINITY; }
#else
typedef i64 TotalElem;
DEVICE Compute lowest() { return -0x7fffffffffffffffLL - 1; }
DEVICE Compute highest() { return 0x7fffffffffffffffLL; }
#endif

// Integers wrap, which C++ promises of unsigned ones only.
DEVICE f32 plus(f32 a, f32 b) { return a + b; }
DEVICE f64 plus(f64 a, f64 b) { return a + b; }
DEVICE i64 plus(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
DEVICE f32 times(f32 a, f32 b) { return a * b; }
DEVICE f64 times(f64 a, f64 b) { return a * b; }
DEVICE i64 times(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }

struct Total : Fold<Total, Compute> {
    typedef TotalElem Out;
    static DEVICE Compute start() { return 0; }
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x; }
    static DEVICE Compute merge(Compute a, Compute b) { return plus(a, b); }
    static DEVICE Out finish(Compute acc, const ReduceParams&) { return convert<Out>(acc); }
};
struct Product : Fold<Product, Compute> {
    typedef TotalElem Out;
    static DEVICE Compute start() { return 1; }
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x; }
    static DEVICE Compute merge(Compute a, Compute b) { return times(a, b); }
    static DEVICE Out finish(Compute acc, const ReduceParams&) { return convert<Out>(acc); }
};
struct Greatest : Fold<Greatest, Compute> {
    typedef Elem Out;
    static DEVICE Compute start() { return lowest(); }
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x; }
    static DEVICE Compute merge(Compute a, Compute b) { return Max::of(a, b); }
    static DEVICE Out finish(Compute acc, const ReduceParams&) { return convert<Out>(acc); }
};
struct Least : Fold<Least, Compute> {
    typedef Elem Out;
    static DEVICE Compute start() { return highest(); }
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x; }
    static DEVICE Compute merge(Compute a, Compute b) { return Min::of(a, b); }
    static DEVICE Out finish(Compute acc, const ReduceParams&) { return convert<Out>(acc); }
};
// Whether any is not 0: true for NaN, false for -0.0.
struct Any : Fold<Any, u32> {
    typedef boolean Out;
    static DEVICE u32 start() { return 0; }
    static DEVICE u32 of(Compute x, i64, const ReduceParams&) { return x != 0; }
    static DEVICE u32 merge(u32 a, u32 b) { return a | b; }
    static DEVICE Out finish(u32 found, const ReduceParams&) { return boolean{(u8)found}; }
};
// Whether none is 0.
struct All : Fold<All, u32> {
    typedef boolean Out;
    static DEVICE u32 start() { return 1; }
    static DEVICE u32 of(Compute x, i64, const ReduceParams&) { return x != 0; }
    static DEVICE u32 merge(u32 a, u32 b) { return a & b; }
    static DEVICE Out finish(u32 all, const ReduceParams&) { return boolean{(u8)all}; }
};

// A value and where it is. Among equal ones, of which NaN is one, the first counts.
struct Place {
    Compute value;
    i64 at;
};
template <bool GREATEST> struct First : Fold<First<GREATEST>, Place> {
    typedef i64 Out;
    static DEVICE Place start() { return {GREATEST ? lowest() : highest(), 0x7fffffffffffffffLL}; }
    static DEVICE Place of(Compute x, i64 at, const ReduceParams&) { return {x, at}; }
    static DEVICE Place merge(Place a, Place b) {
        const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
        const bool same = a_nan || b_nan ? a_nan && b_nan : a.value == b.value;
        const bool further = b_nan || (GREATEST ? b.value > a.value : b.value < a.value);
        return (same ? b.at < a.at : !a_nan && further) ? b : a;
    }
    static DEVICE Out finish(Place acc, const ReduceParams&) { return acc.at; }
};
typedef First<true> FirstGreatest;
typedef First<false> FirstLeast;

#if ELEM_IS_FLOAT
struct Mean : Total {
    static DEVICE Elem finish(Compute sum, const ReduceParams& p) { return convert<Elem>(sum / (Compute)p.cols); }
};
// Norms of order infinity, -infinity, 1, 2, 0, and any other.
struct AbsoluteGreatest : Greatest, Fold<AbsoluteGreatest, Compute> {
    typedef Compute Acc;
    using Fold<AbsoluteGreatest, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return fabs(x); }
};
struct AbsoluteLeast : Least, Fold<AbsoluteLeast, Compute> {
    typedef Compute Acc;
    using Fold<AbsoluteLeast, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return fabs(x); }
};
struct AbsoluteTotal : Total, Fold<AbsoluteTotal, Compute> {
    typedef Compute Acc;
    using Fold<AbsoluteTotal, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return fabs(x); }
};
struct Euclidean : Total, Fold<Euclidean, Compute> {
    typedef Compute Acc;
    using Fold<Euclidean, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x * x; }
    static DEVICE Elem finish(Compute sum, const ReduceParams&) { return convert<Elem>(sqrt(sum)); }
};
struct Count : Total, Fold<Count, Compute> {
    typedef Compute Acc;
    using Fold<Count, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams&) { return x != 0; }
};
struct PowerTotal : Total, Fold<PowerTotal, Compute> {
    typedef Compute Acc;
    using Fold<PowerTotal, Compute>::take;
    static DEVICE Compute of(Compute x, i64, const ReduceParams& p) { return pow(fabs(x), (Compute)p.argument); }
    static DEVICE Elem finish(Compute sum, const ReduceParams& p) {
        return convert<Elem>(pow(sum, (Compute)(1.0 / p.argument)));
    }
};

// sum = sum of exp(x - shift(max)), rescaled whenever the maximum grows.
struct Exponentials {
    Compute max, sum;
};
struct LogSumExp {
    typedef Exponentials Acc;
    typedef Elem Out;
    // An infinite maximum is no shift to take: inf - inf is NaN, while exp(inf) and exp(-inf) are right as they are.
    static DEVICE Compute shift(Compute max) { return fabs(max) == (Compute)INFINITY ? (Compute)0 : max; }
    static DEVICE Acc start() { return {-INFINITY, 0}; }
    // The sum under another shift. A sum of 0 has no maximum yet, and the factor could overflow.
    static DEVICE Compute rescaled(Acc acc, Compute by) {
        return acc.sum == 0 ? (Compute)0 : acc.sum * exp(shift(acc.max) - by);
    }
    static DEVICE Acc merge(Acc a, Acc b) {
        const Compute max = Max::of(a.max, b.max), by = shift(max);
        return {max, rescaled(a, by) + rescaled(b, by)};
    }
    template <int N> static DEVICE void take(Acc& acc, const Compute (&x)[N], u64, u64, const ReduceParams&) {
        Compute max = acc.max;
UNROLL  for (int i = 0; i < N; i++) max = Max::of(max, x[i]);
        const Compute by = shift(max);
        Compute sum = rescaled(acc, by);
UNROLL  for (int i = 0; i < N; i++) sum += exp(x[i] - by);
        acc = {max, sum};
    }
    static DEVICE Elem finish(Acc acc, const ReduceParams&) { return convert<Elem>(log(acc.sum) + shift(acc.max)); }
};

// Count, mean, and sum of squares about the mean: m2.
struct Moments {
    Compute n, mean, m2;
};
// Differs from the host: one read instead of two. A few elements at a time have their own mean, about which they are
// squared, and are merged by Chan, Golub and LeVeque, 1983, eq. 2.1, which holds where the mean is large, too.
struct Variance {
    typedef Moments Acc;
    typedef Elem Out;
    static DEVICE Acc start() { return {0, 0, 0}; }
    static DEVICE Acc merge(Acc a, Acc b) {
        const Compute n = a.n + b.n, share = n > 0 ? b.n / n : (Compute)0, delta = b.mean - a.mean;
        // The weights go in between, so that a square that overflows meets no 0.
        return {n, a.mean + delta * share, a.m2 + b.m2 + delta * (delta * (a.n * share))};
    }
    template <int N> static DEVICE void take(Acc& acc, const Compute (&x)[N], u64, u64, const ReduceParams&) {
        Compute mean = 0, m2 = 0;
UNROLL  for (int i = 0; i < N; i++) mean += x[i];
        mean *= (Compute)1 / N;
UNROLL  for (int i = 0; i < N; i++) m2 += (x[i] - mean) * (x[i] - mean);
        acc = merge(acc, Acc{N, mean, m2});
    }
    static DEVICE Compute value(Acc acc, const ReduceParams& p) {
        const f64 divisor = (f64)p.cols - p.argument;
        return p.cols > 0 ? acc.m2 / (Compute)(divisor > 0 ? divisor : 0) : (Compute)NAN;
    }
    static DEVICE Elem finish(Acc acc, const ReduceParams& p) { return convert<Elem>(value(acc, p)); }
};
struct Deviation : Variance {
    static DEVICE Elem finish(Acc acc, const ReduceParams& p) { return convert<Elem>(sqrt(value(acc, p))); }
};
#endif

// The accumulator of the lane `step` away.
DEVICE u32 across(u32 x, int step) { return __shfl_xor_sync(FULL, x, step); }
DEVICE f32 across(f32 x, int step) { return __shfl_xor_sync(FULL, x, step); }
DEVICE f64 across(f64 x, int step) { return __shfl_xor_sync(FULL, x, step); }
DEVICE i64 across(i64 x, int step) { return __shfl_xor_sync(FULL, x, step); }
DEVICE Place across(Place x, int step) { return {across(x.value, step), across(x.at, step)}; }
#if ELEM_IS_FLOAT
DEVICE Exponentials across(Exponentials x, int step) { return {across(x.max, step), across(x.sum, step)}; }
DEVICE Moments across(Moments x, int step) { return {across(x.n, step), across(x.mean, step), across(x.m2, step)}; }
#endif
