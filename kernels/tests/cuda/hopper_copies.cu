// Copies by the copy engine of every kind, and what threads can meet at, for tests (src/cuda/tests/hopper.rs).
#include "hopper.cuh"

struct Places {
    i32 from[4], to[4];
    u32 rank, bytes;
};

DEVICE void load_box(void* to, const TensorMap& map, const i32* at, u32 rank, u64* barrier) {
    if (rank == 2) tma_load_2d(to, &map, at[0], at[1], barrier);
    if (rank == 3) tma_load_3d(to, &map, at[0], at[1], at[2], barrier);
    if (rank == 4) tma_load_4d(to, &map, at[0], at[1], at[2], at[3], barrier);
}
DEVICE void store_box(const TensorMap& map, const i32* at, u32 rank, const void* from) {
    if (rank == 2) tma_store_2d(&map, at[0], at[1], from);
    if (rank == 3) tma_store_3d(&map, at[0], at[1], at[2], from);
    if (rank == 4) tma_store_4d(&map, at[0], at[1], at[2], at[3], from);
}

// A box of x to shared memory, which goes to `raw` as it lies there, and to y.
KERNEL(copy_box, const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap y, u32* raw, Places places) {
    DYNAMIC_SHARED(u32, box);
    SHARED(u64, barrier, [1]);
    if (threadIdx.x == 0) {
        prefetch_map(&x);
        mbarrier_init(barrier, 1);
        mbarrier_init_fence();
        mbarrier_arrive_expect(barrier, places.bytes);
        load_box(box, x, places.from, places.rank, barrier);
    }
    __syncthreads();
    mbarrier_wait(barrier, 0);
    for (u32 i = threadIdx.x; i < places.bytes / 4; i += blockDim.x) raw[i] = box[i];
    if (threadIdx.x == 0) {
        store_box(y, places.to, places.rank, box);
        bulk_commit();
        bulk_wait<0>();
    }
    // The barrier's memory is of use for another one.
    __syncthreads();
    if (threadIdx.x == 0) {
        mbarrier_invalidate(barrier);
        mbarrier_init(barrier, blockDim.x);
    }
    __syncthreads();
    mbarrier_arrive(barrier);
    mbarrier_wait(barrier, 0);
}

// y = x by pieces of 64 numbers, of which each block copies one through shared memory.
KERNEL(copy_pieces, const u32* x, u32* y) {
    SHARED(u32, piece, [64]);
    SHARED(u64, barrier, [1]);
    if (threadIdx.x > 0) return;
    mbarrier_init(barrier, 1);
    mbarrier_init_fence();
    bulk_load(piece, x + blockIdx.x * 64, 256, barrier);
    mbarrier_arrive_expect(barrier, 256);
    while (!mbarrier_try_wait(barrier, 0)) {}
    bulk_store(y + blockIdx.x * 64, piece, 256);
    bulk_commit();
    bulk_wait<0>();
}

// Four warps in a row: each adds one to what the warp before has left, and in the end all see the last one's.
KERNEL(meetings, u32* y) {
    SHARED(u32, count, [2]);
    const u32 warp = threadIdx.x / WARP;
    if (warp > 0) named_barrier(warp, 64);
    if (elect_one()) count[0] = warp == 0 ? 1 : count[0] + 1;
    if (warp < 3) named_barrier_arrive(warp + 1, 64);
    cluster_arrive();
    cluster_wait();
    if (threadIdx.x == 0) count[1] = count[0] * 10 + cluster_rank() + cluster_blocks();
    cluster_arrive();
    cluster_wait();
    y[threadIdx.x] = count[1];
}
