// Every wrapper of hopper.cuh and wgmma.cuh once, for what the compiler says of it; it is never run. COLS is the width of
// the products.
#include "wgmma.cuh"

DEVICE void products(f32* y, const u8* tile) {
    const u64 a = matrix_descriptor(tile, 0, 1024, SWIZZLE_128), b = matrix_descriptor(tile + 8192, 0, 1024, SWIZZLE_128);
    const u64 a_mn = matrix_descriptor(tile, 1024, 4096, SWIZZLE_64), b_mn = matrix_descriptor(tile, 128, 512, SWIZZLE_NONE);
    f32 d[COLS / 2];
    u32 own[4];
UNROLL for (int i = 0; i < 4; i++) own[i] = bits_of(y[i * 128 + threadIdx.x]);
UNROLL for (int i = 0; i < COLS / 2; i++) d[i] = 0;
    wgmma_fence(d, own);
UNROLL for (int k = 0; k < 4; k++) wgmma<Elem, COLS>(d, advance(a, k * 32), advance(b, k * 32), true);
    wgmma<Elem, COLS, MN_MAJOR>(d, a_mn, b, true);
    wgmma<Elem, COLS, K_MAJOR, MN_MAJOR>(d, a, b_mn, true);
    wgmma<Elem, COLS, MN_MAJOR, MN_MAJOR>(d, a_mn, b_mn, true);
    wgmma_commit();
    wgmma<Elem, COLS>(d, own, b, true);
    wgmma<Elem, COLS, MN_MAJOR>(d, own, b_mn, true);
    wgmma_commit();
    wgmma_wait<1>();
    wgmma_wait<0>(d, own);
UNROLL for (int i = 0; i < COLS / 2; i++) y[i * 128 + threadIdx.x] = d[i];
}

DEVICE void produce(u8* tile, const TensorMap& map, const f32* x, u64* full, u64* empty) {
    mbarrier_wait(empty, 1);
    mbarrier_arrive_expect(full, 1024);
    bulk_load(tile, x, 1024, full);
    tma_load_2d(tile + 1024, &map, 1, 2, full);
    tma_load_3d(tile + 1024, &map, 1, 2, 3, full);
    tma_load_4d(tile + 1024, &map, 1, 2, 3, 4, full);
}

DEVICE void give_out(const TensorMap& map, f32* y, const u8* tile) {
    tma_store_2d(&map, 1, 2, tile);
    tma_store_3d(&map, 1, 2, 3, tile);
    tma_store_4d(&map, 1, 2, 3, 4, tile);
    bulk_store(y, tile, 1024);
    bulk_commit();
    bulk_wait_read<0>();
    bulk_wait<0>();
}

KERNEL(every_wrapper, const f32* x, f32* y, const __grid_constant__ TensorMap map) {
    DYNAMIC_SHARED(u8, tile);
    SHARED(u64, full, [1]);
    SHARED(u64, empty, [1]);
    if (threadIdx.x == 0) {
        prefetch_map(&map);
        mbarrier_init(full, 1);
        mbarrier_init(empty, 2);
        mbarrier_init_fence();
    }
    cluster_arrive();
    cluster_wait();
    grid_wait();
    if (threadIdx.x < 128) {
        setmaxnreg_dec<40>();
        if (threadIdx.x < 32 && elect_one()) produce(tile, map, x, full, empty);
    } else {
        setmaxnreg_inc<232>();
        while (!mbarrier_try_wait(full, 0)) {}
        products(y, tile);
        mbarrier_arrive(empty);
        mbarrier_arrive_cluster(cluster_address(empty, (cluster_rank() + 1) % cluster_blocks()));
        named_barrier_arrive(2, 256);
        tile[threadIdx.x] = 1;
        proxy_fence();
        named_barrier(1, 256);
        if (threadIdx.x == 128) give_out(map, y, tile);
    }
    grid_launch_dependents();
    __syncthreads();
    if (threadIdx.x == 0) mbarrier_invalidate(full);
}
