#include "common.cuh"

// y = factor x, or y += factor x. The factor may lie on the device.
template <class In, class Out>
__device__ void add(Out *y, const In *x, float factor, const float *device_factor, long long n, int accumulate) {
    if (device_factor) factor *= *device_factor;
    for (long long i = first(); i < n; i += stride()) put(y, i, factor * load(x, i), accumulate);
}

#define ADD(name, In, Out)                                                                                          \
    extern "C" __global__ void name(Out *y, const In *x, float factor, const float *device_factor, long long n,     \
                                    int accumulate) {                                                               \
        add(y, x, factor, device_factor, n, accumulate);                                                            \
    }

ADD(tallow_add_f32_f32, float, float)
ADD(tallow_add_bf16_bf16, bf16, bf16)
ADD(tallow_add_bf16_f32, bf16, float)
ADD(tallow_add_f32_bf16, float, bf16)
