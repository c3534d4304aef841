// What forward and backward of attention share: the parameters, one head's tensors, and products of tiles in workgroup
// memory. Formulas: src/attention.rs; twins: src/cpu/attention_head.rs, src/cpu/attention_tile.rs, cuda/attention.cuh.
//
// A workgroup of WIDE x HIGH threads works on a tile of scores with TILE_ROWS rows and TILE_COLS columns, 4 x 4 neighbours
// for each thread. Scores are sums over the head dim, which is staged DEPTH columns at a time, so any head dim will do; sums
// of rows (o, dq, dk, dv) stay in registers and are SUM_COLS wide: wider ones are dealt to several workgroups.
//
// Differs from CUDA: panels lie with the head dim outermost, so that a thread reads its four rows and four columns as a
// vector each; rows of a tile are keys where sums are those of keys, so that all sums are computed alike; registers are
// named, because they cannot be indexed; mask and bias are one buffer (see src/wgpu/attention.rs).
//
// Definitions: WIDE, HIGH, THREADS = WIDE * HIGH, DEPTH; GROUPS is 1 to 4; HIDING is NOTHING, BIAS or MASK; DROPOUT is 0 or
// 1. The file that includes this has `put(to, i, x)`, which writes an element of one of its results.
// include: philox.wgsl

const TILE_ROWS = HIGH * 4u;
const TILE_COLS = WIDE * 4u;
const SUM_COLS = WIDE * 4u * GROUPS;
// Rows in workgroup memory are padded so that threads that write neighbouring rows meet different banks.
const ROW_PANEL = HIGH + 1u;
const COL_PANEL = WIDE + 1u;
const WEIGHT_ROW = WIDE + 1u;
const STAGE = DEPTH * (ROW_PANEL + COL_PANEL);
// The most rows of a sum's other factor that fit into the stage: a power of two.
const STAGED = select(select(8u, 16u, STAGE >= 16u * WIDE * GROUPS), 32u, STAGE >= 32u * WIDE * GROUPS);

const NOTHING = 0u;
const BIAS = 1u;
const MASK = 2u;

struct AttentionParams {
    batch: u32, heads: u32, kv_heads: u32, q_len: u32,
    k_len: u32, head_dim: u32, value_dim: u32, causal: u32,
    q_strides: vec4<u32>, k_strides: vec4<u32>, v_strides: vec4<u32>, o_strides: vec4<u32>,
    do_strides: vec4<u32>, dq_strides: vec4<u32>, dk_strides: vec4<u32>, dv_strides: vec4<u32>,
    bias_strides: vec4<u32>, mask_strides: vec4<u32>, hiding_strides: vec4<u32>,
    hiding_sizes: vec4<u32>,
    causal_offset: i32, has_key_lengths: u32, scale: f32, unused: u32,
    threshold: u32, kept_factor: f32, unused_0: u32, unused_1: u32,  // of the dropout
    dropout_stream: Stream,
}
@group(1) @binding(1) var<uniform> p: AttentionParams;

var<workgroup> stage: array<vec4<f32>, STAGE>;
var<workgroup> weights: array<vec4<f32>, TILE_ROWS * WEIGHT_ROW>;
// 1 once a value was met that a hidden pair must not spread.
var<workgroup> not_finite: atomic<u32>;

// Rows of one head of an input: element (row, col) is at start + row * row_stride + col * col_stride.
struct Matrix { input: u32, start: u32, row_stride: u32, col_stride: u32 }
const OF_Q = 0u;
const OF_K = 1u;
const OF_V = 2u;
const OF_DO = 3u;

