// What every kernel is written in: the element types, their conversions, indices, and reductions of a warp or block.
//
// A unit is compiled for one element type: the host defines ELEM_<DTYPE> before the source. No CUDA header is needed.
// With CHAINRULE_EMU the same text is ordinary C++ that runs on the host (emu/emu.h).
#pragma once

#ifdef CHAINRULE_EMU
#include "emu/emu.h"
#else
// An entry point: KERNEL(name, parameters...) { body }. Blocks have THREADS threads at most; where MIN_BLOCKS is defined,
// registers are limited so that as many blocks fit on a multiprocessor.
#define KERNEL(name, ...) extern "C" __global__ void __launch_bounds__(LAUNCH_BOUNDS) name(__VA_ARGS__)
// An array that the block shares: SHARED(f32, tile, [32][33]);
#define SHARED(type, name, extents) __shared__ type name extents
// The bytes of shared memory that the launch asks for, as an array of `type`.
#define DYNAMIC_SHARED(type, name)                                     \
    extern __shared__ __align__(1024) unsigned char dynamic_shared_[]; \
    type* name = reinterpret_cast<type*>(dynamic_shared_)
#define UNROLL _Pragma("unroll")
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
#endif

// The most threads a block of this unit has; the host sets it where a kernel needs another number.
#ifndef THREADS
#define THREADS 256
#endif
#ifdef MIN_BLOCKS
#define LAUNCH_BOUNDS THREADS, MIN_BLOCKS
#else
#define LAUNCH_BOUNDS THREADS
#endif
#define DEVICE __device__ __forceinline__

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int i32;
typedef long long i64;
typedef float f32;
typedef double f64;

// A truth value of one byte: 0 is false, anything else true.
struct boolean {
    u8 byte;
};
// IEEE 754 binary16.
struct f16 {
    u16 bits;
};
// The upper half of a binary32.
struct bf16 {
    u16 bits;
};

// Where something is in shared memory, as instructions that work on it are told: 18 bits.
DEVICE u32 shared_address(const void* shared) {
#ifdef CHAINRULE_EMU
    return emu::shared_address(shared);
#else
    return (u32)__cvta_generic_to_shared(shared);
#endif
}

DEVICE u32 bits_of(f32 x) { return __float_as_uint(x); }
DEVICE f32 float_of(u32 bits) { return __uint_as_float(bits); }

DEVICE f32 to_f32(bf16 x) { return float_of((u32)x.bits << 16); }

