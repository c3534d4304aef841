// What the sanitizers have to be told: which memory may not be touched, and what is ordered before what.
#pragma once
#include <cstddef>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
// The runtime itself is compiled without the thread sanitizer, which would take its bookkeeping for races between
// fibers: EMU_TSAN says that the units are compiled with it.
#if defined(EMU_TSAN)
extern "C" {
void* __tsan_get_current_fiber();
void* __tsan_create_fiber(unsigned);
void __tsan_destroy_fiber(void*);
void __tsan_switch_to_fiber(void*, unsigned);
void __tsan_acquire(void*);
void __tsan_release(void*);
void __tsan_read_range(void*, unsigned long);
void __tsan_write_range(void*, unsigned long);
}
#endif

namespace emu {
namespace {

void release(void* cell) {
#if defined(EMU_TSAN)
    __tsan_release(cell);
#else
    (void)cell;
#endif
}
void acquire(void* cell) {
#if defined(EMU_TSAN)
    __tsan_acquire(cell);
#else
    (void)cell;
#endif
}

// The runtime reads or writes memory for the thread that runs.
void notes_read(const void* from, size_t bytes) {
#if defined(EMU_TSAN)
    __tsan_read_range((void*)from, bytes);
#else
    (void)from, (void)bytes;
#endif
}
void notes_write(void* to, size_t bytes) {
#if defined(EMU_TSAN)
    __tsan_write_range(to, bytes);
#else
    (void)to, (void)bytes;
#endif
}

#if defined(EMU_TSAN)
// As `poison`, but without the thread sanitizer's knowledge: to it, memory that it has not seen yet stays so.
void poison_unseen(unsigned char* from, size_t bytes) {
    for (size_t i = 0; i < bytes; i++) ((volatile unsigned char*)from)[i] = 0xff;
}
#endif

void poison(unsigned char* from, size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(from, bytes);
#endif
    memset(from, 0xff, bytes);  // NaN as a float: reading what nothing wrote shows in the result
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(from, bytes);
#endif
}

}  // namespace
}  // namespace emu
