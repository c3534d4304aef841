// What hopper.cuh stands for on the emulator: barriers with phases, bulk copies, clusters of one block, named barriers.
//
// A copy's destination is poisoned when it starts, and its data appear when some thread sees that the phase which waited
// for it has ended: reading without the wait, or writing over what others still read, gives NaN. A wait that never ends
// is reported with its line and what the barrier still waits for.
#pragma once
#include "emu/emu.h"

// The emulator's own form of a tensor map, of the size of the driver's; src/cuda/tensor_map.rs writes it. Coordinates are
// innermost first; `strides` are bytes from one row, layer, ... to the next; `swizzle` is 0, 32, 64 or 128 bytes.
struct TensorMap {
    uint64_t magic;
    uint64_t address;
    uint64_t sizes[4];
    uint64_t strides[3];
    uint32_t box[4];
    uint32_t rank, elem_bytes, swizzle, unused[7];
};
static_assert(sizeof(TensorMap) == 128, "the size of CUtensorMap");

namespace emu {

const uint64_t TENSOR_MAP_MAGIC = 0x70616d726f736e74;

void mbarrier_init(void* barrier, unsigned arrivals, Site site = Site::here());
void mbarrier_invalidate(void* barrier, Site site = Site::here());
void mbarrier_arrive(void* barrier, Site site = Site::here());
void mbarrier_arrive_expect(void* barrier, unsigned bytes, Site site = Site::here());
bool mbarrier_try_wait(void* barrier, unsigned parity, Site site = Site::here());
void mbarrier_wait(void* barrier, unsigned parity, Site site = Site::here());
inline void mbarrier_init_fence() {}

void bulk_load(void* to, const void* from, unsigned bytes, void* barrier, Site site = Site::here());
void bulk_store(void* to, const void* from, unsigned bytes, Site site = Site::here());
// A box from place `at` on, `rank` coordinates.
void tma_load(void* to, const TensorMap* map, const int* at, unsigned rank, void* barrier, Site site);
void tma_store(const TensorMap* map, const int* at, unsigned rank, const void* from, Site site);
void bulk_commit();
void bulk_wait(size_t groups);
void prefetch_map(const TensorMap* map, Site site = Site::here());
// What it orders is not modelled: all threads see memory alike.
inline void proxy_fence() {}

// Some lane: the first, or with a seed another.
bool elect_one(Site site = Site::here());
void named_barrier(unsigned number, unsigned threads, Site site = Site::here());
void named_barrier_arrive(unsigned number, unsigned threads, Site site = Site::here());

// Blocks of a cluster know their place in it, but do not meet here: each runs by itself.
inline unsigned cluster_rank() { return current->block.x % current->cluster; }
inline unsigned cluster_blocks() { return current->cluster; }
void cluster_arrive(Site site = Site::here());
void cluster_wait(Site site = Site::here());
unsigned cluster_address(const void* shared, unsigned rank, Site site = Site::here());
void mbarrier_arrive_cluster(unsigned address, Site site = Site::here());

// A grid starts when the last one has ended.
inline void grid_wait() {}
inline void grid_launch_dependents() {}

}  // namespace emu

using emu::bulk_commit; using emu::bulk_load; using emu::bulk_store; using emu::cluster_address; using emu::cluster_arrive;
using emu::cluster_blocks; using emu::cluster_rank; using emu::cluster_wait; using emu::elect_one;
using emu::grid_launch_dependents; using emu::grid_wait; using emu::mbarrier_arrive; using emu::mbarrier_arrive_cluster;
using emu::mbarrier_arrive_expect; using emu::mbarrier_init; using emu::mbarrier_init_fence; using emu::mbarrier_invalidate;
using emu::mbarrier_try_wait; using emu::mbarrier_wait; using emu::named_barrier; using emu::named_barrier_arrive;
using emu::prefetch_map; using emu::proxy_fence;

inline void tma_load_2d(void* to, const TensorMap* map, int x, int y, void* barrier, emu::Site site = emu::Site::here()) {
    const int at[] = {x, y};
    emu::tma_load(to, map, at, 2, barrier, site);
}
inline void tma_load_3d(void* to, const TensorMap* map, int x, int y, int z, void* barrier,
                        emu::Site site = emu::Site::here()) {
    const int at[] = {x, y, z};
    emu::tma_load(to, map, at, 3, barrier, site);
}
inline void tma_load_4d(void* to, const TensorMap* map, int x, int y, int z, int w, void* barrier,
                        emu::Site site = emu::Site::here()) {
    const int at[] = {x, y, z, w};
    emu::tma_load(to, map, at, 4, barrier, site);
}
inline void tma_store_2d(const TensorMap* map, int x, int y, const void* from, emu::Site site = emu::Site::here()) {
    const int at[] = {x, y};
    emu::tma_store(map, at, 2, from, site);
}
inline void tma_store_3d(const TensorMap* map, int x, int y, int z, const void* from,
                         emu::Site site = emu::Site::here()) {
    const int at[] = {x, y, z};
    emu::tma_store(map, at, 3, from, site);
}
inline void tma_store_4d(const TensorMap* map, int x, int y, int z, int w, const void* from,
                         emu::Site site = emu::Site::here()) {
    const int at[] = {x, y, z, w};
    emu::tma_store(map, at, 4, from, site);
}
// Both waits read shared memory and write the tensor.
template <int N> void bulk_wait() { emu::bulk_wait(N); }
template <int N> void bulk_wait_read() { emu::bulk_wait(N); }