// Rounds to the nearest, ties to even; NaN stays NaN.
DEVICE bf16 to_bf16(f32 x) {
#if !defined(CHAINRULE_EMU) && __CUDA_ARCH__ >= 800
    bf16 y;
    asm("{ .reg .b32 pair; cvt.rn.bf16x2.f32 pair, 0f00000000, %1; cvt.u16.u32 %0, pair; }" : "=h"(y.bits) : "f"(x));
    return y;
#else
    u32 bits = bits_of(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return bf16{0x7fff};
    return bf16{(u16)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
#endif
}

DEVICE f32 to_f32(f16 x) {
#ifdef CHAINRULE_EMU
    return emu::half_to_float(x.bits);
#else
    f32 y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
#endif
}

// Rounds to the nearest, ties to even; overflow gives infinity.
DEVICE f16 to_f16(f32 x) {
#ifdef CHAINRULE_EMU
    return f16{emu::float_to_half(x)};
#else
    f16 y;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
    return y;
#endif
}

// What arithmetic on a stored type is done in: f32 for f16, bf16 and f32, f64 for f64, i64 for integers and truth values.
template <class S> struct ComputeOf { typedef i64 type; };
template <> struct ComputeOf<f16> { typedef f32 type; };
template <> struct ComputeOf<bf16> { typedef f32 type; };
template <> struct ComputeOf<f32> { typedef f32 type; };
template <> struct ComputeOf<f64> { typedef f64 type; };

// The integer nearest to zero of a float; out of range it saturates, and NaN gives 0, as Rust's `as`.
template <class F> DEVICE i64 saturate(F x) {
    if (x != x) return 0;
    if (x >= (F)9223372036854775807.0) return 0x7fffffffffffffffLL;
    if (x <= (F)-9223372036854775808.0) return -0x7fffffffffffffffLL - 1;
    return (i64)x;
}
template <class F> DEVICE i64 saturate(F x, i64 low, i64 high) {
    i64 y = saturate(x);
    return y < low ? low : y > high ? high : y;
}

// convert<To>(x): from any type to any other. Floats round to the nearest and saturate to integers, integers wrap.
template <class To> struct Convert;
template <> struct Convert<f32> {
    static DEVICE f32 from(f16 x) { return to_f32(x); }
    static DEVICE f32 from(bf16 x) { return to_f32(x); }
    static DEVICE f32 from(boolean x) { return x.byte != 0; }
    template <class S> static DEVICE f32 from(S x) { return (f32)x; }
};
template <> struct Convert<f64> {
    static DEVICE f64 from(f16 x) { return to_f32(x); }
    static DEVICE f64 from(bf16 x) { return to_f32(x); }
    static DEVICE f64 from(boolean x) { return x.byte != 0; }
    template <class S> static DEVICE f64 from(S x) { return (f64)x; }
};
template <> struct Convert<f16> {
    template <class S> static DEVICE f16 from(S x) { return to_f16(Convert<f32>::from(x)); }
};
template <> struct Convert<bf16> {
    template <class S> static DEVICE bf16 from(S x) { return to_bf16(Convert<f32>::from(x)); }
};
template <> struct Convert<boolean> {
    static DEVICE boolean from(boolean x) { return boolean{(u8)(x.byte != 0)}; }
    static DEVICE boolean from(f16 x) { return boolean{(u8)(to_f32(x) != 0)}; }
    static DEVICE boolean from(bf16 x) { return boolean{(u8)(to_f32(x) != 0)}; }
    template <class S> static DEVICE boolean from(S x) { return boolean{(u8)(x != 0)}; }
};
#define INTEGER_CONVERT(type, low, high)                                                    \
    template <> struct Convert<type> {                                                      \
        static DEVICE type from(f16 x) { return (type)saturate(to_f32(x), low, high); }     \
        static DEVICE type from(bf16 x) { return (type)saturate(to_f32(x), low, high); }    \
        static DEVICE type from(f32 x) { return (type)saturate(x, low, high); }             \
        static DEVICE type from(f64 x) { return (type)saturate(x, low, high); }             \
        static DEVICE type from(boolean x) { return x.byte != 0; }                          \
        template <class S> static DEVICE type from(S x) { return (type)x; }                 \
    };
INTEGER_CONVERT(u8, 0, 255)
INTEGER_CONVERT(u32, 0, 4294967295LL)
INTEGER_CONVERT(i32, -2147483648LL, 2147483647LL)
INTEGER_CONVERT(i64, -0x7fffffffffffffffLL - 1, 0x7fffffffffffffffLL)
template <class To, class From> DEVICE To convert(From x) { return Convert<To>::from(x); }

// The element type of this unit and what it is computed in.
#if defined(ELEM_F32)
typedef f32 Elem;
#elif defined(ELEM_F64)
typedef f64 Elem;
#elif defined(ELEM_F16)
typedef f16 Elem;
#elif defined(ELEM_BF16)
typedef bf16 Elem;
#elif defined(ELEM_I64)
typedef i64 Elem;
#elif defined(ELEM_I32)
typedef i32 Elem;
#elif defined(ELEM_U32)
typedef u32 Elem;
#elif defined(ELEM_U8)
typedef u8 Elem;
#elif defined(ELEM_BOOL)
typedef boolean Elem;
#endif
#if defined(ELEM_F32) || defined(ELEM_F64) || defined(ELEM_F16) || defined(ELEM_BF16)
#define ELEM_IS_FLOAT 1
#else
#define ELEM_IS_FLOAT 0
#endif
#if ELEM_IS_FLOAT || defined(ELEM_BOOL)
#define ELEM_IS_INT 0
#else
#define ELEM_IS_INT 1
#endif
typedef ComputeOf<Elem>::type Compute;
DEVICE Compute load(const Elem* x) { return convert<Compute>(*x); }
DEVICE void store(Elem* y, Compute value) { *y = convert<Elem>(value); }

// Dtypes that are known at run time only, numbered as the host's DType.
enum Dtype : u32 { BOOL, U8, U32, I32, I64, F16, BF16, F32, F64 };
template <class C> DEVICE C load_as(const void* x, i64 at, u32 dtype) {
    switch (dtype) {
        case BOOL: return convert<C>(((const boolean*)x)[at]);
        case U8: return convert<C>(((const u8*)x)[at]);
        case U32: return convert<C>(((const u32*)x)[at]);
        case I32: return convert<C>(((const i32*)x)[at]);
        case I64: return convert<C>(((const i64*)x)[at]);
        case F16: return convert<C>(((const f16*)x)[at]);
        case BF16: return convert<C>(((const bf16*)x)[at]);
        case F32: return convert<C>(((const f32*)x)[at]);
        default: return convert<C>(((const f64*)x)[at]);
    }
}
template <class C> DEVICE void store_as(void* y, i64 at, u32 dtype, C value) {
    switch (dtype) {
        case BOOL: ((boolean*)y)[at] = convert<boolean>(value); break;
        case U8: ((u8*)y)[at] = convert<u8>(value); break;
        case U32: ((u32*)y)[at] = convert<u32>(value); break;
        case I32: ((i32*)y)[at] = convert<i32>(value); break;
        case I64: ((i64*)y)[at] = convert<i64>(value); break;
        case F16: ((f16*)y)[at] = convert<f16>(value); break;
        case BF16: ((bf16*)y)[at] = convert<bf16>(value); break;
        case F32: ((f32*)y)[at] = convert<f32>(value); break;
        default: ((f64*)y)[at] = convert<f64>(value); break;
    }
}

// N elements that are read and written as one; 16 bytes at most go in one access.
template <class T, int N> struct alignas(sizeof(T) * N) Pack {
    T v[N];
};

// Grids have one dim for the kernel's author; the host folds what exceeds the device's limit into y.
DEVICE u64 block_index() { return (u64)blockIdx.y * gridDim.x + blockIdx.x; }
DEVICE u64 thread_index() { return block_index() * blockDim.x + threadIdx.x; }
DEVICE u64 grid_threads() { return (u64)gridDim.x * gridDim.y * blockDim.x; }

// Sizes and strides of up to 8 dims, outermost first: the host's `Dims`. Unused places have size 1 and stride 0.
const int MAX_RANK = 8;
struct Dims {
    u64 rank;
    u64 shape[MAX_RANK];
    i64 strides[MAX_RANK];
};
// Where element `linear` of the walk is, in elements from the first.
DEVICE i64 offset_of(const Dims& dims, u64 linear) {
    i64 offset = 0;
    for (int dim = (int)dims.rank - 1; dim > 0; dim--) {
        u64 outer = linear / dims.shape[dim];
        offset += (i64)(linear - outer * dims.shape[dim]) * dims.strides[dim];
        linear = outer;
    }
    return dims.rank > 0 ? offset + (i64)linear * dims.strides[0] : 0;
}

// Where a kernel reports what the host could not check: the first report of a launch counts.
struct Fault {
    u64 raised;  // 0, or 1 + the number of the launch
    i64 value;   // what was found
    i64 limit;   // what it should have been below
    i64 at;      // where
};
struct FaultArg {
    Fault* fault;
    u64 launch;
};
DEVICE void report(FaultArg arg, i64 value, i64 limit, i64 at) {
    if (atomicCAS(&arg.fault->raised, 0ULL, arg.launch + 1) == 0) {
        arg.fault->value = value;
        arg.fault->limit = limit;
        arg.fault->at = at;
    }
}

const u32 FULL = 0xffffffffu;
const int WARP = 32;

struct Sum {
    template <class T> static DEVICE T of(T a, T b) { return a + b; }
    // Integers wrap.
    static DEVICE i64 of(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
};
// NaN wins, as in the ops of these names.
struct Max { template <class T> static DEVICE T of(T a, T b) { return a != a ? a : b != b ? b : a > b ? a : b; } };
struct Min { template <class T> static DEVICE T of(T a, T b) { return a != a ? a : b != b ? b : a < b ? a : b; } };

// The fold of a value over the lanes of a warp, the same in all of them.
template <class Op, class T> DEVICE T warp_fold(T x) {
UNROLL for (int step = WARP / 2; step > 0; step /= 2) x = Op::of(x, __shfl_xor_sync(FULL, x, step));
    return x;
}

// The fold of a value over the threads of a block (a multiple of 32), the same in all of them, in a fixed order.
// `scratch` is shared, one place for each warp. It may be used again at once.
template <class Op, class T> DEVICE T block_fold(T x, T* scratch) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    x = warp_fold<Op>(x);
    if (warps == 1) return x;
    if (lane == 0) scratch[warp] = x;
    __syncthreads();
    x = scratch[0];
    for (u32 i = 1; i < warps; i++) x = Op::of(x, scratch[i]);
    __syncthreads();
    return x;
}
