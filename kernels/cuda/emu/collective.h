// Where threads meet: barriers of a block and collectives of a warp.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstring>

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

}  // namespace emu
