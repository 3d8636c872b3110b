// libcublas.so.13: products of matrices, column-major as cuBLAS has them. Panels are converted to float (or double) as
// they are packed, and products are summed in that type.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "memory.hpp"
#include "settings.hpp"

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Status : int { success = 0, not_initialized = 1, invalid_value = 7, not_supported = 15 };
enum Type : int { f32 = 0, f64 = 1, f16 = 2, bf16 = 14 };
enum Compute : int {
  compute_16f = 64,
  compute_16f_pedantic = 65,
  compute_32f = 68,
  compute_32f_pedantic = 69,
  compute_64f = 70,
  compute_64f_pedantic = 71,
  compute_32f_fast_16f = 74,
  compute_32f_fast_16bf = 75,
  compute_32f_fast_tf32 = 77,
};

struct Handle {
  void *stream = nullptr;
  int math_mode = 0, pointer_mode = 0;
};

size_t size_of(int type) { return type == f64 ? 8 : type == f32 ? 4 : 2; }

struct Matrix {
  const void *data;
  int type;
  long ld;
  bool transposed;
};

struct Product {
  long m, n, k;
  Matrix a, b;
  void *c;
  int c_type;
  long ldc;
  int compute;
  double alpha, beta;
};

// What tensor cores make of a float: ten bits of fraction, to nearest, ties away from zero.
float to_tf32(float x) {
  const unsigned u = emulator_bits<unsigned>(x);
  return (u & 0x7f800000) == 0x7f800000 ? x : emulator_bits<float>((u + 0x1000) & ~0x1fffu);
}

float load(const float *p, int compute) {
  switch (compute) {
    case compute_32f_fast_tf32: return to_tf32(*p);
    case compute_32f_fast_16bf: return __nv_bfloat16(*p);
    case compute_32f_fast_16f: return __half(*p);
  }
  return *p;
}
float load(const __nv_bfloat16 *p, int) { return *p; }
float load(const __half *p, int) { return *p; }
double load(const double *p, int) { return *p; }

// Packs strips, the last one filled up with zeros: packed[s][p][i] is element i of strip s at depth p. In memory, the
// next i is `across` elements away and the next p `along`.
template <class T, class S>
void pack(T *packed, const S *from, long across, long along, long count, long depth, int strip, int compute) {
  for (long s = 0; s < count; s += strip, packed += strip * depth) {
    const long filled = std::min<long>(strip, count - s);
    const S *const first = from + s * across;
    // In the order in which memory is.
    if (across == 1)
      for (long p = 0; p < depth; p++)
        for (long i = 0; i < filled; i++) packed[p * strip + i] = load(first + p * along + i, compute);
    else
      for (long i = 0; i < filled; i++)
        for (long p = 0; p < depth; p++) packed[p * strip + i] = load(first + i * across + p * along, compute);
    for (long i = filled; i < strip; i++)
      for (long p = 0; p < depth; p++) packed[p * strip + i] = 0;
  }
}

// Packs rows of op(A), or columns of op(B): `count` of them from `first` on, from depth `start` on.
template <class T>
void pack_any(T *packed, const Matrix &x, bool rows, long first, long start, long count, long depth, int strip,
              int compute) {
  const bool neighbours = rows != x.transposed;  // in memory: those of a column of the matrix as stored
  const long across = neighbours ? 1 : x.ld, along = neighbours ? x.ld : 1;
  const long offset = first * across + start * along;
  const auto go = [&](const auto *data) { pack(packed, data + offset, across, along, count, depth, strip, compute); };
  switch (x.type) {
    case f32: return go(static_cast<const float *>(x.data));
    case f64: return go(static_cast<const double *>(x.data));
    case f16: return go(static_cast<const __half *>(x.data));
    case bf16: return go(static_cast<const __nv_bfloat16 *>(x.data));
  }
}

constexpr long block_m = 128, block_n = 192, block_k = 256;

template <class T>
struct Kernel {
  typedef T Vector __attribute__((vector_size(32)));
  static constexpr int lanes = 32 / sizeof(T), height = 2 * lanes, width = 6;

  // tile (height by width, in columns `ld` apart) += a * b, of packed strips.
  static void multiply(T *tile, long ld, const T *a, const T *b, long depth) {
    Vector sum[width][2] = {};
    for (long p = 0; p < depth; p++, a += height, b += width) {
      Vector low, high;
      memcpy(&low, a, sizeof low);
      memcpy(&high, a + lanes, sizeof high);
#pragma GCC unroll 6
      for (int j = 0; j < width; j++) {
        sum[j][0] += low * b[j];
        sum[j][1] += high * b[j];
      }
    }
#pragma GCC unroll 6
    for (int j = 0; j < width; j++)
      for (int i = 0; i < height; i++) tile[j * ld + i] += sum[j][i / lanes][i % lanes];
  }
};

