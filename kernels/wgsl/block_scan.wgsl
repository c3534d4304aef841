// Running sums over the threads of a workgroup, of numbers that wrap. Twin: cuda/scan.cuh.

// What came before a thread, and all there is.
struct Scanned {
    before: u32,
    all: u32,
}

var<workgroup> scan_sums: array<u32, THREADS>;

// The sum of x over the threads before this one, and over all of them. Threads reach it together.
fn block_scan(x: u32, thread: u32) -> Scanned {
    scan_sums[thread] = x;
    workgroupBarrier();
    var sum = x;
    for (var step = 1u; step < THREADS; step *= 2u) {
        if (thread >= step) { sum += scan_sums[thread - step]; }
        workgroupBarrier();
        scan_sums[thread] = sum;
        workgroupBarrier();
    }
    let all = scan_sums[THREADS - 1u];
    workgroupBarrier();
    return Scanned(sum - x, all);
}