fn matrix(input: u32, strides: vec4<u32>, batch: u32, head: u32) -> Matrix {
    return Matrix(input, batch * strides.x + head * strides.y, strides.z, strides.w);
}
fn matrix_from(x: Matrix, first: u32) -> Matrix {
    return Matrix(x.input, x.start + first * x.row_stride, x.row_stride, x.col_stride);
}
fn element(x: Matrix, row: u32, col: u32) -> f32 {
    let i = x.start + row * x.row_stride + col * x.col_stride;
    var value = 0.0;
    switch (x.input) {
        case OF_Q: { value = load_q(i); }
        case OF_K: { value = load_k(i); }
        case OF_V: { value = load_v(i); }
        default: { value = load_d_o(i); }
    }
    return value;
}

// How many of the first `most` keys query `query` may see by causality.
fn seen(query: u32, most: u32) -> u32 {
    return select(most, u32(clamp(i32(query) + p.causal_offset + 1, 0, i32(most))), p.causal == 1u);
}

// True where a query of the tile may be kept from a key of it, other than by the ends of both.
fn is_masked(query: u32, last_key: u32) -> bool {
    return HIDING != NOTHING || seen(query, last_key + 1u) <= last_key;
}

// One head: where its bias or mask starts, the keys of this batch (all, or its key length), and its first query among those
// of all heads.
struct Scores { hiding: u32, k_len: u32, first_row: u32 }
fn scores_of(batch: u32, head: u32, k_len: u32) -> Scores {
    return Scores(batch * p.hiding_strides.x + head * p.hiding_strides.y, k_len, (batch * p.heads + head) * p.q_len);
}

const NEG_INFINITY_BITS = 0xff800000u;
// The score of a pair, given its product: with the bias, and NEG_LARGE where the key is hidden.
fn adjusted(scores: Scores, query: u32, key: u32, score: f32) -> f32 {
    var value = score;
    var is_hidden = query >= p.q_len || key >= seen(query, scores.k_len);
    if (HIDING != NOTHING && !is_hidden) {
        let hiding_value = f32(load_hiding(scores.hiding + query * p.hiding_strides.z + key * p.hiding_strides.w));
        if (HIDING == MASK) {
            is_hidden = hiding_value == 0.0;
        } else {
            is_hidden = bitcast<u32>(hiding_value) == NEG_INFINITY_BITS;
            value += hiding_value;
        }
    }
    return select(value, NEG_LARGE, is_hidden);
}

// e^x of each.
fn exp4(x: vec4<f32>) -> vec4<f32> {
    var y = x;
    for (var i = 0u; i < 4u; i++) { y[i] = exp(y[i]); }
    return y;
}

