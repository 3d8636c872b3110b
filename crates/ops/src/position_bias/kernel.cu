#include "common.cuh"

// y (heads, n) from table (buckets, heads). An index that has no bucket gives NaN.
template <class T>
__device__ void position_bias(float *y, const T *table, const unsigned *index, int buckets, int heads, int n) {
    for (long long i = first(); i < (long long)heads * n; i += stride()) {
        unsigned bucket = index[i % n];
        y[i] = bucket < (unsigned)buckets ? load(table, (long long)bucket * heads + i / n) : CUDART_NAN_F;
    }
}

// One thread for each head of each bucket sums what the distances in it received.
template <class Out>
__device__ void position_bias_backward(Out *table, const float *dy, const unsigned *index, int buckets, int heads,
                                       int n, int accumulate) {
    for (long long i = first(); i < (long long)buckets * heads; i += stride()) {
        unsigned bucket = i / heads;
        const float *row = dy + (i % heads) * n;
        float sum = 0.0f;
        for (int j = 0; j < n; j++)
            if (index[j] == bucket) sum += row[j];
        put(table, i, sum, accumulate);
    }
}

#define POSITION_BIAS(T, suffix)                                                                                     \
    extern "C" __global__ void tallow_position_bias_##suffix(float *y, const T *table, const unsigned *index,       \
                                                             int buckets, int heads, int n) {                       \
        position_bias(y, table, index, buckets, heads, n);                                                           \
    }                                                                                                                \
    extern "C" __global__ void tallow_position_bias_backward_##suffix(                                              \
        T *table, const float *dy, const unsigned *index, int buckets, int heads, int n, int accumulate) {          \
        position_bias_backward(table, dy, index, buckets, heads, n, accumulate);                                     \
    }

POSITION_BIAS(float, f32)
POSITION_BIAS(bf16, bf16)
