// Positions 0..n grouped by key, in order within each key: a stable radix sort, four bits at a time from the lowest.
// Integer counts only, so the result does not depend on the order in which threads run. Twins: `Groups` in
// src/cpu/index.rs, cuda/groups.cu; host side: src/wgpu/groups.rs.
//
// Method: Satish, Harris and Garland, "Designing efficient sorting algorithms for manycore GPUs" (2009): per digit and
// tile of keys, count, add up the counts, and move every key to its place.
//
// Differs from CUDA: digits have four bits. Without votes of a warp each thread counts its own keys, and counters of all
// threads for 256 digits do not fit the workgroup's memory.
// include: block_scan.wgsl

struct GroupParams {
    n: u32,
    tiles: u32,
    shift: u32,
    // 1 where positions are the keys' own: in the first pass.
    is_first: u32,
    size: u32,
}
@group(1) @binding(1) var<uniform> p: GroupParams;

const DIGITS: u32 = 16u;
// Keys of a thread, neighbours, and of a workgroup.
const ROUNDS: u32 = 8u;
const TILE: u32 = THREADS * ROUNDS;
// Counters come in words of two halves: digit d in the lower half, digit d + 8 in the upper one.
const PAIRS: u32 = DIGITS / 2u;

fn digit_of(key: u32) -> u32 { return key >> p.shift & (DIGITS - 1u); }

var<workgroup> found: array<atomic<u32>, DIGITS>;

// counts[digit, tile]: how many keys of the tile have the digit. A workgroup for each tile.
@compute @workgroup_size(THREADS)
fn group_count(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
               @builtin(local_invocation_index) thread: u32) {
    let tile = block_index(group, groups);
    if (thread < DIGITS) { atomicStore(&found[thread], 0u); }
    workgroupBarrier();
    for (var round = 0u; round < ROUNDS; round++) {
        let i = tile * TILE + round * THREADS + thread;
        if (tile < p.tiles && i < p.n) { atomicAdd(&found[digit_of(load_keys(i))], 1u); }
    }
    workgroupBarrier();
    if (tile < p.tiles && thread < DIGITS) { store_counts(thread * p.tiles + tile, atomicLoad(&found[thread])); }
}

// counts[digit, tile] = keys with the digit in the tiles before; totals[digit] = keys with the digit. A workgroup each.
@compute @workgroup_size(THREADS)
fn group_scan(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let digit = block_index(group, groups);
    if (digit >= DIGITS) { return; }
    var before = 0u;
    for (var first = 0u; first < p.tiles; first += THREADS) {
        let tile = first + thread;
        var count = 0u;
        if (tile < p.tiles) { count = load_counts(digit * p.tiles + tile); }
        let keys = block_scan(count, thread);
        if (tile < p.tiles) { store_counts(digit * p.tiles + tile, before + keys.before); }
        before += keys.all;
    }
    if (thread == 0u) { store_totals(digit, before); }
}

var<workgroup> seen: array<u32, PAIRS * THREADS>;
var<workgroup> bases: array<u32, DIGITS>;

fn half_of(word: u32, digit: u32) -> u32 { return word >> (digit / PAIRS * 16u) & 0xffffu; }

// seen[pair, thread] = how many keys of the tile come before the thread's first one with the digit, in the order of
// digits and then of threads.
fn scan_seen(thread: u32) {
    var sum = 0u;
    for (var i = 0u; i < PAIRS; i++) { sum += seen[thread * PAIRS + i]; }
    let keys = block_scan(sum, thread);
    // The upper digits come after all of the lower ones.
    var before = keys.before + (keys.all << 16u);
    for (var i = 0u; i < PAIRS; i++) {
        let own = seen[thread * PAIRS + i];
        seen[thread * PAIRS + i] = before;
        before += own;
    }
    workgroupBarrier();
}

// Moves keys, and the positions that belong to them, to their places by digit. A workgroup for each tile.
@compute @workgroup_size(THREADS)
fn group_move(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let tile = block_index(group, groups);
    let first = tile * TILE + thread * ROUNDS;
    // 1. How many keys with the same digit come before each in its thread.
    for (var pair = 0u; pair < PAIRS; pair++) { seen[pair * THREADS + thread] = 0u; }
    var held: array<u32, ROUNDS>;
    var ranks: array<u32, ROUNDS>;
    for (var round = 0u; round < ROUNDS; round++) {
        if (tile < p.tiles && first + round < p.n) {
            held[round] = load_keys(first + round);
            let digit = digit_of(held[round]);
            let at = digit % PAIRS * THREADS + thread;
            ranks[round] = half_of(seen[at], digit);
            seen[at] += 1u << (digit / PAIRS * 16u);
        }
    }
    workgroupBarrier();
    // 2. How many come before in the tile.
    scan_seen(thread);
    // 3. Where each digit's keys of this tile start, less where they start in the tile.
    if (thread < DIGITS) {
        var base = 0u;
        for (var digit = 0u; digit < thread; digit++) { base += load_totals(digit); }
        if (tile < p.tiles) { base += load_counts(thread * p.tiles + tile); }
        bases[thread] = base - half_of(seen[thread % PAIRS * THREADS], thread);
    }
    workgroupBarrier();
    // 4. Each to its place.
    for (var round = 0u; round < ROUNDS; round++) {
        let i = first + round;
        if (tile < p.tiles && i < p.n) {
            let digit = digit_of(held[round]);
            let place = bases[digit] + half_of(seen[digit % PAIRS * THREADS + thread], digit) + ranks[round];
            store_keys_out(place, held[round]);
            if (p.is_first == 1u) { store_order_out(place, i); } else { store_order_out(place, load_order(i)); }
        }
    }
}

// starts[key] = the first place whose key is not less, for keys 0 to size: a binary search for each.
@compute @workgroup_size(THREADS)
fn group_starts(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let key = block_index(group, groups) * THREADS + thread;
    if (key > p.size) { return; }
    var low = 0u;
    var high = p.n;
    while (low < high) {
        let middle = low + (high - low) / 2u;
        if (load_keys(middle) < key) { low = middle + 1u; } else { high = middle; }
    }
    store_starts(key, low);
}
