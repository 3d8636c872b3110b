#include "common.cuh"

// y = x f b, or y += x f b; without b, 1. One block a row.
template <class T, class Out>
__device__ void mul_columns(Out *y, const T *x, const T *factors, const float *by, int d, int accumulate) {
    long long start = (long long)blockIdx.x * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float factor = load(factors, i);
        if (by) factor *= by[i];
        put(y, start + i, load(x, start + i) * factor, accumulate);
    }
}

// y = x + b. One block a row.
template <class T>
__device__ void add_columns(T *y, const T *x, const T *b, int d) {
    long long start = (long long)blockIdx.x * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) store(y, start + i, load(x, start + i) + load(b, i));
}

// The sum of dy x, without x of dy, over a slice of the rows for each column: partial (slices, d). blockIdx.x is the
// slice, blockIdx.y the block of columns.
template <class T>
__device__ void sum_columns_partial(float *partial, const T *dy, const T *x, int rows, int slice, int d) {
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    int begin = blockIdx.x * slice, end = min(begin + slice, rows);
    float sum = 0.0f;
    for (int row = begin; row < end; row++) {
        long long i = (long long)row * d + column;
        sum += x ? load(dy, i) * load(x, i) : load(dy, i);
    }
    partial[(long long)blockIdx.x * d + column] = sum;
}

// The slices' sums, times b and over o where these are; a column whose o is 0 has 0.
template <class T, class Out>
__device__ void sum_columns(Out *sums, const float *partial, const float *by, const T *over, int slices, int d,
                            int accumulate) {
    for (long long column = first(); column < d; column += stride()) {
        float sum = 0.0f;
        for (int slice = 0; slice < slices; slice++) sum += partial[(long long)slice * d + column];
        if (by) sum *= by[column];
        if (over) {
            float divisor = load(over, column);
            sum = divisor == 0.0f ? 0.0f : sum / divisor;
        }
        put(sums, column, sum, accumulate);
    }
}

#define COLUMNS(T, suffix)                                                                                           \
    extern "C" __global__ void tallow_add_columns_##suffix(T *y, const T *x, const T *b, int d) {                   \
        add_columns(y, x, b, d);                                                                                     \
    }                                                                                                                \
    extern "C" __global__ void tallow_sum_columns_partial_##suffix(float *partial, const T *dy, const T *x,         \
                                                                   int rows, int slice, int d) {                    \
        sum_columns_partial(partial, dy, x, rows, slice, d);                                                         \
    }
#define COLUMNS_INTO(T, Out, suffix)                                                                                 \
    extern "C" __global__ void tallow_mul_columns_##suffix(Out *y, const T *x, const T *factors, const float *by,   \
                                                           int d, int accumulate) {                                 \
        mul_columns(y, x, factors, by, d, accumulate);                                                               \
    }                                                                                                                \
    extern "C" __global__ void tallow_sum_columns_##suffix(Out *sums, const float *partial, const float *by,        \
                                                           const T *over, int slices, int d, int accumulate) {      \
        sum_columns(sums, partial, by, over, slices, d, accumulate);                                                 \
    }

COLUMNS(float, f32)
COLUMNS(bf16, bf16)
COLUMNS_INTO(float, float, f32_f32)
COLUMNS_INTO(bf16, bf16, bf16_bf16)
COLUMNS_INTO(bf16, float, bf16_f32)
