// Copies that go on while threads compute: the copy engine's, of boxes of a tensor and plain pieces, and cp.async.
#pragma once
#include <algorithm>
#include <cstring>
#include <vector>

#include "emu/scheduler.h"
#include "emu/tensor_core.h"

namespace emu {
namespace {

// Where a pattern of `span` bytes (128, 64, 32; 0 for none) puts the piece of 16 bytes at this address of shared memory:
// the bits that number its row are added to those that number the piece. PTX ISA, "Swizzling modes" of tensors.
uint32_t swizzled(uint32_t address, unsigned span) {
    const uint32_t pieces = span / 16;
    return pieces < 2 ? address : address ^ (address >> 7 & (pieces - 1)) << 4;
}

unsigned char* at_shared_address(uint32_t address) { return scheduler->shared + (address - SHARED_START); }

void copy_noted(void* to, const void* from, size_t bytes) {
    notes_read(from, bytes);
    notes_write(to, bytes);
    memcpy(to, from, bytes);
}

// One row of a box. `row` is where its first element would be in the tensor, or null where all of it lies outside.
void carry_out_row(const Transfer& t, unsigned char* row, uint32_t to, bool loads) {
    const TensorMap& map = t.map;
    const long elems = 16 / map.elem_bytes, size = (long)map.sizes[0];
    for (long first = 0; first < (long)map.box[0]; first += elems) {
        unsigned char* shared = at_shared_address(swizzled(to + (uint32_t)first * map.elem_bytes, map.swizzle));
        const long place = t.at[0] + first;
        const long low = std::clamp<long>(-place, 0, elems), high = std::clamp<long>(size - place, 0, elems);
        const bool exists = row && low < high;
        if (loads && !(exists && low == 0 && high == elems)) notes_write(shared, 16), memset(shared, 0, 16);
        if (!exists) continue;
        unsigned char *here = shared + low * map.elem_bytes, *there = row + (first + low) * map.elem_bytes;
        const size_t bytes = (size_t)(high - low) * map.elem_bytes;
        loads ? copy_noted(here, there, bytes) : copy_noted(there, here, bytes);
    }
}

void carry_out(const Transfer& t, bool loads) {
    const TensorMap& map = t.map;
    if (map.rank == 0) {
        loads ? copy_noted(t.shared, (void*)map.address, t.bytes) : copy_noted((void*)map.address, t.shared, t.bytes);
        return;
    }
    const uint32_t row_bytes = map.box[0] * map.elem_bytes, start = shared_address(t.shared);
    const uint32_t rows = (uint32_t)(t.bytes / row_bytes);
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t rest = i;
        int64_t offset = (int64_t)t.at[0] * map.elem_bytes;
        bool exists = true;
        for (unsigned dim = 1; dim < map.rank; dim++) {
            const int64_t place = t.at[dim] + (int64_t)(rest % map.box[dim]);
            exists = exists && place >= 0 && place < (int64_t)map.sizes[dim];
            offset += place * (int64_t)map.strides[dim - 1];
            rest /= map.box[dim];
        }
        carry_out_row(t, exists ? (unsigned char*)map.address + offset : nullptr, start + i * row_bytes, loads);
    }
}

void check_shared(const void* shared, size_t bytes, unsigned align, Site site) {
    if (shared_address(shared) - SHARED_START + bytes > scheduler->shared_used)
        fail("a bulk copy reaches beyond shared memory", site);
    if (shared_address(shared) % align != 0) fail("a bulk copy's place in shared memory is not aligned", site);
}

Transfer piece(const void* global, const void* shared, unsigned bytes, Site site) {
    Transfer t{};
    if ((uintptr_t)global % 16 != 0 || bytes % 16 != 0) fail("a bulk copy is not aligned to 16 bytes", site);
    check_shared(shared, bytes, 16, site);
    t.map.address = (uint64_t)global, t.shared = (unsigned char*)shared, t.bytes = bytes;
    return t;
}

Transfer box(const TensorMap* map, const int* at, unsigned rank, const void* shared, Site site) {
    Transfer t{};
    prefetch_map(map, site);
    if (map->rank != rank) fail("a tensor map has another number of dims than its copy", site);
    t.map = *map, t.shared = (unsigned char*)shared, t.bytes = map->elem_bytes;
    for (unsigned dim = 0; dim < rank; dim++) t.at[dim] = at[dim], t.bytes *= map->box[dim];
    check_shared(shared, t.bytes, 128, site);
    return t;
}

void start_store(const Transfer& t) {
    auto& stores = lane_now()->stores;
    if (stores.empty()) stores.emplace_back();
    stores.back().push_back(t);
}

// A thread ends: its stores must have read shared memory, which is gone with the block.
void end_of_bulk_stores() {
    for (const auto& group : lane_now()->stores)
        if (!group.empty()) fail("a thread ends without having waited for its bulk stores");
    std::vector<std::vector<Transfer>>().swap(lane_now()->stores);
}

void start_load(Transfer load, void* barrier, Site site);

}  // namespace

void prefetch_map(const TensorMap* map, Site site) {
    if (map->magic != TENSOR_MAP_MAGIC) fail("a copy is given something else than a tensor map", site);
}

void bulk_load(void* to, const void* from, unsigned bytes, void* barrier, Site site) {
    start_load(piece(from, to, bytes, site), barrier, site);
}

void tma_load(void* to, const TensorMap* map, const int* at, unsigned rank, void* barrier, Site site) {
    start_load(box(map, at, rank, to, site), barrier, site);
}

void bulk_store(void* to, const void* from, unsigned bytes, Site site) { start_store(piece(to, from, bytes, site)); }

void tma_store(const TensorMap* map, const int* at, unsigned rank, const void* from, Site site) {
    start_store(box(map, at, rank, from, site));
}

void bulk_commit() {
    auto& stores = lane_now()->stores;
    if (stores.empty()) stores.emplace_back();
    stores.emplace_back();
}

void bulk_wait(size_t groups) {
    auto& stores = lane_now()->stores;
    while (stores.size() > groups + 1) {
        for (const Transfer& t : stores.front()) carry_out(t, false);
        stores.erase(stores.begin());
    }
}

void copy_async(void* to, const void* from, size_t bytes, size_t valid_bytes) {
    if ((uintptr_t)to % bytes != 0 || (uintptr_t)from % bytes != 0) fail("an asynchronous copy is not aligned");
    if (valid_bytes > bytes) fail("an asynchronous copy reads more than it writes");
    if (current->copies.empty()) current->copies.emplace_back();
    current->copies.back().push_back({to, from, bytes, valid_bytes});
}

void copy_async_commit() {
    if (current->copies.empty()) current->copies.emplace_back();
    current->copies.emplace_back();
}

void copy_async_wait(size_t groups) {
    auto& copies = current->copies;
    while (copies.size() > groups + 1) {
        for (const PendingCopy& copy : copies.front()) {
            if (copy.valid_bytes > 0) copy_noted(copy.to, copy.from, copy.valid_bytes);
            notes_write(copy.to, copy.bytes);
            memset((char*)copy.to + copy.valid_bytes, 0, copy.bytes - copy.valid_bytes);
        }
        copies.erase(copies.begin());
    }
}

}  // namespace emu
