// The runtime of the emulator: fibers (fiber.h), the blocks that run on them (scheduler.h, block.h), barriers and
// collectives of warps (collective.h), and here shared arrays, conversions of halves and launches, whose blocks run in
// parallel.
//
// One Scheduler runs one block at a time on one thread of the host; a launch has several of them. A fiber that ends
// without having waited is used again for the next thread, so a kernel without barriers needs only one.
#include <algorithm>
#include <cstdio>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "emu/block.h"
#include "emu/collective.h"
#include "emu/emu.h"
#include "emu/scheduler.h"

namespace emu {
namespace {

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

void fail(const char* message, Site site) {
    char text[400];
    snprintf(text, sizeof text, "%s at %s:%d", message, site.file, site.line);
    fail(text);
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
#elif defined(EMU_TSAN)
    poison_unseen(s->shared + offset, bytes);
#endif
    return s->shared + offset;
}

void* dynamic_shared() { return scheduler->shared; }

uint32_t shared_address(const void* shared) {
    const size_t offset = (size_t)((const unsigned char*)shared - scheduler->shared);
    if (offset > SHARED_BYTES) fail("an address that has to be in shared memory is not");
    return SHARED_START + (uint32_t)offset;
}

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
