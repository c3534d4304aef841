// What a kernel sees of how it was launched.
#include "hopper.cuh"

KERNEL(ranks_of_clusters, u32* ranks) {
    if (threadIdx.x == 0) ranks[block_index()] = cluster_rank();
}
