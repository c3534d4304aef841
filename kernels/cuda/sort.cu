// The first k elements of each row in sorted order, and their positions.
//
//   x [rows, cols] -> values [rows, k], indices [rows, k]
//
// An element's key is an unsigned integer that orders as the element does; with the position as second key no two are
// equal, so the order is the one stable order. A chunk of a row is sorted in shared memory (a bitonic network, Batcher
// 1968); longer rows merge their chunks pair by pair (each tile of the output finds its inputs by the merge path, Green,
// McColl and Bader 2012), and no run is kept beyond its first k. Twins: src/sort.rs, src/cpu/sort.rs.
#include "prelude.cuh"

struct SortParams {
    u64 rows, cols, k, descending;
};

#if defined(ELEM_F64) || defined(ELEM_I64)
typedef u64 Key;
#else
typedef u32 Key;
#endif
// A position in a row; the host makes it u64 for rows of 2^32 elements and more.
#ifndef POSITION
#define POSITION u32
#endif
typedef POSITION Position;
const Key TOP = (Key)1 << (sizeof(Key) * 8 - 1), LAST = ~(Key)0;

// Elements that a block sorts in shared memory, and those of an output that it merges.
const int CHUNK = 2048;
const int ITEMS = CHUNK / THREADS;

// NaN is above all; adding 0 turns -0.0 into 0.0; negative numbers are ordered the wrong way round by their bits.
#if ELEM_IS_FLOAT
DEVICE Key ordered(f32 x) {
    const u32 bits = bits_of(x + 0.0f);
    return x != x ? LAST : bits & TOP ? ~bits : bits | TOP;
}
DEVICE Key ordered(f64 x) {
    const u64 bits = (u64)__double_as_longlong(x + 0.0);
    return x != x ? LAST : bits & TOP ? (Key)~bits : (Key)(bits | TOP);
}
#else
// Signed values are moved up so that the least becomes 0.
#if defined(ELEM_I32) || defined(ELEM_I64)
DEVICE Key ordered(i64 x) { return (Key)x + TOP; }
#else
DEVICE Key ordered(i64 x) { return (Key)x; }
#endif
#endif
DEVICE Key key_of(const Elem* x, bool descending) { return descending ? ~ordered(load(x)) : ordered(load(x)); }

// A row's place in the workspace: keys and positions of its runs, `total` of them.
struct Runs {
    Key* keys;
    Position* positions;
    u64 total;
};

// Sorts each run of `width` (a power of 2) of the first `slots`, by key and then by place.
DEVICE void sort_runs(Key* keys, u32* places, int slots, int width) {
    for (int size = 2; size <= width; size *= 2) {
        for (int stride = size / 2; stride > 0; stride /= 2) {
            for (int i = threadIdx.x; i < slots / 2; i += blockDim.x) {
                const int a = i / stride * stride * 2 + i % stride, b = a + stride;
                // Halves of a size are sorted in opposite directions; runs themselves upwards.
                const bool down = size < width && (a & size) != 0;
                const Key x = keys[a], y = keys[b];
                const u32 at_x = places[a], at_y = places[b];
                const bool greater = x > y || (x == y && at_x > at_y);
                if (greater != down) {
                    keys[a] = y, keys[b] = x;
                    places[a] = at_y, places[b] = at_x;
                }
            }
            __syncthreads();
        }
    }
}

// Whole rows of up to CHUNK elements: `slots / width` rows in each block.
KERNEL(sort_rows, const Elem* x, Elem* values, i64* indices, SortParams p, u64 slots, u64 width) {
    SHARED(Key, keys, [CHUNK]);
    SHARED(u32, places, [CHUNK]);
    const u64 first_row = block_index() * (slots / width);
    for (u32 i = threadIdx.x; i < slots; i += blockDim.x) {
        const u64 row = first_row + i / (u32)width, col = i % (u32)width;
        keys[i] = row < p.rows && col < p.cols ? key_of(x + row * p.cols + col, p.descending != 0) : LAST;
        places[i] = (u32)col;
    }
    __syncthreads();
    sort_runs(keys, places, (int)slots, (int)width);
    for (u32 i = threadIdx.x; i < slots; i += blockDim.x) {
        const u64 row = first_row + i / (u32)width, col = i % (u32)width;
        if (row >= p.rows || col >= p.k) continue;
        values[row * p.k + col] = x[row * p.cols + places[i]];
        indices[row * p.k + col] = (i64)places[i];
    }
}

