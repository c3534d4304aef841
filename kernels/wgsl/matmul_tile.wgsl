// What the matrix products share: the parameters, which tile a workgroup computes, and what is done with its sums.
// Twin: cuda/matmul.cuh.
//
// Definitions: Compute is f32, i32 or u32; SPLIT is 1 where sums go to a workspace [splits, batch, m, n] as they are, else 0;
// RESIDUAL is 1 where a residual, which lies as C does, is added. C (or the workspace) is bound as y, because c(1.0) is a
// constant in the expressions of src/elementwise/table.rs. A word of it holds LANES_y elements, and LANES_y divides n.
//
// The host adds `store(to, lanes)`, which takes the values of a word's elements, from `to` on, to C: as they are, or the
// activation of them and perhaps themselves to the pre-activation; and for an activation `rounded(x)`, a value as C's dtype
// holds it, and `activation(x)`.

struct MatmulParams {
    m: u32, n: u32, k: u32, has_bias: u32,
    bias_stride: u32, alpha: u32, beta: u32, batch: u32,  // alpha and beta are the bits of Compute
    a_strides: vec2<u32>,  // along m and k
    b_strides: vec2<u32>,  // along k and n
    splits: u32, k_per_split: u32, unused_0: u32, unused_1: u32,
    batch_sizes: array<vec4<u32>, 2>,
    a_batch_strides: array<vec4<u32>, 2>, b_batch_strides: array<vec4<u32>, 2>,
}
@group(1) @binding(1) var<uniform> p: MatmulParams;

const MAX_BATCH_DIMS = 6u;
// Neighbours that are read and written as one.
const V = 4u;

// Where product `item` of the batch starts in A and B.
struct BatchOffsets { a: u32, b: u32 }
fn batch_offsets(item: u32) -> BatchOffsets {
    var at = BatchOffsets(0u, 0u);
    var rest = item;
    for (var left = MAX_BATCH_DIMS; left > 0u; left--) {
        let word = (left - 1u) / 4u;
        let lane = (left - 1u) % 4u;
        let size = p.batch_sizes[word][lane];
        if (size == 1u) { continue; }
        let i = rest % size;
        rest /= size;
        at.a += i * p.a_batch_strides[word][lane];
        at.b += i * p.b_batch_strides[word][lane];
    }
    return at;
}

// What a workgroup computes: rows from `row` and columns from `col` of product `item`, summed over k from k_first to k_end.
struct Place { item: u32, split: u32, row: u32, col: u32, k_first: u32, k_end: u32 }

// Workgroups that run at the same time share rows of A and columns of B: tiles go down 8 rows before the next column.
fn place_of(block: u32, tile_m: u32, tile_n: u32) -> Place {
    const GROUP = 8u;
    let rows = (p.m + tile_m - 1u) / tile_m;
    let cols = (p.n + tile_n - 1u) / tile_n;
    let part = block / (rows * cols);
    let tile = block - part * (rows * cols);
    let group = tile / (GROUP * cols);
    let within = tile - group * (GROUP * cols);
    let height = min(GROUP, rows - group * GROUP);
    var at: Place;
    at.item = part / p.splits;
    at.split = part - at.item * p.splits;
    at.col = within / height * tile_n;
    at.row = (group * GROUP + within % height) * tile_m;
    at.k_first = at.split * p.k_per_split;
    at.k_end = min(p.k, at.k_first + p.k_per_split);
    return at;
}

// alpha * sum + beta * c + bias + residual for element `i` of C, which is in column `col`; where beta is 0, c is not read.
fn finish(sum: Compute, i: u32, col: u32) -> Compute {
    let beta = bitcast<Compute>(p.beta);
    var value = bitcast<Compute>(p.alpha) * sum;
    if (beta != Compute(0)) { value += beta * load_y(i); }
    if (p.has_bias == 1u) { value += Compute(load_bias(col * p.bias_stride)); }
    if (RESIDUAL == 1u) { value += Compute(load_residual(i)); }
    return value;
}

// The activation of what is rounded before, so that its bits do not depend on being fused.
fn activated(lanes: Values_y) -> Values_y {
    var values = lanes;
    for (var lane = 0u; lane < LANES_y; lane++) { values[lane] = activation(rounded(values[lane])); }
    return values;
}

// Takes the neighbouring sums of row `row` from column `col` on, a multiple of V, to C or to the workspace.
fn write_sums(at: Place, row: u32, col: u32, sums: vec4<Compute>) {
    if (row >= p.m) { return; }
    let part = select(at.item, at.split * p.batch + at.item, SPLIT == 1u);
    for (var first = 0u; first < V; first += LANES_y) {
        if (col + first < p.n) {
            let to = (part * p.m + row) * p.n + col + first;
            var lanes: Values_y;
            for (var lane = 0u; lane < LANES_y; lane++) {
                lanes[lane] = sums[first + lane];
                if (SPLIT == 0u) { lanes[lane] = finish(lanes[lane], to + lane, col + first + lane); }
            }
            store(to, lanes);
        }
    }
}
