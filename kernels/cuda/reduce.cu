// Reductions over any dims of an input with any strides; the unit is compiled for one OP of reduce.cuh.
//
//   y[kept] = finish(fold over reduced of x[kept, reduced])     x: kept and reduced dims in any order in memory
//
// reduce_rows    some lanes for each output: reduced elements are neighbours, or nothing is
// reduce_packs   the same for reduced elements that lie one after the other, sixteen bytes at a time
// reduce_columns neighbouring threads for neighbouring outputs: kept elements are neighbours
// reduce_parts   where few outputs have many elements, each part of them went to a block of its own; this merges them
//
// Formulas and twins: src/reduce.rs, src/cpu/reduce.
#include "reduce.cuh"

typedef OP Op;
typedef Op::Acc Acc;

// How outputs and their elements are shared out: `lanes` threads for each output of a part, of `part_len` elements.
struct Split {
    u64 lanes, parts, part_len;
};
// Elements that one thread reads before it uses the first.
const int BATCH = 4;
// Batches that are folded before the result goes into the total, so that chains of additions stay short.
const int RUN = 64;

// An accumulator in two levels.
struct Cascade {
    Acc total, part;
    int batches;
    DEVICE Cascade() : total(Op::start()), part(Op::start()), batches(0) {}
    template <int N> DEVICE void take(const Compute (&x)[N], u64 at, u64 step, const ReduceParams& p) {
        Op::take(part, x, at, step, p);
        if (++batches == RUN) {
            total = Op::merge(total, part);
            part = Op::start();
            batches = 0;
        }
    }
    DEVICE Acc finish() const { return Op::merge(total, part); }
};

// Where element i of the walk is. In 32 bits divisions are much faster and take fewer registers; the host defines FAR
// where they do not suffice.
DEVICE i64 place(const Dims& dims, u64 i) {
#ifdef FAR
    return offset_of(dims, i);
#else
    u32 rest = (u32)i;
    i64 offset = 0;
    for (int dim = (int)dims.rank - 1; dim > 0; dim--) {
        const u32 size = (u32)dims.shape[dim], outer = rest / size;
        offset += (i64)(rest - outer * size) * dims.strides[dim];
        rest = outer;
    }
    return offset + (i64)rest * dims.strides[0];
#endif
}

// Elements first, first + step, ... below `end` of the output whose first element is at x. FLAT: of one dim.
template <bool FLAT> DEVICE Acc fold_steps(const Elem* x, u64 first, u64 end, u64 step, const ReduceParams& p) {
    // Places of several dims take registers for their divisions.
    const int N = FLAT ? BATCH : BATCH / 2;
    Cascade acc;
    u64 i = first;
    for (; i + (N - 1) * step < end; i += N * step) {
        // All places before the first load, so that the loads are on their way together.
        i64 places[N];
        Compute values[N];
UNROLL  for (int j = 0; j < N; j++) {
            const u64 at = i + j * step;
            places[j] = FLAT ? (i64)at * p.reduced.strides[0] : place(p.reduced, at);
        }
UNROLL  for (int j = 0; j < N; j++) values[j] = load(x + places[j]);
        acc.take(values, i, step, p);
    }
    for (; i < end; i += step) {
        const Compute value[1] = {load(x + (FLAT ? (i64)i * p.reduced.strides[0] : place(p.reduced, i)))};
        acc.take(value, i, step, p);
    }
    return acc.finish();
}
DEVICE Acc fold_steps(const Elem* x, u64 first, u64 end, u64 step, const ReduceParams& p) {
    return p.reduced.rank <= 1 ? fold_steps<true>(x, first, end, step, p) : fold_steps<false>(x, first, end, step, p);
}

// Elements begin..end of the contiguous output at x, shared out over lanes: singly up to a multiple of sixteen bytes.
DEVICE Acc fold_packs(const Elem* x, u64 begin, u64 end, u64 lane, u64 lanes, const ReduceParams& p) {
    const int N = 16 / sizeof(Elem), GROUP = N < BATCH ? N : BATCH;
    Cascade acc;
    const u64 misplaced = (u64)(x + begin) % 16 / sizeof(Elem);
    u64 head = begin + (misplaced > 0 ? N - misplaced : 0);
    head = head < end ? head : end;
    const u64 packs = (end - head) / N, tail = head + packs * N;
    for (u64 i = begin + lane; i < head; i += lanes) {
        const Compute value[1] = {load(x + i)};
        acc.take(value, i, 1, p);
    }
    const Pack<Elem, N>* from = (const Pack<Elem, N>*)(x + head);
    u64 i = lane;
    for (; i < packs; i += BATCH * lanes) {
        Pack<Elem, N> pack[BATCH];
UNROLL  for (int j = 0; j < BATCH; j++)
            if (i + j * lanes < packs) pack[j] = from[i + j * lanes];
UNROLL  for (int j = 0; j < BATCH; j++) {
            if (i + j * lanes >= packs) break;
UNROLL      for (int first = 0; first < N; first += GROUP) {
                Compute values[GROUP];
UNROLL          for (int k = 0; k < GROUP; k++) values[k] = load(&pack[j].v[first + k]);
                acc.take(values, head + (i + j * lanes) * N + first, 1, p);
            }
        }
    }
    for (u64 i = tail + lane; i < end; i += lanes) {
        const Compute value[1] = {load(x + i)};
        acc.take(value, i, 1, p);
    }
    return acc.finish();
}

