#include "common.cuh"

// One block a place. An id that has no row gives NaN: the loss says so.
template <class T>
__device__ void embedding(T *y, const T *table, const unsigned *ids, int rows, int d) {
    unsigned id = ids[blockIdx.x];
    long long to = (long long)blockIdx.x * d, from = (long long)id * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        if (id < (unsigned)rows)
            y[to + i] = table[from + i];
        else
            store(y, to + i, CUDART_NAN_F);
    }
}

// One block a place: the first place of an id sums what all its places received, in their order, so that the result
// does not depend on who comes first.
template <class T, class Out>
__device__ void embedding_backward(Out *table, const T *dy, const unsigned *ids, int n, int rows, int d) {
    unsigned id = ids[blockIdx.x];
    if (id >= (unsigned)rows) return;
    int earlier = 0;
    for (int i = threadIdx.x; i < (int)blockIdx.x; i += blockDim.x) earlier |= ids[i] == id;
    if (__syncthreads_or(earlier)) return;
    for (int column = threadIdx.x; column < d; column += blockDim.x) {
        float sum = 0.0f;
        for (int i = blockIdx.x; i < n; i++)
            if (ids[i] == id) sum += load(dy, (long long)i * d + column);
        put(table, (long long)id * d + column, sum, 1);
    }
}

#define EMBEDDING(T, suffix)                                                                                      \
    extern "C" __global__ void tallow_embedding_##suffix(T *y, const T *table, const unsigned *ids, int rows, int d) { \
        embedding(y, table, ids, rows, d);                                                                        \
    }
#define EMBEDDING_BACKWARD(name, T, Out)                                                                           \
    extern "C" __global__ void name(Out *table, const T *dy, const unsigned *ids, int n, int rows, int d) {       \
        embedding_backward(table, dy, ids, n, rows, d);                                                            \
    }

EMBEDDING(float, f32)
EMBEDDING(bf16, bf16)
EMBEDDING_BACKWARD(tallow_embedding_backward_f32_f32, float, float)
EMBEDDING_BACKWARD(tallow_embedding_backward_bf16_bf16, bf16, bf16)
EMBEDDING_BACKWARD(tallow_embedding_backward_bf16_f32, bf16, float)
