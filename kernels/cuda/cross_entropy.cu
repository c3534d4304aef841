// Cross-entropy of logits [rows, V] with one label per row.
//   loss = -(1 - s) w_t logp_t - s / V sum_c w_c logp_c
//   dlogits = dy (p_c ((1 - s) w_t + s W / V) - s / V w_c - [c = t] (1 - s) w_t)
// Formulas and twins: src/cross_entropy.rs, src/cpu/cross_entropy.rs.
#include "softmax_sums.cuh"

struct CrossEntropyParams {
    u64 rows, classes;
    i64 ignore_index;
    f64 label_smoothing;
    u64 reduction, has_weight;
};
enum Reduction : u64 { NONE, MEAN, SUM };

// The label of a row, -1 where the row is ignored. One out of range is reported and its row ignored. The report has
// place for three numbers, so the row and the number of classes share one (src/cuda/cross_entropy.rs takes them apart).
DEVICE i64 read_label(const void* labels, u32 dtype, u64 row, const CrossEntropyParams& p, FaultArg fault) {
    const i64 label = load_as<i64>(labels, (i64)row, dtype);
    if (label == p.ignore_index) return -1;
    if (label >= 0 && label < (i64)p.classes) return label;
    if (threadIdx.x % LANES == 0) report(fault, label, p.ignore_index, (i64)(row << 31 | (p.classes & 0x7fffffff)));
    return -1;
}

// What is the same in every row: the share of the label and that of every class.
struct Target { f64 sharp, smooth; };
DEVICE Compute weight_of(const Elem* weight, i64 label) { return weight ? load(weight + label) : (Compute)1; }

// The sum of the class weights; all threads of the row get it.
DEVICE Compute weight_sum_of(const Elem* weight, u64 classes) {
    if (!weight) return (Compute)classes;
    Compute sum = 0;
    for (u64 c = threadIdx.x % LANES; c < classes; c += LANES) sum += load(weight + c);
    return row_fold<Sum>(sum);
}

// weight is null where there is none. `losses` and `weights` are the loss and the label's weight of each row, 0 where it
// is ignored; `loss` is written here where there is no reduction.
KERNEL(cross_entropy_forward, const Elem* logits, const void* labels, const Elem* weight, Elem* loss_out, Compute* max_out,
       Compute* log_sum_out, f64* losses, f64* weights, CrossEntropyParams p, Target target, u32 label_dtype,
       FaultArg fault) {
    const u64 row = own_row();
    if (row >= p.rows) return;
    const i64 label = read_label(labels, label_dtype, row, p, fault);
    const Elem* x = logits + row * p.classes;
    const Compute sharp = (Compute)target.sharp, smooth = (Compute)target.smooth;
    Compute loss = 0, max = 0, log_sum = 0;
    // The label is the same for all threads of the row, so they stay together.
    if (label >= 0) {
        Compute v[ITEMS];
        // 1. and 2. The maximum, and the logarithm of the sum of exponentials.
        const Exponentials all = exponentials<false>(v, x, p.classes);
        max = all.max;
        log_sum = log(all.sum);
        // 3. The label's share and that of all classes.
        loss = sharp * weight_of(weight, label) * (log_sum - (load(x + label) - max));
        if (smooth != 0) {
            Compute shifted = 0;
            for (u64 tile = 0; tile < end_of_tiles(p.classes); tile += TILE) {
                Compute w[ITEMS], sum = 0;
                if (!WHOLE) read_tile(v, x, tile, p.classes, 0);
                read_tile(w, weight, tile, p.classes, 1);
UNROLL for (int k = 0; k < ITEMS; k++)
                    if (place(tile, k) < p.classes) sum += w[k] * (v[k] - max);
                shifted += sum;
            }
            shifted = row_fold<Sum>(shifted);
            loss += smooth * (weight_sum_of(weight, p.classes) * log_sum - shifted);
        }
    }
    if (threadIdx.x % LANES > 0) return;
    max_out[row] = max;
    log_sum_out[row] = log_sum;
    losses[row] = loss;
    weights[row] = label >= 0 ? weight_of(weight, label) : 0;
    if (p.reduction == NONE) store(loss_out + row, loss);
}

