// What threads have started and not waited for: copies by the copy engine, phases of barriers, products of warps.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "emu/hopper.h"
#include "emu/wgmma.h"

namespace emu {
namespace {

// A copy between global memory and shared memory: of a box of a tensor, or, with rank 0, of a piece at `map.address`.
struct Transfer {
    TensorMap map;
    int at[4];
    unsigned char* shared;
    size_t bytes;
    // Of a load: the barrier that counts it, and the phase in which it did. Free where there is none.
    struct Mbarrier* barrier;
    uint64_t phase;
};

// A barrier with phases. What fibers share is in fixed places and never moves.
struct Mbarrier {
    const void* at = nullptr;
    uint64_t phase = 0;
    unsigned arrivals = 0, missing_arrivals = 0;
    int64_t missing_bytes = 0;
    std::vector<unsigned> waiting;
    unsigned char* cells = nullptr;

    bool has_ended(unsigned parity) const { return (phase & 1) != (parity & 1); }
    void* cell_of(uint64_t which) const { return cells + which % 2 * 8; }
};
const unsigned MAX_MBARRIERS = 128;
const unsigned MAX_LOADS = 512;

// An accumulator of a warp, 16 rows, while products with it are under way.
struct Sums {
    float* d[32];
    unsigned cols;
    std::vector<float> values;
    unsigned under_way;
};

// A product of a warp, as lane 0 handed it in, with the registers of all lanes.
struct Product {
    Wgmma call;
    uint32_t a[32][4];
    uint64_t group;
};

// The asynchronous work of a warp. `log` is a hash of all that has to be the same in the warps of a warpgroup.
struct WarpWork {
    std::vector<Product> products;
    std::vector<Sums> sums;
    uint64_t group = 0, log = 0;
    bool fenced = false;
    // Registers of a thread: at first the most that the block leaves it, of which the compiler may have taken fewer.
    unsigned registers = 0;
    bool has_set_registers = false;
};

}  // namespace
}  // namespace emu
