// Cross-entropy of logits [rows, V] with one label per row.
//   loss = -(1 - s) w_t logp_t - s / V sum_c w_c logp_c
//   dlogits = dy (p_c ((1 - s) w_t + s W / V) - s / V w_c - [c = t] (1 - s) w_t)
// Formulas and twins: src/cross_entropy.rs, src/cpu/cross_entropy.rs, cuda/cross_entropy.cu.
// Differs from CUDA: sums over rows are taken in f32, for want of f64; and labels are checked by an entry of their own,
// because a kernel may be bound to eight buffers only.
// include: rows.wgsl
// include: softmax_sums.wgsl

// `ignored` is the bits of the label of ignored rows, where the labels' dtype has it. A row's share of the label is
// `sharp`, and that of every class `spread`.
struct CrossEntropyParams {
    rows: u32,
    classes: u32,
    ignored: u32,
    has_ignored: u32,
    sharp: f32,
    spread: f32,
    reduction: u32,
    has_weight: u32,
}
@group(1) @binding(1) var<uniform> p: CrossEntropyParams;

const NONE: u32 = 0u;
const MEAN: u32 = 1u;

// Instead of a label where the row is ignored.
const NO_LABEL: u32 = 0xffffffffu;

// Labels are compared by their bits: as unsigned numbers, negative ones are no classes.
fn is_ignored(label: u32) -> bool { return p.has_ignored != 0u && label == p.ignored; }

// Labels that are neither a class nor ignored; a thread for each row.
@compute @workgroup_size(THREADS)
fn cross_entropy_labels(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups) * THREADS + thread;
    if (row >= p.rows) { return; }
    let label = u32(load_labels(row));
    if (label >= p.classes && !is_ignored(label)) { report(i32(label), i32(p.classes), row); }
}

// The label of a row, NO_LABEL where the row is ignored or its label was reported. All threads get it, and a barrier's
// control flow may depend on it.
var<workgroup> label_of_row: u32;
fn read_label(row: u32, thread: u32) -> u32 {
    if (thread == 0u) {
        let label = u32(load_labels(row));
        label_of_row = select(label, NO_LABEL, label >= p.classes || is_ignored(label));
    }
    return workgroupUniformLoad(&label_of_row);
}

fn weight_of(label: u32) -> f32 {
    if (p.has_weight != 0u) { return load_weight(label); }
    return 1.0;
}

// The sum of the class weights; all threads get it.
fn weight_sum_of(thread: u32) -> f32 {
    if (p.has_weight == 0u) { return f32(p.classes); }
    var own = 0.0;
    for (var run = 0u; run < p.classes; run += RUN) {
        var sum = 0.0;
        for (var c = run + thread; c < end_of_run(run, p.classes); c += THREADS) { sum += load_weight(c); }
        own += sum;
    }
    return block_sum(own, thread);
}

// `losses` and `weights` are the loss and the label's weight of each row, 0 where it is ignored.
@compute @workgroup_size(THREADS)
fn cross_entropy_forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                         @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let label = read_label(row, thread);
    let start = row * p.classes;
    var loss = 0.0;
    var max = 0.0;
    var log_sum = 0.0;
    if (label != NO_LABEL) {
        // 1. and 2. The maximum, and the logarithm of the sum of exponentials.
        let all = exponentials(start, p.classes, thread);
        max = all.max;
        log_sum = log(all.sum);
        // 3. The label's share and that of all classes.
        loss = p.sharp * weight_of(label) * (log_sum - (load_x(start + label) - max));
        if (p.spread != 0.0) {
            var shifted = 0.0;
            for (var run = 0u; run < p.classes; run += RUN) {
                var sum = 0.0;
                for (var c = run + thread; c < end_of_run(run, p.classes); c += THREADS) {
                    sum += weight_of(c) * (load_x(start + c) - max);
                }
                shifted += sum;
            }
            shifted = block_sum(shifted, thread);
            loss += p.spread * (weight_sum_of(thread) * log_sum - shifted);
        }
    }
    if (thread > 0u) { return; }
    store_max_out(row, max);
    store_log_sum_out(row, log_sum);
    store_losses(row, loss);
    if (label == NO_LABEL) { store_weights(row, 0.0); } else { store_weights(row, weight_of(label)); }
}

@compute @workgroup_size(THREADS)
fn cross_entropy_backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                          @builtin(local_invocation_index) thread: u32) {
    let row = block_index(group, groups);
    if (row >= p.rows) { return; }
    let label = read_label(row, thread);
    let start = row * p.classes;
    var scale = load_dy(select(0u, row, p.reduction == NONE));
    if (p.reduction == MEAN) { scale /= load_total_weight(0u); }
    let max = load_max(row);
    let log_sum = load_log_sum(row);
    var sharp = 0.0;
    if (label != NO_LABEL) { sharp = scale * p.sharp * weight_of(label); }
    let spread = scale * p.spread;
    // Without smoothing no sum of weights is needed.
    var weight_sum = 0.0;
    if (p.spread != 0.0) { weight_sum = weight_sum_of(thread); }
    let probability_scale = sharp + spread * weight_sum;
    for (var first = LANES_dlogits * thread; first < p.classes; first += LANES_dlogits * THREADS) {
        var lanes: Values_dlogits;
        for (var lane = 0u; lane < LANES_dlogits; lane++) {
            let c = first + lane;
            var v = exp(load_x(start + c) - max - log_sum) * probability_scale;
            if (p.spread != 0.0) { v -= spread * weight_of(c); }
            if (c == label) { v -= sharp; }
            lanes[lane] = select(v, 0.0, label == NO_LABEL);
        }
        store_lanes_dlogits(start + first, lanes);
    }
}

// The sums of chunks of `losses` and `weights`, in a fixed order; workgroup i takes chunk i.
struct TotalsParams { rows: u32, reduction: u32 }
@group(1) @binding(1) var<uniform> t: TotalsParams;

const CHUNK: u32 = 16384u;
fn chunk_totals(first: u32, end: u32, thread: u32) -> vec2<f32> {
    var own = vec2<f32>(0.0, 0.0);
    for (var i = first + thread; i < end; i += THREADS) { own += vec2<f32>(load_losses(i), load_weights(i)); }
    return block_sum2(own, thread);
}
@compute @workgroup_size(THREADS)
fn cross_entropy_chunks(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(local_invocation_index) thread: u32) {
    let chunk = block_index(group, groups);
    let first = chunk * CHUNK;
    if (first >= t.rows) { return; }
    let totals = chunk_totals(first, lesser(first + CHUNK, t.rows), thread);
    if (thread > 0u) { return; }
    store_loss_sums(chunk, totals.x);
    store_weight_sums(chunk, totals.y);
}
// One workgroup: the total weight, and the loss where it is reduced.
@compute @workgroup_size(THREADS)
fn cross_entropy_finish(@builtin(local_invocation_index) thread: u32) {
    let totals = chunk_totals(0u, t.rows, thread);
    if (thread > 0u) { return; }
    store_total_weight(0, totals.y);
    if (t.reduction == MEAN) { store_loss(0, totals.x / totals.y); }
    else if (t.reduction != NONE) { store_loss(0, totals.x); }
}