KERNEL(cross_entropy_backward, const Elem* dy, const Elem* logits, const void* labels, const Compute* max_in,
       const Compute* log_sum_in, const Compute* total_weight, const Elem* weight, Elem* dlogits, CrossEntropyParams p,
       Target target, u32 label_dtype, FaultArg fault) {
    const u64 row = own_row();
    if (row >= p.rows) return;
    const i64 label = read_label(labels, label_dtype, row, p, fault);
    const Elem* x = logits + row * p.classes;
    Elem* dx = dlogits + row * p.classes;
    const Compute scale =
        load(dy + (p.reduction == NONE ? row : 0)) / (p.reduction == MEAN ? *total_weight : (Compute)1);
    const Compute max = max_in[row], log_sum = log_sum_in[row];
    const Compute sharp = label >= 0 ? scale * (Compute)target.sharp * weight_of(weight, label) : 0;
    const Compute smooth = scale * (Compute)target.smooth;
    const bool weighs = weight && target.smooth != 0;
    // Without smoothing no sum of weights is needed.
    const Compute weight_sum = target.smooth != 0 ? weight_sum_of(weight, p.classes) : 0;
    const Compute probability_scale = sharp + smooth * weight_sum;
    for (u64 tile = 0; tile < end_of_tiles(p.classes); tile += TILE) {
UNROLL for (int k = 0; k < ITEMS; k += VEC) {
            const u64 at = place(tile, k);
            if (at >= p.classes) continue;
            Compute v[VEC], w[VEC];
            read_pack(v, x, at, p.classes, 0);
            read_pack(w, weighs ? weight : nullptr, at, p.classes, 1);
UNROLL for (int j = 0; j < VEC; j++) {
                v[j] = exp(v[j] - max - log_sum) * probability_scale - smooth * w[j];
                if ((i64)at + j == label) v[j] -= sharp;
                if (label < 0) v[j] = 0;
            }
            write_pack(dx, at, v);
        }
    }
}

// The sums of chunks of `losses` and `weights`, in a fixed order; block i takes chunk i.
const u64 CHUNK = 16384;
struct Totals { f64 loss, weight; };
DEVICE Totals chunk_totals(const f64* losses, const f64* weights, u64 first, u64 end) {
    SHARED(f64, scratch, [THREADS / WARP]);
    Totals own = {0, 0};
    for (u64 i = first + threadIdx.x; i < end; i += blockDim.x) own = {own.loss + losses[i], own.weight + weights[i]};
    const f64 loss = block_fold<Sum>(own.loss, scratch);
    return {loss, block_fold<Sum>(own.weight, scratch)};
}
KERNEL(cross_entropy_chunks, const f64* losses, const f64* weights, f64* loss_sums, f64* weight_sums, u64 rows) {
    const u64 first = block_index() * CHUNK;
    if (first >= rows) return;
    const Totals totals = chunk_totals(losses, weights, first, min(first + CHUNK, rows));
    if (threadIdx.x > 0) return;
    loss_sums[block_index()] = totals.loss;
    weight_sums[block_index()] = totals.weight;
}
// One block: the total weight, and the loss where it is reduced.
KERNEL(cross_entropy_finish, const f64* losses, const f64* weights, Elem* loss, Compute* total_weight, u64 len,
       CrossEntropyParams p) {
    const Totals totals = chunk_totals(losses, weights, 0, len);
    if (threadIdx.x > 0) return;
    *total_weight = (Compute)totals.weight;
    if (p.reduction != NONE) *loss = convert<Elem>(p.reduction == MEAN ? totals.loss / totals.weight : totals.loss);
}
