// The last step of a product whose k was divided among blocks: C from alpha * (sum of the workspace) + beta * C + bias and
// what follows. The workspace is [splits, batch * m * n]; the order of the sum is fixed. See src/matmul.rs.
#include "matmul.cuh"

KERNEL(matmul_reduce, const Compute* workspace, Elem* c, MatmulEpilogue e, MatmulParams p, u64 splits) {
    const u64 len = batch_of(p) * p.m * p.n;
    for (u64 i = thread_index(); i < len; i += grid_threads()) {
        Compute sum = 0;
        for (u64 split = 0; split < splits; split++) sum = times_plus((Compute)1, workspace[split * len + i], sum);
        finish<1>(p, e, &sum, i, i % p.n, c);
    }
}
