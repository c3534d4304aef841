// Copies by the copy engine and what orders them, from architecture 9.0 on: barriers in shared memory that count arrivals
// and bytes (mbarrier), bulk copies, boxes of a tensor that a tensor map describes, clusters of blocks and grids that
// start before the last one has ended. Matrix products of a warpgroup are in wgmma.cuh.
// On the emulator each has a twin of the same name (emu/hopper.h), which checks how it is used.
// Sources: PTX ISA, "mbarrier", "Data Movement and Conversion Instructions: Bulk copy" and "... Tensor copy".
#pragma once
#include "prelude.cuh"

#if defined(CHAINRULE_EMU)
#include "emu/hopper.h"
#elif __CUDA_ARCH__ >= 900

// What the host encodes of a tensor (src/cuda/tensor_map.rs). A kernel takes it as `const __grid_constant__ TensorMap x`
// and hands on its address.
struct alignas(128) TensorMap {
    u64 words[16];
};

// A barrier for threads and copies, 8 bytes of shared memory. Its phases have numbers 0, 1, 2, ...; one ends when
// `arrivals` threads have arrived and as many bytes have come as were expected, and then the next begins.
DEVICE void mbarrier_init(u64* barrier, u32 arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}

// Makes the barriers that this thread has initialised known to the copy engine and the cluster; a barrier of the block
// has to follow before other threads use them.
DEVICE void mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

// Ends the use of a barrier, so that its memory may hold something else.
DEVICE void mbarrier_invalidate(u64* barrier) {
    asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(shared_address(barrier)) : "memory");
}

DEVICE void mbarrier_arrive(u64* barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}

// Arrives, and lets this phase wait for that many bytes of copies besides.
DEVICE void mbarrier_arrive_expect(u64* barrier, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
                 : "memory");
}

// Whether the last phase with a number of this parity has ended. It may wait for a while itself.
DEVICE bool mbarrier_try_wait(u64* barrier, u32 parity) {
    u32 ended;
    asm volatile("{ .reg .pred ended; mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2; "
                 "selp.u32 %0, 1, 0, ended; }"
                 : "=r"(ended)
                 : "r"(shared_address(barrier)), "r"(parity)
                 : "memory");
    return ended != 0;
}

// How often a thread asks before it takes the barrier for one that never opens: minutes.
#ifndef SPIN_LIMIT
#define SPIN_LIMIT 0x10000000u
#endif
// Waits until the phase of this parity has ended: what was copied in it can be read then. A wait that has no end stops
// the kernel with an error.
DEVICE void mbarrier_wait(u64* barrier, u32 parity) {
    for (u32 tries = 0; !mbarrier_try_wait(barrier, parity); tries++)
        if (tries == SPIN_LIMIT) __trap();
}

// Starts a copy of `bytes` from global to shared memory, all of it aligned to 16; the barrier counts it.
DEVICE void bulk_load(void* to, const void* from, u32 bytes, u64* barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                     shared_address(to)),
                 "l"(from), "r"(bytes), "r"(shared_address(barrier))
                 : "memory");
}

// Starts the copy of a box of a tensor to shared memory, from the place (x, y, ...) on, innermost coordinate first; what
// lies outside of the tensor arrives as zeros. The barrier counts the bytes of the whole box. `to` is aligned to 128, and
// where the map swizzles by 128 bytes to 1024, so that the pattern starts there.
#define TMA_LOAD(dim, coordinates, values, barrier_operand)                                                           \
    asm volatile("cp.async.bulk.tensor." dim ".shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {" \
                 coordinates "}], [" barrier_operand "];" ::"r"(shared_address(to)),                                  \
                 "l"(map), values, "r"(shared_address(barrier))                                                       \
                 : "memory")
