#include "common.cuh"

// Some queries of one row of the batch, with all its keys. Their scores lie in a scratch buffer from `scores` on as
// (heads, queries, stride), of which the first `keys` of each line count.
struct Unit {
    long long first_query, queries, first_key, keys;
    // The place of the first query among the keys.
    long long position;
    long long scores, stride;
    // 1 if a query sees only the keys up to its own place.
    long long causal;
};

// The bias by distance, (heads, 2 reach - 1), or none.
struct Bias {
    const float *table;
    long long reach;
};

// The line of scores that a warp works on.
struct Line {
    const Unit *unit;
    int head, query;
    // Keys that the query sees.
    int seen;
    long long start;
    const float *bias;
    Mask mask;

    __device__ float score(float product, int key) const { return bias ? product + bias[key] : product; }
};

// blockIdx.y is the unit; the warps of its blocks take its lines in turn. False if there is none for this warp.
__device__ bool find_line(Line &line, const Unit *units, Bias bias, Mask mask, int heads, int total_queries) {
    const Unit *unit = units + blockIdx.y;
    long long i = (long long)blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP;
    if (i >= unit->queries * heads) return false;
    line.unit = unit;
    line.head = i / unit->queries;
    line.query = i % unit->queries;
    long long place = unit->position + line.query;
    line.seen = unit->causal && place + 1 < unit->keys ? place + 1 : unit->keys;
    line.start = unit->scores + i * unit->stride;
    // The bias of key j stands j after that of key 0.
    line.bias = bias.table ? bias.table + line.head * (2 * bias.reach - 1) + bias.reach - 1 - place : nullptr;
    line.mask = mask.row((unsigned)(line.head * (long long)total_queries + unit->first_query + line.query));
    return true;
}

// Products q k become dropped probabilities, in place; lse (total queries, heads) becomes the log-sum-exp of each
// line.
template <class T>
__device__ void softmax(T *scores, float *lse, const Unit *units, Bias bias, Mask mask, int drops, int heads,
                        int total_queries) {
    Line line;
    if (!find_line(line, units, bias, mask, heads, total_queries)) return;
    T *row = scores + line.start;
    int lane = threadIdx.x % WARP;
    float most = -CUDART_INF_F;
    for (int key = lane; key < line.seen; key += WARP) most = fmaxf(most, line.score(load(row, key), key));
    most = warp_max(most);
    float sum = 0.0f;
    for (int key = lane; key < line.seen; key += WARP) sum += expf(line.score(load(row, key), key) - most);
    sum = warp_sum(sum);
    for (int key = lane; key < line.unit->keys; key += WARP) {
        float p = key < line.seen ? expf(line.score(load(row, key), key) - most) / sum : 0.0f;
        store(row, key, drops ? p * line.mask.factor(key) : p);
    }
    if (lane == 0) lse[(line.unit->first_query + line.query) * heads + line.head] = most + logf(sum);
}

// Products q k become dropped probabilities, and products dy v the slopes of the scores, both in place.
template <class T>
__device__ void softmax_backward(T *scores, T *slopes, const float *lse, const Unit *units, Bias bias, Mask mask,
                                 int drops, int heads, int total_queries) {
    Line line;
    if (!find_line(line, units, bias, mask, heads, total_queries)) return;
    T *row = scores + line.start, *slope = slopes + line.start;
    int lane = threadIdx.x % WARP;
    float log_sum = lse[(line.unit->first_query + line.query) * heads + line.head], mean = 0.0f;
    for (int key = lane; key < line.seen; key += WARP) {
        float p = expf(line.score(load(row, key), key) - log_sum);
        float factor = drops ? line.mask.factor(key) : 1.0f;
        mean += p * factor * load(slope, key);
    }
    mean = warp_sum(mean);
    for (int key = lane; key < line.unit->keys; key += WARP) {
        float p = key < line.seen ? expf(line.score(load(row, key), key) - log_sum) : 0.0f;
        float factor = drops ? line.mask.factor(key) : 1.0f;
        store(slope, key, key < line.seen ? p * (factor * load(slope, key) - mean) : 0.0f);
        store(row, key, p * factor);
    }
}

// The slopes of all scores at one distance, for one head: blockIdx.x is the distance's place in the table, blockIdx.y
// the head.
template <class T>
__device__ void bias_slopes(float *table, const T *slopes, const Unit *units, int count, int reach, int accumulate) {
    int distance = (int)blockIdx.x - (reach - 1);
    float sum = 0.0f;
    for (int u = 0; u < count; u++) {
        const Unit &unit = units[u];
        for (long long query = threadIdx.x; query < unit.queries; query += blockDim.x) {
            long long key = unit.position + query + distance;
            if (key < 0 || key >= unit.keys) continue;
            sum += load(slopes, unit.scores + (blockIdx.y * unit.queries + query) * unit.stride + key);
        }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) put(table, (long long)blockIdx.y * (2 * reach - 1) + blockIdx.x, sum, accumulate);
}

// Three arrays of pointers from three bases and offsets in values: what grouped products are given.
extern "C" __global__ void tallow_pointers(unsigned long long *pointers, unsigned long long a, unsigned long long b,
                                           unsigned long long c, const long long *a_offsets,
                                           const long long *b_offsets, const long long *c_offsets, int n, int size) {
    for (long long i = first(); i < n; i += stride()) {
        pointers[i] = a + a_offsets[i] * size;
        pointers[n + i] = b + b_offsets[i] * size;
        pointers[2 * n + i] = c + c_offsets[i] * size;
    }
}

#define ATTENTION(T, suffix)                                                                                          \
    extern "C" __global__ void tallow_softmax_##suffix(T *scores, float *lse, const Unit *units, Bias bias, Mask mask, \
                                                       int drops, int heads, int total_queries) {                     \
        softmax(scores, lse, units, bias, mask, drops, heads, total_queries);                                          \
    }                                                                                                                 \
    extern "C" __global__ void tallow_softmax_backward_##suffix(T *scores, T *slopes, const float *lse,               \
                                                                const Unit *units, Bias bias, Mask mask, int drops,   \
                                                                int heads, int total_queries) {                       \
        softmax_backward(scores, slopes, lse, units, bias, mask, drops, heads, total_queries);                         \
    }                                                                                                                 \
    extern "C" __global__ void tallow_bias_slopes_##suffix(float *table, const T *slopes, const Unit *units,          \
                                                           int count, int reach, int accumulate) {                    \
        bias_slopes(table, slopes, units, count, reach, accumulate);                                                   \
    }

ATTENTION(float, f32)
ATTENTION(bf16, bf16)
