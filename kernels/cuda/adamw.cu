// AdamW over many tensors in one launch.
//   m = lerp(m, g, 1 - beta1)   v = beta2 v + (1 - beta2) g g   p = p (1 - lr decay) - step_size m / (sqrt(v) / .. + eps)
// Formulas and twins: src/adamw.rs, src/cpu/adamw.rs.
#include "tensor_list.cuh"

// The scalars of a step, combined on the host.
struct Scalars {
    f64 grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, negative_step_size, root_bias_correction2, eps;
    u64 amsgrad;
};

struct Update {
    Compute grad_scale, decay, beta1, one_minus_beta1, beta2, one_minus_beta2, negative_step_size, root_bias_correction2,
        eps;
    bool amsgrad;

    template <int N> DEVICE void at(const Tensor& t, u64 i) const {
        Compute grad[N], param[N], exp_avg[N], exp_avg_sq[N], max_exp_avg_sq[N] = {};
        read(grad, t.grad, i);
        read(param, t.param, i);
        read(exp_avg, t.states[0], i);
        read(exp_avg_sq, t.states[1], i);
        if (amsgrad) read(max_exp_avg_sq, t.states[2], i);
UNROLL for (int j = 0; j < N; j++) {
            const Compute g = grad[j] * grad_scale, p = param[j] * decay;
            // Of the two forms of an interpolation, the one that is exact at the nearer end, as PyTorch's `lerp`.
            const Compute m = beta1 > one_minus_beta1 ? exp_avg[j] + one_minus_beta1 * (g - exp_avg[j])
                                                      : g - (g - exp_avg[j]) * beta1;
            Compute v = exp_avg_sq[j] * beta2 + one_minus_beta2 * g * g;
            exp_avg[j] = m;
            exp_avg_sq[j] = v;
            if (amsgrad) {
                // A NaN in either stays: no comparison with one is true.
                const Compute largest = max_exp_avg_sq[j];
                v = largest >= v || largest != largest ? largest : v;
                max_exp_avg_sq[j] = v;
            }
            const Compute denominator = sqrt(v) / root_bias_correction2 + eps;
            param[j] = p + negative_step_size * m / denominator;
        }
        write(t.param, i, param);
        write(t.states[0], i, exp_avg);
        write(t.states[1], i, exp_avg_sq);
        if (amsgrad) write(t.states[2], i, max_exp_avg_sq);
    }
};

KERNEL(adamw, const Tensor* tensors, u64 count, Scalars s) {
    const Update update = {(Compute)s.grad_scale,         (Compute)s.decay,
                           (Compute)s.beta1,              (Compute)s.one_minus_beta1,
                           (Compute)s.beta2,              (Compute)s.one_minus_beta2,
                           (Compute)s.negative_step_size, (Compute)s.root_bias_correction2,
                           (Compute)s.eps,                s.amsgrad != 0};
    for_each_pack(tensors, count, update);
}
