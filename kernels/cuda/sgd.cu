// Stochastic gradient descent with momentum over many tensors in one launch.
//   g = grad grad_scale + weight_decay p    b = momentum b + (1 - dampening) g    p = p - lr (g + momentum b, b or g)
// Formulas and twins: src/sgd.rs, src/cpu/sgd.rs.
#include "tensor_list.cuh"

struct SgdParams {
    f64 lr, momentum, dampening, weight_decay, grad_scale;
    u64 nesterov, first_step, has_momentum;
};

struct Update {
    Compute negative_lr, momentum, fresh, weight_decay, grad_scale;
    bool nesterov, first_step, has_momentum;

    template <int N> DEVICE void at(const Tensor& t, u64 i) const {
        Compute grad[N], param[N], buffer[N] = {};
        read(grad, t.grad, i);
        read(param, t.param, i);
        // In the first step the buffers hold nothing yet.
        if (has_momentum && !first_step) read(buffer, t.states[0], i);
UNROLL for (int j = 0; j < N; j++) {
            const Compute g = grad[j] * grad_scale + weight_decay * param[j];
            Compute step = g;
            if (has_momentum) {
                buffer[j] = first_step ? g : momentum * buffer[j] + fresh * g;
                step = nesterov ? g + momentum * buffer[j] : buffer[j];
            }
            param[j] += negative_lr * step;
        }
        write(t.param, i, param);
        if (has_momentum) write(t.states[0], i, buffer);
    }
};

KERNEL(sgd, const Tensor* tensors, u64 count, SgdParams p) {
    const Update update = {(Compute)-p.lr,          (Compute)p.momentum,   (Compute)(1 - p.dampening),
                           (Compute)p.weight_decay, (Compute)p.grad_scale, p.nesterov != 0,
                           p.first_step != 0,       p.has_momentum != 0};
    for_each_pack(tensors, count, update);
}
