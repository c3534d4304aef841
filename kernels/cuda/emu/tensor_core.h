// What tensor_core.cuh stands for on the emulator: asynchronous copies, loads of fragments and products of a warp.
#pragma once
#include "emu/emu.h"

// Asynchronous copies of cp.async: what is copied appears at the wait and no sooner, so that a missing wait shows.
namespace emu {
void copy_async(void* to, const void* from, size_t bytes, size_t valid_bytes);
void copy_async_commit();
void copy_async_wait(size_t groups);
}  // namespace emu

// Tensor cores: mma.m16n8k16 and ldmatrix as collectives of a warp. Where which element of a fragment is: PTX ISA,
// "Matrix Fragments for mma.m16n8k16 with floating point type" and "Warp-level matrix load instruction: ldmatrix".
namespace emu {
struct Mma {
    float* d;
    const uint32_t *a, *b;
};
template <float (*WIDEN)(uint16_t)> void mma_m16n8k16(void** args, uint32_t mask) {
    if (mask != ~0u) fail("mma needs all 32 lanes");
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        int group = lane / 4, member = lane % 4;
        for (int r = 0; r < 4; r++)
            for (int half = 0; half < 2; half++)
                a[group + r % 2 * 8][member * 2 + half + r / 2 * 8] = WIDEN((uint16_t)(own->a[r] >> 16 * half));
        for (int r = 0; r < 2; r++)
            for (int half = 0; half < 2; half++)
                b[member * 2 + half + r * 8][group] = WIDEN((uint16_t)(own->b[r] >> 16 * half));
    }
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        int group = lane / 4, member = lane % 4;
        for (int i = 0; i < 4; i++) {
            int row = group + i / 2 * 8, col = member * 2 + i % 2;
            float sum = own->d[i];
            for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][col];
            own->d[i] = sum;
        }
    }
}
// Ties go away from zero, which adding half a unit to the magnitude does; beyond the greatest it gives infinity.
inline uint32_t float_to_tf32(float x) {
    uint32_t bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fffffff;
    return (bits + 0x1000) & 0xffffe000;
}
// "Matrix Fragments for mma.m16n8k8", of tf32: the hardware does not look at an operand's lower 13 bits.
inline void mma_m16n8k8_tf32(void** args, uint32_t mask) {
    if (mask != ~0u) fail("mma needs all 32 lanes");
    auto value = [](uint32_t bits) { return __uint_as_float(bits & 0xffffe000); };
    float a[16][8], b[8][8];
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        int group = lane / 4, member = lane % 4;
        for (int r = 0; r < 4; r++) a[group + r % 2 * 8][member + r / 2 * 4] = value(own->a[r]);
        for (int r = 0; r < 2; r++) b[member + r * 4][group] = value(own->b[r]);
    }
    for (int lane = 0; lane < 32; lane++) {
        auto* own = (Mma*)args[lane];
        for (int i = 0; i < 4; i++) {
            int row = lane / 4 + i / 2 * 8, col = lane % 4 * 2 + i % 2;
            float sum = own->d[i];
            for (int k = 0; k < 8; k++) sum += a[row][k] * b[k][col];
            own->d[i] = sum;
        }
    }
}
struct Ldmatrix {
    const void* row;
    uint32_t* fragment;
};
template <int MATRICES, bool TRANSPOSED> void ldmatrix(void** args, uint32_t mask) {
    if (mask != ~0u) fail("ldmatrix needs all 32 lanes");
    for (int matrix = 0; matrix < MATRICES; matrix++) {
        uint16_t m[8][8];
        for (int row = 0; row < 8; row++) {
            const void* from = ((Ldmatrix*)args[matrix * 8 + row])->row;
            if ((uintptr_t)from % 16 != 0) fail("ldmatrix needs rows that are aligned to 16 bytes");
            memcpy(m[row], from, 16);
        }
        for (int lane = 0; lane < 32; lane++) {
            int group = lane / 4, pair = lane % 4 * 2;
            uint32_t low = TRANSPOSED ? m[pair][group] : m[group][pair];
            uint32_t high = TRANSPOSED ? m[pair + 1][group] : m[group][pair + 1];
            ((Ldmatrix*)args[lane])->fragment[matrix] = low | high << 16;
        }
    }
}
}  // namespace emu