// What a thread has of a tile: 4 x 4 neighbours, a row each.
struct Block { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

fn times(x: Block, y: Block) -> Block { return Block(x.r0 * y.r0, x.r1 * y.r1, x.r2 * y.r2, x.r3 * y.r3); }
fn transposed(x: Block) -> Block {
    return Block(vec4(x.r0.x, x.r1.x, x.r2.x, x.r3.x), vec4(x.r0.y, x.r1.y, x.r2.y, x.r3.y),
                 vec4(x.r0.z, x.r1.z, x.r2.z, x.r3.z), vec4(x.r0.w, x.r1.w, x.r2.w, x.r3.w));
}

// All scores of a thread, of which its first pair is given. Most tiles hide nothing and have no bias.
fn adjust(scores: Scores, query: u32, key: u32, is_whole: bool, rows_are_keys: bool, s: Block) -> Block {
    let row = select(vec2(1u, 0u), vec2(0u, 1u), rows_are_keys);  // a step along queries and keys
    let col = vec2(1u) - row;
    var x = s;
    if (is_whole) { return x; }
    for (var j = 0u; j < 4u; j++) {
        let at = vec2(query, key) + j * col;
        x.r0[j] = adjusted(scores, at.x, at.y, x.r0[j]);
        x.r1[j] = adjusted(scores, at.x + row.x, at.y + row.y, x.r1[j]);
        x.r2[j] = adjusted(scores, at.x + 2u * row.x, at.y + 2u * row.y, x.r2[j]);
        x.r3[j] = adjusted(scores, at.x + 3u * row.x, at.y + 3u * row.y, x.r3[j]);
    }
    return x;
}

// The dropout's factors of four neighbouring keys of a query: 0, or 1 / (1 - dropout). Weight (b, h, i, j) is number
// ((b H + h) Tq + i) Tk + j, in 64 bits; one block of the generator has four of them.
fn drop_factors(scores: Scores, query: u32, key: u32) -> vec4<f32> {
    let number = add_words(multiply_words(scores.first_row + query, p.k_len), vec2(key, 0u));
    let skipped = number.x % 4u;
    let first = vec2(number.x >> 2u | number.y << 30u, number.y >> 2u);
    let low = random_block(p.dropout_stream, first);
    var words = low;
    if (skipped != 0u) {
        let high = random_block(p.dropout_stream, add_words(first, vec2(1u, 0u)));
        if (skipped == 1u) { words = vec4(low.yzw, high.x); }
        if (skipped == 2u) { words = vec4(low.zw, high.xy); }
        if (skipped == 3u) { words = vec4(low.w, high.xyz); }
    }
    return select(vec4(0.0), vec4(p.kept_factor), (words >> vec4(8u)) < vec4(p.threshold));
}

// The factors of all pairs of a thread whose rows are queries.
fn drop_block(scores: Scores, query: u32, key: u32) -> Block {
    var z = Block();
    for (var i = 0u; i < 4u; i++) {
        let factors = drop_factors(scores, query + i, key);
        if (i == 0u) { z.r0 = factors; }
        if (i == 1u) { z.r1 = factors; }
        if (i == 2u) { z.r2 = factors; }
        if (i == 3u) { z.r3 = factors; }
    }
    return z;
}

// Column `col` of four neighbouring rows, times `scale`, with zeros beyond `rows` and `cols`.
fn four_rows(x: Matrix, row: u32, col: u32, rows: u32, cols: u32, scale: f32) -> vec4<f32> {
    var four = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row + i < rows && col < cols) { four[i] = scale * element(x, row + i, col); }
    }
    return four;
}

// s[row][col] = scale * sum over c of x[row][c] y[col][c].
fn products_of_rows(x: Matrix, rows: u32, y: Matrix, cols: u32, depth: u32, scale: f32, thread: u32) -> Block {
    var s = Block();
    var first = 0u;
    loop {
        workgroupBarrier();
        for (var at = thread; at < HIGH * DEPTH; at += THREADS) {
            let c = at % DEPTH;
            stage[c * ROW_PANEL + at / DEPTH] = four_rows(x, at / DEPTH * 4u, first + c, rows, depth, scale);
        }
        for (var at = thread; at < WIDE * DEPTH; at += THREADS) {
            let c = at % DEPTH;
            let four = four_rows(y, at / DEPTH * 4u, first + c, cols, depth, 1.0);
            stage[DEPTH * ROW_PANEL + c * COL_PANEL + at / DEPTH] = four;
        }
        workgroupBarrier();
        for (var c = 0u; c < DEPTH; c++) {
            let four = stage[c * ROW_PANEL + thread / WIDE];
            let other = stage[DEPTH * ROW_PANEL + c * COL_PANEL + thread % WIDE];
            s.r0 += four.x * other;
            s.r1 += four.y * other;
            s.r2 += four.z * other;
            s.r3 += four.w * other;
        }
        first += DEPTH;
        if (first >= depth) { break; }
    }
    return s;
}

// What a thread has of one row of a sum: groups of four neighbouring columns.
struct Row { g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>, g3: vec4<f32> }
// A sum of rows of SUM_COLS columns, in registers: the thread's four rows.
struct Sums { r0: Row, r1: Row, r2: Row, r3: Row }

fn scale_row(row: Row, factor: f32) -> Row {
    return Row(row.g0 * factor, row.g1 * factor, row.g2 * factor, row.g3 * factor);
}
fn scale_rows(sums: ptr<function, Sums>, factors: vec4<f32>) {
    (*sums).r0 = scale_row((*sums).r0, factors.x);
    (*sums).r1 = scale_row((*sums).r1, factors.y);
    (*sums).r2 = scale_row((*sums).r2, factors.z);
    (*sums).r3 = scale_row((*sums).r3, factors.w);
}

