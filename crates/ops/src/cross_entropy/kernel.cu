#include "common.cuh"

// One block a row of logits (V), in f32: the row's loss, and over the logits' place in `slopes` what the loss changes
// by, p - (1 - e) [label] - e / V. A label that has no logit gives NaN.
template <class T>
__device__ void cross_entropy(float *losses, T *slopes, const float *logits, const unsigned *labels, int vocabulary,
                              float smoothing) {
    const float *row = logits + (long long)blockIdx.x * vocabulary;
    unsigned label = labels[blockIdx.x];
    float most = -CUDART_INF_F;
    for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) most = fmaxf(most, row[i]);
    most = block_max(most);
    float sum = 0.0f, spread = 0.0f;
    for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        sum += expf(row[i] - most);
        // Around the greatest, so that nothing is lost where all are large.
        if (smoothing > 0.0f) spread += row[i] - most;
    }
    sum = block_sum(sum);
    if (smoothing > 0.0f) spread = block_sum(spread);
    float lse = most + logf(sum);
    if (threadIdx.x == 0) {
        float picked = label < (unsigned)vocabulary ? lse - row[label] : CUDART_NAN_F;
        float loss = (1.0f - smoothing) * picked;
        if (smoothing > 0.0f) loss += smoothing * (lse - most - spread / vocabulary);
        losses[blockIdx.x] = loss;
    }
    if (!slopes) return;
    T *slope = slopes + (long long)blockIdx.x * vocabulary;
    float uniform = smoothing / vocabulary;
    for (int i = threadIdx.x; i < vocabulary; i += blockDim.x) {
        float target = uniform + (i == (int)label ? 1.0f - smoothing : 0.0f);
        store(slope, i, expf(row[i] - lse) - target);
    }
}

// The sum of the rows' losses, by one block.
extern "C" __global__ void tallow_sum_losses(float *loss, const float *losses, int rows) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < rows; i += blockDim.x) sum += losses[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) *loss = (float)sum;
}

#define CROSS_ENTROPY(T, suffix)                                                                                     \
    extern "C" __global__ void tallow_cross_entropy_##suffix(float *losses, T *slopes, const float *logits,         \
                                                             const unsigned *labels, int vocabulary,                \
                                                             float smoothing) {                                     \
        cross_entropy(losses, slopes, logits, labels, vocabulary, smoothing);                                        \
    }

CROSS_ENTROPY(float, f32)
CROSS_ENTROPY(bf16, bf16)
