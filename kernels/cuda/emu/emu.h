// CUDA C++ as ordinary C++: what kernels see when they are compiled for the host.
//
// Each thread of a block is a fiber that runs until it meets a collective: a barrier, a shuffle, a vote, a matrix
// product of a warp. The last to arrive carries the collective out for all, and then all go on. Blocks run in parallel
// on several threads of the host; what they need of the runtime (emu.cpp) is declared here.
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define __restrict__ __restrict
#define __constant__ static const
#define UNROLL

struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;

namespace emu {

// A line of the kernel, for reports.
struct Site {
    const char* file;
    int line;
    static Site here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

// A copy that a thread has started and not yet waited for.
struct PendingCopy {
    void* to;
    const void* from;
    size_t bytes, valid_bytes;
};

// What a thread of the device knows of itself.
struct Thread {
    uint3 index, block;
    dim3 block_dim, grid_dim;
    unsigned lane, warp;
    // Groups of copies, oldest first; the last is open.
    std::vector<std::vector<PendingCopy>> copies{};
    unsigned atomics = 0;
    // How many neighbouring blocks make a cluster: the block's rank in it is block.x % cluster.
    unsigned cluster = 1;
};

// The thread that runs at present on this thread of the host.
extern thread_local Thread* current __attribute__((tls_model("initial-exec")));

// A collective: `args[lane]` points to what each lane handed in.
typedef void (*Collective)(void** args, uint32_t mask);

void block_barrier(Site site);
void named_barrier(unsigned id, unsigned threads, Site site);
void warp_collective(uint32_t mask, Collective collective, void* arg, int tag, Site site);
// The place of a shared array: the same for all threads of a block. `id` tells arrays of one kernel apart.
void* shared_array(const void* id, size_t bytes, size_t align, const char* name);
void* dynamic_shared();
// Lets the other threads go on.
void stand_back();
[[noreturn]] void fail(const char* message);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float x);

// Calls a kernel with parameters that are given by their addresses, as a driver gets them.
template <class... P, size_t... I> void call(void (*kernel)(P...), void** params, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<P>*)params[I]...);
}
template <class... P> void call(void (*kernel)(P...), void** params) {
    call(kernel, params, std::index_sequence_for<P...>{});
}

}  // namespace emu

// The host finds `entry_<name>`, which unpacks the parameters.
#define KERNEL(name, ...)                                                         \
    static void name(__VA_ARGS__);                                                \
    extern "C" void entry_##name(void** params) { emu::call(name, params); }      \
    static void name(__VA_ARGS__)
#define SHARED(type, name, extents)                                               \
    typedef type name##_array_ extents;                                           \
    static char name##_id_;                                                       \
    name##_array_& name = *(name##_array_*)emu::shared_array(&name##_id_, sizeof(name##_array_), 16, #name)
#define DYNAMIC_SHARED(type, name) type* name = (type*)emu::dynamic_shared()

#define threadIdx (emu::current->index)
#define blockIdx (emu::current->block)
#define blockDim (emu::current->block_dim)
#define gridDim (emu::current->grid_dim)

