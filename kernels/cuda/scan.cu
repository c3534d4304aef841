// Cumulative sums and products along one dim of a contiguous array [outer, len, inner]; the unit is compiled for one OP.
//
//   y[o, t, i] = x[o, 0, i] op ... op x[o, t, i]            reversed: x[o, t, i] op ... op x[o, len - 1, i]
//
// Where inner is 1 a block scans a line of neighbours (lines), else each thread a column (columns). Where there are few
// of them each is cut into parts: totals of the parts first, then what comes before each, then the scans proper.
//
// Floats of 32 and 64 bits accumulate in f64 as on the host, f16 and bf16 in f32. Twins: src/scan.rs, src/cpu/scan.rs.
#include "scan.cuh"

#if defined(ELEM_F32) || defined(ELEM_F64)
typedef f64 Wide;
#else
typedef Compute Wide;
#endif
#if ELEM_IS_FLOAT
typedef Elem TotalElem;
#else
typedef i64 TotalElem;
#endif

// Integers wrap, which C++ promises of unsigned ones only.
struct Add {
    static DEVICE Wide start() { return 0; }
    static DEVICE f32 of(f32 a, f32 b) { return a + b; }
    static DEVICE f64 of(f64 a, f64 b) { return a + b; }
    static DEVICE i64 of(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
};
struct Multiply {
    static DEVICE Wide start() { return 1; }
    static DEVICE f32 of(f32 a, f32 b) { return a * b; }
    static DEVICE f64 of(f64 a, f64 b) { return a * b; }
    static DEVICE i64 of(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }
};
typedef OP Op;

struct ScanParams {
    u64 outer, len, inner, reversed;
};
// Each line or column is cut into `parts` of `part_len` elements.
struct Split {
    u64 parts, part_len;
};
// Elements that a thread of a line has of each tile.
const int ITEMS = 8;
const int TILE = THREADS * ITEMS;

// Where element i of a tile is in shared memory: threads read runs of ITEMS, which the gaps keep out of each other's banks.
DEVICE int slot(int i) { return i + i / ITEMS; }

// The place of element t of the scan.
DEVICE u64 at(u64 t, const ScanParams& p) { return p.reversed ? p.len - 1 - t : t; }

// Scans elements begin..end of the line at x, or only folds them. What comes before them is `carry`; the fold of that
// and all of them is returned.
template <bool WRITE>
DEVICE Wide line(const Elem* x, TotalElem* y, u64 begin, u64 end, Wide carry, const ScanParams& p) {
    SHARED(Wide, tile, [TILE + THREADS]);
    SHARED(Wide, scratch, [THREADS / WARP]);
    for (u64 first = begin; first < end; first += TILE) {
        // 1. The tile, read by neighbours and handed to the threads in runs.
        for (int i = threadIdx.x; i < TILE; i += THREADS) {
            tile[slot(i)] = first + i < end ? convert<Wide>(x[at(first + i, p)]) : Op::start();
        }
        __syncthreads();
        // 2. Each run is scanned from its start.
        Wide run[ITEMS];
        Wide total = Op::start();
UNROLL  for (int i = 0; i < ITEMS; i++) run[i] = total = Op::of(total, tile[slot(threadIdx.x * ITEMS + i)]);
        // 3. What comes before it goes on top.
        const Scanned<Wide> runs = block_scan<Op>(total, Op::start(), scratch);
        if (WRITE) {
            const Wide before = Op::of(carry, runs.before);
UNROLL      for (int i = 0; i < ITEMS; i++) tile[slot(threadIdx.x * ITEMS + i)] = Op::of(before, run[i]);
            __syncthreads();
            for (int i = threadIdx.x; i < TILE && first + i < end; i += THREADS) {
                y[at(first + i, p)] = convert<TotalElem>(tile[slot(i)]);
            }
            __syncthreads();
        }
        carry = Op::of(carry, runs.all);
    }
    return carry;
}

// A block for each part of each line; `carries` are what comes before the parts, none where there is one part.
KERNEL(scan_lines, const Elem* x, TotalElem* y, const Wide* carries, ScanParams p, Split s) {
    const u64 index = block_index(), row = index / s.parts, part = index % s.parts;
    if (row >= p.outer) return;
    const u64 begin = part * s.part_len, end = begin + s.part_len < p.len ? begin + s.part_len : p.len;
    const Wide carry = s.parts > 1 ? carries[index] : Op::start();
    line<true>(x + row * p.len, y + row * p.len, begin, end, carry, p);
}

KERNEL(scan_line_totals, const Elem* x, Wide* totals, ScanParams p, Split s) {
    const u64 index = block_index(), row = index / s.parts, part = index % s.parts;
    if (row >= p.outer) return;
    const u64 begin = part * s.part_len, end = begin + s.part_len < p.len ? begin + s.part_len : p.len;
    const Wide total = line<false>(x + row * p.len, nullptr, begin, end, Op::start(), p);
    if (threadIdx.x == 0) totals[index] = total;
}

// What comes before each of the parts of a row, of which a block has at most one for each thread.
KERNEL(scan_carries, Wide* totals, u64 rows, u64 parts) {
    SHARED(Wide, scratch, [THREADS / WARP]);
    const u64 row = block_index();
    if (row >= rows) return;
    Wide* own = totals + row * parts + threadIdx.x;
    const Scanned<Wide> scanned =
        block_scan<Op>(threadIdx.x < parts ? *own : Op::start(), Op::start(), scratch);
    if (threadIdx.x < parts) *own = scanned.before;
}

// Columns o, i of one part each, neighbouring threads for neighbouring i. Totals are [outer, inner, parts].
template <bool WRITE>
DEVICE void columns(const Elem* x, TotalElem* y, Wide* totals, const ScanParams& p, const Split& s) {
    const u64 n = p.outer * p.inner;
    for (u64 index = thread_index(); index < n * s.parts; index += grid_threads()) {
        const u64 part = index / n, column = index - part * n, outer = column / p.inner;
        const u64 base = outer * p.len * p.inner + (column - outer * p.inner);
        const u64 begin = part * s.part_len, end = begin + s.part_len < p.len ? begin + s.part_len : p.len;
        Wide* own = totals + column * s.parts + part;
        Wide acc = WRITE && s.parts > 1 ? *own : Op::start();
        // Several elements are on their way before the first is needed.
        u64 t = begin;
        for (; t + ITEMS <= end; t += ITEMS) {
            Elem items[ITEMS];
UNROLL      for (int i = 0; i < ITEMS; i++) items[i] = x[base + at(t + i, p) * p.inner];
UNROLL      for (int i = 0; i < ITEMS; i++) {
                acc = Op::of(acc, convert<Wide>(items[i]));
                if (WRITE) y[base + at(t + i, p) * p.inner] = convert<TotalElem>(acc);
            }
        }
        for (; t < end; t++) {
            acc = Op::of(acc, convert<Wide>(x[base + at(t, p) * p.inner]));
            if (WRITE) y[base + at(t, p) * p.inner] = convert<TotalElem>(acc);
        }
        if (!WRITE) *own = acc;
    }
}
KERNEL(scan_columns, const Elem* x, TotalElem* y, Wide* carries, ScanParams p, Split s) {
    columns<true>(x, y, carries, p, s);
}
KERNEL(scan_column_totals, const Elem* x, Wide* totals, ScanParams p, Split s) {
    columns<false>(x, nullptr, totals, p, s);
}
