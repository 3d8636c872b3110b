// libcurand.so.10: uniform and normal numbers, not those of the real library. Each is a hash of seed and position, so
// that a seed gives the same numbers again.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "memory.hpp"

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status : int { success = 0, not_initialized = 101, length_not_multiple = 105 };

struct Generator {
  uint64_t seed = 0, position = 0;
};

uint64_t hash(uint64_t x) {
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

uint64_t next(Generator &g) { return hash(hash(g.seed + 0x9e3779b97f4a7c15) + 0x9e3779b97f4a7c15 * ++g.position); }

// In (0, 1]: cuRAND leaves out zero, not one.
double uniform(Generator &g) { return ((next(g) >> 11) + 1) * 0x1p-53; }

template <class T>
int fill_uniform(Generator *g, T *out, size_t n) {
  if (!g) return not_initialized;
  emulator::require_device(out, n * sizeof(T), "cuRAND's output");
  for (size_t i = 0; i < n; i++) {
    const T x = (T)uniform(*g);
    out[i] = x > 0 ? x : T(0x1p-33);
  }
  return success;
}

// Normal numbers are made in pairs, and only an even count is taken.
template <class T>
int fill_normal(Generator *g, T *out, size_t n, T mean, T deviation) {
  if (!g) return not_initialized;
  if (n % 2) return length_not_multiple;
  emulator::require_device(out, n * sizeof(T), "cuRAND's output");
  for (size_t i = 0; i < n; i += 2) {
    const double radius = std::sqrt(-2 * std::log(uniform(*g))), angle = 2 * M_PI * uniform(*g);
    out[i] = mean + deviation * (T)(radius * std::cos(angle));
    out[i + 1] = mean + deviation * (T)(radius * std::sin(angle));
  }
  return success;
}

}  // namespace

API int curandCreateGenerator(Generator **g, int) { return *g = new Generator, success; }
API int curandDestroyGenerator(Generator *g) { return g ? delete g, success : not_initialized; }
API int curandSetStream(Generator *g, void *) { return g ? success : not_initialized; }
API int curandSetPseudoRandomGeneratorSeed(Generator *g, unsigned long long seed) {
  return g ? g->seed = seed, g->position = 0, success : not_initialized;
}
API int curandSetGeneratorOffset(Generator *g, unsigned long long offset) {
  return g ? g->position = offset, success : not_initialized;
}
API int curandGetVersion(int *version) { return *version = 10400, success; }

API int curandGenerateUniform(Generator *g, float *out, size_t n) { return fill_uniform(g, out, n); }
API int curandGenerateUniformDouble(Generator *g, double *out, size_t n) { return fill_uniform(g, out, n); }
API int curandGenerateNormal(Generator *g, float *out, size_t n, float mean, float deviation) {
  return fill_normal(g, out, n, mean, deviation);
}
API int curandGenerateNormalDouble(Generator *g, double *out, size_t n, double mean, double deviation) {
  return fill_normal(g, out, n, mean, deviation);
}
API int curandGenerate(Generator *g, unsigned *out, size_t n) {
  if (!g) return not_initialized;
  emulator::require_device(out, n * sizeof *out, "cuRAND's output");
  for (size_t i = 0; i < n; i++) out[i] = (unsigned)(next(*g) >> 32);
  return success;
}
