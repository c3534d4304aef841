// Where threads meet: barriers of a block, of some of its threads and of a cluster, and collectives of a warp.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "emu/scheduler.h"

namespace emu {
namespace {

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

// Waits until another thread takes this one from `waiting`.
void wait_in(std::vector<unsigned>& waiting, const char* what, Site site) {
    Lane* lane = lane_now();
    waiting.push_back(number_of(lane));
    lane->state = State::Waiting, lane->waits_for = what, lane->site = site, lane->yields = 0;
    to_scheduler(false);
}

void wake_all(std::vector<unsigned>& waiting) {
    for (unsigned i : waiting) wake(i);
    waiting.clear();
}

void open(Gathering& at) {
    at.generation++, at.count = 0, at.arrived = 0;
    wake_all(at.waiting);
}

bool same(Site a, Site b) { return a.line == b.line && strcmp(a.file, b.file) == 0; }

void divergent(const char* what, Site a, Site b) {
    char message[600];
    snprintf(message, sizeof message, "divergent %s: some threads are at %s:%d, others at %s:%d", what, a.file, a.line,
             b.file, b.line);
    fail(message);
}

}  // namespace

void block_barrier(Site site) {
    Gathering& barrier = scheduler->barriers[0];
    if (barrier.count == 0) barrier.site = site;
    if (!same(barrier.site, site)) divergent("__syncthreads", barrier.site, site);
    void* cell = barrier.cell();
    release(cell);
    if (++barrier.count >= scheduler->live) {
        open(barrier);
    } else {
        wait_in(barrier.waiting, "__syncthreads", site);
    }
    acquire(cell);
}

namespace {
// Comes to a named barrier; gives the barrier, and opens it for the last to come.
Gathering& come_to(unsigned number, unsigned threads, Site site) {
    if (number == 0 || number >= MAX_BARRIERS) fail("a named barrier has number 1 to 15", site);
    if (threads == 0 || threads % 32 != 0) fail("a named barrier is for whole warps", site);
    Gathering& barrier = scheduler->barriers[number];
    if (barrier.count == 0) barrier.needed = threads;
    if (barrier.needed != threads) fail("threads disagree on how many a named barrier waits for", site);
    release(barrier.cell());
    if (++barrier.count >= threads) open(barrier);
    return barrier;
}
}  // namespace

void named_barrier(unsigned number, unsigned threads, Site site) {
    const unsigned generation = scheduler->barriers[number % MAX_BARRIERS].generation;
    void* cell = scheduler->barriers[number % MAX_BARRIERS].cell();
    Gathering& barrier = come_to(number, threads, site);
    if (barrier.generation == generation) wait_in(barrier.waiting, "a named barrier", site);
    acquire(cell);
}

void named_barrier_arrive(unsigned number, unsigned threads, Site site) { come_to(number, threads, site); }

void cluster_arrive(Site site) {
    if (current->cluster > 1) fail("blocks of a cluster do not meet on the emulator", site);
    Gathering& cluster = scheduler->cluster;
    lane_now()->cluster_generation = cluster.generation + 1;
    release(cluster.cell());
    if (++cluster.count >= scheduler->live) open(cluster);
}

void cluster_wait(Site site) {
    Gathering& cluster = scheduler->cluster;
    const uint64_t arrived = std::exchange(lane_now()->cluster_generation, 0);
    if (arrived == 0) fail("a thread waits for a cluster without having arrived", site);
    if (cluster.generation + 1 == arrived) wait_in(cluster.waiting, "the cluster", site);
    acquire(cluster.cells + (arrived - 1) % 2 * 8);
}

unsigned cluster_address(const void* shared, unsigned rank, Site site) {
    if (rank != current->block.x % current->cluster) fail("blocks of a cluster do not meet on the emulator", site);
    return shared_address(shared);
}

bool elect_one(Site site) {
    warp_collective(~0u, [](void**, uint32_t mask) {
        if (mask != ~0u) fail("elect_one needs all 32 lanes");
    }, nullptr, 12, site);
    return lane_now()->thread.lane == scheduler->launch->seed * 7 % 32;
}

void stand_back(const char* why, Site site) {
    Lane* lane = lane_now();
    const auto now = std::chrono::steady_clock::now();
    if (lane->yields++ == 0) lane->yields_since = now;
    if (lane->yields > 1000 && now - lane->yields_since > std::chrono::seconds(5))
        site.line != 0 ? fail(why, site) : fail(why);
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
        wait_in(at->waiting, "the other lanes of its warp", site);
    }
    acquire(cell);
}

}  // namespace emu
