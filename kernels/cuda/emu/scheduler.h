// A launch, and the scheduler that runs one block of it at a time on one thread of the host.
#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "emu/emu.h"
#include "emu/fiber.h"
#include "emu/pending.h"
#include "emu/sanitizer.h"

namespace emu {

thread_local Thread* current = nullptr;

namespace {

const size_t SHARED_BYTES = 228 << 10;
// The address of the first byte of shared memory: the first KiB of a GPU's is the system's own.
const uint32_t SHARED_START = 1024;
const unsigned MAX_THREADS = 1024;
const unsigned MAX_BARRIERS = 16;
const size_t READY_ROOM = 16384;

enum class State { Ready, Waiting, Done };

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
    // The barrier that it waits for, if it is one with phases.
    const Mbarrier* mbarrier = nullptr;
    uint64_t cluster_generation = 0;
    // Groups of bulk stores, oldest first; the last is open.
    std::vector<std::vector<Transfer>> stores{};
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
static_assert((MAX_BARRIERS + 1 + MAX_THREADS / 32 * GATHERINGS_OF_WARP + MAX_MBARRIERS) * 16 <= CELL_BYTES, "cells");

struct SharedArray {
    const void* id;
    size_t offset, bytes;
};

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

struct Scheduler {
    Launch* launch = nullptr;
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::deque<Fiber*> idle;
    std::vector<Lane> lanes;
    std::vector<unsigned> ready;
    size_t ready_head = 0;
    unsigned live = 0;
    Gathering barriers[MAX_BARRIERS];
    Gathering cluster;
    std::vector<std::vector<Gathering>> warps;
    // Of both, how many the block has had at once.
    unsigned mbarriers_used = 0, loads_used = 0;
    std::vector<Mbarrier> mbarriers = std::vector<Mbarrier>(MAX_MBARRIERS);
    std::vector<Transfer> loads = std::vector<Transfer>(MAX_LOADS);
    unsigned char* mbarrier_cells = nullptr;
    std::vector<WarpWork> work;
    // Threads that wait for registers of other warpgroups.
    std::vector<unsigned> register_waiters;
    std::vector<SharedArray> arrays;
    unsigned char* shared = nullptr;
    size_t shared_used = 0;
    Context context;
    void* sanitizer = nullptr;
    // What this scheduler has done before a block is ordered before the block's threads, and no other block's threads are.
    uint64_t begin_cell = 0;
    void* fake_stack = nullptr;
    const void* stack_bottom = nullptr;
    size_t stack_bytes = 0;
    uint64_t random = 1;

    Scheduler() {
        map_shared();
        ready.reserve(READY_ROOM);
        register_waiters.reserve(MAX_THREADS);
        for (Mbarrier& barrier : mbarriers) barrier.waiting.reserve(MAX_THREADS);
    }
    // The cells and, from the next page on, shared memory. New pages hold zeros until a block poisons what it uses.
    void map_shared() {
        void* memory = mmap(nullptr, CELL_BYTES + SHARED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) abort();
        shared = (unsigned char*)memory + CELL_BYTES;
        poison(shared, SHARED_BYTES);
    }
#if defined(EMU_TSAN)
    // A block's memory and cells know nothing of the blocks before: only new pages are that. They replace what the last
    // block has used, because the sanitizer takes its time for every byte.
    void renew_shared() {
        const size_t used = std::min((shared_used + 4095) / 4096 * 4096, SHARED_BYTES);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
        void* from = shared - CELL_BYTES;
        if (mmap(from, CELL_BYTES + used, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) abort();
        poison_unseen(shared, launch->dynamic_bytes);
    }
#endif
    unsigned pick(unsigned n) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        return (unsigned)(random % n);
    }
    void run_block(uint64_t block);
    void resume(unsigned i);
    void explain();
};

thread_local Scheduler* scheduler __attribute__((tls_model("initial-exec"))) = nullptr;

Lane* lane_now() { return (Lane*)current; }
unsigned number_of(const Lane* lane) { return (unsigned)(lane - scheduler->lanes.data()); }

}  // namespace
}  // namespace emu
