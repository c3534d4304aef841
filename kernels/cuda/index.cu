// Rows picked by a list of ids, sums back into them, and one-hot rows.
// Formulas, shapes and twins: src/index.rs, src/cpu/index.rs.
//
// Sums have a fixed order: ids are grouped (groups.cu), and each row adds up its own in the order of the list, in runs
// that are summed first and then added to the total, as on the host. Runs of long groups are summed side by side, so
// that a frequent id does not keep one thread busy while others wait.
#include "groups.cuh"

struct IndexParams {
    u64 outer, size, n, inner;
};
struct IndexAddParams {
    IndexParams extents;
    u64 fresh;
    i64 padding;
};

DEVICE void check_ids(const void* ids, u64 n, u64 size, u32 dtype, FaultArg fault) {
    for (u64 j = thread_index(); j < n; j += grid_threads()) {
        i64 id = load_as<i64>(ids, (i64)j, dtype);
        if ((u64)id >= size) report(fault, id, (i64)size, (i64)j);
    }
}

// y[o, j, i] = x[o, ids[j], i], with elements or 16 bytes as T; p.inner counts those.
template <class T> DEVICE void pick_rows(const T* x, const void* ids, T* y, const IndexParams& p, u32 dtype) {
    const u64 total = p.outer * p.n * p.inner;
    for (u64 e = thread_index(); e < total; e += grid_threads()) {
        const u64 row = e / p.inner, outer = row / p.n;
        const u64 id = (u64)load_as<i64>(ids, (i64)(row - outer * p.n), dtype);
        if (id < p.size) y[e] = x[(outer * p.size + id) * p.inner + (e - row * p.inner)];
    }
}
KERNEL(pick, const Elem* x, const void* ids, Elem* y, IndexParams p, u32 dtype, FaultArg fault) {
    check_ids(ids, p.n, p.size, dtype, fault);
    pick_rows(x, ids, y, p, dtype);
}
// The host has checked that all rows are aligned to 16 bytes.
KERNEL(pick_packs, const Pack<u32, 4>* x, const void* ids, Pack<u32, 4>* y, IndexParams p, u32 dtype, FaultArg fault) {
    check_ids(ids, p.n, p.size, dtype, fault);
    pick_rows(x, ids, y, p, dtype);
}

// y[j, v] = 1 where ids[j] = v, else 0.
KERNEL(one_hot, const void* ids, Elem* y, IndexParams p, u32 dtype, FaultArg fault) {
    check_ids(ids, p.n, p.size, dtype, fault);
    for (u64 e = thread_index(); e < p.n * p.size; e += grid_threads()) {
        const u64 row = e / p.size;
        const bool hot = (u64)load_as<i64>(ids, (i64)row, dtype) == e - row * p.size;
        store(&y[e], (Compute)(hot ? 1 : 0));
    }
}

// Rows added up before their sum goes into the total.
const int RUN = 64;
// Elements of a row that a thread takes: 16 bytes where the host has checked the alignment.
#ifndef VECTOR
#define VECTOR 1
#endif
const int N = VECTOR;
typedef Pack<Elem, N> Elems;
typedef Pack<Compute, N> Sums;

// The sum of rows order[first..end] of src, which starts at the thread's column.
DEVICE Sums sum_run(const Elem* src, const Place* order, u64 first, u64 end, u64 inner) {
    Sums part = {};
    for (u64 at = first; at < end; at++) {
        const Elems x = *(const Elems*)(src + (u64)order[at] * inner);
UNROLL for (int i = 0; i < N; i++) part.v[i] = Sum::of(part.v[i], load(&x.v[i]));
    }
    return part;
}

// keys[j] = ids[j], or `size` where it is outside.
KERNEL(index_keys, const void* ids, Place* keys, u64 n, u64 size, u32 dtype, FaultArg fault) {
    check_ids(ids, n, size, dtype, fault);
    for (u64 j = thread_index(); j < n; j += grid_threads()) {
        const u64 id = (u64)load_as<i64>(ids, (i64)j, dtype);
        keys[j] = (Place)(id < size ? id : size);
    }
}

// The runs of a group start at its first place and every RUN from there. In a chunk of RUN places start at most two runs
// of groups longer than one run: a further run of the group that is there already, and the first run of another. So run
// sums are kept at slots 2 chunk and 2 chunk + 1.
DEVICE u64 slot_of(u64 first, u64 group_start) { return first / RUN * 2 + (first == group_start ? 1 : 0); }

// runs[outer, slot, :] = the sum of the run that belongs to the slot.
KERNEL(index_runs, const Elem* src, const Place* keys, const Place* order, const Place* starts, Sums* runs,
       IndexAddParams p) {
    const u64 inner = p.extents.inner, n = p.extents.n, size = p.extents.size, cols = inner / N;
    const u64 slots = (n + RUN - 1) / RUN * 2, units = p.extents.outer * slots * cols;
    for (u64 unit = thread_index(); unit < units; unit += grid_threads()) {
        // 1. The run, if there is one.
        const u64 row = unit / cols, col = unit - row * cols, outer = row / slots, slot = row - outer * slots;
        const u64 chunk = slot / 2 * RUN, last = chunk + RUN < n ? chunk + RUN - 1 : n - 1;
        const bool is_first = slot % 2 == 1;
        const u64 id = keys[is_first ? last : chunk];
        if (id >= size || (i64)id == p.padding) continue;
        const u64 start = starts[id], end = starts[id + 1];
        if (end - start <= RUN || (is_first ? start < chunk : start == chunk)) continue;
        const u64 first = is_first ? start : start + (chunk - start + RUN - 1) / RUN * RUN;
        if (first >= end) continue;
        // 2. Its sum.
        const Elem* from = src + outer * n * inner + col * N;
        runs[unit] = sum_run(from, order, first, first + RUN < end ? first + RUN : end, inner);
    }
}

// y[o, id, :] += the sum of the rows of src that have the id; the old contents do not count where p.fresh is 1.
KERNEL(index_sums, const Elem* src, const Place* order, const Place* starts, const Sums* runs, Elem* y,
       IndexAddParams p) {
    const u64 inner = p.extents.inner, n = p.extents.n, size = p.extents.size, cols = inner / N;
    const u64 slots = (n + RUN - 1) / RUN * 2, units = p.extents.outer * size * cols;
    for (u64 unit = thread_index(); unit < units; unit += grid_threads()) {
        const u64 row = unit / cols, col = unit - row * cols, outer = row / size, id = row - outer * size;
        const u64 start = starts[id], end = (i64)id == p.padding ? start : starts[id + 1];
        if (start == end && !p.fresh) continue;
        Elems* to = (Elems*)y + unit;
        Sums total = {};
        if (!p.fresh) {
            const Elems old = *to;
UNROLL for (int i = 0; i < N; i++) total.v[i] = load(&old.v[i]);
        }
        const Elem* from = src + outer * n * inner + col * N;
        for (u64 first = start; first < end; first += RUN) {
            const Sums part = end - start <= RUN ? sum_run(from, order, first, end, inner)
                                                 : runs[(outer * slots + slot_of(first, start)) * cols + col];
UNROLL for (int i = 0; i < N; i++) total.v[i] = Sum::of(total.v[i], part.v[i]);
        }
        Elems result;
UNROLL for (int i = 0; i < N; i++) store(&result.v[i], total.v[i]);
        *to = result;
    }
}
