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
// Lets the other threads go on; an error that says why, of a thread that does only this for five seconds.
void stand_back(const char* why, Site site = {"", 0});
[[noreturn]] void fail(const char* message);
[[noreturn]] void fail(const char* message, Site site);
// Where something is in shared memory, as descriptors and copies name it. Like a GPU's it does not begin at 0.
uint32_t shared_address(const void* shared);

float half_to_float(uint16_t bits);
uint16_t float_to_half(float x);
inline float widen_bf16(uint16_t bits) {
    const uint32_t wide = (uint32_t)bits << 16;
    float y;
    memcpy(&y, &wide, 4);
    return y;
}

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
// The thread sanitizer is not told of the count, which the next block's threads use too.
__attribute__((no_sanitize("thread"))) inline void count_atomic() {
    if (++current->atomics % 4096 == 0)
        stand_back("livelock: a thread repeats atomics and waits for a value that never comes");
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
