// The runtime of the emulator: fibers, barriers, collectives of warps, shared memory, and blocks in parallel.
//
// One Scheduler runs one block at a time on one thread of the host; a launch has several of them. A fiber that ends
// without having waited is used again for the next thread, so a kernel without barriers needs only one.
#include "emu/emu.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
// The runtime itself is compiled without the thread sanitizer, which would take its bookkeeping for races between
// fibers: EMU_TSAN says that the units are compiled with it.
#if defined(EMU_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
}
#endif

#if defined(__x86_64__) && !defined(EMU_UCONTEXT)
// emu_switch_stack(&save, load): keeps the callee-saved registers on the present stack and goes on with another one.
extern "C" void emu_switch_stack(void** save, void* load);
asm(R"(
.text
.globl emu_switch_stack
.type emu_switch_stack,@function
emu_switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");

namespace {
// Where a fiber, or the scheduler, goes on.
struct Context {
    void* sp = nullptr;
    void begin(unsigned char* stack, size_t bytes, void (*main)()) {
        void** top = (void**)(stack + bytes);
        *--top = nullptr;
        *--top = (void*)main;
        for (int saved = 0; saved < 6; saved++) *--top = nullptr;
        sp = top;
    }
    void go_to(Context& other) { emu_switch_stack(&sp, other.sp); }
};
}  // namespace
#else
// What every Unix has; ten times slower, because each switch keeps the mask of signals too.
#include <ucontext.h>
namespace {
struct Context {
    ucontext_t at{};
    void begin(unsigned char* stack, size_t bytes, void (*main)()) {
        getcontext(&at);
        at.uc_stack.ss_sp = stack, at.uc_stack.ss_size = bytes, at.uc_link = nullptr;
        makecontext(&at, main, 0);
    }
    void go_to(Context& other) { swapcontext(&at, &other.at); }
};
}  // namespace
#endif

namespace emu {

thread_local Thread* current = nullptr;

namespace {

#if defined(EMU_TSAN)
const size_t STACK_BYTES = 64 << 10;  // made anew for each thread
#else
const size_t STACK_BYTES = 256 << 10;
#endif
const size_t GUARD_BYTES = 4096;
const size_t SHARED_BYTES = 228 << 10;
const unsigned MAX_THREADS = 1024;
const unsigned MAX_BARRIERS = 16;
const size_t READY_ROOM = 16384;

enum class State { Ready, Waiting, Done };

struct Fiber {
    unsigned char* stack = nullptr;
    Context context;
    bool begun = false;
    void* sanitizer = nullptr;

    Fiber() {
        size_t bytes = STACK_BYTES + GUARD_BYTES;
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        mprotect(memory, GUARD_BYTES, PROT_NONE);
        stack = (unsigned char*)memory + GUARD_BYTES;
    }
    // Ready for a thread of the device. To the thread sanitizer each is a thread of its own, with a fresh stack: what
    // ran on the fiber before, in this block or another, is not ordered before it.
    void begin(void (*main)()) {
#if defined(EMU_TSAN)
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
        if (mmap(stack, STACK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) abort();
        sanitizer = __tsan_create_fiber(0);
        begun = false;
#endif
        if (!begun) context.begin(stack, STACK_BYTES, main);
        begun = true;
    }
    // The thread never ended: whatever lies on the stack is given up.
    void abandon() {
        begun = false;
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
    }
};

// Thread first, so that `current` leads to the rest.
struct Lane {
    Thread thread;
    Fiber* fiber;
    State state;
    Site site;
    const char* waits_for;
    // How often it has stood back since its last collective, and since when.
    unsigned yields = 0;
    std::chrono::steady_clock::time_point yields_since{};
};

// Who has come to a barrier or collective. For the thread sanitizer there are two cells, used in turn: who wakes late must
// not take what an early one gives at the next barrier for its own.
struct Gathering {
    uint32_t mask = 0, arrived = 0;
    unsigned count = 0, needed = 0;
    int tag = 0;
    Site site{};
    void* args[32];
    std::vector<unsigned> waiting;
    unsigned char* cells = nullptr;
    unsigned generation = 0;

    // Lists that fibers change never grow: one would free what another has allocated, a race to the thread sanitizer.
    void* cell() const { return cells + generation % 2 * 8; }
    void reset(unsigned char* own_cells, unsigned most) {
        count = 0, arrived = 0, generation = 0, cells = own_cells;
        waiting.clear();
        waiting.reserve(most);
    }
};
// How many bytes the cells of all barriers and warps of a block take, 16 for each.
const unsigned GATHERINGS_OF_WARP = 4;
const size_t CELL_BYTES = 8192;
static_assert((MAX_BARRIERS + MAX_THREADS / 32 * GATHERINGS_OF_WARP) * 16 <= CELL_BYTES, "cells");

struct SharedArray {
    const void* id;
    size_t offset, bytes;
};

void release(void* cell) {
#if defined(EMU_TSAN)
    __tsan_release(cell);
#else
    (void)cell;
#endif
}
void acquire(void* cell) {
#if defined(EMU_TSAN)
    __tsan_acquire(cell);
#else
    (void)cell;
#endif
}

// A launch, as all of its schedulers see it.
struct Launch {
    void (*entry)(void**);
    void** params;
    dim3 grid;
    unsigned threads;
    unsigned cluster;
    size_t dynamic_bytes;
    uint64_t seed;
    std::atomic<uint64_t> next_block{0};
    std::atomic<bool> failed{false};
    std::mutex mutex;
    std::string error;
    uint64_t end_cell = 0;
};

void poison(unsigned char* from, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(from, bytes);
#endif
    memset(from, 0xff, bytes);  // NaN as a float: reading what nothing wrote shows in the result
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(from, bytes);
#endif
}

struct Scheduler {
    Launch* launch = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle;
    std::deque<void*> retired;
    std::vector<Lane> lanes;
    std::vector<unsigned> ready;
    size_t ready_head = 0;
    unsigned live = 0;
    Gathering barriers[MAX_BARRIERS];
    std::vector<std::vector<Gathering>> warps;
    std::vector<SharedArray> arrays;
    unsigned char* shared = nullptr;
    size_t shared_used = 0;
    Context context;
    void* sanitizer = nullptr;
    void* fake_stack = nullptr;
    const void* stack_bottom = nullptr;
    size_t stack_bytes = 0;
    uint64_t random = 1;

    Scheduler() {
        map_shared();
        ready.reserve(READY_ROOM);
    }
    // The cells and, from the next page on, shared memory. New pages hold zeros until a block poisons what it uses.
    void map_shared() {
        const size_t bytes = CELL_BYTES + SHARED_BYTES;
#if defined(EMU_TSAN)
        // A block's memory and cells know nothing of the blocks before: only new pages are that.
        if (shared) munmap(shared - CELL_BYTES, bytes);
#endif
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) abort();
        shared = (unsigned char*)memory + CELL_BYTES;
        poison(shared, SHARED_BYTES);
    }
    unsigned pick(unsigned n) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        return (unsigned)(random % n);
    }
    // The thread sanitizer gives the number of a thread that is gone to a new one and takes both for the same; so that
    // neighbouring blocks are told apart, threads stay for a while after their end.
    void retire(Fiber* fiber) {
        (void)fiber;
#if defined(EMU_TSAN)
        retired.push_back(fiber->sanitizer);
        if (retired.size() > 600) __tsan_destroy_fiber(retired.front()), retired.pop_front();
#endif
    }
    void run_block(uint64_t block);
    void resume(unsigned i);
    void explain();
};

thread_local Scheduler* scheduler __attribute__((tls_model("initial-exec"))) = nullptr;

Lane* lane_now() { return (Lane*)current; }
unsigned number_of(const Lane* lane) { return (unsigned)(lane - scheduler->lanes.data()); }

void to_scheduler(bool dying) {
    Lane* lane = lane_now();
    Scheduler* s = scheduler;
    (void)dying;
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(dying ? nullptr : &fake, s->stack_bottom, s->stack_bytes);
#endif
#if defined(EMU_TSAN)
    __tsan_switch_to_fiber(s->sanitizer, 1);
#endif
    lane->fiber->context.go_to(s->context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &s->stack_bottom, &s->stack_bytes);
#endif
}

void wake(unsigned i) {
    scheduler->lanes[i].state = State::Ready;
    scheduler->ready.push_back(i);
}

void wait_at(Gathering& at, const char* what, Site site) {
    Lane* lane = lane_now();
    at.waiting.push_back(number_of(lane));
    lane->state = State::Waiting, lane->waits_for = what, lane->site = site, lane->yields = 0;
    to_scheduler(false);
}

void open(Gathering& at) {
    at.generation++, at.count = 0, at.arrived = 0;
    for (unsigned i : at.waiting) wake(i);
    at.waiting.clear();
}

bool same(Site a, Site b) { return a.line == b.line && strcmp(a.file, b.file) == 0; }

void divergent(const char* what, Site a, Site b) {
    char message[600];
    snprintf(message, sizeof message, "divergent %s: some threads are at %s:%d, others at %s:%d", what, a.file, a.line,
             b.file, b.line);
    fail(message);
}

// Not part of the loop that calls it: a fiber may go on with its next thread on another thread of the host, where what
// is thread-local lies elsewhere.
__attribute__((noinline)) void run_thread() {
    Launch* launch = scheduler->launch;
    launch->entry(launch->params);
    Lane* lane = lane_now();
    lane->thread.copies = {};
    release(&launch->end_cell);
    lane->state = State::Done;
    scheduler->live--;
    Gathering& barrier = scheduler->barriers[0];
    if (barrier.count > 0 && barrier.count >= scheduler->live) open(barrier);
    to_scheduler(false);
}

void fiber_main() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &scheduler->stack_bottom, &scheduler->stack_bytes);
#endif
    // A fiber whose thread has ended is given the next one.
    for (;;) run_thread();
}

