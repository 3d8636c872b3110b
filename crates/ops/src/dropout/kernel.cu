#include "common.cuh"

template <class In, class Out>
__device__ void dropout(Out *y, const In *x, Mask mask, long long n, int accumulate) {
    for (long long i = first(); i < n; i += stride())
        put(y, i, load(x, i) * mask.factor((unsigned)i), accumulate);
}

#define DROPOUT(name, In, Out)                                                                            \
    extern "C" __global__ void name(Out *y, const In *x, Mask mask, long long n, int accumulate) { \
        dropout(y, x, mask, n, accumulate);                                                               \
    }

DROPOUT(tallow_dropout_f32_f32, float, float)
DROPOUT(tallow_dropout_bf16_bf16, bf16, bf16)
DROPOUT(tallow_dropout_bf16_f32, bf16, float)