template <class T, class C>
void store(C *c, long ldc, const T *tile, long rows, long columns, const Product &x) {
  const T alpha = (T)x.alpha, beta = (T)x.beta;
  for (long j = 0; j < columns; j++)
    for (long i = 0; i < rows; i++) {
      C &to = c[j * ldc + i];
      T value = alpha * tile[j * block_m + i];
      if (beta != 0) value += beta * (T)load(&to, compute_32f);  // else what stands there may be anything
      to = value;
    }
}

template <class T>
void multiply(const Product &x) {
  using K = Kernel<T>;
  static thread_local std::vector<T> a(block_m * block_k), b(block_k * block_n), tile(block_m * block_n);
  for (long j = 0; j < x.n; j += block_n)
    for (long i = 0; i < x.m; i += block_m) {
      const long rows = std::min(block_m, x.m - i), columns = std::min(block_n, x.n - j);
      std::fill(tile.begin(), tile.end(), T(0));
      for (long p = 0; p < x.k && x.alpha != 0; p += block_k) {
        const long depth = std::min(block_k, x.k - p);
        pack_any(a.data(), x.a, true, i, p, rows, depth, K::height, x.compute);
        pack_any(b.data(), x.b, false, j, p, columns, depth, K::width, x.compute);
        for (long jj = 0; jj < columns; jj += K::width)
          for (long ii = 0; ii < rows; ii += K::height)
            K::multiply(&tile[jj * block_m + ii], block_m, &a[ii * depth], &b[jj * depth], depth);
      }
      const long offset = j * x.ldc + i;
      switch (x.c_type) {
        case f32: store(static_cast<float *>(x.c) + offset, x.ldc, tile.data(), rows, columns, x); break;
        case f64: store(static_cast<double *>(x.c) + offset, x.ldc, tile.data(), rows, columns, x); break;
        case f16: store(static_cast<__half *>(x.c) + offset, x.ldc, tile.data(), rows, columns, x); break;
        case bf16: store(static_cast<__nv_bfloat16 *>(x.c) + offset, x.ldc, tile.data(), rows, columns, x); break;
      }
    }
}

// The combinations of types that the documentation lists for GemmEx and its batched kin, real ones without int8.
bool supported(int compute, int a, int b, int c) {
  if (a != b) return false;
  switch (compute) {
    case compute_16f:
    case compute_16f_pedantic: return a == f16 && c == f16;
    case compute_64f:
    case compute_64f_pedantic: return a == f64 && c == f64;
    case compute_32f:
    case compute_32f_pedantic:
    case compute_32f_fast_16f:
    case compute_32f_fast_16bf:
    case compute_32f_fast_tf32: return a == f32 ? c == f32 : (a == f16 || a == bf16) && (c == a || c == f32);
  }
  return false;
}

// alpha and beta have the type of the computation.
double scalar(const void *p, int compute) {
  if (compute == compute_64f || compute == compute_64f_pedantic) return *static_cast<const double *>(p);
  if (compute == compute_16f || compute == compute_16f_pedantic) return float(*static_cast<const __half *>(p));
  return *static_cast<const float *>(p);
}

bool sizes_are_valid(int op_a, int op_b, int m, int n, int k, int lda, int ldb, int ldc) {
  if (op_a < 0 || op_a > 2 || op_b < 0 || op_b > 2 || m < 0 || n < 0 || k < 0) return false;
  return lda >= std::max(1, op_a ? k : m) && ldb >= std::max(1, op_b ? n : k) && ldc >= std::max(1, m);
}

// One product, of matrices that must lie in device memory whole.
void multiply_checked(const char *name, const Product &x) {
  if (!x.m || !x.n) return;
  const auto require = [&](const void *data, int type, long rows, long columns, long ld, const char *which) {
    const std::string what = std::string(name) + ": " + which;
    if (rows && columns)
      emulator::require_device(data, ((columns - 1) * ld + rows) * size_of(type), what.c_str());
  };
  if (x.alpha != 0) {
    require(x.a.data, x.a.type, x.a.transposed ? x.k : x.m, x.a.transposed ? x.m : x.k, x.a.ld, "A");
    require(x.b.data, x.b.type, x.b.transposed ? x.n : x.k, x.b.transposed ? x.k : x.n, x.b.ld, "B");
  }
  require(x.c, x.c_type, x.m, x.n, x.ldc, "C");
  x.c_type == f64 ? multiply<double>(x) : multiply<float>(x);
}

const void *plus(const void *p, long bytes) { return static_cast<const char *>(p) + bytes; }

