#include "common.cuh"

template <class T>
__device__ void relu(T *y, const T *x, long long n) {
    for (long long i = first(); i < n; i += stride()) {
        float value = load(x, i);
        // NaN stays.
        store(y, i, value < 0.0f ? 0.0f : value);
    }
}

template <class T, class Out>
__device__ void relu_backward(Out *dx, const T *dy, const T *y, long long n, int accumulate) {
    for (long long i = first(); i < n; i += stride())
        put(dx, i, load(y, i) > 0.0f ? load(dy, i) : 0.0f, accumulate);
}

#define RELU(name, T) \
    extern "C" __global__ void name(T *y, const T *x, long long n) { relu(y, x, n); }
#define RELU_BACKWARD(name, T, Out)                                                                        \
    extern "C" __global__ void name(Out *dx, const T *dy, const T *y, long long n, int accumulate) { \
        relu_backward(dx, dy, y, n, accumulate);                                                           \
    }

RELU(tallow_relu_f32, float)
RELU(tallow_relu_bf16, bf16)
RELU_BACKWARD(tallow_relu_backward_f32_f32, float, float)
RELU_BACKWARD(tallow_relu_backward_bf16_bf16, bf16, bf16)
RELU_BACKWARD(tallow_relu_backward_bf16_f32, bf16, float)
