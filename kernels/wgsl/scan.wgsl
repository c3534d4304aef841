// Cumulative sums and products along one dim of a contiguous array [outer, len, inner]; IS_PRODUCT tells which.
//
//   y[o, t, i] = x[o, 0, i] op ... op x[o, t, i]            reversed: x[o, t, i] op ... op x[o, len - 1, i]
//
// Where inner is 1 a workgroup scans a line of neighbours (lines), else each invocation a column (columns). Where there
// are few of them each is cut into parts: totals of the parts first, then what comes before each, then the scans proper.
//
// Twins: src/scan.rs, src/cpu/scan.rs, cuda/scan.cu.
//
// Differs from CUDA: floats accumulate in pairs of f32 (pairs.wgsl), as there is no f64: some 48 bits, within the range of
// f32. Integers accumulate in u32, whose bits are those of i32. An Item is an element on its way: f32 or u32.
// include: pairs.wgsl

struct ScanParams {
    outer: u32,
    len: u32,
    inner: u32,
    reversed: u32,
    // Each line or column is cut into `parts` of `part_len` elements.
    parts: u32,
    part_len: u32,
    zero: u32,
}
@group(1) @binding(1) var<uniform> p: ScanParams;

fn join_floats(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
    if (IS_PRODUCT == 1u) { return multiply_pairs(a, b); }
    return add_pairs(a, b);
}
fn join_integers(a: u32, b: u32) -> u32 {
    if (IS_PRODUCT == 1u) { return a * b; }
    return a + b;
}
// What changes nothing.
fn start() -> Wide { return widen(Item(IS_PRODUCT)); }

// Elements that an invocation of a line has of each tile.
const ITEMS: u32 = 4u;
const TILE: u32 = THREADS * ITEMS;

// Where element i of a tile is in the workgroup's memory: threads read runs of ITEMS, which the gaps keep out of each
// other's banks.
fn slot(i: u32) -> u32 { return i + i / ITEMS; }

// The place of element t of the scan.
fn at(t: u32) -> u32 { return select(t, p.len - 1u - t, p.reversed != 0u); }

var<workgroup> tile: array<Item, TILE + THREADS>;
var<workgroup> folds: array<Wide, THREADS>;

struct Folded {
    before: Wide,
    all: Wide,
}

// The fold of x over the threads before this one, and over all of them.
fn block_fold(x: Wide, thread: u32) -> Folded {
    folds[thread] = x;
    workgroupBarrier();
    var fold = x;
    for (var step = 1u; step < THREADS; step *= 2u) {
        if (thread >= step) { fold = join(folds[thread - step], fold); }
        workgroupBarrier();
        folds[thread] = fold;
        workgroupBarrier();
    }
    var before = start();
    if (thread > 0u) { before = folds[thread - 1u]; }
    let all = folds[THREADS - 1u];
    workgroupBarrier();
    return Folded(before, all);
}

// The tile from element `first` of the scan on, of the line that starts at `row`: read by neighbours and handed to the
// threads in runs, each of which is folded. Gives what comes before the thread's run.
fn fold_tile(row: u32, first: u32, end: u32, thread: u32) -> Folded {
    for (var i = thread; i < TILE; i += THREADS) {
        var item = Item(IS_PRODUCT);
        if (first + i < end) { item = Item(load_x(row + at(first + i))); }
        tile[slot(i)] = item;
    }
    workgroupBarrier();
    var total = start();
    for (var i = 0u; i < ITEMS; i++) { total = join(total, widen(tile[slot(thread * ITEMS + i)])); }
    return block_fold(total, thread);
}

// A workgroup for each part of each line; `carries` are what comes before the parts, none where there is one part.
@compute @workgroup_size(THREADS)
fn scan_lines(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
              @builtin(local_invocation_index) thread: u32) {
    let index = block_index(group, groups);
    let row = index / p.parts * p.len;
    let begin = index % p.parts * p.part_len;
    if (index / p.parts >= p.outer) { return; }
    let end = min(begin + p.part_len, p.len);
    var carry = carry_at(index);
    for (var first = begin; first < end; first += TILE) {
        let runs = fold_tile(row, first, end, thread);
        var fold = join(carry, runs.before);
        for (var i = 0u; i < ITEMS; i++) {
            fold = join(fold, widen(tile[slot(thread * ITEMS + i)]));
            tile[slot(thread * ITEMS + i)] = narrow(fold);
        }
        workgroupBarrier();
        for (var i = thread; i < min(TILE, end - first); i += THREADS) {
            store_y(row + at(first + i), Total(tile[slot(i)]));
        }
        workgroupBarrier();
        carry = join(carry, runs.all);
    }
}

@compute @workgroup_size(THREADS)
fn scan_line_totals(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                    @builtin(local_invocation_index) thread: u32) {
    let index = block_index(group, groups);
    let row = index / p.parts * p.len;
    let begin = index % p.parts * p.part_len;
    if (index / p.parts >= p.outer) { return; }
    let end = min(begin + p.part_len, p.len);
    var total = start();
    for (var first = begin; first < end; first += TILE) {
        total = join(total, fold_tile(row, first, end, thread).all);
    }
    if (thread == 0u) { set_total(index, total); }
}

// What comes before each of the parts of a row, of which there are at most as many as threads.
@compute @workgroup_size(THREADS)
fn scan_carries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.outer * p.inner) { return; }
    var own = start();
    if (thread < p.parts) { own = total_at(row * p.parts + thread); }
    let scanned = block_fold(own, thread);
    if (thread < p.parts) { set_total(row * p.parts + thread, scanned.before); }
}

// Columns o, i of one part each, neighbouring threads for neighbouring i. Totals are [outer, inner, parts].
@compute @workgroup_size(THREADS)
fn scan_columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                @builtin(local_invocation_index) thread: u32) {
    let n = p.outer * p.inner;
    let part = (block_index(group, groups) * THREADS + thread) / n;
    let column = (block_index(group, groups) * THREADS + thread) % n;
    if (part >= p.parts) { return; }
    let outer = column / p.inner;
    let base = outer * p.len * p.inner + (column - outer * p.inner);
    var fold = carry_at(column * p.parts + part);
    for (var t = part * p.part_len; t < min((part + 1u) * p.part_len, p.len); t++) {
        let place = base + at(t) * p.inner;
        fold = join(fold, widen(Item(load_x(place))));
        store_y(place, Total(narrow(fold)));
    }
}

@compute @workgroup_size(THREADS)
fn scan_column_totals(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                      @builtin(local_invocation_index) thread: u32) {
    let n = p.outer * p.inner;
    let part = (block_index(group, groups) * THREADS + thread) / n;
    let column = (block_index(group, groups) * THREADS + thread) % n;
    if (part >= p.parts) { return; }
    let outer = column / p.inner;
    let base = outer * p.len * p.inner + (column - outer * p.inner);
    var fold = start();
    for (var t = part * p.part_len; t < min((part + 1u) * p.part_len, p.len); t++) {
        fold = join(fold, widen(Item(load_x(base + at(t) * p.inner))));
    }
    set_total(column * p.parts + part, fold);
}
