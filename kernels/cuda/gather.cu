// Reading and writing along one dim at the places that an index of the same rank names: gather, scatter, scatter_add.
// Formulas and twins: src/gather.rs, src/cpu/gather.rs.
//
// No result depends on the order of threads. Where several elements meet, scatter lets the greatest position claim the
// place (an integer maximum, which has no order), and scatter_add adds in the order of the index: one thread walks a line
// along the dim, or all that goes to one place after grouping (groups.cu).
#include "groups.cuh"

struct GatherParams {
    Dims walk;
    i64 stride;
    u64 size, outer, slab;
};

const i64 OUTSIDE = -0x7fffffffffffffffLL - 1;

// Where element i of the index points to, or OUTSIDE.
DEVICE i64 target(const GatherParams& p, const void* index, u64 i, u32 dtype) {
    i64 at = load_as<i64>(index, (i64)i, dtype);
    return (u64)at < p.size ? offset_of(p.walk, i) + at * p.stride : OUTSIDE;
}
// The same, with a report where it points outside.
DEVICE i64 checked_target(const GatherParams& p, const void* index, u64 i, u32 dtype, FaultArg fault) {
    i64 to = target(p, index, i, dtype);
    if (to == OUTSIDE) report(fault, load_as<i64>(index, (i64)i, dtype), (i64)p.size, (i64)i);
    return to;
}

// y[i] = x[target(i)].
KERNEL(gather, const Elem* x, const void* index, Elem* y, GatherParams p, u64 n, u32 dtype, FaultArg fault) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 from = checked_target(p, index, i, dtype, fault);
        if (from != OUTSIDE) y[i] = x[from];
    }
}

// y[target(i)] = src[i], where no two meet.
KERNEL(scatter, const Elem* src, const void* index, Elem* y, GatherParams p, u64 n, u32 dtype, FaultArg fault) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = checked_target(p, index, i, dtype, fault);
        if (to != OUTSIDE) y[to] = src[i];
    }
}

// 1. winners[target(i)] = 0. `winners` has a place for each of y, and only those that are written count.
KERNEL(scatter_clear, const void* index, Place* winners, GatherParams p, u64 n, u32 dtype, FaultArg fault) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = checked_target(p, index, i, dtype, fault);
        if (to != OUTSIDE) winners[to] = 0;
    }
}
// 2. winners[target(i)] = the greatest i + 1.
KERNEL(scatter_claim, const void* index, Place* winners, GatherParams p, u64 n, u32 dtype) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = target(p, index, i, dtype);
        if (to != OUTSIDE) atomicMax(&winners[to], (Place)(i + 1));
    }
}
// 3. y[target(i)] = src[i] where i has won.
KERNEL(scatter_write, const Elem* src, const void* index, Elem* y, const Place* winners, GatherParams p, u64 n,
       u32 dtype) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = target(p, index, i, dtype);
        if (to != OUTSIDE && winners[to] == (Place)(i + 1)) y[to] = src[i];
    }
}

// y[target] += src, a thread for each line of `len` elements along the dim, `inner` apart; no two lines meet. Types below
// f32 add up in `sums`, which has a place for each of y, and is null for others.
KERNEL(scatter_add_lines, const Elem* src, const void* index, Elem* y, Compute* sums, GatherParams p, u64 lines, u64 len,
       u64 inner, u32 dtype, FaultArg fault) {
    for (u64 line = thread_index(); line < lines; line += grid_threads()) {
        const u64 outer = line / inner, first = outer * len * inner + (line - outer * inner);
        const i64 base = offset_of(p.walk, first);
        for (u64 from = first, end = first + len * inner; from < end; from += inner) {
            const i64 at = load_as<i64>(index, (i64)from, dtype), to = base + at * p.stride;
            if ((u64)at >= p.size) report(fault, at, (i64)p.size, (i64)from);
            else if (sums) sums[to] = Sum::of(sums[to], load(&src[from]));
            else store(&y[to], Sum::of(load(&y[to]), load(&src[from])));
        }
    }
}
// sums[target(i)] = y[target(i)] before, and back after. Where several meet, all write the same.
KERNEL(scatter_add_widen, const void* index, const Elem* y, Compute* sums, GatherParams p, u64 n, u32 dtype) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = target(p, index, i, dtype);
        if (to != OUTSIDE) sums[to] = load(&y[to]);
    }
}
KERNEL(scatter_add_round, const void* index, Elem* y, const Compute* sums, GatherParams p, u64 n, u32 dtype) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = target(p, index, i, dtype);
        if (to != OUTSIDE) store(&y[to], sums[to]);
    }
}

// keys[i] = target(i), or `none` where it is outside.
KERNEL(scatter_add_keys, const void* index, Place* keys, GatherParams p, u64 n, u64 none, u32 dtype, FaultArg fault) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        i64 to = checked_target(p, index, i, dtype, fault);
        keys[i] = to == OUTSIDE ? (Place)none : (Place)to;
    }
}
// y[key] += src[order] over the places with that key, in order: a thread for each key, at its first place.
KERNEL(scatter_add_groups, const Elem* src, Elem* y, const Place* keys, const Place* order, u64 n, u64 none) {
    for (u64 i = thread_index(); i < n; i += grid_threads()) {
        const Place key = keys[i];
        if (key == (Place)none || (i > 0 && keys[i - 1] == key)) continue;
        Compute total = load(&y[key]);
        for (u64 at = i; at < n && keys[at] == key; at++) total = Sum::of(total, load(&src[order[at]]));
        store(&y[key], total);
    }
}
