// What wgmma.cuh stands for on the emulator. A product decodes its descriptors as the hardware does, reads its factors at
// the wait and not before, and until then its sums are NaN: a wrong descriptor, a missing wait and a tile that is written
// over too early all show in the result.
//
// Each warp computes its 16 rows by itself; that the four of a warpgroup did the same is checked when the block ends.
#pragma once
#include <type_traits>

#include "emu/hopper.h"

struct bf16;
struct f16;

namespace emu {

// A product as one lane hands it in: `a` are registers, or null where descriptor `a_matrix` says where a is.
struct Wgmma {
    float* d;
    const uint32_t* a;
    uint64_t a_matrix, b_matrix;
    unsigned cols;
    bool adds, a_is_mn_major, b_is_mn_major;
    float (*widen)(uint16_t);
    Site site;
};
void wgmma(Wgmma* product);
void wgmma_fence();
void wgmma_commit();
void wgmma_wait(size_t groups);
void setmaxnreg(unsigned count, bool more, Site site);

}  // namespace emu

template <class T, int N, int A = 0, int B = 0>
void wgmma(float (&d)[N / 2], uint64_t a, uint64_t b, bool adds, emu::Site site = emu::Site::here()) {
    static_assert(N == 64 || N == 128 || N == 192 || N == 256, "a width that wgmma.cuh has");
    emu::Wgmma product{d, nullptr, a, b, N, adds, A != 0, B != 0, nullptr, site};
    product.widen = std::is_same_v<T, bf16> ? emu::widen_bf16 : emu::half_to_float;
    emu::wgmma(&product);
}
template <class T, int N, int B = 0>
void wgmma(float (&d)[N / 2], const uint32_t (&a)[4], uint64_t b, bool adds, emu::Site site = emu::Site::here()) {
    static_assert(N == 64 || N == 128 || N == 192 || N == 256, "a width that wgmma.cuh has");
    emu::Wgmma product{d, a, 0, b, N, adds, false, B != 0, nullptr, site};
    product.widen = std::is_same_v<T, bf16> ? emu::widen_bf16 : emu::half_to_float;
    emu::wgmma(&product);
}
template <class... R> void wgmma_fence(R&...) { emu::wgmma_fence(); }
inline void wgmma_commit() { emu::wgmma_commit(); }
template <int N, class... R> void wgmma_wait(R&...) { emu::wgmma_wait(N); }
template <int COUNT> void setmaxnreg_inc(emu::Site site = emu::Site::here()) { emu::setmaxnreg(COUNT, true, site); }
template <int COUNT> void setmaxnreg_dec(emu::Site site = emu::Site::here()) { emu::setmaxnreg(COUNT, false, site); }
