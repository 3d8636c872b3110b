#include "common.cuh"

static const float C = 0.7978845608028654f;  // sqrt(2 / pi)
static const float A = 0.044715f;

__device__ __forceinline__ float inner(float x) { return tanhf(C * (x + A * x * x * x)); }

template <class T>
__device__ void gated_gelu(T *y, const T *gate, const T *up, long long n) {
    for (long long i = first(); i < n; i += stride()) {
        float g = load(gate, i);
        store(y, i, 0.5f * g * (1.0f + inner(g)) * load(up, i));
    }
}

// Writes dup over dy.
template <class T>
__device__ void gated_gelu_backward(T *dgate, T *dy, const T *gate, const T *up, long long n) {
    for (long long i = first(); i < n; i += stride()) {
        float g = load(gate, i), d = load(dy, i);
        float tanh = inner(g), half = 0.5f * (1.0f + tanh);
        float bend = 0.5f * C * g * (1.0f - tanh * tanh) * (1.0f + 3.0f * A * g * g);
        store(dgate, i, d * load(up, i) * (half + bend));
        store(dy, i, d * g * half);
    }
}

#define GATED_GELU(T, suffix)                                                                                  \
    extern "C" __global__ void tallow_gated_gelu_##suffix(T *y, const T *gate, const T *up, long long n) {    \
        gated_gelu(y, gate, up, n);                                                                            \
    }                                                                                                          \
    extern "C" __global__ void tallow_gated_gelu_backward_##suffix(T *dgate, T *dy, const T *gate, const T *up, \
                                                                   long long n) {                              \
        gated_gelu_backward(dgate, dy, gate, up, n);                                                           \
    }

GATED_GELU(float, f32)
GATED_GELU(bf16, bf16)