// Four neighbouring columns of a row, with zeros beyond `cols`. Says where it met a value that is not finite.
fn stage_columns(to: u32, x: Matrix, row: u32, col: u32, rows: u32, cols: u32, scale: f32) {
    var four = vec4(0.0);
    for (var i = 0u; i < 4u; i++) {
        if (row < rows && col + i < cols) { four[i] = scale * element(x, row, col + i); }
    }
    stage[to] = four;
    if (any((bitcast<vec4<u32>>(four) & vec4(0x7f800000u)) == vec4(0x7f800000u))) { atomicOr(&not_finite, 1u); }
}

// A product; exact ones pass over weights that are 0, so that hidden rows may hold anything.
fn term(w: f32, x: vec4<f32>, is_exact: bool) -> vec4<f32> { return select(w * x, vec4(0.0), is_exact && w == 0.0); }
// sums[m][group g] += w[m] * x.
fn add_group(sums: ptr<function, Sums>, g: u32, w: vec4<f32>, x: vec4<f32>, is_exact: bool) {
    if (g == 0u) {
        (*sums).r0.g0 += term(w.x, x, is_exact);
        (*sums).r1.g0 += term(w.y, x, is_exact);
        (*sums).r2.g0 += term(w.z, x, is_exact);
        (*sums).r3.g0 += term(w.w, x, is_exact);
    }
    if (g == 1u) {
        (*sums).r0.g1 += term(w.x, x, is_exact);
        (*sums).r1.g1 += term(w.y, x, is_exact);
        (*sums).r2.g1 += term(w.z, x, is_exact);
        (*sums).r3.g1 += term(w.w, x, is_exact);
    }
    if (g == 2u) {
        (*sums).r0.g2 += term(w.x, x, is_exact);
        (*sums).r1.g2 += term(w.y, x, is_exact);
        (*sums).r2.g2 += term(w.z, x, is_exact);
        (*sums).r3.g2 += term(w.w, x, is_exact);
    }
    if (g == 3u) {
        (*sums).r0.g3 += term(w.x, x, is_exact);
        (*sums).r1.g3 += term(w.y, x, is_exact);
        (*sums).r2.g3 += term(w.z, x, is_exact);
        (*sums).r3.g3 += term(w.w, x, is_exact);
    }
}
// sums[m][..] += w[m] * staged[n][..].
fn add_row(sums: ptr<function, Sums>, w: vec4<f32>, n: u32, thread: u32, is_exact: bool) {
    let at = n * WIDE * GROUPS + thread % WIDE;
    add_group(sums, 0u, w, stage[at], is_exact);
    if (GROUPS > 1u) { add_group(sums, 1u, w, stage[at + WIDE], is_exact); }
    if (GROUPS > 2u) { add_group(sums, 2u, w, stage[at + 2u * WIDE], is_exact); }
    if (GROUPS > 3u) { add_group(sums, 3u, w, stage[at + 3u * WIDE], is_exact); }
}

