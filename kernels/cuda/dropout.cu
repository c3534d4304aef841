// Dropout: y[i] = x[i] * scale where number i of the stream is below the threshold, else 0; scale = 1 / (1 - p).
// Formulas and twins: src/dropout.rs, src/cpu/dropout.rs.
#include "philox.cuh"

// Elements of a thread: whole blocks of words, and sixteen bytes at least.
const int N = sizeof(Elem) == 2 ? 8 : 4;

// The host has checked that x is aligned where `aligned` is 1; buffers start aligned, so y always is.
KERNEL(dropout_forward, const Elem* x, Elem* y, u64 len, Stream stream, u32 threshold, f64 scale, u32 aligned) {
    const Compute factor = (Compute)scale;
    for (u64 first = N * thread_index(); first < len; first += N * grid_threads()) {
        const bool whole = first + N <= len;
        Pack<Elem, N> values;
        if (whole && aligned) {
            values = *(const Pack<Elem, N>*)(x + first);
        } else {
UNROLL for (int i = 0; i < N; i++) values.v[i] = first + i < len ? x[first + i] : convert<Elem>(0LL);
        }
UNROLL for (int block = 0; block < N / 4; block++) {
            Words words = random_block(stream, first / 4 + block);
UNROLL for (int i = 0; i < 4; i++) {
                Elem* value = &values.v[4 * block + i];
                store(value, happens(words.w[i], threshold) ? load(value) * factor : (Compute)0);
            }
        }
        if (whole) {
            *(Pack<Elem, N>*)(y + first) = values;
        } else {
UNROLL for (int i = 0; i < N; i++)
                if (first + i < len) y[first + i] = values.v[i];
        }
    }
}