void Scheduler::resume(unsigned i) {
    Lane& lane = lanes[i];
    current = &lane.thread;
    if (!lane.fiber) {
        if (idle.empty()) {
            fibers.push_back(std::make_unique<Fiber>());
            idle.push_back(fibers.back().get());
        }
        lane.fiber = idle.back();
        idle.pop_back();
        lane.fiber->begin(fiber_main);
    }
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&fake_stack, lane.fiber->stack, STACK_BYTES);
#endif
#if defined(EMU_TSAN)
    __tsan_switch_to_fiber(lane.fiber->sanitizer, 1);
#endif
    context.go_to(lane.fiber->context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
    if (lane.state == State::Done) {
        retire(lane.fiber);
        idle.push_back(lane.fiber);
        lane.fiber = nullptr;
    }
}

void Scheduler::run_block(uint64_t block) {
    const unsigned threads = launch->threads;
    live = threads, ready.clear(), ready_head = 0;
#if defined(EMU_TSAN)
    map_shared();
#else
    poison(shared, std::min(shared_used, SHARED_BYTES));
#endif
    const size_t n_warps = (threads + 31) / 32;
    if (warps.size() < n_warps) warps.resize(n_warps, std::vector<Gathering>(GATHERINGS_OF_WARP));
    unsigned char* cells = shared - CELL_BYTES;
    for (Gathering& barrier : barriers) barrier.reset(cells, threads), cells += 16;
    for (auto& warp : warps)
        for (Gathering& gathering : warp) gathering.reset(cells, 32), cells += 16;
    arrays.clear();
    shared_used = (launch->dynamic_bytes + 1023) / 1024 * 1024;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(shared, launch->dynamic_bytes);
#endif
    lanes.resize(threads);
    const dim3 grid = launch->grid;
    const uint3 place = {(unsigned)(block % grid.x), (unsigned)(block / grid.x), 0};
    for (unsigned i = 0; i < threads; i++) {
        lanes[i] = {{{i, 0, 0}, place, {threads, 1, 1}, grid, i % 32, i / 32}, nullptr, State::Ready, {"", 0}, "its start"};
        lanes[i].thread.cluster = launch->cluster;
        ready.push_back(i);
    }
    while (ready_head < ready.size()) {
        if (launch->seed != 0) {
            unsigned other = (unsigned)ready_head + pick((unsigned)(ready.size() - ready_head));
            std::swap(ready[ready_head], ready[other]);
        }
        unsigned i = ready[ready_head++];
        if (ready_head > READY_ROOM / 2) ready.erase(ready.begin(), ready.begin() + (long)ready_head), ready_head = 0;
        resume(i);
        if (launch->failed) break;
    }
    if (live > 0 || launch->failed) {
        explain();
        // The stacks of threads that never ended are of no use any more.
        for (Lane& lane : lanes)
            if (lane.fiber) lane.fiber->abandon(), retire(lane.fiber), idle.push_back(lane.fiber), lane.fiber = nullptr;
    }
}

