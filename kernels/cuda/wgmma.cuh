// Matrix products of a warpgroup, four neighbouring warps of which the first has a number divisible by four, on the
// tensor cores of architecture 9.0: they go on while threads do other things, and read shared memory by themselves.
// On the emulator each has a twin of the same name (emu/wgmma.h), which checks how it is used.
// Source: PTX ISA, "Asynchronous Warpgroup Level Matrix Instructions".
//
// One round:   wgmma_fence(d); wgmma<bf16, 128>(d, a, b, true); ...; wgmma_commit(); ...; wgmma_wait<0>(d);
#pragma once
#include "hopper.cuh"

// How rows of 16 bytes are mixed within a pattern, the descriptor's numbers. Of a pattern of 8 rows of 128 (64, 32) bytes,
// chunk c of 16 bytes of row r lies at c ^ r (c ^ r / 2, c ^ r / 4).
enum Swizzle : u32 { SWIZZLE_NONE = 0, SWIZZLE_128 = 1, SWIZZLE_64 = 2, SWIZZLE_32 = 3 };
// Whether neighbours in memory are neighbours along k, or along the rows of a and the columns of b.
enum Major : int { K_MAJOR = 0, MN_MAJOR = 1 };

// A matrix in shared memory: where it starts (aligned to 16), and two distances. Elements of 16 bits lie
//   K_MAJOR, swizzled:   in rows of one pattern's width; 8 rows on lies `stride_bytes` away, `leading_bytes` is not used.
//   MN_MAJOR, swizzled:  k in rows of one pattern's width; 8 k on lies `stride_bytes` away, one width of rows or columns
//                        on lies `leading_bytes` away.
//   not swizzled:        in pieces of 8 x 16 bytes, one after the other; the next along k lies `leading_bytes` away, the
//                        next 8 rows or columns `stride_bytes`.
// Patterns start at multiples of their size (1024, 512, 256 bytes); a step of 16 along k, within a row of a pattern or
// from pattern to pattern, only moves the start (`advance`).
DEVICE u64 matrix_descriptor(const void* start, u32 leading_bytes, u32 stride_bytes, Swizzle swizzle) {
    const u32 in_units = 0x3ffff;
    return (u64)((shared_address(start) & in_units) >> 4) | (u64)((leading_bytes & in_units) >> 4) << 16 |
           (u64)((stride_bytes & in_units) >> 4) << 32 | (u64)swizzle << 62;
}
// The same matrix `bytes` further.
DEVICE u64 advance(u64 descriptor, u32 bytes) { return descriptor + (bytes >> 4); }

#if defined(CHAINRULE_EMU)
#include "emu/wgmma.h"
#elif defined(__CUDA_ARCH_FEAT_SM90_ALL)

// Keeps the compiler from moving what uses these registers across this line.
template <int R> DEVICE void hold(f32 (&d)[R]) {
UNROLL for (int i = 0; i < R; i++) asm volatile("" : "+f"(d[i])::"memory");
}
template <int R> DEVICE void hold(u32 (&a)[R]) {
UNROLL for (int i = 0; i < R; i++) asm volatile("" : "+r"(a[i])::"memory");
}

// Orders what this thread did with registers, given here, before what products do with them: comes before the first
// product that uses them, and again after other code has touched them.
template <class... R> DEVICE void wgmma_fence(R&... registers) {
    (hold(registers), ...);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
// Ends a group of products: all since the last one.
DEVICE void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Waits for all but the last N groups: their sums, given here, are in the registers then, and what they have read, shared
// memory or registers, may be written again.
template <int N, class... R> DEVICE void wgmma_wait(R&... registers) {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
    (hold(registers), ...);
}

// Of the registers of each thread in this warpgroup, how many it keeps (dec) or gets (inc): 24 to 256, a multiple of 8.
// The kernel is compiled with MIN_BLOCKS, or they have no effect.
template <int COUNT> DEVICE void setmaxnreg_inc() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(COUNT)); }
template <int COUNT> DEVICE void setmaxnreg_dec() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(COUNT)); }