// sums[m][..] += sum over n of weights[m][n] * staged[n][..], n from `first` to `first + STAGED`.
fn add_staged(sums: ptr<function, Sums>, first: u32, thread: u32) {
    let own = thread / WIDE * 4u * WEIGHT_ROW;
    for (var n = 0u; n < STAGED; n += 4u) {
        let at = own + (first + n) / 4u;
        let w = transposed(Block(weights[at], weights[at + WEIGHT_ROW], weights[at + 2u * WEIGHT_ROW],
                                 weights[at + 3u * WEIGHT_ROW]));
        add_row(sums, w.r0, n, thread, false);
        add_row(sums, w.r1, n + 1u, thread, false);
        add_row(sums, w.r2, n + 2u, thread, false);
        add_row(sums, w.r3, n + 3u, thread, false);
    }
}
fn add_staged_exactly(sums: ptr<function, Sums>, first: u32, thread: u32) {
    let own = thread / WIDE * 4u * WEIGHT_ROW;
    for (var n = 0u; n < STAGED; n++) {
        let at = own + (first + n) / 4u;
        let w = vec4(weights[at][n % 4u], weights[at + WEIGHT_ROW][n % 4u], weights[at + 2u * WEIGHT_ROW][n % 4u],
                     weights[at + 3u * WEIGHT_ROW][n % 4u]);
        add_row(sums, w, n, thread, true);
    }
}
fn store_weights(w: Block, thread: u32) {
    let at = thread / WIDE * 4u * WEIGHT_ROW + thread % WIDE;
    weights[at] = w.r0;
    weights[at + WEIGHT_ROW] = w.r1;
    weights[at + 2u * WEIGHT_ROW] = w.r2;
    weights[at + 3u * WEIGHT_ROW] = w.r3;
}

// sums += weights * x over `count` rows of x, staged in parts; `masked` says whether there are hidden pairs here.
fn add_product(sums: ptr<function, Sums>, x: Matrix, first_col: u32, cols: u32, count: u32, scale: f32, masked: bool,
               thread: u32) {
    for (var first = 0u; first < min(TILE_COLS, count); first += STAGED) {
        workgroupBarrier();
        for (var at = thread; at < STAGED * WIDE * GROUPS; at += THREADS) {
            let row = first + at / (WIDE * GROUPS);
            stage_columns(at, x, row, first_col + at % (WIDE * GROUPS) * 4u, count, cols, scale);
        }
        workgroupBarrier();
        if (masked && atomicLoad(&not_finite) == 1u) {
            add_staged_exactly(sums, first, thread);
        } else {
            add_staged(sums, first, thread);
        }
    }
}

// Writes four neighbouring columns of a row, of which `cols` exist. The entry's file says how many are written at a time,
// PUT_LANES, and writes so many from x[i] on with `put`.
fn put_four(to: u32, start: u32, col_stride: u32, col: u32, cols: u32, x: vec4<f32>) {
    for (var i = 0u; i < 4u; i += PUT_LANES) {
        if (col + i < cols) { put(to, start + (col + i) * col_stride, x, i); }
    }
}
fn put_row(to: u32, start: u32, col_stride: u32, first_col: u32, cols: u32, row: Row, factor: f32, thread: u32) {
    let col = first_col + thread % WIDE * 4u;
    put_four(to, start, col_stride, col, cols, row.g0 * factor);
    if (GROUPS > 1u) { put_four(to, start, col_stride, col + 4u * WIDE, cols, row.g1 * factor); }
    if (GROUPS > 2u) { put_four(to, start, col_stride, col + 8u * WIDE, cols, row.g2 * factor); }
    if (GROUPS > 3u) { put_four(to, start, col_stride, col + 12u * WIDE, cols, row.g3 * factor); }
}
// Writes a sum of which `rows` rows exist, times a factor for each row, with row 0 of the tile at `start`.
fn put_sums(to: u32, start: u32, strides: vec4<u32>, rows: u32, first_col: u32, cols: u32, sums: ptr<function, Sums>,
            factors: vec4<f32>, thread: u32) {
    let row = thread / WIDE * 4u;
    let at = start + row * strides.z;
    if (row < rows) { put_row(to, at, strides.w, first_col, cols, (*sums).r0, factors.x, thread); }
    if (row + 1u < rows) { put_row(to, at + strides.z, strides.w, first_col, cols, (*sums).r1, factors.y, thread); }
    if (row + 2u < rows) { put_row(to, at + 2u * strides.z, strides.w, first_col, cols, (*sums).r2, factors.z, thread); }
    if (row + 3u < rows) { put_row(to, at + 3u * strides.z, strides.w, first_col, cols, (*sums).r3, factors.w, thread); }
}