// Says why a block came to a stop: with an error of a thread, or because all that are left wait.
void Scheduler::explain() {
    std::lock_guard<std::mutex> lock(launch->mutex);
    if (launch->error.empty()) {
        launch->error = "deadlock: the threads that are left wait for others that never come";
    } else if (live == 0) {
        return;
    }
    launch->failed = true;
    int shown = 0;
    for (unsigned i = 0; i < lanes.size() && shown < 4; i++) {
        if (lanes[i].state != State::Waiting) continue;
        char line[400];
        snprintf(line, sizeof line, "\n  thread %u of block %u waits for %s at %s:%d", i, lanes[i].thread.block.x,
                 lanes[i].waits_for, lanes[i].site.file, lanes[i].site.line);
        launch->error += line, shown++;
    }
}

std::mutex pool_mutex;
std::vector<Scheduler*> pool;

Scheduler* borrow() {
    std::lock_guard<std::mutex> lock(pool_mutex);
    if (pool.empty()) return new Scheduler;
    Scheduler* s = pool.back();
    pool.pop_back();
    return s;
}

void work(Launch* launch) {
    Scheduler* s = borrow();
    scheduler = s, s->launch = launch;
#if defined(EMU_TSAN)
    s->sanitizer = __tsan_get_current_fiber();
#endif
    const uint64_t blocks = (uint64_t)launch->grid.x * launch->grid.y;
    for (;;) {
        uint64_t i = launch->next_block++;
        if (i >= blocks || launch->failed) break;
        // Any order of blocks must do: a seed turns the grid round.
        uint64_t block = launch->seed == 0 ? i : blocks - 1 - (i + launch->seed) % blocks;
        s->random = launch->seed * 0x9E3779B97F4A7C15ull + block * 2654435761ull + 88172645463325252ull;
        s->run_block(block);
    }
    scheduler = nullptr, current = nullptr;
    std::lock_guard<std::mutex> lock(pool_mutex);
    pool.push_back(s);
}

}  // namespace

