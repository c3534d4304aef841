// Products of warpgroups, which go on while threads do other things, and how many registers a warpgroup has.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "emu/bulk.h"
#include "emu/collective.h"
#include "emu/scheduler.h"

namespace emu {
namespace {

const unsigned REGISTERS = 65536;

WarpWork& own_work() { return scheduler->work[lane_now()->thread.warp]; }

// A new block: nobody has done anything, and threads share the registers evenly.
void reset_work(Scheduler& s) {
    s.work.assign((s.launch->threads + 31) / 32, WarpWork{});
    const unsigned each = std::min(REGISTERS / std::max(s.launch->threads, 1u) / 8 * 8, 255u);
    for (WarpWork& work : s.work) work.registers = each;
    s.register_waiters.clear();
}

// Adds to what has to be the same in all warps of a warpgroup.
void log(WarpWork& work, uint64_t what) { work.log = (work.log ^ what) * 0x9E3779B97F4A7C15ull + 1; }

// A matrix in shared memory, as a descriptor says where it lies (PTX ISA, "Matrix Descriptor Format", "Strides" and
// "Canonical Layouts", of elements of 16 bits).
struct MatrixAt {
    uint32_t start, leading, stride, span;
    bool is_mn_major;

    MatrixAt(uint64_t descriptor, bool is_mn_major, Site site) : is_mn_major(is_mn_major) {
        const uint32_t spans[] = {16, 128, 64, 32};
        start = (uint32_t)(descriptor & 0x3fff) << 4;
        leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4;
        stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4;
        span = spans[descriptor >> 62];
        if (descriptor & 0x3fffc000c000c000) fail("a matrix descriptor has bits set that this runtime does not know", site);
    }
    // The piece of 16 bytes with eight neighbours along k of row `row` (K_MAJOR), `piece` eighths on.
    uint32_t along_k(uint32_t row, uint32_t piece) const {
        const uint32_t offset = row / 8 * stride + row % 8 * span;
        return offset + piece * (span == 16 ? leading : 16);
    }
    // The piece with eight neighbouring rows at place `k` (MN_MAJOR), from row 8 `piece` on.
    uint32_t along_mn(uint32_t k, uint32_t piece) const {
        if (span == 16) return piece * stride + k % 8 * 16 + k / 8 * leading;
        const uint32_t pieces = span / 16;
        return piece / pieces * leading + piece % pieces * 16 + k % 8 * span + k / 8 * stride;
    }
    void read(uint32_t offset, uint16_t (&piece)[8], Site site) const {
        const uint32_t address = swizzled(start + offset, span);
        if (address < SHARED_START || address - SHARED_START + 16 > scheduler->shared_used)
            fail("a matrix descriptor leads out of shared memory", site);
        notes_read(at_shared_address(address), 16);
        memcpy(piece, at_shared_address(address), 16);
    }
};

typedef float (*Widen)(uint16_t);

// Rows `first` to `first` + `rows` of a matrix, 16 numbers each: of a, or of b with its columns as rows. Number k of a row
// goes to place row * by_row + k * by_k.
struct Place {
    float* to;
    uint32_t by_row, by_k;
};
void read_matrix(const MatrixAt& matrix, uint32_t first, uint32_t rows, Widen widen, Place place, Site site) {
    uint16_t piece[8];
    if (!matrix.is_mn_major) {
        for (uint32_t row = 0; row < rows; row++)
            for (uint32_t half = 0; half < 2; half++) {
                matrix.read(matrix.along_k(first + row, half), piece, site);
                for (uint32_t i = 0; i < 8; i++)
                    place.to[row * place.by_row + (half * 8 + i) * place.by_k] = widen(piece[i]);
            }
        return;
    }
    for (uint32_t k = 0; k < 16; k++)
        for (uint32_t row = 0; row < rows; row += 8) {
            matrix.read(matrix.along_mn(k, (first + row) / 8), piece, site);
            for (uint32_t i = 0; i < 8; i++) place.to[(row + i) * place.by_row + k * place.by_k] = widen(piece[i]);
        }
}

// The warp's 16 rows of a from its registers: PTX ISA, "Register Fragments" of wgmma.mma_async.m64nNk16.
void read_registers(const Product& product, float (&a)[16][16]) {
    for (int lane = 0; lane < 32; lane++)
        for (int r = 0; r < 4; r++)
            for (int half = 0; half < 2; half++) {
                const int row = lane / 4 + r % 2 * 8, k = lane % 4 * 2 + half + r / 2 * 8;
                a[row][k] = product.call.widen((uint16_t)(product.a[lane][r] >> 16 * half));
            }
}

// Calls `visit` with each register of an accumulator and its place in the warp's 16 rows, as in "Register Fragments" too.
template <class F> void each_sum(Sums& sums, F visit) {
    for (unsigned lane = 0; lane < 32; lane++)
        for (unsigned i = 0; i < sums.cols / 2; i++) {
            const unsigned row = lane / 4 + i / 2 % 2 * 8, col = i / 4 * 8 + lane % 4 * 2 + i % 2;
            visit(sums.d[lane][i], sums.values[row * sums.cols + col]);
        }
}

Sums& sums_of(WarpWork& work, const float* d) {
    return *std::find_if(work.sums.begin(), work.sums.end(), [d](const Sums& sums) { return sums.d[0] == d; });
}

void carry_out(WarpWork& work, const Product& product) {
    const Wgmma& call = product.call;
    float a[16][16];
    std::vector<float> b(16 * call.cols);
    if (call.a) {
        read_registers(product, a);
    } else {
        const MatrixAt matrix(call.a_matrix, call.a_is_mn_major, call.site);
        read_matrix(matrix, lane_now()->thread.warp % 4 * 16, 16, call.widen, {a[0], 16, 1}, call.site);
    }
    const MatrixAt matrix(call.b_matrix, call.b_is_mn_major, call.site);
    read_matrix(matrix, 0, call.cols, call.widen, {b.data(), 1, call.cols}, call.site);
    Sums& sums = sums_of(work, call.d);
    if (!call.adds) std::fill(sums.values.begin(), sums.values.end(), 0.0f);
    const unsigned block = 64;
    for (unsigned row = 0; row < 16; row++)
        for (unsigned col = 0; col < call.cols; col += block) {
            float* to = &sums.values[row * call.cols + col];
            for (unsigned k = 0; k < 16; k++)
                for (unsigned i = 0; i < block; i++) to[i] += a[row][k] * b[k * call.cols + col + i];
        }
    sums.under_way--;
}

// Takes an accumulator from the registers, which are not to be looked at from here on.
void take_sums(WarpWork& work, void** args, const Wgmma& call) {
    Sums sums{};
    sums.cols = call.cols;
    sums.values.resize(16 * call.cols);
    for (int lane = 0; lane < 32; lane++) sums.d[lane] = ((Wgmma*)args[lane])->d;
    each_sum(sums, [](float& own, float& value) {
        value = own;
        memset(&own, 0xff, sizeof own);
    });
    work.sums.push_back(std::move(sums));
}

// Begins a product, for all lanes of a warp.
void begin_product(void** args, uint32_t mask) {
    const Wgmma& call = *(Wgmma*)args[0];
    WarpWork& work = own_work();
    if (mask != ~0u || lane_now()->thread.warp / 4 * 4 + 4 > scheduler->work.size())
        fail("wgmma needs whole warpgroups", call.site);
    Product product{call, {}, work.group};
    for (int lane = 0; lane < 32; lane++) {
        const Wgmma& own = *(Wgmma*)args[lane];
        if (own.a_matrix != call.a_matrix || own.b_matrix != call.b_matrix || own.adds != call.adds)
            fail("the lanes of a warp give wgmma different matrices", call.site);
        if (own.a) memcpy(product.a[lane], own.a, sizeof product.a[lane]);
    }
    const bool known = std::any_of(work.sums.begin(), work.sums.end(), [&](const Sums& s) { return s.d[0] == call.d; });
    if ((!known || call.a) && !work.fenced) fail("wgmma uses registers without wgmma_fence before", call.site);
    if (!known) take_sums(work, args, call);
    sums_of(work, call.d).under_way++;
    work.products.push_back(product);
    log(work, call.a_matrix), log(work, call.b_matrix), log(work, call.cols * 16 + call.adds * 2 + (call.a != nullptr));
}

// Carries out what is older than the last `groups` groups, and gives sums back that nothing more adds to.
void finish_products(WarpWork& work, uint64_t groups) {
    auto& products = work.products;
    size_t done = 0;
    while (done < products.size() && products[done].group + groups < work.group) carry_out(work, products[done++]);
    products.erase(products.begin(), products.begin() + (long)done);
    auto is_done = [](Sums& sums) {
        if (sums.under_way == 0) each_sum(sums, [](float& own, float& value) { own = value; });
        return sums.under_way == 0;
    };
    work.sums.erase(std::remove_if(work.sums.begin(), work.sums.end(), is_done), work.sums.end());
    // Memory goes back while the lanes are in step, or the thread sanitizer would see another thread free it.
    if (products.empty()) std::vector<Product>().swap(products), std::vector<Sums>().swap(work.sums);
}

// The thread ends; the last of the block compares what the warps of each warpgroup have done.
void end_of_products() {
    if (!own_work().products.empty()) fail("a warp ends without having waited for its matrix products");
    const auto& work = scheduler->work;
    if (scheduler->live > 1) return;
    for (size_t warp = 0; warp < work.size(); warp++)
        if (work[warp].log != work[warp / 4 * 4].log)
            fail("the warps of a warpgroup have not all done the same wgmma and setmaxnreg");
}

struct RegisterCall {
    unsigned count;
    bool more, granted;
    Site site;
};

// Gives a warp another number of registers if they are there.
void take_registers(void** args, uint32_t mask) {
    const RegisterCall call = *(RegisterCall*)args[0];
    WarpWork& own = own_work();
    if (mask != ~0u || scheduler->work.size() % 4 != 0) fail("setmaxnreg needs whole warpgroups", call.site);
    if (call.count < 24 || call.count > 256 || call.count % 8 != 0)
        fail("setmaxnreg takes 24 to 256 registers, a multiple of 8", call.site);
    if (call.more ? own.has_set_registers && call.count < own.registers : call.count > own.registers)
        fail(call.more ? "setmaxnreg_inc asks for fewer registers than there are"
                       : "setmaxnreg_dec asks for more registers than there are", call.site);
    unsigned used = 0;
    for (const WarpWork& work : scheduler->work) used += work.registers * 32;
    const bool granted = used - own.registers * 32 + call.count * 32 <= REGISTERS;
    for (int lane = 0; lane < 32; lane++) ((RegisterCall*)args[lane])->granted = granted;
    if (!granted) return;
    own.registers = call.count, own.has_set_registers = true;
    log(own, call.count);
    wake_all(scheduler->register_waiters);
}

}  // namespace

void wgmma(Wgmma* product) { warp_collective(~0u, begin_product, product, 13, product->site); }

void wgmma_fence() {
    warp_collective(~0u, [](void**, uint32_t) { own_work().fenced = true; }, nullptr, 14, Site::here());
}

void wgmma_commit() {
    warp_collective(~0u, [](void**, uint32_t) { own_work().group++; }, nullptr, 15, Site::here());
}

void wgmma_wait(size_t groups) {
    warp_collective(~0u, [](void** args, uint32_t) {
        own_work().fenced = false;
        finish_products(own_work(), *(size_t*)args[0]);
    }, &groups, 16, Site::here());
}

void setmaxnreg(unsigned count, bool more, Site site) {
    RegisterCall call{count, more, false, site};
    for (;;) {
        warp_collective(~0u, take_registers, &call, 17, site);
        if (call.granted) return;
        wait_in(scheduler->register_waiters, "registers of other warpgroups", site);
    }
}

}  // namespace emu
