// What the kernels share. Values are read as f32 and rounded once, where they are written.
#pragma once

#include <cuda_bf16.h>
#include <math_constants.h>

typedef __nv_bfloat16 bf16;

static const int WARP = 32;

__device__ __forceinline__ float load(const float *p, long long i) { return p[i]; }
__device__ __forceinline__ float load(const bf16 *p, long long i) { return __bfloat162float(p[i]); }
__device__ __forceinline__ void store(float *p, long long i, float x) { p[i] = x; }
__device__ __forceinline__ void store(bf16 *p, long long i, float x) { p[i] = __float2bfloat16(x); }

// Writes x, or adds it to what is there.
template <class T>
__device__ __forceinline__ void put(T *p, long long i, float x, int accumulate) {
    store(p, i, accumulate ? load(p, i) + x : x);
}

// The first element of a thread, and the distance to its next one, in a grid of one dimension.
__device__ __forceinline__ long long first() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ __forceinline__ long long stride() { return (long long)gridDim.x * blockDim.x; }

// The sum over a warp, in every lane.
template <class T>
__device__ __forceinline__ T warp_sum(T x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) x += __shfl_xor_sync(0xffffffffu, x, lane);
    return x;
}

// The greatest value of a warp, in every lane.
__device__ __forceinline__ float warp_max(float x) {
    for (int lane = WARP / 2; lane > 0; lane /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, lane));
    return x;
}

// The sum over a block of whole warps, in every thread. The order of the additions is fixed.
template <class T>
__device__ __forceinline__ T block_sum(T x) {
    __shared__ T parts[WARP];
    int warps = blockDim.x / WARP, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    x = warp_sum(x);
    // Who reads the sum before this one is done.
    __syncthreads();
    if (lane == 0) parts[warp] = x;
    __syncthreads();
    x = lane < warps ? parts[lane] : T(0);
    return warp_sum(x);
}

__device__ __forceinline__ float block_max(float x) {
    __shared__ float parts[WARP];
    int warps = blockDim.x / WARP, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0) parts[warp] = x;
    __syncthreads();
    x = lane < warps ? parts[lane] : -CUDART_INF_F;
    return warp_max(x);
}

// Which elements are kept: a keyed hash of the index, as `Mask` in dropout/random.rs has it, bit for bit. One that
// keeps all of them has threshold 0 and scale 1.
struct Mask {
    unsigned key0, key1, threshold;
    float scale;

    __device__ __forceinline__ float factor(unsigned index) const {
        unsigned x = (index ^ key0) * 0x7FEB352Du;
        x = ((x ^ (x >> 15)) ^ key1) * 0x846CA68Bu;
        x = (x ^ (x >> 16)) * 0x9E3779B1u;
        x ^= x >> 15;
        return x >= threshold ? scale : 0.0f;
    }

    __device__ __forceinline__ Mask row(unsigned index) const {
        unsigned x = (index ^ key1) * 0xC2B2AE35u;
        x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
        return Mask{key0 ^ x ^ (x >> 13), key1 + x, threshold, scale};
    }
};
