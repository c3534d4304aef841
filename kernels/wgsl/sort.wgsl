// The first k elements of each row in sorted order, and their positions.
//
//   x [rows, cols] -> values [rows, k], indices [rows, k]
//
// An element's key is an unsigned integer that orders as the element does; with the position as second key no two are
// equal, so the order is the one stable order. A chunk of a row is sorted in the workgroup's memory (a bitonic network,
// Batcher 1968); longer rows merge their chunks pair by pair (each tile of the output finds its inputs by the merge path,
// Green, McColl and Bader 2012), and no run is kept beyond its first k.
// Twins: src/sort.rs, src/cpu/sort.rs, cuda/sort.cu.
//
// Differs from CUDA: chunks are half as long, so that more than one workgroup has room on a processor with 16 KiB.

struct SortParams {
    rows: u32,
    cols: u32,
    k: u32,
    descending: u32,
    // Of rows in one chunk: slots that a workgroup sorts, and those of each row.
    slots: u32,
    width: u32,
    // Of longer rows: the first one of this launch, how many chunks each has, and what is kept of each chunk.
    first_row: u32,
    chunks: u32,
    chunk_run: u32,
    // Of a pass: pairs of runs of `run` elements become runs of up to `run_out`, in `tiles` workgroups each. Rows have
    // `total` elements before it and `total_out` after it.
    run: u32,
    run_out: u32,
    pairs: u32,
    tiles: u32,
    total: u32,
    total_out: u32,
}
@group(1) @binding(1) var<uniform> p: SortParams;

const TOP: u32 = 0x80000000u;
const LAST: u32 = 0xffffffffu;

// Elements that a workgroup sorts in its memory, and those of an output that it merges.
const CHUNK: u32 = 1024u;
const ITEMS: u32 = CHUNK / THREADS;

// NaN is above all; -0.0 is 0.0; negative numbers are ordered the wrong way round by their bits.
fn ordered_f32(x: f32) -> u32 {
    var bits = bitcast<u32>(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) { return LAST; }
    if (bits == TOP) { bits = 0u; }
    return select(bits | TOP, ~bits, (bits & TOP) != 0u);
}
// Signed values are moved up so that the least becomes 0.
fn ordered_i32(x: i32) -> u32 { return u32(x) + TOP; }
fn ordered_u32(x: u32) -> u32 { return x; }

fn key_of(i: u32) -> u32 {
    let key = ordered(load_x(i));
    return select(key, ~key, p.descending != 0u);
}

var<workgroup> keys: array<u32, CHUNK>;
var<workgroup> positions: array<u32, CHUNK>;

// Sorts each run of `width` (a power of 2) of the first `slots`, by key and then by place.
fn sort_runs(slots: u32, width: u32, thread: u32) {
    for (var size = 2u; size <= width; size *= 2u) {
        for (var stride = size / 2u; stride > 0u; stride /= 2u) {
            for (var i = thread; i < slots / 2u; i += THREADS) {
                let a = i / stride * stride * 2u + i % stride;
                let b = a + stride;
                // Halves of a size are sorted in opposite directions; runs themselves upwards.
                let down = size < width && (a & size) != 0u;
                let x = keys[a];
                let y = keys[b];
                let at_x = positions[a];
                let at_y = positions[b];
                let greater = x > y || (x == y && at_x > at_y);
                if (greater != down) {
                    keys[a] = y;
                    keys[b] = x;
                    positions[a] = at_y;
                    positions[b] = at_x;
                }
            }
            workgroupBarrier();
        }
    }
}

// Whole rows of up to CHUNK elements: `slots / width` rows in each workgroup.
@compute @workgroup_size(THREADS)
fn sort_rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
             @builtin(local_invocation_index) thread: u32) {
    let first_row = block_index(group, groups) * (p.slots / p.width);
    for (var i = thread; i < p.slots; i += THREADS) {
        let row = first_row + i / p.width;
        let col = i % p.width;
        keys[i] = LAST;
        if (row < p.rows && col < p.cols) { keys[i] = key_of(row * p.cols + col); }
        positions[i] = col;
    }
    workgroupBarrier();
    sort_runs(p.slots, p.width, thread);
    for (var i = thread; i < p.slots; i += THREADS) {
        let row = first_row + i / p.width;
        let col = i % p.width;
        if (row < p.rows && col < p.k) {
            store_values(row * p.k + col, load_x(row * p.cols + positions[i]));
            store_indices(row * p.k + col, positions[i]);
        }
    }
}

