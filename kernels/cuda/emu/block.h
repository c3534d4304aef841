// How a block runs: its threads on fibers, in turn, until all have ended or none can go on.
#pragma once
#include <algorithm>
#include <cstdio>

#include "emu/bulk.h"
#include "emu/collective.h"
#include "emu/mbarrier.h"
#include "emu/scheduler.h"
#include "emu/warpgroup.h"

namespace emu {
namespace {

// Not part of the loop that calls it: a fiber may go on with its next thread on another thread of the host, where what
// is thread-local lies elsewhere.
__attribute__((noinline)) void run_thread() {
    Launch* launch = scheduler->launch;
    acquire(&scheduler->begin_cell);
    launch->entry(launch->params);
    Lane* lane = lane_now();
    end_of_bulk_stores();
    end_of_products();
    // Here and not when the next thread begins, which to the thread sanitizer would be another thread's memory.
    std::vector<std::vector<PendingCopy>>().swap(lane->thread.copies);
    release(&launch->end_cell);
    lane->state = State::Done;
    scheduler->live--;
    Gathering& barrier = scheduler->barriers[0];
    if (barrier.count > 0 && barrier.count >= scheduler->live) open(barrier);
    Gathering& cluster = scheduler->cluster;
    if (cluster.count > 0 && cluster.count >= scheduler->live) open(cluster);
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
        if (idle.size() <= REST) {
            fibers.push_back(std::make_unique<Fiber>());
            idle.push_front(fibers.back().get());
        }
        lane.fiber = idle.front();
        idle.pop_front();
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
        REST == 0 ? idle.push_front(lane.fiber) : idle.push_back(lane.fiber);
        lane.fiber = nullptr;
    }
}

void Scheduler::run_block(uint64_t block) {
    const unsigned threads = launch->threads;
    live = threads, ready.clear(), ready_head = 0;
#if defined(EMU_TSAN)
    renew_shared();
#else
    poison(shared, std::min(shared_used, SHARED_BYTES));
#endif
    const size_t n_warps = (threads + 31) / 32;
    if (warps.size() < n_warps) warps.resize(n_warps, std::vector<Gathering>(GATHERINGS_OF_WARP));
    unsigned char* cells = shared - CELL_BYTES;
    for (Gathering& barrier : barriers) barrier.reset(cells, threads), cells += 16;
    cluster.reset(cells, threads), cells += 16;
    for (auto& warp : warps)
        for (Gathering& gathering : warp) gathering.reset(cells, 32), cells += 16;
    reset_mbarriers(*this, cells);
    reset_work(*this);
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
    release(&begin_cell);
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
            if (lane.fiber) lane.fiber->abandon(), idle.push_back(lane.fiber), lane.fiber = nullptr;
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
        if (lanes[i].mbarrier) launch->error += missing_at(*lanes[i].mbarrier);
    }
}

}  // namespace
}  // namespace emu
