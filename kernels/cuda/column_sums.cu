// The second stage of sums over rows: adds up the rows of partial sums that groups of threads left.
//   y[col] = sum over groups of partial[group, col],  partial [groups, columns]
#define THREADS 1024
#include "prelude.cuh"

// The first `cols` columns go to `first`, the rest to `second`; 32 columns for each block of [32, 32] threads, in a fixed
// order.
KERNEL(column_sums, const Compute* partial, Elem* first, Elem* second, u64 groups, u64 cols, u64 columns) {
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP, warps = blockDim.x / WARP;
    const u64 col = block_index() * WARP + lane;
    SHARED(Compute, sums, [WARP][WARP]);
    Compute sum = 0;
    if (col < columns) {
        for (u64 group = warp; group < groups; group += warps) sum += partial[group * columns + col];
    }
    sums[warp][lane] = sum;
    __syncthreads();
    if (warp > 0 || col >= columns) return;
    for (u32 i = 1; i < warps; i++) sum += sums[i][lane];
    if (col < cols) store(first + col, sum);
    else store(second + (col - cols), sum);
}
