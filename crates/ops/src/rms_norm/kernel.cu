#include "common.cuh"

// One block a row. The sum is formed again in the second pass rather than kept: it is in the cache, unrounded.
template <class T>
__device__ void rms_norm(T *sum, T *y, float *inverse, const T *x, const T *added, const T *weight, Mask mask,
                         float eps, int d) {
    long long start = (long long)blockIdx.x * d;
    auto value = [&](int i) {
        float v = load(x, start + i);
        return added ? v + load(added, start + i) * mask.factor((unsigned)(start + i)) : v;
    };
    float squares = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float v = value(i);
        squares += v * v;
    }
    float r = 1.0f / sqrtf(block_sum(squares) / d + eps);
    if (threadIdx.x == 0) inverse[blockIdx.x] = r;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float v = value(i);
        if (added) store(sum, start + i, v);
        store(y, start + i, v * r * load(weight, i));
    }
}

// dx = r (w dy) - x r^3 / d sum(w dy x), one block a row.
template <class T, class Out>
__device__ void rms_norm_backward(Out *dx, const T *dy, const T *x, const T *weight, const float *inverse, int d,
                                  int accumulate) {
    long long start = (long long)blockIdx.x * d;
    float r = inverse[blockIdx.x], product = 0.0f;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        product += load(dy, start + i) * load(x, start + i) * load(weight, i);
    float c = -block_sum(product) * r * r * r / d;
    for (int i = threadIdx.x; i < d; i += blockDim.x)
        put(dx, start + i, load(x, start + i) * c + load(dy, start + i) * load(weight, i) * r, accumulate);
}

// The sum of dy x r over a slice of the rows for each column: partial (slices, d). blockIdx.x is the slice, blockIdx.y
// the block of columns.
template <class T>
__device__ void rms_norm_weight_partial(float *partial, const T *dy, const T *x, const float *inverse, int rows,
                                        int slice, int d) {
    int column = blockIdx.y * blockDim.x + threadIdx.x;
    if (column >= d) return;
    int begin = blockIdx.x * slice, end = min(begin + slice, rows);
    float sum = 0.0f;
    for (int row = begin; row < end; row++) {
        long long i = (long long)row * d + column;
        sum += load(dy, i) * load(x, i) * inverse[row];
    }
    partial[(long long)blockIdx.x * d + column] = sum;
}

template <class Out>
__device__ void rms_norm_weight(Out *dw, const float *partial, int slices, int d, int accumulate) {
    for (long long column = first(); column < d; column += stride()) {
        float sum = 0.0f;
        for (int slice = 0; slice < slices; slice++) sum += partial[(long long)slice * d + column];
        put(dw, column, sum, accumulate);
    }
}

#define RMS_NORM(T, suffix)                                                                                          \
    extern "C" __global__ void tallow_rms_norm_##suffix(T *sum, T *y, float *inverse, const T *x, const T *added,   \
                                                        const T *weight, Mask mask, float eps, int d) {             \
        rms_norm(sum, y, inverse, x, added, weight, mask, eps, d);                                                   \
    }                                                                                                                \
    extern "C" __global__ void tallow_rms_norm_weight_partial_##suffix(float *partial, const T *dy, const T *x,     \
                                                                       const float *inverse, int rows, int slice,   \
                                                                       int d) {                                     \
        rms_norm_weight_partial(partial, dy, x, inverse, rows, slice, d);                                            \
    }
#define RMS_NORM_BACKWARD(name, T, Out)                                                                              \
    extern "C" __global__ void name(Out *dx, const T *dy, const T *x, const T *weight, const float *inverse, int d, \
                                    int accumulate) {                                                                \
        rms_norm_backward(dx, dy, x, weight, inverse, d, accumulate);                                                \
    }
#define RMS_NORM_WEIGHT(name, Out)                                                                                   \
    extern "C" __global__ void name(Out *dw, const float *partial, int slices, int d, int accumulate) {             \
        rms_norm_weight(dw, partial, slices, d, accumulate);                                                         \
    }

RMS_NORM(float, f32)
RMS_NORM(bf16, bf16)
RMS_NORM_BACKWARD(tallow_rms_norm_backward_f32_f32, float, float)
RMS_NORM_BACKWARD(tallow_rms_norm_backward_bf16_bf16, bf16, bf16)
RMS_NORM_BACKWARD(tallow_rms_norm_backward_bf16_f32, bf16, float)
RMS_NORM_WEIGHT(tallow_rms_norm_weight_f32, float)
RMS_NORM_WEIGHT(tallow_rms_norm_weight_bf16, bf16)
