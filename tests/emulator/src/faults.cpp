// How kernels go wrong, told with their name and the thread: failed checks, faults, and what the compiler's sanitizer
// finds in them (array bounds and alignment; see build.sh).
#include "faults.hpp"

#include <unistd.h>

#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "blocks.hpp"
#include "memory.hpp"

namespace emulator {

// Straight to the file: a signal's stack is too small for stdio's buffers.
static void say(const char *format, va_list arguments) {
  char line[1024] = "emulator: ";
  constexpr size_t prefix = 10;
  vsnprintf(line + prefix, sizeof line - prefix - 1, format, arguments);
  strcat(line, "\n");
  if (write(STDERR_FILENO, line, strlen(line)) < 0) return;
}
static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

static void whereabouts() {
  const char *const kernel = running_kernel();
  if (!kernel) return;
  const Place &p = place;
  say("in %s, block (%u, %u, %u) of (%u, %u, %u), thread (%u, %u, %u) of (%u, %u, %u)", kernel, p.block.x, p.block.y,
      p.block.z, p.grid_dim.x, p.grid_dim.y, p.grid_dim.z, p.thread.x, p.thread.y, p.thread.z, p.block_dim.x,
      p.block_dim.y, p.block_dim.z);
}

void fail(const char *format, ...) {
  fflush(stdout);
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
  whereabouts();
  abort();
}

static struct sigaction segv_before, bus_before;

static void fault(int signal, siginfo_t *info, void *) {
  if (running_kernel()) {
    char text[200];
    describe(info->si_addr, text, sizeof text);
    say("a kernel accessed memory it must not: %p (%s)", info->si_addr, text);
    whereabouts();
  }
  // Returning repeats the access, under the handler that was there before.
  sigaction(signal, signal == SIGBUS ? &bus_before : &segv_before, nullptr);
}

void catch_faults() {
  struct sigaction action = {};
  action.sa_sigaction = fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;  // the thread's stack may be what ran out
  sigaction(SIGSEGV, &action, &segv_before);
  sigaction(SIGBUS, &action, &bus_before);
}

}  // namespace emulator

// What code compiled with -fsanitize=bounds,alignment calls; each report begins with the place in the source.
struct Source {
  const char *file;
  unsigned line, column;
};

extern "C" void __ubsan_handle_out_of_bounds_abort(const Source *source, unsigned long index) {
  emulator::fail("%s:%u:%u: index %ld is outside of the array", source->file, source->line, source->column,
                 (long)index);
}

extern "C" void __ubsan_handle_type_mismatch_v1_abort(const Source *source, unsigned long address) {
  emulator::fail("%s:%u:%u: the address %#lx is not aligned for its type", source->file, source->line, source->column,
                 address);
}