// The output itself where it has one part, else the accumulator of this part, for reduce_parts.
DEVICE void deliver(void* y, u64 row, u64 part, u64 parts, Acc acc, const ReduceParams& p) {
    if (parts == 1) {
        ((Op::Out*)y)[row] = Op::finish(acc, p);
    } else {
        ((Acc*)y)[row * parts + part] = acc;
    }
}

// The merge over the lanes of an output: neighbours within a warp, or the whole block.
DEVICE Acc merge_lanes(Acc acc, u32 lanes, Acc* scratch) {
    for (int step = 1; step < WARP && step < (int)lanes; step *= 2) acc = Op::merge(acc, across(acc, step));
    if (lanes <= WARP) return acc;
    if (threadIdx.x % WARP == 0) scratch[threadIdx.x / WARP] = acc;
    __syncthreads();
    acc = scratch[0];
    for (u32 warp = 1; warp < lanes / WARP; warp++) acc = Op::merge(acc, scratch[warp]);
    return acc;
}

template <bool PACKS> DEVICE void rows(const Elem* x, void* y, const ReduceParams& p, const Split& s) {
    SHARED(Acc, scratch, [THREADS / WARP]);
    const u64 part = block_index() % s.parts, lane = threadIdx.x % s.lanes;
    const u64 row = block_index() / s.parts * (blockDim.x / s.lanes) + threadIdx.x / s.lanes;
    const u64 begin = part * s.part_len, end = begin + s.part_len < p.cols ? begin + s.part_len : p.cols;
    Acc acc = Op::start();
    if (row < p.rows) {
        const Elem* from = x + place(p.kept, row);
        acc = PACKS ? fold_packs(from, begin, end, lane, s.lanes, p) : fold_steps(from, begin + lane, end, s.lanes, p);
    }
    acc = merge_lanes(acc, (u32)s.lanes, scratch);
    if (row < p.rows && lane == 0) deliver(y, row, part, s.parts, acc, p);
}
KERNEL(reduce_rows, const Elem* x, void* y, ReduceParams p, Split s) { rows<false>(x, y, p, s); }
KERNEL(reduce_packs, const Elem* x, void* y, ReduceParams p, Split s) { rows<true>(x, y, p, s); }

// A block has blockDim.x / lanes neighbouring outputs.
KERNEL(reduce_columns, const Elem* x, void* y, ReduceParams p, Split s) {
    SHARED(Acc, scratch, [THREADS]);
    const u32 width = blockDim.x / (u32)s.lanes, lane = threadIdx.x / width;
    const u64 part = block_index() % s.parts, row = block_index() / s.parts * width + threadIdx.x % width;
    const u64 begin = part * s.part_len, end = begin + s.part_len < p.cols ? begin + s.part_len : p.cols;
    Acc acc = Op::start();
    if (row < p.rows) acc = fold_steps(x + place(p.kept, row), begin + lane, end, s.lanes, p);
    for (u32 half = (u32)s.lanes / 2; half > 0; half /= 2) {
        scratch[threadIdx.x] = acc;
        __syncthreads();
        if (lane < half) acc = Op::merge(acc, scratch[threadIdx.x + half * width]);
        __syncthreads();
    }
    if (row < p.rows && lane == 0) deliver(y, row, part, s.parts, acc, p);
}

// A warp for each output.
KERNEL(reduce_parts, const Acc* accs, void* y, ReduceParams p, u64 parts) {
    const u64 row = thread_index() / WARP;
    Acc acc = Op::start();
    if (row < p.rows) {
        for (u64 part = threadIdx.x % WARP; part < parts; part += WARP) acc = Op::merge(acc, accs[row * parts + part]);
    }
    acc = merge_lanes(acc, WARP, (Acc*)nullptr);
    if (row < p.rows && threadIdx.x % WARP == 0) deliver(y, row, 0, 1, acc, p);
}
