#include "common.cuh"

// A block's part of the sum of squares, in f64.
extern "C" __global__ void tallow_squares_partial(double *partial, const float *x, long long n) {
    double sum = 0.0;
    for (long long i = first(); i < n; i += stride()) sum += (double)x[i] * x[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// The whole sum, by one block.
extern "C" __global__ void tallow_squares(float *squares, const double *partial, int parts) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < parts; i += blockDim.x) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *squares = (float)sum;
}

struct Range {
    long long start, end;
    float rate, keep;
};

struct Constants {
    float beta1, beta2, gain1, gain2, eps, second_scale, gradient_scale, max_grad_norm;
};

// One step over a range of the buffer [p | m | v]; see `Step::factor` for what multiplies the gradients.
template <class T>
__device__ void adamw(float *state, float *gradients, T *compute, const float *squares, long long n, Range range,
                      Constants c) {
    float norm = sqrtf(*squares) * c.gradient_scale;
    bool finite = isfinite(norm);
    float clip = c.max_grad_norm > 0.0f ? fminf(c.max_grad_norm / (norm + 1e-6f), 1.0f) : 1.0f;
    float factor = clip * c.gradient_scale;
    for (long long i = range.start + first(); i < range.end; i += stride()) {
        float gradient = gradients[i] * factor;
        gradients[i] = 0.0f;
        if (!finite) continue;
        float m = c.beta1 * state[n + i] + c.gain1 * gradient;
        float v = c.beta2 * state[2 * n + i] + c.gain2 * gradient * gradient;
        float p = state[i] * range.keep - range.rate * m / (sqrtf(v) * c.second_scale + c.eps);
        state[i] = p;
        state[n + i] = m;
        state[2 * n + i] = v;
        if (compute) store(compute, i, p);
    }
}

#define ADAMW(T, suffix)                                                                                             \
    extern "C" __global__ void tallow_adamw_##suffix(float *state, float *gradients, T *compute,                    \
                                                     const float *squares, long long n, Range range, Constants c) { \
        adamw(state, gradients, compute, squares, n, range, c);                                                      \
    }

ADAMW(float, f32)
ADAMW(bf16, bf16)
