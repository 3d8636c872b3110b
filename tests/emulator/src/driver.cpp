// libcuda.so.1: as much of the CUDA driver as a program on candle calls. What is enqueued is done before the call
// returns, so that streams and events have nothing to order.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <string>
#include <unordered_map>

#include "blocks.hpp"
#include "faults.hpp"
#include "kernels.hpp"
#include "memory.hpp"
#include "ptx.hpp"
#include "settings.hpp"

using namespace emulator;

#define API extern "C" __attribute__((visibility("default")))

namespace {

enum Result : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  not_initialized = 3,
  invalid_device = 101,
  invalid_image = 200,
  invalid_context = 201,
  file_not_found = 301,
  invalid_handle = 400,
  not_found = 500,
  not_supported = 801,
};

struct Named {
  int code;
  const char *name, *text;
};
constexpr Named results[] = {
    {success, "CUDA_SUCCESS", "no error"},
    {invalid_value, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {out_of_memory, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {not_initialized, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {invalid_device, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {invalid_image, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {invalid_context, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {file_not_found, "CUDA_ERROR_FILE_NOT_FOUND", "file not found"},
    {invalid_handle, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {not_found, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {not_supported, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

struct Context {};
struct Stream {
  unsigned flags;
  int priority;
};
struct Event {
  unsigned flags;
  bool recorded;
  std::chrono::steady_clock::time_point at;
};
struct Function {
  const Kernel *kernel;
  Entry entry;
  int dynamic_limit;
};
struct Module {
  bool is_ptx;
  std::unordered_map<std::string, Entry> entries;
  std::unordered_map<std::string, Function> functions;
  std::mutex mutex;
};
struct Pool {};

// What an H200 says of itself.
constexpr unsigned shared_per_block = 48 << 10, shared_opt_in = 227 << 10, shared_per_processor = 228 << 10;
constexpr int processors = 132, threads_per_processor = 2048, blocks_per_processor = 32;

bool initialized;
Context primary;
Pool default_pool;
Pool *current_pool = &default_pool;
thread_local Context *current;

using Address = unsigned long long;
void *at(Address address) { return reinterpret_cast<void *>(address); }

}  // namespace

// Most calls need a context, which they find by thread.
#define NEEDS_CONTEXT \
  if (!initialized) return not_initialized; \
  if (!current) return invalid_context

// ---- the driver and the device

API int cuInit(unsigned flags) {
  if (flags) return invalid_value;
  static std::once_flag once;
  std::call_once(once, [] {
    settings();
    load_kernels();
    catch_faults();
    initialized = true;
  });
  return success;
}

API int cuDriverGetVersion(int *version) { return *version = 13000, success; }

API int cuGetErrorName(int code, const char **name) {
  for (const Named &r : results)
    if (r.code == code) return *name = r.name, success;
  return *name = nullptr, invalid_value;
}

API int cuGetErrorString(int code, const char **text) {
  for (const Named &r : results)
    if (r.code == code) return *text = r.text, success;
  return *text = nullptr, invalid_value;
}

API int cuDeviceGetCount(int *count) { return initialized ? *count = 1, success : not_initialized; }

API int cuDeviceGet(int *device, int ordinal) {
  if (!initialized) return not_initialized;
  return ordinal == 0 ? *device = 0, success : invalid_device;
}

API int cuDeviceGetName(char *name, int length, int device) {
  if (device) return invalid_device;
  snprintf(name, length, "Emulated GPU (CPU)");
  return success;
}

API int cuDeviceGetUuid_v2(char *uuid, int device) {
  if (device) return invalid_device;
  return memcpy(uuid, "emulated GPU 0.", 16), success;
}
API int cuDeviceGetUuid(char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
  if (device) return invalid_device;
  return *bytes = settings().memory, success;
}

API int cuDeviceGetAttribute(int *value, int attribute, int device) {
  if (device) return invalid_device;
  switch (attribute) {
    case 1: case 2: case 3: return *value = 1024, success;  // threads of a block; its x, y
    case 4: return *value = 64, success;                    // its z
    case 5: return *value = 0x7fffffff, success;            // grid
    case 6: case 7: return *value = 65535, success;
    case 8: return *value = shared_per_block, success;
    case 9: return *value = 65536, success;                 // constant memory
    case 10: return *value = 32, success;                   // warp
    case 12: case 82: return *value = 65536, success;       // registers
    case 13: return *value = 1980000, success;              // clock, kHz
    case 16: return *value = processors, success;
    case 36: return *value = 3201000, success;              // memory clock, kHz
    case 37: return *value = 6144, success;                 // memory bus, bits
    case 38: return *value = 60 << 20, success;             // L2 cache
    case 39: return *value = threads_per_processor, success;
    case 75: return *value = 9, success;                    // compute capability
    case 76: return *value = 0, success;
    case 81: return *value = shared_per_processor, success;
    case 97: return *value = shared_opt_in, success;
    case 106: return *value = blocks_per_processor, success;
    case 111: return *value = 1024, success;                // shared memory the system keeps of each block
    // Integrated, exclusive mode, error correction, managed and pageable memory, cooperative launches.
    case 17: case 18: case 20: case 32: case 83: case 88: case 89: case 95: return *value = 0, success;
    // Overlap, mapped memory, concurrent kernels, unified addressing, priorities, memory pools.
    case 15: case 19: case 31: case 41: case 78: case 115: return *value = 1, success;
    case 33: case 34: case 50: return *value = 0, success;  // where on the bus
    case 40: return *value = 3, success;                    // copy engines
  }
  fprintf(stderr, "emulator: cuDeviceGetAttribute: attribute %d is not known\n", attribute);
  return invalid_value;
}

// ---- contexts

API int cuDevicePrimaryCtxRetain(Context **context, int device) {
  if (!initialized) return not_initialized;
  return device ? invalid_device : (*context = &primary, success);
}
API int cuDevicePrimaryCtxRelease_v2(int device) { return device ? invalid_device : success; }
API int cuCtxCreate_v4(Context **context, void *, unsigned, int device) {
  if (!initialized) return not_initialized;
  if (device) return invalid_device;
  return current = *context = new Context, success;
}
API int cuCtxDestroy_v2(Context *context) {
  if (current == context) current = nullptr;
  if (context != &primary) delete context;
  return success;
}
API int cuCtxSetCurrent(Context *context) { return current = context, success; }
API int cuCtxGetCurrent(Context **context) { return *context = current, success; }
API int cuCtxGetDevice(int *device) {
  NEEDS_CONTEXT;
  return *device = 0, success;
}
API int cuCtxSetFlags(unsigned) {
  NEEDS_CONTEXT;
  return success;
}
API int cuCtxSynchronize() {
  NEEDS_CONTEXT;
  trim_to_threshold();
  return success;
}
API int cuCtxGetStreamPriorityRange(int *least, int *greatest) {
  NEEDS_CONTEXT;
  return *least = 0, *greatest = -5, success;
}
API int cuCtxSetCacheConfig(int) {
  NEEDS_CONTEXT;
  return success;
}

// ---- streams and events: handles only

API int cuStreamCreateWithPriority(Stream **stream, unsigned flags, int priority) {
  NEEDS_CONTEXT;
  if (flags > 1) return invalid_value;
  return *stream = new Stream{flags, priority}, success;
}
API int cuStreamCreate(Stream **stream, unsigned flags) { return cuStreamCreateWithPriority(stream, flags, 0); }
API int cuStreamDestroy_v2(Stream *stream) {
  NEEDS_CONTEXT;
  // The null stream and the two default ones are not objects.
  if (reinterpret_cast<uintptr_t>(stream) <= 2) return invalid_handle;
  return delete stream, success;
}
API int cuStreamSynchronize(Stream *) {
  NEEDS_CONTEXT;
  trim_to_threshold();
  return success;
}
API int cuStreamQuery(Stream *) {
  NEEDS_CONTEXT;
  return success;
}
API int cuStreamIsCapturing(Stream *, int *status) {
  NEEDS_CONTEXT;
  return *status = 0, success;
}
API int cuStreamWaitEvent(Stream *, Event *event, unsigned) {
  NEEDS_CONTEXT;
  return event ? success : invalid_handle;
}
API int cuLaunchHostFunc(Stream *, void (*function)(void *), void *data) {
  NEEDS_CONTEXT;
  return function(data), success;
}

constexpr unsigned no_timing = 2;

API int cuEventCreate(Event **event, unsigned flags) {
  NEEDS_CONTEXT;
  return *event = new Event{flags, false, {}}, success;
}
API int cuEventDestroy_v2(Event *event) {
  NEEDS_CONTEXT;
  return event ? delete event, success : invalid_handle;
}
API int cuEventRecord(Event *event, Stream *) {
  NEEDS_CONTEXT;
  if (!event) return invalid_handle;
  event->recorded = true;
  event->at = std::chrono::steady_clock::now();
  return success;
}
API int cuEventRecordWithFlags(Event *event, Stream *stream, unsigned) { return cuEventRecord(event, stream); }
API int cuEventQuery(Event *event) { return event ? success : invalid_handle; }
API int cuEventSynchronize(Event *event) {
  NEEDS_CONTEXT;
  trim_to_threshold();
  return event ? success : invalid_handle;
}
API int cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *end) {
  NEEDS_CONTEXT;
  for (const Event *event : {start, end})
    if (!event || !event->recorded || event->flags & no_timing) return invalid_handle;
  *milliseconds = std::chrono::duration<float, std::milli>(end->at - start->at).count();
  return success;
}
API int cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

// ---- memory

API int cuMemAlloc_v2(Address *address, size_t size) {
  NEEDS_CONTEXT;
  if (!size) return invalid_value;
  *address = reinterpret_cast<Address>(allocate(size, false));
  return *address ? success : out_of_memory;
}
API int cuMemFree_v2(Address address) {
  NEEDS_CONTEXT;
  return !address || release(at(address)) ? success : invalid_value;
}
// Of nothing, a pool gives null, which its free and the copies take.
API int cuMemAllocFromPoolAsync(Address *address, size_t size, Pool *pool, Stream *) {
  NEEDS_CONTEXT;
  if (!pool) return invalid_value;
  if (!size) return *address = 0, success;
  *address = reinterpret_cast<Address>(allocate(size, true));
  return *address ? success : out_of_memory;
}
API int cuMemAllocAsync(Address *address, size_t size, Stream *stream) {
  return cuMemAllocFromPoolAsync(address, size, current_pool, stream);
}
API int cuMemFreeAsync(Address address, Stream *) { return cuMemFree_v2(address); }

API int cuMemHostAlloc(void **pointer, size_t size, unsigned) {
  NEEDS_CONTEXT;
  *pointer = aligned_alloc(4096, (size + 4095) / 4096 * 4096);
  return *pointer ? success : out_of_memory;
}
API int cuMemFreeHost(void *pointer) {
  NEEDS_CONTEXT;
  return free(pointer), success;
}
API int cuMemHostRegister_v2(void *, size_t, unsigned) {
  NEEDS_CONTEXT;
  return success;
}
API int cuMemHostUnregister(void *) {
  NEEDS_CONTEXT;
  return success;
}

API int cuMemGetInfo_v2(size_t *free, size_t *total) {
  NEEDS_CONTEXT;
  const Usage now = usage();
  return *free = now.free, *total = now.total, success;
}

// Copies go where both ends are what they are said to be.
static int copy(void *to, bool to_device, const void *from, bool from_device, size_t size) {
  NEEDS_CONTEXT;
  if (!size) return success;
  if (!to || !from) return invalid_value;
  if (to_device && !is_device(to, size)) return invalid_value;
  if (from_device && !is_device(from, size)) return invalid_value;
  return memmove(to, from, size), success;
}
API int cuMemcpyHtoD_v2(Address to, const void *from, size_t n) { return copy(at(to), true, from, false, n); }
API int cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, Stream *) { return cuMemcpyHtoD_v2(to, from, n); }
API int cuMemcpyDtoH_v2(void *to, Address from, size_t n) { return copy(to, false, at(from), true, n); }
API int cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, Stream *) { return cuMemcpyDtoH_v2(to, from, n); }
API int cuMemcpyDtoD_v2(Address to, Address from, size_t n) { return copy(at(to), true, at(from), true, n); }
API int cuMemcpyDtoDAsync_v2(Address to, Address from, size_t n, Stream *) { return cuMemcpyDtoD_v2(to, from, n); }

template <class T>
static int set(Address to, T value, size_t count) {
  NEEDS_CONTEXT;
  if (!count) return success;
  if (to % sizeof(T) || !is_device(at(to), count * sizeof(T))) return invalid_value;
  std::fill_n(static_cast<T *>(at(to)), count, value);
  return success;
}
API int cuMemsetD8_v2(Address to, unsigned char value, size_t n) { return set(to, value, n); }
API int cuMemsetD8Async(Address to, unsigned char value, size_t n, Stream *) { return set(to, value, n); }
API int cuMemsetD16_v2(Address to, unsigned short value, size_t n) { return set(to, value, n); }
API int cuMemsetD16Async(Address to, unsigned short value, size_t n, Stream *) { return set(to, value, n); }
API int cuMemsetD32_v2(Address to, unsigned value, size_t n) { return set(to, value, n); }
API int cuMemsetD32Async(Address to, unsigned value, size_t n, Stream *) { return set(to, value, n); }

API int cuDeviceGetDefaultMemPool(Pool **pool, int device) {
  return device ? invalid_device : (*pool = &default_pool, success);
}
API int cuDeviceGetMemPool(Pool **pool, int device) {
  return device ? invalid_device : (*pool = current_pool, success);
}
API int cuDeviceSetMemPool(int device, Pool *pool) {
  if (!pool) return invalid_value;
  return device ? invalid_device : (current_pool = pool, success);
}
API int cuMemPoolTrimTo(Pool *pool, size_t keep) { return pool ? trim(keep), success : invalid_value; }

API int cuMemPoolGetAttribute(Pool *pool, int attribute, void *value) {
  if (!pool || !value) return invalid_value;
  const Usage now = usage();
  switch (attribute) {
    case 1: case 2: case 3: return *static_cast<int *>(value) = 1, success;  // how freed memory may be used again
    case 4: return *static_cast<uint64_t *>(value) = now.threshold, success;
    case 5: return *static_cast<uint64_t *>(value) = now.reserved, success;
    case 6: return *static_cast<uint64_t *>(value) = now.reserved_high, success;
    case 7: return *static_cast<uint64_t *>(value) = now.used, success;
    case 8: return *static_cast<uint64_t *>(value) = now.used_high, success;
  }
  return invalid_value;
}
API int cuMemPoolSetAttribute(Pool *pool, int attribute, void *value) {
  if (!pool || !value) return invalid_value;
  switch (attribute) {
    case 1: case 2: case 3: return success;
    case 4: return set_threshold(*static_cast<uint64_t *>(value)), success;
    // High-water marks can only be set to zero, which means to what they are now.
    case 6: return *static_cast<uint64_t *>(value) ? invalid_value : (reset_high(false, true), success);
    case 8: return *static_cast<uint64_t *>(value) ? invalid_value : (reset_high(true, false), success);
  }
  return invalid_value;
}

// ---- modules and functions

API int cuModuleLoadData(Module **module, const void *image) {
  NEEDS_CONTEXT;
  if (!image) return invalid_value;
  const char *const text = static_cast<const char *>(image);
  *module = new Module;
  // Machine code (ELF, or NVIDIA's container of it) tells nothing about its kernels here: names alone decide then.
  (*module)->is_ptx = memcmp(text, "\x7f""ELF", 4) && memcmp(text, "\x50\xed\x55\xba", 4);
  if ((*module)->is_ptx) {
    if (!strstr(text, ".version")) return delete *module, *module = nullptr, invalid_image;
    (*module)->entries = read_ptx(text);
  }
  return success;
}
API int cuModuleLoad(Module **module, const char *path) {
  NEEDS_CONTEXT;
  std::ifstream file(path, std::ios::binary);
  if (!file) return file_not_found;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return cuModuleLoadData(module, text.c_str());
}
API int cuModuleUnload(Module *module) {
  NEEDS_CONTEXT;
  return delete module, success;
}

// A kernel is run as compiled for the CPU, so that must be the same kernel as in the module.
static bool same(const char *name, const Entry &entry, const Kernel &kernel) {
  bool equal = entry.parameters.size() == kernel.count;
  for (unsigned i = 0; equal && i < kernel.count; i++) equal = entry.parameters[i] == kernel.parameters[i].size;
  if (!equal)
    fprintf(stderr, "emulator: %s of %s has other parameters than in the module: one of the two is out of date\n", name,
            kernel.file);
  return equal;
}

API int cuModuleGetFunction(Function **function, Module *module, const char *name) {
  NEEDS_CONTEXT;
  if (!module || !name) return invalid_value;
  std::lock_guard lock(module->mutex);
  const auto known = module->functions.find(name);
  if (known != module->functions.end()) return *function = &known->second, success;
  Entry entry;
  if (module->is_ptx) {
    const auto it = module->entries.find(name);
    if (it == module->entries.end()) return not_found;
    entry = it->second;
  }
  const Kernel *const kernel = find_kernel(name);
  if (!kernel) {
    fprintf(stderr, "emulator: the kernel %s was not compiled for the CPU: see build.sh\n", name);
    return not_found;
  }
  if (module->is_ptx && !same(name, entry, *kernel)) return not_found;
  const int limit = (int)shared_per_block - (int)entry.shared;
  return *function = &(module->functions[name] = {kernel, entry, limit}), success;
}

API int cuFuncGetAttribute(int *value, int attribute, Function *f) {
  NEEDS_CONTEXT;
  if (!f) return invalid_handle;
  switch (attribute) {
    case 0: return *value = (int)f->entry.max_threads, success;
    case 1: return *value = (int)f->entry.shared, success;
    case 2: case 3: return *value = 0, success;   // constant, local memory
    case 4: return *value = 32, success;          // registers: not known
    case 5: case 6: return *value = 90, success;  // of PTX, of the machine code
    case 8: return *value = f->dynamic_limit, success;
    case 9: return *value = -1, success;          // share of the cache for shared memory: no preference
  }
  return invalid_value;
}
API int cuFuncSetAttribute(Function *f, int attribute, int value) {
  NEEDS_CONTEXT;
  if (!f) return invalid_handle;
  if (attribute == 8) {
    if (value < 0 || value + f->entry.shared > shared_opt_in) return invalid_value;
    return f->dynamic_limit = value, success;
  }
  return attribute == 9 ? success : invalid_value;
}
API int cuFuncSetCacheConfig(Function *f, int) { return f ? success : invalid_handle; }

// ---- occupancy: what shared memory and threads allow, as if registers were plenty

API int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, Function *f, int size, size_t dynamic,
                                                             unsigned) {
  NEEDS_CONTEXT;
  if (!f || size <= 0) return invalid_value;
  const size_t shared = f->entry.shared + dynamic + 1024;  // the system's kilobyte
  *blocks = size > (int)f->entry.max_threads ? 0 : std::min<int>(blocks_per_processor, threads_per_processor / size);
  *blocks = std::min<int>(*blocks, shared_per_processor / shared);
  return success;
}
API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, Function *f, int size, size_t dynamic) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, f, size, dynamic, 0);
}
API int cuOccupancyMaxPotentialBlockSizeWithFlags(int *grid, int *size, Function *f, size_t (*)(int), size_t, int limit,
                                                  unsigned) {
  NEEDS_CONTEXT;
  if (!f) return invalid_value;
  *size = (int)f->entry.max_threads;
  if (limit > 0) *size = std::min(*size, limit);
  *grid = processors * (threads_per_processor / *size);
  return success;
}
API int cuOccupancyMaxPotentialBlockSize(int *grid, int *size, Function *f, size_t (*shared)(int), size_t dynamic,
                                         int limit) {
  return cuOccupancyMaxPotentialBlockSizeWithFlags(grid, size, f, shared, dynamic, limit, 0);
}
API int cuOccupancyAvailableDynamicSMemPerBlock(size_t *bytes, Function *f, int blocks, int) {
  NEEDS_CONTEXT;
  if (!f || blocks <= 0) return invalid_value;
  const long left = (long)shared_per_processor / blocks - 1024 - (long)f->entry.shared;
  return *bytes = (size_t)std::clamp<long>(left, 0, shared_opt_in), success;
}

// ---- launches

API int cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned dynamic, Stream *, void **parameters, void **extra) {
  NEEDS_CONTEXT;
  if (!f) return invalid_handle;
  if (extra || (f->kernel->count && !parameters)) return invalid_value;
  const uint64_t threads = (uint64_t)bx * by * bz;
  if (!gx || !gy || !gz || gx > 0x7fffffff || gy > 65535 || gz > 65535) return invalid_value;
  if (!threads || bx > 1024 || by > 1024 || bz > 64 || threads > f->entry.max_threads) return invalid_value;
  if (f->dynamic_limit < 0 || dynamic > (unsigned)f->dynamic_limit) return invalid_value;

  const Kernel &kernel = *f->kernel;
  if (settings().check)
    for (unsigned i = 0; i < kernel.count; i++) {
      void *pointer;
      if (!kernel.parameters[i].pointer) continue;
      memcpy(&pointer, parameters[i], sizeof pointer);
      if (pointer && !is_device(pointer, 0))
        fail("parameter %u of %s, %p, is not a pointer to device memory", i, kernel.name, pointer);
    }
  const auto start = std::chrono::steady_clock::now();
  run({&kernel, {gx, gy, gz}, {bx, by, bz}, dynamic, parameters});
  if (settings().trace)
    fprintf(stderr, "emulator: %s, %u x %u x %u blocks of %u x %u x %u threads: %.3f ms\n", kernel.name, gx, gy, gz, bx,
            by, bz, std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count());
  if (settings().check) check_guards(kernel.name);
  return success;
}
