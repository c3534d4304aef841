// What a kernel sees of how it was launched.
#include "prelude.cuh"

KERNEL(ranks_of_clusters, u32* ranks) {
#ifdef CHAINRULE_EMU
    const u32 rank = blockIdx.x % emu::current->cluster;
#else
    u32 rank;
    asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
#endif
    if (threadIdx.x == 0) ranks[block_index()] = rank;
}