// The chunks of longer rows, a block each: the first `run` of each chunk become a run of the row.
KERNEL(sort_chunks, const Elem* x, Runs y, SortParams p, u64 chunks, u64 run) {
    SHARED(Key, keys, [CHUNK]);
    SHARED(u32, places, [CHUNK]);
    const u64 row = block_index() / chunks, chunk = block_index() % chunks;
    if (row >= p.rows) return;
    const u64 first = chunk * CHUNK, len = p.cols - first < CHUNK ? p.cols - first : CHUNK;
    for (u32 i = threadIdx.x; i < CHUNK; i += blockDim.x) {
        keys[i] = i < len ? key_of(x + row * p.cols + first + i, p.descending != 0) : LAST;
        places[i] = i;
    }
    __syncthreads();
    sort_runs(keys, places, CHUNK, CHUNK);
    const u64 base = row * y.total + chunk * run;
    for (u32 i = threadIdx.x; i < run && i < len; i += blockDim.x) {
        y.keys[base + i] = keys[i];
        y.positions[base + i] = (Position)(first + places[i]);
    }
}

// How many of the first `diagonal` elements of the merge of a and b are of a. Equal keys are taken from a first.
DEVICE u64 merge_path(const Key* a, u64 a_len, const Key* b, u64 b_len, u64 diagonal) {
    u64 low = diagonal > b_len ? diagonal - b_len : 0, high = diagonal < a_len ? diagonal : a_len;
    while (low < high) {
        const u64 middle = (low + high) / 2;
        if (a[middle] <= b[diagonal - 1 - middle]) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// How the runs of a pass lie: pairs of runs of `run` elements become runs of up to `run_out`, in `tiles` blocks each.
struct Pass {
    u64 run, run_out, pairs, tiles;
};

// A tile of the merge of a pair: places i of the run that it becomes, handed to write(i, key, position).
template <class Write> DEVICE void merge_tile(const Runs& x, u64 row, u64 pair, u64 tile, const Pass& pass, Write write) {
    SHARED(Key, keys, [CHUNK]);
    SHARED(Position, positions, [CHUNK]);
    // 1. The two runs of the pair; the last run of a row may be shorter, or alone.
    const u64 start = pair * 2 * pass.run, left = x.total - start;
    const u64 a_len = left < pass.run ? left : pass.run, rest = left - a_len, b_len = rest < pass.run ? rest : pass.run;
    const Key *a = x.keys + row * x.total + start, *b = a + a_len;
    const Position* from = x.positions + row * x.total + start;
    const u64 len = a_len + b_len < pass.run_out ? a_len + b_len : pass.run_out;
    // 2. What of them goes to this tile.
    const u64 first = tile * CHUNK < len ? tile * CHUNK : len, last = first + CHUNK < len ? first + CHUNK : len;
    const u64 a_first = merge_path(a, a_len, b, b_len, first), a_last = merge_path(a, a_len, b, b_len, last);
    const u64 b_first = first - a_first, a_count = a_last - a_first, count = last - first;
    for (u64 i = threadIdx.x; i < count; i += blockDim.x) {
        const u64 place = i < a_count ? a_first + i : a_len + b_first + (i - a_count);
        keys[i] = a[place];
        positions[i] = from[place];
    }
    __syncthreads();
    // 3. Each thread merges a few.
    Key own_keys[ITEMS];
    Position own_positions[ITEMS];
    const u64 begin = threadIdx.x * ITEMS < count ? threadIdx.x * ITEMS : count;
    u64 i = merge_path(keys, a_count, keys + a_count, count - a_count, begin), j = a_count + (begin - i);
UNROLL for (int item = 0; item < ITEMS; item++) {
        const bool of_a = i < a_count && (j >= count || keys[i] <= keys[j]);
        const u64 next = of_a ? i++ : j < count ? j++ : 0;
        own_keys[item] = keys[next];
        own_positions[item] = positions[next];
    }
    __syncthreads();
    // 4. Through shared memory again, so that neighbours write to neighbours.
UNROLL for (int item = 0; item < ITEMS; item++) {
        if (threadIdx.x * ITEMS + item >= count) break;
        keys[threadIdx.x * ITEMS + item] = own_keys[item];
        positions[threadIdx.x * ITEMS + item] = own_positions[item];
    }
    __syncthreads();
    for (u64 i = threadIdx.x; i < count; i += blockDim.x) write(first + i, keys[i], positions[i]);
}

KERNEL(sort_merge, Runs x, Runs y, u64 rows, Pass pass) {
    const u64 tile = block_index() % pass.tiles, pair = block_index() / pass.tiles % pass.pairs;
    const u64 row = block_index() / pass.tiles / pass.pairs;
    if (row >= rows) return;
    const u64 base = row * y.total + pair * pass.run_out;
    merge_tile(x, row, pair, tile, pass, [=](u64 i, Key key, Position position) {
        y.keys[base + i] = key;
        y.positions[base + i] = position;
    });
}

// The last pass: one pair for each row.
KERNEL(sort_merge_last, Runs x, const Elem* from, Elem* values, i64* indices, SortParams p, Pass pass) {
    const u64 tile = block_index() % pass.tiles, row = block_index() / pass.tiles;
    if (row >= p.rows) return;
    merge_tile(x, row, 0, tile, pass, [=](u64 i, Key, Position position) {
        values[row * p.k + i] = from[row * p.cols + position];
        indices[row * p.k + i] = (i64)position;
    });
}