#define AND ,
DEVICE void tma_load_2d(void* to, const TensorMap* map, i32 x, i32 y, u64* barrier) {
    TMA_LOAD("2d", "%2, %3", "r"(x) AND "r"(y), "%4");
}
DEVICE void tma_load_3d(void* to, const TensorMap* map, i32 x, i32 y, i32 z, u64* barrier) {
    TMA_LOAD("3d", "%2, %3, %4", "r"(x) AND "r"(y) AND "r"(z), "%5");
}
DEVICE void tma_load_4d(void* to, const TensorMap* map, i32 x, i32 y, i32 z, i32 w, u64* barrier) {
    TMA_LOAD("4d", "%2, %3, %4, %5", "r"(x) AND "r"(y) AND "r"(z) AND "r"(w), "%6");
}

// Starts the copy of a box from shared memory to a tensor; what lies outside of the tensor is not written. It belongs to
// this thread's open group. What other threads have written to the box needs `proxy_fence` in each of them and then a
// barrier of them all before.
#define TMA_STORE(dim, coordinates, values)                                                                   \
    asm volatile("cp.async.bulk.tensor." dim ".global.shared::cta.tile.bulk_group [%0, {" coordinates         \
                 "}], [%1];" ::"l"(map),                                                                      \
                 "r"(shared_address(from)), values                                                            \
                 : "memory")
DEVICE void tma_store_2d(const TensorMap* map, i32 x, i32 y, const void* from) {
    TMA_STORE("2d", "%2, %3", "r"(x) AND "r"(y));
}
DEVICE void tma_store_3d(const TensorMap* map, i32 x, i32 y, i32 z, const void* from) {
    TMA_STORE("3d", "%2, %3, %4", "r"(x) AND "r"(y) AND "r"(z));
}
DEVICE void tma_store_4d(const TensorMap* map, i32 x, i32 y, i32 z, i32 w, const void* from) {
    TMA_STORE("4d", "%2, %3, %4, %5", "r"(x) AND "r"(y) AND "r"(z) AND "r"(w));
}
#undef TMA_LOAD
#undef TMA_STORE
#undef AND

// The same without a tensor: `bytes` in one piece, all of it aligned to 16.
DEVICE void bulk_store(void* to, const void* from, u32 bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;" ::"l"(to), "r"(shared_address(from)),
                 "r"(bytes)
                 : "memory");
}

// Ends a group of stores: all that this thread has started since the last one.
DEVICE void bulk_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

// Waits for all but this thread's last N groups of stores: until they have been written, or with `_read` until shared
// memory has been read and may be written again. A block may not end before its shared memory has been read.
template <int N> DEVICE void bulk_wait() { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory"); }
template <int N> DEVICE void bulk_wait_read() { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }

// Fetches the map itself, so that the first copy need not wait for it.
DEVICE void prefetch_map(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

// Lets the copy engine and the tensor cores see what this thread has written to shared memory.
DEVICE void proxy_fence() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// True in one lane of the warp, the same each time; all lanes have to call it.
DEVICE bool elect_one() {
    u32 elected;
    asm volatile("{ .reg .pred elected; elect.sync _|elected, 0xffffffff; selp.u32 %0, 1, 0, elected; }"
                 : "=r"(elected));
    return elected != 0;
}

// A barrier of some of the block's threads, a multiple of 32; numbers 1 to 15, 0 is that of __syncthreads. Who only
// arrives goes on at once.
DEVICE void named_barrier(u32 number, u32 threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}
DEVICE void named_barrier_arrive(u32 number, u32 threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// The place of this block in its cluster, and how many blocks the cluster has.
DEVICE u32 cluster_rank() {
    u32 rank;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
    return rank;
}
DEVICE u32 cluster_blocks() {
    u32 blocks;
    asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(blocks));
    return blocks;
}

// The two halves of a barrier of all threads of the cluster.
DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }

// Where block `rank` of the cluster has what this block has at `shared`.
DEVICE u32 cluster_address(const void* shared, u32 rank) {
    u32 address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(shared)), "r"(rank));
    return address;
}
// Arrives at a barrier of another block, given by its address in the cluster.
DEVICE void mbarrier_arrive_cluster(u32 address) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(address) : "memory");
}

// Where a grid may start before the last one on its stream has ended: waits until that one's writes are visible, and lets
// the next one start.
DEVICE void grid_wait() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
DEVICE void grid_launch_dependents() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

#endif