// The instruction of each type and width. Its operands are numbered: first the registers of d, then those behind them.
template <class T, int N> struct WgmmaOf;
#define D8(i) \
    "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define D32(i) D8(i), D8(i + 8), D8(i + 16), D8(i + 24)
#define D64(i) D32(i), D32(i + 32)
#define D96(i) D64(i), D32(i + 64)
#define D128(i) D64(i), D64(i + 64)
#define NUMBERS_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, " \
    "%25, %26, %27, %28, %29, %30, %31"
#define NUMBERS_64 \
    NUMBERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, " \
    "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NUMBERS_96 \
    NUMBERS_64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, " \
    "%84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define NUMBERS_128 \
    NUMBERS_96 ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, " \
    "%113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA(type, name, n, numbers, registers, o0, o1, o2, o3, o4, o5, o6)                                          \
    template <> struct WgmmaOf<type, n> {                                                                             \
        template <int A, int B> static DEVICE void from_shared(f32 (&d)[n / 2], u64 a, u64 b, u32 adds) {                  \
            asm volatile("{ .reg .pred adds; setp.ne.b32 adds, " o2 ", 0; wgmma.mma_async.sync.aligned.m64n" #n       \
                         "k16.f32." name "." name " {" numbers "}, " o0 ", " o1 ", adds, 1, 1, " o3 ", " o4 "; }"     \
                         : registers                                                                                  \
                         : "l"(a), "l"(b), "r"(adds), "n"(A), "n"(B));                                                \
        }                                                                                                             \
        template <int B> static DEVICE void from_registers(f32 (&d)[n / 2], const u32 (&a)[4], u64 b, u32 adds) {         \
            asm volatile("{ .reg .pred adds; setp.ne.b32 adds, " o5 ", 0; wgmma.mma_async.sync.aligned.m64n" #n       \
                         "k16.f32." name "." name " {" numbers "}, {" o0 ", " o1 ", " o2 ", " o3 "}, " o4             \
                         ", adds, 1, 1, " o6 "; }"                                                                    \
                         : registers                                                                                  \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(adds), "n"(B));                    \
        }                                                                                                             \
    };
#define WGMMA_OF(type, name)                                                                               \
    WGMMA(type, name, 64, NUMBERS_32, D32(0), "%32", "%33", "%34", "%35", "%36", "%37", "%38")             \
    WGMMA(type, name, 128, NUMBERS_64, D64(0), "%64", "%65", "%66", "%67", "%68", "%69", "%70")            \
    WGMMA(type, name, 192, NUMBERS_96, D96(0), "%96", "%97", "%98", "%99", "%100", "%101", "%102")         \
    WGMMA(type, name, 256, NUMBERS_128, D128(0), "%128", "%129", "%130", "%131", "%132", "%133", "%134")
WGMMA_OF(bf16, "bf16")
WGMMA_OF(f16, "f16")

// d[64, N] = a[64, 16] * b[16, N] + (adds ? d : 0), summed in f32, for N of 64, 128, 192, 256. Thread 32 w + 4 g + t of the
// warpgroup holds at place 4 j + i of d row 16 w + g + 8 (i / 2), column 8 j + 2 t + i % 2. Where a comes from registers,
// each warp holds its 16 rows as in mma_m16n8k16.
template <class T, int N, int A = K_MAJOR, int B = K_MAJOR>
DEVICE void wgmma(f32 (&d)[N / 2], u64 a, u64 b, bool adds) {
    WgmmaOf<T, N>::template from_shared<A, B>(d, a, b, adds);
}
template <class T, int N, int B = K_MAJOR>
DEVICE void wgmma(f32 (&d)[N / 2], const u32 (&a)[4], u64 b, bool adds) {
    WgmmaOf<T, N>::template from_registers<B>(d, a, b, adds);
}

#endif