void fail(const char* message) {
    Scheduler* s = scheduler;
    Lane* lane = lane_now();
    {
        std::lock_guard<std::mutex> lock(s->launch->mutex);
        if (s->launch->error.empty()) {
            char place[200];
            snprintf(place, sizeof place, " (block %u, thread %u)", lane->thread.block.x, number_of(lane));
            s->launch->error = std::string(message) + place;
        }
    }
    s->launch->failed = true;
    lane->state = State::Waiting, lane->waits_for = "nothing: it failed";
    to_scheduler(true);
    abort();
}

void block_barrier(Site site) {
    Gathering& barrier = scheduler->barriers[0];
    if (barrier.count == 0) barrier.site = site;
    if (!same(barrier.site, site)) divergent("__syncthreads", barrier.site, site);
    void* cell = barrier.cell();
    release(cell);
    if (++barrier.count >= scheduler->live) {
        open(barrier);
    } else {
        wait_at(barrier, "__syncthreads", site);
    }
    acquire(cell);
}

void named_barrier(unsigned id, unsigned threads, Site site) {
    if (id == 0 || id >= MAX_BARRIERS) fail("a named barrier has number 1 to 15");
    Gathering& barrier = scheduler->barriers[id];
    if (barrier.count == 0) barrier.needed = threads;
    if (barrier.needed != threads) fail("threads disagree on how many a named barrier waits for");
    void* cell = barrier.cell();
    release(cell);
    if (++barrier.count >= threads) {
        open(barrier);
    } else {
        wait_at(barrier, "a named barrier", site);
    }
    acquire(cell);
}

void stand_back() {
    Lane* lane = lane_now();
    const auto now = std::chrono::steady_clock::now();
    if (lane->yields++ == 0) lane->yields_since = now;
    if (lane->yields > 1000 && now - lane->yields_since > std::chrono::seconds(5))
        fail("livelock: a thread repeats atomics and waits for a value that never comes");
    wake(number_of(lane));
    to_scheduler(false);
}

