// The LSTM cell: (i, f, g, o) = (sigmoid, sigmoid, tanh, sigmoid)(gates + gates_h), c_next = f c + i g,
// h = o tanh(c_next). gates [rows, 4 cols], c, c_next, h [rows, cols]. Formulas and twins: src/lstm_cell.rs,
// src/cpu/lstm_cell.rs.
#include "prelude.cuh"

struct LstmCellParams {
    u64 rows, cols, has_gates_h, has_dh, has_dc_next;
};

// Columns that a thread takes together: the host raises it to sixteen bytes' worth where rows are whole multiples of
// that and everything is aligned to it.
#ifndef VECTOR
#define VECTOR 1
#endif
const int N = VECTOR;
typedef Pack<Elem, N> Elems;

DEVICE Compute sigmoid(Compute x) {
    const Compute e = ::exp(-::fabs(x));
    return (x >= 0 ? (Compute)1 : e) / (1 + e);
}

// Where a thread's columns start: in the first gate of their row, and in the state.
struct Places {
    u64 gates, state;
};
DEVICE Places places(u64 unit, const LstmCellParams& p) {
    const u64 per_row = p.cols / N;
    // 64-bit division is slow on GPUs.
    const bool is_small = p.rows * per_row <= 0xffffffffu;
    const u64 row = is_small ? (u32)unit / (u32)per_row : unit / per_row;
    return Places{(unit + 3 * row * per_row) * N, unit * N};
}

// The gates i, f, g, o of N columns before the activations.
DEVICE void read_gates(Compute (&a)[4][N], const Elem* gates, const Elem* gates_h, u64 at, u64 cols) {
UNROLL for (int gate = 0; gate < 4; gate++) {
        const Elems x = *(const Elems*)(gates + at + gate * cols);
UNROLL for (int j = 0; j < N; j++) a[gate][j] = load(&x.v[j]);
        if (gates_h != nullptr) {
            const Elems h = *(const Elems*)(gates_h + at + gate * cols);
UNROLL for (int j = 0; j < N; j++) a[gate][j] += load(&h.v[j]);
        }
    }
}

// N elements of an array that may be absent.
DEVICE void read_or_zero(Compute (&v)[N], const Elem* x, u64 at) {
    if (x != nullptr) {
        const Elems pack = *(const Elems*)(x + at);
UNROLL for (int j = 0; j < N; j++) v[j] = load(&pack.v[j]);
    } else {
UNROLL for (int j = 0; j < N; j++) v[j] = 0;
    }
}

KERNEL(lstm_cell_forward, const Elem* gates, const Elem* c, const Elem* gates_h, Elem* h, Elem* c_next,
       LstmCellParams p) {
    for (u64 unit = thread_index(); unit < p.rows * (p.cols / N); unit += grid_threads()) {
        const Places at = places(unit, p);
        Compute a[4][N], c_v[N];
        read_gates(a, gates, gates_h, at.gates, p.cols);
        read_or_zero(c_v, c, at.state);
        Elems h_pack, c_pack;
UNROLL for (int j = 0; j < N; j++) {
            // 1. The activations.
            const Compute i = sigmoid(a[0][j]), f = sigmoid(a[1][j]), g = ::tanh(a[2][j]), o = sigmoid(a[3][j]);
            // 2. The states.
            const Compute cn = f * c_v[j] + i * g;
            store(&h_pack.v[j], o * ::tanh(cn));
            store(&c_pack.v[j], cn);
        }
        *(Elems*)(h + at.state) = h_pack;
        *(Elems*)(c_next + at.state) = c_pack;
    }
}

KERNEL(lstm_cell_backward, const Elem* gates, const Elem* c, const Elem* gates_h, const Elem* dh, const Elem* dc_next,
       Elem* dgates, Elem* dc, LstmCellParams p) {
    for (u64 unit = thread_index(); unit < p.rows * (p.cols / N); unit += grid_threads()) {
        const Places at = places(unit, p);
        Compute a[4][N], c_v[N], dh_v[N], dc_v[N];
        read_gates(a, gates, gates_h, at.gates, p.cols);
        read_or_zero(c_v, c, at.state);
        read_or_zero(dh_v, dh, at.state);
        read_or_zero(dc_v, dc_next, at.state);
        Elems da[4], dc_pack;
UNROLL for (int j = 0; j < N; j++) {
            // 1. The activations, again.
            const Compute i = sigmoid(a[0][j]), f = sigmoid(a[1][j]), g = ::tanh(a[2][j]), o = sigmoid(a[3][j]);
            const Compute t = ::tanh(f * c_v[j] + i * g);
            // 2. What arrives at c_next, directly and through h.
            const Compute dcn = dc_v[j] + dh_v[j] * o * (1 - t * t);
            // 3. The gradients.
            store(&da[0].v[j], dcn * g * i * (1 - i));
            store(&da[1].v[j], dcn * c_v[j] * f * (1 - f));
            store(&da[2].v[j], dcn * i * (1 - g * g));
            store(&da[3].v[j], dh_v[j] * t * o * (1 - o));
            store(&dc_pack.v[j], dcn * f);
        }
UNROLL for (int gate = 0; gate < 4; gate++) *(Elems*)(dgates + at.gates + gate * p.cols) = da[gate];
        *(Elems*)(dc + at.state) = dc_pack;
    }
}
