// Tensor cores and what feeds them, from architecture 8.0 on: products of small matrices by a warp, loads of their
// fragments, and copies that go on while threads compute. On the emulator each has a twin (emu/tensor_core.h).
// Which thread holds what: PTX ISA, "Matrix fragments for mma.m16n8k16", "... for mma.m16n8k8" and "ldmatrix".
#pragma once
#include "prelude.cuh"

// d[16, 8] += a[16, 16] * b[16, 8] by a whole warp, summed in f32. Lane 4 g + t holds rows g and g + 8 of a and d, column
// g of b; registers hold neighbours along k: a = {(g, 2t), (g + 8, 2t), (g, 2t + 8), (g + 8, 2t + 8)}, b = {(2t, g),
// (2t + 8, g)}, d = {(g, 2t), (g, 2t + 1), (g + 8, 2t), (g + 8, 2t + 1)}.
template <class T> DEVICE void mma_m16n8k16(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]);

#ifdef CHAINRULE_EMU
#include "emu/tensor_core.h"
template <> DEVICE void mma_m16n8k16<bf16>(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emu::Mma mma{d, a, b};
    emu::warp_collective(FULL, emu::mma_m16n8k16<emu::widen_bf16>, &mma, 7, emu::Site::here());
}
template <> DEVICE void mma_m16n8k16<f16>(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
    emu::Mma mma{d, a, b};
    emu::warp_collective(FULL, emu::mma_m16n8k16<emu::half_to_float>, &mma, 8, emu::Site::here());
}
#else
#define MMA_M16N8K16(type, name)                                                                                  \
    template <> DEVICE void mma_m16n8k16<type>(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {               \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." name "." name ".f32 {%0, %1, %2, %3}, "             \
                     "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                              \
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])                                             \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                         \
    }
MMA_M16N8K16(bf16, "bf16")
MMA_M16N8K16(f16, "f16")
#endif

// x as a tf32, an f32 of 10 bits behind the point: the nearest, ties away from zero; NaN stays NaN.
DEVICE u32 to_tf32(f32 x) {
#ifdef CHAINRULE_EMU
    return emu::float_to_tf32(x);
#else
    u32 y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
#endif
}

// d[16, 8] += a[16, 8] * b[8, 8] of tf32 by a whole warp, summed in f32. Of an operand the lower 13 bits are dropped, so
// numbers go through `to_tf32` first. Lane 4 g + t holds a = {(g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)}, b = {(t, g),
// (t + 4, g)} and d as above.
DEVICE void mma_m16n8k8_tf32(f32 (&d)[4], const u32 (&a)[4], const u32 (&b)[2]) {
#ifdef CHAINRULE_EMU
    emu::Mma mma{d, a, b};
    emu::warp_collective(FULL, emu::mma_m16n8k8_tf32, &mma, 11, emu::Site::here());
#else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#endif
}

// Four matrices of 8 x 8 elements of 16 bits from shared memory: lane 8 i + r gives the address of row r of matrix i,
// 16 aligned bytes. Lane 4 g + t gets places (g, 2t) and (g, 2t + 1) of matrix i in fragment[i].
DEVICE void ldmatrix_x4(u32 (&fragment)[4], const void* row) {
#ifdef CHAINRULE_EMU
    emu::Ldmatrix load{row, fragment};
    emu::warp_collective(FULL, emu::ldmatrix<4, false>, &load, 9, emu::Site::here());
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
#endif
}

// The same, of the transposed matrices: lane 4 g + t gets places (2t, g) and (2t + 1, g).
DEVICE void ldmatrix_x4_trans(u32 (&fragment)[4], const void* row) {
#ifdef CHAINRULE_EMU
    emu::Ldmatrix load{row, fragment};
    emu::warp_collective(FULL, emu::ldmatrix<4, true>, &load, 10, emu::Site::here());
#else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                 : "r"(shared_address(row))
                 : "memory");
#endif
}

// Starts a copy of 16 bytes from global to shared memory, both aligned to 16; beyond the first `valid_bytes` nothing is
// read and zeros are written. The thread sees it after a wait for its group, other threads after a barrier besides.
DEVICE void cp_async_16(void* shared, const void* global, u32 valid_bytes) {
#ifdef CHAINRULE_EMU
    emu::copy_async(shared, global, 16, valid_bytes);
#else
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
                 "r"(valid_bytes)
                 : "memory");
#endif
}

// Ends a group of copies: all that this thread has started since the last one.
DEVICE void cp_async_commit() {
#ifdef CHAINRULE_EMU
    emu::copy_async_commit();
#else
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all but this thread's last N groups.
template <int N> DEVICE void cp_async_wait() {
#ifdef CHAINRULE_EMU
    emu::copy_async_wait(N);
#else
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
#endif
}