void warp_collective(uint32_t mask, Collective collective, void* arg, int tag, Site site) {
    Lane* lane = lane_now();
    const unsigned width = std::min(32u, scheduler->launch->threads - lane->thread.warp * 32);
    if (width < 32) mask &= (1u << width) - 1;
    if (!(mask >> lane->thread.lane & 1)) fail("a lane calls a collective of a warp without being in its mask");
    Gathering *at = nullptr, *unused = nullptr;
    for (Gathering& gathering : scheduler->warps[lane->thread.warp]) {
        if (gathering.arrived == 0) unused = &gathering;
        else if (gathering.mask == mask) at = &gathering;
        else if (gathering.mask & mask) fail("lanes of a warp are in two collectives with different masks");
    }
    if (!at) {
        if (!unused) fail("too many collectives of one warp at once");
        at = unused, at->mask = mask, at->tag = tag, at->site = site;
    }
    if (at->tag != tag || !same(at->site, site)) divergent("collective of a warp", at->site, site);
    at->arrived |= 1u << lane->thread.lane;
    at->args[lane->thread.lane] = arg;
    void* cell = at->cell();
    release(cell);
    if (at->arrived == mask) {
        acquire(cell);
        collective(at->args, mask);
        release(cell);
        open(*at);
    } else {
        wait_at(*at, "the other lanes of its warp", site);
    }
    acquire(cell);
}

void* shared_array(const void* id, size_t bytes, size_t align, const char* name) {
    Scheduler* s = scheduler;
    for (SharedArray& array : s->arrays)
        if (array.id == id) return s->shared + array.offset;
    // A gap between arrays stays poisoned for the address sanitizer.
    size_t offset = (s->shared_used + align - 1) / align * align;
    if (offset + bytes > SHARED_BYTES) {
        char message[200];
        snprintf(message, sizeof message, "shared array %s: a block has no more than %zu bytes", name, SHARED_BYTES);
        fail(message);
    }
    s->arrays.push_back({id, offset, bytes});
    s->shared_used = offset + bytes + 64;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(s->shared + offset, bytes);
#endif
    return s->shared + offset;
}

void* dynamic_shared() { return scheduler->shared; }

float half_to_float(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits >> 15) << 31, exponent = bits >> 10 & 31, fraction = bits & 1023;
    if (exponent == 0) {
        float x = std::ldexp((float)fraction, -24);
        return sign ? -x : x;
    }
    return __uint_as_float(sign | (exponent == 31 ? 0x7f800000u : (exponent + 112) << 23) | fraction << 13);
}

uint16_t float_to_half(float x) {
    uint32_t bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return 0x7fff;
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) {
        int units = (int)std::nearbyint(std::ldexp(__uint_as_float(magnitude), 24));
        return (uint16_t)(sign | (uint32_t)units);
    }
    magnitude += 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (magnitude - 0x38000000) >> 13);
}

}  // namespace emu

// Where the address sanitizer is at work, marks memory that no kernel may touch and gives 1.
extern "C" int emu_forbid(const void* from, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(from, bytes);
    return 1;
#else
    (void)from, (void)bytes;
    return 0;
#endif
}

// Runs a kernel on a grid of blocks of `threads` threads; `cluster` neighbouring blocks make a cluster. Gives 0, or 1 with
// a message in `error`.
extern "C" int emu_launch(void (*entry)(void**), const unsigned grid[2], unsigned threads, unsigned cluster,
                          size_t dynamic_bytes, void** params, unsigned workers, uint64_t seed, char* error,
                          size_t error_len) {
    using namespace emu;
    if (threads == 0 || threads > MAX_THREADS || dynamic_bytes > SHARED_BYTES) {
        snprintf(error, error_len, "a block of %u threads with %zu bytes of shared memory", threads, dynamic_bytes);
        return 1;
    }
    Launch launch;
    launch.entry = entry, launch.params = params, launch.grid = {grid[0], grid[1], 1};
    launch.threads = threads, launch.cluster = cluster, launch.dynamic_bytes = dynamic_bytes, launch.seed = seed;
    uint64_t blocks = (uint64_t)grid[0] * grid[1];
    unsigned helpers = (unsigned)std::min<uint64_t>(workers, blocks / 4 + 1) - 1;
    std::vector<std::thread> others;
    for (unsigned i = 0; i < helpers; i++) others.emplace_back(work, &launch);
    work(&launch);
    for (std::thread& other : others) other.join();
    acquire(&launch.end_cell);
    if (!launch.failed) return 0;
    snprintf(error, error_len, "%s", launch.error.c_str());
    return 1;
}
