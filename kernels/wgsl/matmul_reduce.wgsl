// The last step of a product whose k was divided among workgroups: C from alpha * (sum of the workspace) + beta * C + bias
// and what follows. The workspace is [splits, batch * m * n]; the order of the sum is fixed. A thread computes a word of C.
// See src/matmul.rs; twin: cuda/matmul_reduce.cu.
// include: matmul_tile.wgsl

@compute @workgroup_size(THREADS)
fn matmul_reduce(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                 @builtin(local_invocation_index) thread: u32) {
    let len = p.batch * p.m * p.n;
    let word = block_index(group, groups) * THREADS + thread;
    if (word >= len / LANES_y) { return; }
    var lanes: Values_y;
    for (var lane = 0u; lane < LANES_y; lane++) {
        let i = word * LANES_y + lane;
        var sum = Compute(0);
        for (var split = 0u; split < p.splits; split++) { sum += load_workspace(split * len + i); }
        lanes[lane] = finish(sum, i, i % p.n);
    }
    store(word * LANES_y, lanes);
}