using std::abs; using std::acos; using std::acosh; using std::asin; using std::asinh; using std::atan; using std::atan2;
using std::atanh; using std::ceil; using std::copysign; using std::cos; using std::cosh; using std::erf; using std::exp;
using std::exp2; using std::expm1; using std::fabs; using std::floor; using std::fma; using std::fmax; using std::fmin;
using std::fmod; using std::log; using std::log10; using std::log1p; using std::log2; using std::pow; using std::rint;
using std::sin; using std::sinh; using std::sqrt; using std::tan; using std::tanh; using std::trunc;
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline uint32_t __float_as_uint(float x) { uint32_t y; memcpy(&y, &x, 4); return y; }
inline float __uint_as_float(uint32_t x) { float y; memcpy(&y, &x, 4); return y; }
inline float __int_as_float(int32_t x) { return __uint_as_float((uint32_t)x); }
inline int32_t __float_as_int(float x) { return (int32_t)__float_as_uint(x); }
inline unsigned long long __double_as_longlong(double x) { unsigned long long y; memcpy(&y, &x, 8); return y; }
inline double __longlong_as_double(long long x) { double y; memcpy(&y, &x, 8); return y; }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)(((uint64_t)a * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }
template <class T> T __ldg(const T* p) { return *p; }

// Barriers.
inline void __syncthreads(emu::Site site = emu::Site::here()) { emu::block_barrier(site); }
inline void __syncwarp(uint32_t mask = ~0u, emu::Site site = emu::Site::here()) {
    emu::warp_collective(mask, [](void**, uint32_t) {}, nullptr, 1, site);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Shuffles: each lane hands in a value and the lane it wants to read; `ok` is false where it keeps its own.
namespace emu {
template <class T> struct Shuffle {
    T value;
    int from;
    bool ok;
};
template <class T> T shuffle(uint32_t mask, T value, int from, bool ok, int tag, Site site) {
    Shuffle<T> arg{value, from, ok};
    warp_collective(mask, [](void** args, uint32_t mask) {
        T values[32];
        for (int lane = 0; lane < 32; lane++)
            if (mask >> lane & 1) values[lane] = ((Shuffle<T>*)args[lane])->value;
        for (int lane = 0; lane < 32; lane++) {
            if (!(mask >> lane & 1)) continue;
            auto* arg = (Shuffle<T>*)args[lane];
            if (!arg->ok) continue;
            if (!(mask >> arg->from & 1)) fail("a shuffle reads a lane outside its mask");
            arg->value = values[arg->from];
        }
    }, &arg, tag, site);
    return arg.value;
}
}  // namespace emu
template <class T> T __shfl_xor_sync(uint32_t mask, T x, int flip, int width = 32, emu::Site site = emu::Site::here()) {
    int lane = (int)emu::current->lane, from = lane ^ flip;
    return emu::shuffle(mask, x, from, from / width <= lane / width, 2, site);
}
template <class T> T __shfl_down_sync(uint32_t mask, T x, int by, int width = 32, emu::Site site = emu::Site::here()) {
    int lane = (int)emu::current->lane;
    return emu::shuffle(mask, x, lane + by, lane % width + by < width, 3, site);
}
template <class T> T __shfl_up_sync(uint32_t mask, T x, int by, int width = 32, emu::Site site = emu::Site::here()) {
    int lane = (int)emu::current->lane;
    return emu::shuffle(mask, x, lane - by, lane % width >= by, 4, site);
}
template <class T> T __shfl_sync(uint32_t mask, T x, int from, int width = 32, emu::Site site = emu::Site::here()) {
    int lane = (int)emu::current->lane;
    return emu::shuffle(mask, x, lane / width * width + from % width, true, 5, site);
}

// Votes.
namespace emu { struct Vote { bool mine; uint32_t all; }; }
inline unsigned __ballot_sync(uint32_t mask, int mine, emu::Site site = emu::Site::here()) {
    emu::Vote vote{mine != 0, 0};
    emu::warp_collective(mask, [](void** args, uint32_t mask) {
        uint32_t all = 0;
        for (int lane = 0; lane < 32; lane++)
            if ((mask >> lane & 1) && ((emu::Vote*)args[lane])->mine) all |= 1u << lane;
        for (int lane = 0; lane < 32; lane++)
            if (mask >> lane & 1) ((emu::Vote*)args[lane])->all = all;
    }, &vote, 6, site);
    return vote.all;
}
inline int __any_sync(uint32_t mask, int mine, emu::Site site = emu::Site::here()) { return __ballot_sync(mask, mine, site) != 0; }
inline int __all_sync(uint32_t mask, int mine, emu::Site site = emu::Site::here()) { return __ballot_sync(mask, !mine, site) == 0; }

// Atomics, real ones: blocks run on several threads. Who repeats them, waiting for another thread, lets it run.
namespace emu {
inline void count_atomic() {
    if (++current->atomics % 4096 == 0) stand_back();
}
}  // namespace emu
template <class T> T atomicAdd(T* p, T x) {
    emu::count_atomic();
    if constexpr (std::is_integral_v<T>) {
        return __atomic_fetch_add(p, x, __ATOMIC_RELAXED);
    } else {
        T old, sum;
        __atomic_load(p, &old, __ATOMIC_RELAXED);
        do sum = old + x;
        while (!__atomic_compare_exchange(p, &old, &sum, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
        return old;
    }
}
template <class T> T atomicCAS(T* p, T expected, T desired) {
    emu::count_atomic();
    __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
    return expected;
}
template <class T> T atomicExch(T* p, T x) {
    emu::count_atomic();
    return __atomic_exchange_n(p, x, __ATOMIC_RELAXED);
}
template <class T> T atomicMax(T* p, T x) {
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (old < x && !__atomic_compare_exchange_n(p, &old, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return old;
}
template <class T> T atomicMin(T* p, T x) {
    T old = __atomic_load_n(p, __ATOMIC_RELAXED);
    while (x < old && !__atomic_compare_exchange_n(p, &old, x, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    return old;
}
template <class T> T atomicOr(T* p, T x) { return __atomic_fetch_or(p, x, __ATOMIC_RELAXED); }

// Asynchronous copies of cp.async: what is copied appears at the wait and no sooner, so that a missing wait shows.
namespace emu {
inline void copy_async(void* to, const void* from, size_t bytes, size_t valid_bytes) {
    if ((uintptr_t)to % bytes != 0 || (uintptr_t)from % bytes != 0) fail("an asynchronous copy is not aligned");
    if (valid_bytes > bytes) fail("an asynchronous copy reads more than it writes");
    if (current->copies.empty()) current->copies.emplace_back();
    current->copies.back().push_back({to, from, bytes, valid_bytes});
}
inline void copy_async_commit() {
    if (current->copies.empty()) current->copies.emplace_back();
    current->copies.emplace_back();
}
inline void copy_async_wait(size_t groups) {
    auto& copies = current->copies;
    while (copies.size() > groups + 1) {
        for (const PendingCopy& copy : copies.front()) {
            memcpy(copy.to, copy.from, copy.valid_bytes);
            memset((char*)copy.to + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
        }
        copies.erase(copies.begin());
    }
}
}  // namespace emu

// Tensor cores: mma.m16n8k16 and ldmatrix as collectives of a warp. Where which element of a fragment is: PTX ISA,
// "Matrix Fragments for mma.m16n8k16 with floating point type" and "Warp-level matrix load instruction: ldmatrix".
namespace emu {
struct Mma {
    float* d;
    const uint32_t *a, *b;
};
template <float (*WIDEN)(uint16_t)> void mma_m16n8k16(void** args, uint32_t mask) {
    if (mask != ~0u) fail("mma needs all 32 lanes");
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        int group = lane / 4, member = lane % 4;
        for (int r = 0; r < 4; r++)
            for (int half = 0; half < 2; half++)
                a[group + r % 2 * 8][member * 2 + half + r / 2 * 8] = WIDEN((uint16_t)(own->a[r] >> 16 * half));
        for (int r = 0; r < 2; r++)
            for (int half = 0; half < 2; half++)
                b[member * 2 + half + r * 8][group] = WIDEN((uint16_t)(own->b[r] >> 16 * half));
    }
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 4; i++) {
            int row = group + i / 2 * 8, col = member * 2 + i % 2;
            float sum = own->d[i];
            for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][col];
            own->d[i] = sum;
        }
    }
}
inline float widen_bf16(uint16_t bits) { return __uint_as_float((uint32_t)bits << 16); }
struct Ldmatrix {
    const void* row;
    uint32_t* fragment;
};
template <int MATRICES, bool TRANSPOSED> void ldmatrix(void** args, uint32_t mask) {
    if (mask != ~0u) fail("ldmatrix needs all 32 lanes");
    for (int matrix = 0; matrix < MATRICES; matrix++) {
        uint16_t m[8][8];
        for (int row = 0; row < 8; row++) {
            const void* from = ((Ldmatrix*)args[matrix * 8 + row])->row;
            if ((uintptr_t)from % 16 != 0) fail("ldmatrix needs rows that are aligned to 16 bytes");
            memcpy(m[row], from, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            int group = lane / 4, pair = lane % 4 * 2;
            uint32_t low = TRANSPOSED ? m[pair][group] : m[group][pair];
            uint32_t high = TRANSPOSED ? m[pair + 1][group] : m[group][pair + 1];
            ((Ldmatrix*)args[lane])->fragment[matrix] = low | high << 16;
        }
    }
}
}  // namespace emu