int strided(const char *name, Handle *handle, int op_a, int op_b, int m, int n, int k, const void *alpha, const void *a,
            int a_type, int lda, long stride_a, const void *b, int b_type, int ldb, long stride_b, const void *beta,
            void *c, int c_type, int ldc, long stride_c, int count, int compute) {
  if (!handle) return not_initialized;
  if (!sizes_are_valid(op_a, op_b, m, n, k, lda, ldb, ldc) || count < 0 || !alpha || !beta) return invalid_value;
  if (!supported(compute, a_type, b_type, c_type)) return not_supported;
  if (compute == compute_32f && handle->math_mode == 3) compute = compute_32f_fast_tf32;
  for (long i = 0; i < count; i++)
    multiply_checked(name, {m, n, k,
                            {plus(a, i * stride_a * size_of(a_type)), a_type, lda, op_a != 0},
                            {plus(b, i * stride_b * size_of(b_type)), b_type, ldb, op_b != 0},
                            const_cast<void *>(plus(c, i * stride_c * size_of(c_type))), c_type, ldc, compute,
                            scalar(alpha, compute), scalar(beta, compute)});
  if (emulator::settings().check) emulator::check_guards(name);
  return success;
}

}  // namespace

API int cublasCreate_v2(Handle **handle) { return *handle = new Handle, success; }
API int cublasDestroy_v2(Handle *handle) { return handle ? delete handle, success : not_initialized; }
API int cublasSetStream_v2(Handle *handle, void *stream) {
  return handle ? handle->stream = stream, success : not_initialized;
}
API int cublasGetStream_v2(Handle *handle, void **stream) {
  return handle ? *stream = handle->stream, success : not_initialized;
}
API int cublasSetWorkspace_v2(Handle *handle, void *workspace, size_t size) {
  if (!handle) return not_initialized;
  emulator::require_device(workspace, size, "cublasSetWorkspace_v2");
  return success;
}
API int cublasSetMathMode(Handle *handle, int mode) {
  return handle ? handle->math_mode = mode, success : not_initialized;
}
API int cublasGetMathMode(Handle *handle, int *mode) {
  return handle ? *mode = handle->math_mode, success : not_initialized;
}
API int cublasSetPointerMode_v2(Handle *handle, int mode) {
  return handle ? handle->pointer_mode = mode, success : not_initialized;
}
API int cublasGetPointerMode_v2(Handle *handle, int *mode) {
  return handle ? *mode = handle->pointer_mode, success : not_initialized;
}
API int cublasSetAtomicsMode(Handle *handle, int) { return handle ? success : not_initialized; }
API int cublasGetVersion_v2(Handle *, int *version) { return *version = 130000, success; }

API const char *cublasGetStatusName(int status) {
  switch (status) {
    case success: return "CUBLAS_STATUS_SUCCESS";
    case not_initialized: return "CUBLAS_STATUS_NOT_INITIALIZED";
    case invalid_value: return "CUBLAS_STATUS_INVALID_VALUE";
    case not_supported: return "CUBLAS_STATUS_NOT_SUPPORTED";
  }
  return "unknown cuBLAS status";
}
API const char *cublasGetStatusString(int status) { return cublasGetStatusName(status); }

API int cublasSgemm_v2(Handle *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                       const float *b, int ldb, const float *beta, float *c, int ldc) {
  return strided("cublasSgemm", h, ta, tb, m, n, k, alpha, a, f32, lda, 0, b, f32, ldb, 0, beta, c, f32, ldc, 0, 1,
                 compute_32f);
}
API int cublasDgemm_v2(Handle *h, int ta, int tb, int m, int n, int k, const double *alpha, const double *a, int lda,
                       const double *b, int ldb, const double *beta, double *c, int ldc) {
  return strided("cublasDgemm", h, ta, tb, m, n, k, alpha, a, f64, lda, 0, b, f64, ldb, 0, beta, c, f64, ldc, 0, 1,
                 compute_64f);
}
API int cublasSgemmStridedBatched(Handle *h, int ta, int tb, int m, int n, int k, const float *alpha, const float *a,
                                  int lda, long long sa, const float *b, int ldb, long long sb, const float *beta,
                                  float *c, int ldc, long long sc, int count) {
  return strided("cublasSgemmStridedBatched", h, ta, tb, m, n, k, alpha, a, f32, lda, sa, b, f32, ldb, sb, beta, c, f32,
                 ldc, sc, count, compute_32f);
}
API int cublasDgemmStridedBatched(Handle *h, int ta, int tb, int m, int n, int k, const double *alpha, const double *a,
                                  int lda, long long sa, const double *b, int ldb, long long sb, const double *beta,
                                  double *c, int ldc, long long sc, int count) {
  return strided("cublasDgemmStridedBatched", h, ta, tb, m, n, k, alpha, a, f64, lda, sa, b, f64, ldb, sb, beta, c, f64,
                 ldc, sc, count, compute_64f);
}
API int cublasGemmEx(Handle *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_type,
                     int lda, const void *b, int b_type, int ldb, const void *beta, void *c, int c_type, int ldc,
                     int compute, int) {
  return strided("cublasGemmEx", h, ta, tb, m, n, k, alpha, a, a_type, lda, 0, b, b_type, ldb, 0, beta, c, c_type, ldc,
                 0, 1, compute);
}
API int cublasGemmStridedBatchedEx(Handle *h, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                                   int a_type, int lda, long long sa, const void *b, int b_type, int ldb, long long sb,
                                   const void *beta, void *c, int c_type, int ldc, long long sc, int count, int compute,
                                   int) {
  return strided("cublasGemmStridedBatchedEx", h, ta, tb, m, n, k, alpha, a, a_type, lda, sa, b, b_type, ldb, sb, beta,
                 c, c_type, ldc, sc, count, compute);
}

