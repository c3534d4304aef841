// Fibers: stacks of their own, and the switch from one to another.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>

#include "emu/sanitizer.h"

#if defined(__x86_64__) && !defined(EMU_UCONTEXT)
// emu_switch_stack(&save, load): keeps the callee-saved registers on the present stack and goes on with another one.
extern "C" void emu_switch_stack(void** save, void* load);
asm(R"(
.text
.globl emu_switch_stack
.type emu_switch_stack,@function
emu_switch_stack:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
)");

namespace {
// Where a fiber, or the scheduler, goes on.
struct Context {
    void* sp = nullptr;
    void begin(unsigned char* stack, size_t bytes, void (*main)()) {
        void** top = (void**)(stack + bytes);
        *--top = nullptr;
        *--top = (void*)main;
        for (int saved = 0; saved < 6; saved++) *--top = nullptr;
        sp = top;
    }
    void go_to(Context& other) { emu_switch_stack(&sp, other.sp); }
};
}  // namespace
#else
// What every Unix has; ten times slower, because each switch keeps the mask of signals too.
#include <ucontext.h>
namespace {
struct Context {
    ucontext_t at{};
    void begin(unsigned char* stack, size_t bytes, void (*main)()) {
        getcontext(&at);
        at.uc_stack.ss_sp = stack, at.uc_stack.ss_size = bytes, at.uc_link = nullptr;
        makecontext(&at, main, 0);
    }
    void go_to(Context& other) { swapcontext(&at, &other.at); }
};
}  // namespace
#endif

namespace emu {
namespace {

const size_t STACK_BYTES = 256 << 10;
#if defined(EMU_TSAN)
// How many other fibers have to end after one before it runs again, so that neighbouring blocks are told apart.
const size_t REST = 300;
#else
const size_t REST = 0;
#endif
const size_t GUARD_BYTES = 4096;

struct Fiber {
    unsigned char* stack = nullptr;
    Context context;
    bool begun = false;
    void* sanitizer = nullptr;

    Fiber() {
        size_t bytes = STACK_BYTES + GUARD_BYTES;
        void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) abort();
        mprotect(memory, GUARD_BYTES, PROT_NONE);
        stack = (unsigned char*)memory + GUARD_BYTES;
    }
    // Ready for a thread of the device. To the thread sanitizer a fiber and its stack are one thread as long as they live:
    // threads that a fiber runs one after the other are ordered, which is why the scheduler lets it rest in between.
    void begin(void (*main)()) {
        if (begun) return;
#if defined(EMU_TSAN)
        sanitizer = __tsan_create_fiber(0);
#endif
        context.begin(stack, STACK_BYTES, main);
        begun = true;
    }
    // The thread never ended: whatever lies on the stack is given up.
    void abandon() {
        begun = false;
#if defined(__SANITIZE_ADDRESS__)
        __asan_unpoison_memory_region(stack, STACK_BYTES);
#endif
#if defined(EMU_TSAN)
        __tsan_destroy_fiber(sanitizer);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
        if (mmap(stack, STACK_BYTES, PROT_READ | PROT_WRITE, flags, -1, 0) == MAP_FAILED) abort();
#endif
    }
};

}  // namespace
}  // namespace emu
