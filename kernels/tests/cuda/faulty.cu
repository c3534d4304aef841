// Kernels with one mistake each, for what must find it: the emulator, a seed, or a sanitizer (emu/sanitize.sh).
// Launched with blocks of 64 threads on `y`, 64 numbers; tests name the mistake and its report (src/cuda/tests/faulty.rs).
#include "prelude.cuh"
#include "tensor_core.cuh"

KERNEL(divergent_barriers, f32* y) {
    if (threadIdx.x < 32) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = 1;
}

// Lane 5 of the first warp waits for all, the others of it wait for lane 5.
KERNEL(missing_lane, f32* y) {
    f32 x = 1;
    if (threadIdx.x != 5) x = __shfl_xor_sync(FULL, x, 1);
    __syncthreads();
    y[threadIdx.x] = x;
}

KERNEL(lane_outside_the_mask, f32* y) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, 1.0f, 20);
}

KERNEL(barrier_without_enough_threads, f32* y) {
#ifdef CHAINRULE_EMU
    emu::named_barrier(1, 128, emu::Site::here());
#endif
    y[threadIdx.x] = 1;
}

KERNEL(endless_wait, f32* y) {
    while (atomicCAS((u32*)y, 1u, 2u) != 1) {}
}

KERNEL(write_beyond, f32* y) { y[threadIdx.x + 1] = 1; }
KERNEL(write_before, f32* y) { y[(i64)threadIdx.x - 1] = 1; }

// One place beyond an array; what lies there is another's.
KERNEL(outside_shared, f32* y) {
    SHARED(f32, tile, [64]);
    f32* at = tile;
    at[threadIdx.x + 1] = 1;
    __syncthreads();
    y[threadIdx.x] = 1;
}

KERNEL(unwritten_shared, f32* y) {
    SHARED(f32, tile, [64]);
    if (threadIdx.x < 63) tile[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];
}

KERNEL(missing_barrier, f32* y) {
    SHARED(f32, tile, [64]);
    tile[threadIdx.x] = (f32)threadIdx.x;
    y[threadIdx.x] = tile[63 - threadIdx.x];
}

// Every block counts the same place up.
KERNEL(race_of_blocks, f32* y) {
    __syncthreads();
    if (threadIdx.x == 0) y[0] = y[0] + 1;
}

KERNEL(missing_wait, f32* y) {
    typedef Pack<f32, 4> Four;
    SHARED(Four, tile, [16]);
    if (threadIdx.x < 16) cp_async_16(&tile[threadIdx.x], y + threadIdx.x * 4, 16);
    cp_async_commit();
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x / 4].v[threadIdx.x % 4];
}

KERNEL(misaligned, f32* y) { *(Pack<f32, 2>*)(y + 1) = Pack<f32, 2>{{1, 2}}; }