// The chunks of longer rows, a workgroup each: the first `chunk_run` of each chunk become a run of the row.
@compute @workgroup_size(THREADS)
fn sort_chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups) / p.chunks;
    let chunk = block_index(group, groups) % p.chunks;
    if (row >= p.rows) { return; }
    let first = chunk * CHUNK;
    let len = min(p.cols - first, CHUNK);
    for (var i = thread; i < CHUNK; i += THREADS) {
        keys[i] = LAST;
        if (i < len) { keys[i] = key_of((p.first_row + row) * p.cols + first + i); }
        positions[i] = i;
    }
    workgroupBarrier();
    sort_runs(CHUNK, CHUNK, thread);
    let base = row * p.total + chunk * p.chunk_run;
    for (var i = thread; i < min(p.chunk_run, len); i += THREADS) {
        store_keys_out(base + i, keys[i]);
        store_positions_out(base + i, first + positions[i]);
    }
}

// How many of the first `diagonal` elements of the merge of two runs in memory, b after a, are of a. Equal keys are taken
// from a first.
fn merge_path(a: u32, a_len: u32, b_len: u32, diagonal: u32) -> u32 {
    var low = select(0u, diagonal - b_len, diagonal > b_len);
    var high = min(diagonal, a_len);
    while (low < high) {
        let middle = (low + high) / 2u;
        if (load_keys_in(a + middle) <= load_keys_in(a + a_len + diagonal - 1u - middle)) {
            low = middle + 1u;
        } else {
            high = middle;
        }
    }
    return low;
}
// The same of two runs in the workgroup's memory.
fn merge_path_of_tile(a_len: u32, b_len: u32, diagonal: u32) -> u32 {
    var low = select(0u, diagonal - b_len, diagonal > b_len);
    var high = min(diagonal, a_len);
    while (low < high) {
        let middle = (low + high) / 2u;
        if (keys[middle] <= keys[a_len + diagonal - 1u - middle]) { low = middle + 1u; } else { high = middle; }
    }
    return low;
}

// The places that a tile fills of the run that a pair becomes.
struct Tile {
    first: u32,
    count: u32,
}

// A tile of the merge of a pair: its keys and positions, left in `keys` and `positions`.
fn merge_tile(row: u32, pair: u32, tile: u32, thread: u32) -> Tile {
    // 1. The two runs of the pair; the last run of a row may be shorter, or alone.
    let start = pair * 2u * p.run;
    let left = p.total - start;
    let a_len = min(left, p.run);
    let b_len = min(left - a_len, p.run);
    let a = row * p.total + start;
    let len = min(a_len + b_len, p.run_out);
    // 2. What of them goes to this tile.
    let first = min(tile * CHUNK, len);
    let last = min(first + CHUNK, len);
    let a_first = merge_path(a, a_len, b_len, first);
    let a_last = merge_path(a, a_len, b_len, last);
    let a_count = a_last - a_first;
    let count = last - first;
    for (var i = thread; i < count; i += THREADS) {
        let place = a + select(a_len + (first - a_first) + (i - a_count), a_first + i, i < a_count);
        keys[i] = load_keys_in(place);
        positions[i] = load_positions_in(place);
    }
    workgroupBarrier();
    // 3. Each thread merges a few.
    var own_keys: array<u32, ITEMS>;
    var own_positions: array<u32, ITEMS>;
    let begin = min(thread * ITEMS, count);
    var i = merge_path_of_tile(a_count, count - a_count, begin);
    var j = a_count + (begin - i);
    for (var item = 0u; item < ITEMS; item++) {
        var of_a = i < a_count;
        if (of_a && j < count) { of_a = keys[i] <= keys[j]; }
        let next = min(select(j, i, of_a), CHUNK - 1u);
        own_keys[item] = keys[next];
        own_positions[item] = positions[next];
        i += u32(of_a);
        j += u32(!of_a);
    }
    workgroupBarrier();
    // 4. Through the workgroup's memory again, so that neighbours write to neighbours.
    for (var item = 0u; item < ITEMS; item++) {
        let at = thread * ITEMS + item;
        if (at < count) {
            keys[at] = own_keys[item];
            positions[at] = own_positions[item];
        }
    }
    workgroupBarrier();
    return Tile(first, count);
}

@compute @workgroup_size(THREADS)
fn sort_merge(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups);
    let row = block / p.tiles / p.pairs;
    if (row >= p.rows) { return; }
    let pair = block / p.tiles % p.pairs;
    let tile = merge_tile(row, pair, block % p.tiles, thread);
    let base = row * p.total_out + pair * p.run_out + tile.first;
    for (var i = thread; i < tile.count; i += THREADS) {
        store_keys_out(base + i, keys[i]);
        store_positions_out(base + i, positions[i]);
    }
}

// The last pass: one pair for each row.
@compute @workgroup_size(THREADS)
fn sort_merge_last(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                   @builtin(local_invocation_index) thread: u32) {
    let block = block_index(group, groups);
    if (block / p.tiles >= p.rows) { return; }
    let tile = merge_tile(block / p.tiles, 0u, block % p.tiles, thread);
    let row = p.first_row + block / p.tiles;
    for (var i = thread; i < tile.count; i += THREADS) {
        store_values(row * p.k + tile.first + i, load_x(row * p.cols + positions[i]));
        store_indices(row * p.k + tile.first + i, positions[i]);
    }
}
