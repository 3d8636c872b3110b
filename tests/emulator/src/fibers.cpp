#include "fibers.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>

#include "interface.hpp"

namespace emulator {

constexpr size_t stack_size = 64 * 1024;

#if defined(__x86_64__) && !defined(EMULATOR_PORTABLE)

// The registers a called function keeps go on the stack, then the stack is another.
asm(R"(
.text
.globl emulator_switch
.type emulator_switch, @function
emulator_switch:
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
.size emulator_switch, . - emulator_switch
)");

static void *prepare(char *, char *top, void (*start)()) {
  void **sp = reinterpret_cast<void **>(top);
  *--sp = nullptr;  // start's return address, which also puts the stack where the ABI wants it at entry
  *--sp = reinterpret_cast<void *>(start);
  for (int i = 0; i < 6; i++) *--sp = nullptr;
  return sp;
}

#else

}  // namespace emulator
#include <ucontext.h>
namespace emulator {

// The portable way, at the price of two system calls a switch: `stack` points to the context.
extern "C" void emulator_switch(void **from, void *to) {
  ucontext_t here;
  *from = &here;
  swapcontext(&here, static_cast<ucontext_t *>(to));
}

static void *prepare(char *bottom, char *top, void (*start)()) {
  ucontext_t *context = reinterpret_cast<ucontext_t *>(reinterpret_cast<uintptr_t>(top - sizeof(ucontext_t)) & ~63ul);
  getcontext(context);
  context->uc_stack.ss_sp = bottom;
  context->uc_stack.ss_size = reinterpret_cast<char *>(context) - bottom;
  context->uc_link = nullptr;
  makecontext(context, start, 0);
  return context;
}

#endif

Fiber::Fiber(void (*start)()) {
  static std::atomic<unsigned> made;
  const size_t page = sysconf(_SC_PAGESIZE);
  memory = mmap(nullptr, page + stack_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) fail("no memory for the stack of a thread");
  mprotect(memory, page, PROT_NONE);  // a stack that overflows faults
  // Tops at many offsets within a page: else all threads' frames compete for the same few cache lines.
  char *const bottom = static_cast<char *>(memory) + page;
  stack = prepare(bottom, bottom + stack_size - made++ % 60 * 64, start);
}

Fiber::~Fiber() { munmap(memory, sysconf(_SC_PAGESIZE) + stack_size); }

}  // namespace emulator
