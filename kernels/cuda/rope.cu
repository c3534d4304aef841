// Rotary position embedding: y1 = x1 cos - x2 sin, y2 = x2 cos + x1 sin; elements from rotary_dim on are copied.
// x and y [B, H, T, D] with any strides, tables [positions, R / 2]. Formulas and twins: src/rope.rs, src/cpu/rope.rs.
#include "prelude.cuh"

struct RopeParams {
    u64 batch, heads, len, dim, rotary_dim;
    i64 x_strides[4], y_strides[4];
    u64 table_rows;
    i64 table_stride;
    u64 first_position, has_positions;
    i64 position_strides[2];
    u64 interleaved, inverse;
};

// Elements that a thread takes together, in both members of a pair. The host raises it to sixteen bytes' worth where
// rows are contiguous and everything is aligned to it.
#ifndef VECTOR
#define VECTOR 1
#endif
const int N = VECTOR;
typedef Pack<Elem, N> Elems;

// Where a thread's elements are, relative to a row: `first` and `second` of the pairs from `pair` on.
struct PairPlaces {
    u64 first, second;
};
DEVICE PairPlaces pair_places(const RopeParams& p, u64 pair) {
    if (p.interleaved) return PairPlaces{2 * pair, 2 * pair + N};
    return PairPlaces{pair, pair + p.rotary_dim / 2};
}

// Turns N pairs, held as two packs: all first members and all second ones, or neighbours in order.
DEVICE void rotate(Elems& a, Elems& b, const Compute* cos, const Compute* sin, Compute sign, bool interleaved) {
    const Pack<Compute, N> c = *(const Pack<Compute, N>*)cos, s = *(const Pack<Compute, N>*)sin;
    Compute v[2 * N];
UNROLL for (int i = 0; i < N; i++) {
        v[i] = load(&a.v[i]);
        v[N + i] = load(&b.v[i]);
    }
UNROLL for (int i = 0; i < N; i++) {
        const Compute sine = sign * s.v[i];
        if (interleaved) {
            const Compute x1 = v[2 * i], x2 = v[2 * i + 1];
            v[2 * i] = x1 * c.v[i] - x2 * sine;
            v[2 * i + 1] = x2 * c.v[i] + x1 * sine;
        } else {
            const Compute x1 = v[i], x2 = v[N + i];
            v[i] = x1 * c.v[i] - x2 * sine;
            v[N + i] = x2 * c.v[i] + x1 * sine;
        }
    }
UNROLL for (int i = 0; i < N; i++) {
        store(&a.v[i], v[i]);
        store(&b.v[i], v[N + i]);
    }
}

KERNEL(rope_forward, const Elem* x, const Compute* cos, const Compute* sin, const i64* positions, Elem* y,
       RopeParams p, FaultArg fault) {
    const u64 half = p.rotary_dim / 2;
    // A row takes one thread for each N pairs, and one for each N elements that are copied.
    const u64 turned = half / N, per_row = turned + (p.dim - p.rotary_dim) / N;
    const u64 rows = p.batch * p.heads * p.len;
    const Compute sign = p.inverse ? (Compute)-1 : (Compute)1;
    // 1. Rows of positions that the tables lack are reported and left as they are, whatever else a row has to do.
    if (p.has_positions) {
        for (u64 at = thread_index(); at < p.batch * p.len; at += grid_threads()) {
            i64 b = (i64)(at / p.len), t = (i64)(at % p.len);
            i64 position = positions[b * p.position_strides[0] + t * p.position_strides[1]];
            if ((u64)position >= p.table_rows) report(fault, position, (i64)p.table_rows, (i64)at);
        }
    }
    for (u64 unit = thread_index(); unit < rows * per_row; unit += grid_threads()) {
        const u64 row = unit / per_row, at = unit - row * per_row;
        const u64 line = row / p.len;
        const i64 t = (i64)(row - line * p.len), b = (i64)(line / p.heads), h = (i64)(line - (u64)b * p.heads);
        const Elem* from = x + b * p.x_strides[0] + h * p.x_strides[1] + t * p.x_strides[2];
        Elem* to = y + b * p.y_strides[0] + h * p.y_strides[1] + t * p.y_strides[2];
        const i64 x_step = p.x_strides[3], y_step = p.y_strides[3];
        // 2. Elements beyond rotary_dim.
        if (at >= turned) {
            const i64 d = (i64)(p.rotary_dim + (at - turned) * N);
            *(Elems*)(to + d * y_step) = *(const Elems*)(from + d * x_step);
            continue;
        }
        // 3. Pairs.
        i64 position = (i64)p.first_position + t;
        if (p.has_positions) position = positions[b * p.position_strides[0] + t * p.position_strides[1]];
        if ((u64)position >= p.table_rows) continue;
        const PairPlaces places = pair_places(p, at * N);
        const i64 first = (i64)places.first, second = (i64)places.second;
        Elems a = *(const Elems*)(from + first * x_step), c = *(const Elems*)(from + second * x_step);
        const i64 angle = position * p.table_stride + (i64)(at * N);
        rotate(a, c, cos + angle, sin + angle, sign, p.interleaved);
        *(Elems*)(to + first * y_step) = a;
        *(Elems*)(to + second * y_step) = c;
    }
}
