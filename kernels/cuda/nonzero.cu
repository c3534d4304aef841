// y = the places of all x that are not 0, in order; what of y they do not fill is 0.
//
// The elements are cut into parts, one for each block: how many each has, how many come before it, then their places.
// Twins: src/index.rs, src/cpu/index.rs.
#include "scan.cuh"

struct NonzeroParams {
    u64 outer, size, n, inner;  // of n elements the places of `size`
};
// Neighbouring elements that a thread looks at together.
const int ITEMS = 4;

struct Add {
    static DEVICE u64 of(u64 a, u64 b) { return a + b; }
};

// Bit i tells whether element first + i is not 0.
DEVICE u32 truths(const Elem* x, u64 first, u64 end) {
    u32 bits = 0;
UNROLL for (int i = 0; i < ITEMS; i++)
        if (first + i < end && load(x + first + i) != 0) bits |= 1u << i;
    return bits;
}

// counts[part] = how many of its elements are not 0.
KERNEL(nonzero_counts, const Elem* x, u64* counts, NonzeroParams p, u64 parts, u64 part_len) {
    SHARED(u64, scratch, [THREADS / WARP]);
    const u64 part = block_index();
    if (part >= parts) return;
    const u64 end = (part + 1) * part_len < p.n ? (part + 1) * part_len : p.n;
    u64 count = 0;
    for (u64 first = part * part_len + threadIdx.x * ITEMS; first < end; first += blockDim.x * ITEMS) {
        count += __popc(truths(x, first, end));
    }
    count = block_fold<Sum>(count, scratch);
    if (threadIdx.x == 0) counts[part] = count;
}

// counts[part] = how many come before it, and counts[parts] = all of them; by one block.
KERNEL(nonzero_starts, u64* counts, u64 parts) {
    SHARED(u64, scratch, [THREADS / WARP]);
    if (block_index() > 0) return;
    u64 carry = 0;
    for (u64 first = 0; first < parts; first += blockDim.x) {
        const u64 part = first + threadIdx.x;
        const Scanned<u64> found = block_scan<Add>(part < parts ? counts[part] : (u64)0, (u64)0, scratch);
        if (part < parts) counts[part] = carry + found.before;
        carry += found.all;
    }
    if (threadIdx.x == 0) counts[parts] = carry;
}

KERNEL(nonzero, const Elem* x, i64* y, const u64* counts, NonzeroParams p, u64 parts, u64 part_len) {
    SHARED(u64, scratch, [THREADS / WARP]);
    const u64 part = block_index();
    if (part >= parts) return;
    const u64 end = (part + 1) * part_len < p.n ? (part + 1) * part_len : p.n;
    u64 next = counts[part];
    for (u64 tile = part * part_len; tile < end; tile += blockDim.x * ITEMS) {
        const u64 first = tile + threadIdx.x * ITEMS;
        const u32 bits = truths(x, first, end);
        const Scanned<u64> found = block_scan<Add>((u64)__popc(bits), (u64)0, scratch);
        u64 place = next + found.before;
UNROLL  for (int i = 0; i < ITEMS; i++) {
            if (!(bits >> i & 1)) continue;
            if (place < p.size) y[place] = (i64)(first + i);
            place++;
        }
        next += found.all;
    }
    for (u64 i = counts[parts] + thread_index(); i < p.size; i += grid_threads()) y[i] = 0;
}
