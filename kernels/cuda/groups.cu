// Positions 0..n grouped by key, in order within each key: a stable radix sort, eight bits at a time from the lowest.
// Integer counts only, so the result does not depend on the order in which threads run. Twin: `Groups` in
// src/cpu/index.rs; host side: src/cuda/groups.rs.
//
// Method: Merrill and Grimshaw, "High performance and scalable radix sorting" (2011): per digit and tile of keys, count,
// add up the counts, and move every key to its place.
#include "groups.cuh"
#include "scan.cuh"

const int DIGITS = 256;
const int WARPS = THREADS / WARP;
// Keys of a warp, and of a block.
const int ROUNDS = 8;
const int TILE = THREADS * ROUNDS;

DEVICE u32 digit_of(Place key, u32 shift) { return (u32)(key >> shift) & (DIGITS - 1); }

// counts[digit, tile]: how many keys of the tile have the digit. A block for each tile.
KERNEL(group_count, const Place* keys, Place* counts, u64 n, u64 tiles, u32 shift) {
    SHARED(u32, found, [DIGITS]);
    for (u32 digit = threadIdx.x; digit < DIGITS; digit += THREADS) found[digit] = 0;
    __syncthreads();
    const u64 first = block_index() * TILE;
UNROLL for (int round = 0; round < ROUNDS; round++) {
        u64 i = first + round * THREADS + threadIdx.x;
        if (block_index() < tiles && i < n) atomicAdd(&found[digit_of(keys[i], shift)], 1u);
    }
    __syncthreads();
    if (block_index() >= tiles) return;
    for (u32 digit = threadIdx.x; digit < DIGITS; digit += THREADS)
        counts[digit * tiles + block_index()] = found[digit];
}

// counts[digit, tile] = keys with the digit in the tiles before; totals[digit] = keys with the digit. A block for each.
KERNEL(group_scan, Place* counts, Place* totals, u64 tiles) {
    SHARED(Place, scratch, [WARPS]);
    Place* row = counts + block_index() * tiles;
    Place before = 0;
    for (u64 first = 0; first < tiles; first += THREADS) {
        const u64 tile = first + threadIdx.x;
        const Scanned<Place> keys = block_scan<Sum>(tile < tiles ? row[tile] : (Place)0, (Place)0, scratch);
        if (tile < tiles) row[tile] = before + keys.before;
        before += keys.all;
    }
    if (threadIdx.x == 0) totals[block_index()] = before;
}

// Moves keys, and the positions that belong to them (their own where `order` is null), to their places by digit. A block
// for each tile; each warp takes neighbouring keys, 32 at a time.
KERNEL(group_move, const Place* keys, const Place* order, Place* keys_out, Place* order_out, const Place* counts,
       const Place* totals, u64 n, u64 tiles, u32 shift) {
    SHARED(u32, seen, [WARPS][DIGITS]);
    SHARED(Place, bases, [DIGITS]);
    SHARED(Place, scratch, [WARPS]);
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const bool inside = block_index() < tiles;
    for (u32 i = threadIdx.x; i < WARPS * DIGITS; i += THREADS) seen[i / DIGITS][i % DIGITS] = 0;
    // 1. Where each digit's keys of this tile start.
    const Place base = block_scan<Sum>(totals[threadIdx.x], (Place)0, scratch).before;
    bases[threadIdx.x] = base + (inside ? counts[threadIdx.x * tiles + block_index()] : 0);
    __syncthreads();
    // 2. How many keys with the same digit come before each in its warp.
    const u64 first = block_index() * TILE + warp * (WARP * ROUNDS);
    Place held[ROUNDS];
    u32 ranks[ROUNDS];
UNROLL for (int round = 0; round < ROUNDS; round++) {
        if (!inside || first + round * WARP >= n) continue;
        const u64 i = first + round * WARP + lane;
        const bool valid = i < n;
        held[round] = valid ? keys[i] : 0;
        const u32 digit = digit_of(held[round], shift);
        u32 peers = __ballot_sync(FULL, valid);
UNROLL for (int bit = 0; bit < 8; bit++) {
            const bool set = digit >> bit & 1;
            const u32 vote = __ballot_sync(FULL, set);
            peers &= set ? vote : ~vote;
        }
        const u32 peers_before = peers & ((1u << lane) - 1), before = seen[warp][digit];
        ranks[round] = before + __popc(peers_before);
        __syncwarp();
        if (valid && peers_before == 0) seen[warp][digit] = before + __popc(peers);
        __syncwarp();
    }
    __syncthreads();
    // 3. How many come before in the warps before.
    u32 running = 0;
UNROLL for (int i = 0; i < WARPS; i++) {
        u32 own = seen[i][threadIdx.x];
        seen[i][threadIdx.x] = running;
        running += own;
    }
    __syncthreads();
    // 4. Each to its place.
UNROLL for (int round = 0; round < ROUNDS; round++) {
        const u64 i = first + round * WARP + lane;
        if (!inside || i >= n) continue;
        const u32 digit = digit_of(held[round], shift);
        const Place to = bases[digit] + seen[warp][digit] + ranks[round];
        keys_out[to] = held[round];
        order_out[to] = order ? order[i] : (Place)i;
    }
}

// starts[key] = the first place whose key is not less, for keys 0 to size: a binary search for each.
KERNEL(group_starts, const Place* keys, Place* starts, u64 n, u64 size) {
    for (u64 key = thread_index(); key <= size; key += grid_threads()) {
        u64 low = 0, high = n;
        while (low < high) {
            u64 middle = low + (high - low) / 2;
            if (keys[middle] < key) low = middle + 1;
            else high = middle;
        }
        starts[key] = (Place)low;
    }
}
