//! What follows a product before it is stored: GELU in both forms with and without the value before it, and residuals; in
//! every kernel, with a divided k, cut edges, batches, all dtypes, and residuals that are not aligned.

use chainrule_kernels::matmul::Gelu;
use chainrule_kernels::{Stored, bf16, f16};

use crate::matmul::{ALIGNED, Case, Last, layouts, values};

/// GELU first, so that the residuals alone are left for integers.
const LAST: [Last; 6] = [
    Last::Gelu { form: Gelu::Exact, keeps_pre: true },
    Last::Gelu { form: Gelu::Exact, keeps_pre: false },
    Last::Gelu { form: Gelu::Tanh, keeps_pre: true },
    Last::Gelu { form: Gelu::Tanh, keeps_pre: false },
    Last::Add { offset: 0 },
    Last::Add { offset: 3 },
];

fn check<S: Stored>(mut case: Case<S>, all_scales: bool) {
    let first = if S::DTYPE.is_float() { 0 } else { 4 };
    for last in &LAST[first..] {
        case.last = *last;
        for (alpha, beta, has_bias) in [(1.0, 0.0, true), (1.0, 0.0, false), (0.5, 2.0, true), (0.0, 1.0, false)] {
            (case.params.alpha, case.params.beta) = (alpha, beta);
            case.bias = has_bias.then(|| values(case.params.n as usize, 4));
            case.check();
            if !all_scales {
                break;
            }
        }
    }
}

#[test]
fn on_ordinary_cores() {
    check(Case::<f32>::dense([31, 33, 17]), true);
    check(Case::<f32>::dense([32, 36, 20]), false);
    check(Case::<f64>::dense([9, 20, 5]), false);
    check(Case::<f16>::dense([9, 21, 5]), false);
    check(Case::<i64>::dense([9, 20, 5]), true);
    check(Case::<u8>::dense([9, 10, 17]), false);
    // Nothing to sum: what follows is that of the bias.
    check(Case::<f32>::dense([9, 20, 0]), true);
}

#[test]
fn in_larger_tiles_with_cut_edges() {
    check(Case::<f32>::dense([65, 66, 30]), false);
    check(Case::<f32>::dense([130, 72, 50]), false);
}

#[test]
fn on_tensor_cores() {
    let dense = |sizes: [usize; 3], [a, b]: [usize; 2]| {
        let [m, n, k] = sizes;
        Case::<bf16>::new(1, sizes, layouts(1, m, k)[a], layouts(1, k, n)[b])
    };
    check(dense([24, 40, 16], [0, 0]), true);
    check(dense([70, 100, 40], ALIGNED[1]), false);
    check(dense([20, 30, 72], ALIGNED[2]), false);
    check(Case::<f16>::dense([33, 24, 72]), false);
}

#[test]
fn with_a_divided_k() {
    check(Case::<f32>::dense([20, 30, 1100]), true);
    check(Case::<bf16>::dense([24, 40, 1096]), false);
    check(Case::<i64>::dense([9, 10, 600]), false);
}

#[test]
fn with_a_few_vectors() {
    check(Case::<f32>::dense([3, 40, 1300]), false);
    check(Case::<f32>::dense([40, 2, 30]), true);
    check(Case::<bf16>::dense([1, 64, 64]), false);
    check(Case::<f64>::dense([5, 40, 33]), false);
    check(Case::<i32>::dense([40, 5, 33]), false);
}

#[test]
fn of_a_batch() {
    for [a, b] in [[0, 0], [8, 7]] {
        check(Case::<f32>::new(3, [12, 20, 9], layouts(3, 12, 9)[a], layouts(3, 9, 20)[b]), false);
        check(Case::<bf16>::new(3, [16, 24, 32], layouts(3, 16, 32)[a], layouts(3, 32, 24)[b]), false);
    }
}
