#include "memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "interface.hpp"
#include "settings.hpp"

namespace emulator {

namespace {

constexpr size_t guard = 256;  // also the alignment, as the GPU's allocator gives it
constexpr unsigned char pattern = 0xa5;

struct Allocation {
  size_t size, charged;  // what counts against the device's memory
  bool pooled;
  char *base;  // of what the host gave
  size_t mapped;  // 0 if it came from malloc
  size_t before, after;  // the guard zones' lengths
};

std::recursive_mutex one;
std::map<uintptr_t, Allocation> live;
size_t outside;  // charged for memory that is not the pool's
size_t used, used_high, reserved, reserved_high, threshold;

size_t round_up(size_t x, size_t to) { return (x + to - 1) / to * to; }

// The end lies directly before a page that cannot be accessed, as far as 16-byte alignment lets it, and so does the
// beginning after another: reads beyond either fault at once.
char *fenced(size_t size, Allocation &a) {
  const size_t page = sysconf(_SC_PAGESIZE), inner = round_up(size, page);
  a.mapped = inner + 2 * page;
  a.base = static_cast<char *>(mmap(nullptr, a.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (a.base == MAP_FAILED) fail("the host has no more memory");
  mprotect(a.base, page, PROT_NONE);
  mprotect(a.base + page + inner, page, PROT_NONE);
  a.before = inner - round_up(size, 16);
  a.after = round_up(size, 16) - size;
  return a.base + page + a.before;
}

char *guarded(size_t size, Allocation &a) {
  a.before = guard;
  a.after = guard + round_up(size, guard) - size;
  a.base = static_cast<char *>(aligned_alloc(guard, a.before + size + a.after));
  if (!a.base) fail("the host has no more memory");
  return a.base + a.before;
}

bool intact(const unsigned char *p, size_t n) {
  return std::all_of(p, p + n, [](unsigned char c) { return c == pattern; });
}

void check(uintptr_t at, const Allocation &a, const char *ran) {
  const unsigned char *const data = reinterpret_cast<unsigned char *>(at);
  if (!intact(data - a.before, a.before))
    fail("%s wrote before the beginning of %zu bytes of device memory at %p", ran, a.size, (const void *)data);
  if (!intact(data + a.size, a.after))
    fail("%s wrote beyond the end of %zu bytes of device memory at %p", ran, a.size, (const void *)data);
}

// The allocation that begins at or before the address, or live.end().
std::map<uintptr_t, Allocation>::iterator at_or_before(uintptr_t address) {
  auto it = live.upper_bound(address);
  return it == live.begin() ? live.end() : std::prev(it);
}

}  // namespace

void *allocate(size_t size, bool pooled) {
  std::lock_guard lock(one);
  const size_t total = settings().memory, charged = round_up(size, 512);
  if (charged < size || used + outside + charged > total) return nullptr;
  if (!pooled && reserved + outside + charged > total) reserved = used;  // the pool gives back what it only keeps
  Allocation a = {};
  a.size = size;
  a.charged = charged;
  a.pooled = pooled;
  char *const data = settings().check >= 2 ? fenced(size, a) : guarded(size, a);
  memset(data - a.before, pattern, a.before);
  memset(data, 0xff, size);  // NaN in every float format
  memset(data + size, pattern, a.after);
  live[reinterpret_cast<uintptr_t>(data)] = a;
  if (pooled) {
    used += charged;
    used_high = std::max(used_high, used);
    reserved = std::max(reserved, used);
    reserved_high = std::max(reserved_high, reserved);
  } else {
    outside += charged;
  }
  return data;
}

bool release(void *pointer) {
  std::lock_guard lock(one);
  const auto it = live.find(reinterpret_cast<uintptr_t>(pointer));
  if (it == live.end()) return false;
  const Allocation a = it->second;
  check(it->first, a, "a kernel (EMULATOR_CHECK=1 tells which)");
  (a.pooled ? used : outside) -= a.charged;
  live.erase(it);
  if (a.mapped) {
    munmap(a.base, a.mapped);
  } else {
    memset(pointer, 0xff, a.size);  // whoever still reads it gets NaN
    free(a.base);
  }
  return true;
}

bool is_device(const void *pointer, size_t size) {
  std::lock_guard lock(one);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  const auto it = at_or_before(address);
  return it != live.end() && address - it->first <= it->second.size && size <= it->second.size - (address - it->first);
}

void require_device(const void *pointer, size_t size, const char *what) {
  if (size == 0 || is_device(pointer, size)) return;
  char text[200];
  describe(pointer, text, sizeof text);
  fail("%s: %zu bytes at %p: not all in one piece of device memory (%s)", what, size, pointer, text);
}

void check_guards(const char *ran) {
  std::lock_guard lock(one);
  for (const auto &[at, a] : live) check(at, a, ran);
}

void describe(const void *pointer, char *text, size_t size) {
  std::lock_guard lock(one);
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  const auto it = at_or_before(address);
  if (it != live.end() && address - it->first < it->second.size + 65536)
    snprintf(text, size, "byte %zu from the beginning of an allocation of %zu bytes", (size_t)(address - it->first),
             it->second.size);
  else
    snprintf(text, size, "not near any allocation");
}

Usage usage() {
  std::lock_guard lock(one);
  const size_t total = settings().memory, taken = std::min(total, reserved + outside);
  return {total - taken, total, used, used_high, reserved, reserved_high, threshold};
}

void set_threshold(size_t bytes) {
  std::lock_guard lock(one);
  threshold = bytes;
}

void reset_high(bool of_used, bool of_reserved) {
  std::lock_guard lock(one);
  if (of_used) used_high = used;
  if (of_reserved) reserved_high = reserved;
}

void trim(size_t keep) {
  std::lock_guard lock(one);
  reserved = std::max(used, std::min(reserved, keep));
}

void trim_to_threshold() {
  std::lock_guard lock(one);
  trim(threshold);
}

}  // namespace emulator