// The arrays of matrices are themselves in device memory; sizes and factors are the host's, one for each group.
API int cublasGemmGroupedBatchedEx(Handle *handle, const int *op_a, const int *op_b, const int *m, const int *n,
                                   const int *k, const void *alpha, const void *const *a, int a_type, const int *lda,
                                   const void *const *b, int b_type, const int *ldb, const void *beta, void *const *c,
                                   int c_type, const int *ldc, int groups, const int *group_size, int compute) {
  const char *const name = "cublasGemmGroupedBatchedEx";
  if (!handle) return not_initialized;
  if (groups < 0 || !alpha || !beta) return invalid_value;
  long count = 0;
  for (int g = 0; g < groups; g++) {
    if (!sizes_are_valid(op_a[g], op_b[g], m[g], n[g], k[g], lda[g], ldb[g], ldc[g]) || group_size[g] < 0)
      return invalid_value;
    count += group_size[g];
  }
  // Narrower than the others: C has the type of A and B, and halves are summed in float only.
  const bool narrow = a_type == f16 || a_type == bf16;
  if (c_type != a_type || !supported(compute, a_type, b_type, c_type) || (narrow && compute != compute_32f) ||
      compute == compute_16f || compute == compute_16f_pedantic)
    return not_supported;
  emulator::require_device(a, count * sizeof(void *), "cublasGemmGroupedBatchedEx: the array of A");
  emulator::require_device(b, count * sizeof(void *), "cublasGemmGroupedBatchedEx: the array of B");
  emulator::require_device(c, count * sizeof(void *), "cublasGemmGroupedBatchedEx: the array of C");
  const size_t scalar_size = compute == compute_64f ? 8 : 4;
  long i = 0;
  for (int g = 0; g < groups; g++)
    for (int end = i + group_size[g]; i < end; i++)
      multiply_checked(name, {m[g], n[g], k[g],
                              {a[i], a_type, lda[g], op_a[g] != 0},
                              {b[i], b_type, ldb[g], op_b[g] != 0},
                              c[i], c_type, ldc[g], compute,
                              scalar(plus(alpha, g * scalar_size), compute),
                              scalar(plus(beta, g * scalar_size), compute)});
  if (emulator::settings().check) emulator::check_guards(name);
  return success;
}

API int cublasGemmBatchedEx(Handle *handle, int op_a, int op_b, int m, int n, int k, const void *alpha,
                            const void *const *a, int a_type, int lda, const void *const *b, int b_type, int ldb,
                            const void *beta, void *const *c, int c_type, int ldc, int count, int compute, int) {
  const char *const name = "cublasGemmBatchedEx";
  if (!handle) return not_initialized;
  if (!sizes_are_valid(op_a, op_b, m, n, k, lda, ldb, ldc) || count < 0 || !alpha || !beta) return invalid_value;
  if (!supported(compute, a_type, b_type, c_type)) return not_supported;
  emulator::require_device(a, count * sizeof(void *), "cublasGemmBatchedEx: the array of A");
  emulator::require_device(b, count * sizeof(void *), "cublasGemmBatchedEx: the array of B");
  emulator::require_device(c, count * sizeof(void *), "cublasGemmBatchedEx: the array of C");
  for (int i = 0; i < count; i++)
    multiply_checked(name, {m, n, k,
                            {a[i], a_type, lda, op_a != 0},
                            {b[i], b_type, ldb, op_b != 0},
                            c[i], c_type, ldc, compute, scalar(alpha, compute), scalar(beta, compute)});
  if (emulator::settings().check) emulator::check_guards(name);
  return success;
}
