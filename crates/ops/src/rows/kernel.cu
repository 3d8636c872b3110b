#include "common.cuh"

// Row blockIdx.x of `rows` becomes row places[blockIdx.x] of `store`; one that has no place is left out.
template <class T>
__device__ void put_rows(T *store, const T *rows, const unsigned *places, int room, int d) {
    unsigned place = places[blockIdx.x];
    if (place >= (unsigned)room) return;
    long long to = (long long)place * d, from = (long long)blockIdx.x * d;
    for (int i = threadIdx.x; i < d; i += blockDim.x) store[to + i] = rows[from + i];
}

#define PUT_ROWS(T, suffix)                                                                                        \
    extern "C" __global__ void tallow_put_rows_##suffix(T *store, const T *rows, const unsigned *places, int room, \
                                                        int d) {                                                   \
        put_rows(store, rows, places, room, d);                                                                    \
    }

PUT_ROWS(float, f32)
PUT_ROWS(bf16, bf16)
