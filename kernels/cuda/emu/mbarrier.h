// Barriers with phases: arrivals, expected bytes, and waits that bring in what was copied.
#pragma once
#include <algorithm>
#include <cstdio>
#include <string>

#include "emu/bulk.h"
#include "emu/collective.h"
#include "emu/scheduler.h"

namespace emu {
namespace {

// What the memory of a barrier holds: this and its place in the scheduler's list.
const uint64_t MBARRIER_MAGIC = 0x6d62617272696500;

// A new block, whose barriers have these cells, and none is in use.
void reset_mbarriers(Scheduler& s, unsigned char* cells) {
    for (unsigned i = 0; i < s.mbarriers_used; i++) s.mbarriers[i].at = nullptr, s.mbarriers[i].waiting.clear();
    for (unsigned i = 0; i < s.loads_used; i++) s.loads[i].barrier = nullptr;
    s.mbarriers_used = 0, s.loads_used = 0, s.mbarrier_cells = cells;
}

Mbarrier& mbarrier_at(const void* at, Site site) {
    shared_address(at);
    if ((uintptr_t)at % 8 != 0) fail("an mbarrier is not aligned to 8 bytes", site);
    const uint64_t word = *(const uint64_t*)at;
    const uint64_t place = word - MBARRIER_MAGIC;
    if (place >= MAX_MBARRIERS || scheduler->mbarriers[place].at != at)
        fail("an mbarrier is used that was not initialised, or was written over", site);
    return scheduler->mbarriers[place];
}

// Ends the phase if nothing is missing.
void settle(Mbarrier& barrier) {
    if (barrier.missing_arrivals > 0 || barrier.missing_bytes != 0) return;
    barrier.phase++, barrier.missing_arrivals = barrier.arrivals;
    wake_all(barrier.waiting);
}

void arrive(Mbarrier& barrier, Site site) {
    if (barrier.missing_arrivals == 0) fail("more threads arrive at an mbarrier than its phase waits for", site);
    release(barrier.cell_of(barrier.phase));
    barrier.missing_arrivals--;
    settle(barrier);
}

// Brings in what came with phases that have ended, for the first thread that sees their end.
void observe(Mbarrier& barrier) {
    acquire(barrier.cell_of(barrier.phase - 1));
    bool any = false;
    for (unsigned i = 0; i < scheduler->loads_used; i++) {
        Transfer& load = scheduler->loads[i];
        if (load.barrier != &barrier || load.phase >= barrier.phase) continue;
        carry_out(load, true);
        load.barrier = nullptr, any = true;
    }
    if (any) release(barrier.cell_of(barrier.phase - 1));
}

// What a phase waits for, for reports.
std::string missing_at(const Mbarrier& barrier) {
    char text[200];
    snprintf(text, sizeof text, ", phase %llu of which misses %u of %u arrivals and %lld bytes",
             (unsigned long long)barrier.phase, barrier.missing_arrivals, barrier.arrivals,
             (long long)barrier.missing_bytes);
    return text;
}

// Starts a load: it counts at once, and what it brings is to be seen when its phase has ended.
void start_load(Transfer load, void* at, Site site) {
    Mbarrier& barrier = mbarrier_at(at, site);
    unsigned place = 0;
    while (place < scheduler->loads_used && scheduler->loads[place].barrier) place++;
    if (place == MAX_LOADS) fail("too many bulk copies that nothing has waited for", site);
    scheduler->loads_used = std::max(scheduler->loads_used, place + 1);
    notes_write(load.shared, load.bytes);
    memset(load.shared, 0xff, load.bytes);
    load.barrier = &barrier, load.phase = barrier.phase;
    scheduler->loads[place] = load;
    release(barrier.cell_of(barrier.phase));
    barrier.missing_bytes -= (int64_t)load.bytes;
    settle(barrier);
}

}  // namespace

void mbarrier_init(void* at, unsigned arrivals, Site site) {
    shared_address(at);
    if ((uintptr_t)at % 8 != 0) fail("an mbarrier is not aligned to 8 bytes", site);
    if (arrivals == 0 || arrivals >= 1u << 20) fail("an mbarrier waits for 1 to 1048575 arrivals", site);
    Scheduler& s = *scheduler;
    unsigned place = 0;
    for (unsigned i = 0; i < s.mbarriers_used; i++)
        if (s.mbarriers[i].at == at) fail("an mbarrier is initialised again without having been invalidated", site);
    while (place < s.mbarriers_used && s.mbarriers[place].at) place++;
    if (place == MAX_MBARRIERS) fail("too many mbarriers in one block", site);
    s.mbarriers_used = std::max(s.mbarriers_used, place + 1);
    Mbarrier& barrier = s.mbarriers[place];
    barrier.at = at, barrier.phase = 0, barrier.missing_bytes = 0, barrier.cells = s.mbarrier_cells + place * 16;
    barrier.arrivals = barrier.missing_arrivals = arrivals;
    notes_write(at, 8);
    *(uint64_t*)at = MBARRIER_MAGIC + place;
}

void mbarrier_invalidate(void* at, Site site) {
    Mbarrier& barrier = mbarrier_at(at, site);
    if (!barrier.waiting.empty()) fail("an mbarrier is invalidated while threads wait for it", site);
    for (unsigned i = 0; i < scheduler->loads_used; i++)
        if (scheduler->loads[i].barrier == &barrier)
            fail("an mbarrier is invalidated before its copies have been waited for", site);
    notes_write(at, 8);
    barrier.at = nullptr;
    memset(at, 0xff, 8);
}

void mbarrier_arrive(void* at, Site site) { arrive(mbarrier_at(at, site), site); }

void mbarrier_arrive_cluster(unsigned address, Site site) {
    mbarrier_arrive(scheduler->shared + (address - SHARED_START), site);
}

void mbarrier_arrive_expect(void* at, unsigned bytes, Site site) {
    Mbarrier& barrier = mbarrier_at(at, site);
    if (bytes >= 1u << 20) fail("an mbarrier counts up to 1048575 bytes", site);
    barrier.missing_bytes += bytes;
    arrive(barrier, site);
}

bool mbarrier_try_wait(void* at, unsigned parity, Site site) {
    Mbarrier& barrier = mbarrier_at(at, site);
    if (!barrier.has_ended(parity)) stand_back("livelock: a thread asks an mbarrier for ever", site);
    if (!barrier.has_ended(parity)) return false;
    if (barrier.phase > 0) observe(barrier);
    return true;
}

void mbarrier_wait(void* at, unsigned parity, Site site) {
    Mbarrier& barrier = mbarrier_at(at, site);
    lane_now()->mbarrier = &barrier;
    while (!barrier.has_ended(parity)) wait_in(barrier.waiting, "an mbarrier", site);
    lane_now()->mbarrier = nullptr;
    if (barrier.phase > 0) observe(barrier);
}

}  // namespace emu
