// The threads of a block run one at a time, each until it ends or must wait for others: first the ready ones, then
// those not yet begun. A thread that waits keeps its stack, and the next one begins on another; a block whose threads
// never wait runs on a single stack.
#include "blocks.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "fibers.hpp"
#include "settings.hpp"

namespace emulator {

__thread Place place;

namespace {

struct Warp {
  unsigned live, arrived;  // sets of lanes
  unsigned mask[32], source[32];
  uint64_t value[32];
  Exchange result[32];
};

// The i-th of n in the order asked for. A kernel that is right does not depend on it.
unsigned long in_order(Order order, unsigned long i, unsigned long n) {
  if (order == Order::forward) return i;
  if (order == Order::reverse) return n - 1 - i;
  unsigned long step = 7919;
  while (std::gcd(step, n) != 1) step += 2;
  return (i * (step % n) + n / 3) % n;
}

struct Worker {
  const Order order = settings().order;
  const Launch *launch = nullptr;
  std::vector<char> dynamic;

  unsigned count, begun, live;  // threads of the block
  unsigned waiting[1024], waiting_count;  // at __syncthreads
  unsigned yes;
  Tally tally;
  unsigned ready[1024], ready_head, ready_count;
  void *stack[1024];  // where a waiting thread goes on
  Warp warps[32];

  void *scheduler;
  Fiber *running;
  std::vector<Fiber *> idle;
  std::vector<std::unique_ptr<Fiber>> fibers;

  void run_block(unsigned long index);
  void run_threads();
  void begin(unsigned number);
  void end();
  void suspend();
  void *next();
  void make_ready(unsigned number);
  void open_barrier();
  bool try_exchange(Warp &, unsigned first, unsigned lane);
  Tally barrier(bool predicate);
  Exchange exchange(unsigned mask, uint64_t value, unsigned source);
  [[noreturn]] void fiber();
  [[noreturn]] void deadlock();
};

__thread Worker *worker;

void Worker::make_ready(unsigned number) { ready[(ready_head + ready_count++) % 1024] = number; }

// One thread after the other, as long as none is ready that has begun. Never inlined: the fiber may wake up for another
// launch in another OS thread, where thread-local variables are elsewhere.
__attribute__((noinline)) void Worker::run_threads() {
  while (begun < count && !ready_count) {
    begin(in_order(order, begun++, count));
    launch->kernel->call(launch->parameters);
    end();
  }
}

// The stack to go on with, or null if nobody can.
void *Worker::next() {
  if (ready_count) {
    const unsigned number = ready[ready_head];
    ready_head = (ready_head + 1) % 1024;
    ready_count--;
    return stack[number];
  }
  if (begun == count) return nullptr;
  if (idle.empty()) {
    fibers.push_back(std::make_unique<Fiber>([] { worker->fiber(); }));
    idle.push_back(fibers.back().get());
  }
  running = idle.back();
  idle.pop_back();
  return running->stack;
}

void Worker::fiber() {
  while (true) {
    run_threads();
    Fiber *const self = running;
    idle.push_back(self);
    void *to = next();
    if (!to) {
      if (live) deadlock();
      to = scheduler;
    }
    emulator_switch(&self->stack, to);
  }
}

void Worker::begin(unsigned number) {
  const uint3 size = launch->block;
  place.number = number;
  if (size.y * size.z == 1)
    place.thread = {number, 0, 0};
  else
    place.thread = {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

// A thread that has returned is waited for no longer.
void Worker::end() {
  const unsigned lane = place.number % 32;
  Warp &warp = warps[place.number / 32];
  live--;
  warp.live &= ~(1u << lane);
  if (waiting_count && waiting_count == live) open_barrier();
  for (unsigned rest = warp.arrived; rest; rest &= rest - 1) {
    const unsigned first = __builtin_ctz(rest);
    if (warp.arrived >> first & 1) try_exchange(warp, place.number - lane, first);
  }
}

void Worker::suspend() {
  const unsigned number = place.number;
  const uint3 thread = place.thread;
  Fiber *const fiber = running;
  void *const to = next();
  if (!to) deadlock();
  emulator_switch(&stack[number], to);
  place.number = number;
  place.thread = thread;
  running = fiber;
}

void Worker::open_barrier() {
  tally = {yes, live};
  for (unsigned i = 0; i < waiting_count; i++) make_ready(waiting[i]);
  waiting_count = yes = 0;
}

Tally Worker::barrier(bool predicate) {
  yes += predicate;
  if (waiting_count + 1 == live) {
    open_barrier();  // the last to come need not wait
  } else {
    waiting[waiting_count++] = place.number;
    suspend();
  }
  return tally;  // of this barrier still: the next one opens only when every live thread has come to it
}

// The exchange that `lane` waits for takes place once all live lanes of its mask are there.
bool Worker::try_exchange(Warp &warp, unsigned first, unsigned lane) {
  const unsigned mask = warp.mask[lane], group = mask & warp.live;
  if ((warp.arrived & group) != group) return false;
  unsigned votes = 0;
  for (unsigned rest = group; rest; rest &= rest - 1) {
    const unsigned i = __builtin_ctz(rest);
    if (warp.mask[i] != mask)
      fail("lanes of one warp name different masks, %#x and %#x, in the same operation", mask, warp.mask[i]);
    votes |= (unsigned)(warp.value[i] != 0) << i;
  }
  for (unsigned rest = group; rest; rest &= rest - 1) {
    const unsigned i = __builtin_ctz(rest), source = warp.source[i];
    // What a lane has that is not there is undefined: poison.
    warp.result[i] = {group >> source & 1 ? warp.value[source] : ~0ull, votes};
    if (first + i != place.number) make_ready(first + i);
  }
  warp.arrived &= ~group;
  return true;
}

Exchange Worker::exchange(unsigned mask, uint64_t value, unsigned source) {
  const unsigned lane = place.number % 32;
  Warp &warp = warps[place.number / 32];
  if (!(mask >> lane & 1)) fail("a lane takes part in a warp operation whose mask %#x does not name it", mask);
  warp.mask[lane] = mask;
  warp.source[lane] = source % 32;
  warp.value[lane] = value;
  warp.arrived |= 1u << lane;
  if (!try_exchange(warp, place.number - lane, lane)) suspend();
  return warp.result[lane];
}

void Worker::deadlock() {
  unsigned lanes = 0;
  for (unsigned i = 0; i < (count + 31) / 32; i++) lanes += __builtin_popcount(warps[i].arrived);
  fail("deadlock: of %u threads, %u have returned, %u wait at __syncthreads and %u for other lanes of their warp",
       count, count - live, waiting_count, lanes);
}

void Worker::run_block(unsigned long index) {
  const uint3 grid = launch->grid, size = launch->block;
  const auto block = [&](unsigned long i, unsigned n) { return (unsigned)(i % n); };
  place.block = {block(index, grid.x), block(index / grid.x, grid.y), block(index / grid.x / grid.y, grid.z)};
  place.block_dim = size;
  place.grid_dim = grid;
  place.serial++;
  live = count = size.x * size.y * size.z;
  begun = waiting_count = yes = ready_head = ready_count = 0;
  for (unsigned first = 0; first < count; first += 32) {
    warps[first / 32].live = count - first >= 32 ? ~0u : (1u << (count - first)) - 1;
    warps[first / 32].arrived = 0;
  }
  emulator_switch(&scheduler, next());
}

// Takes blocks until there are none.
void work(Worker &self, const Launch &launch, std::atomic<unsigned long> &taken, unsigned long blocks) {
  Worker *const before = worker;
  worker = &self;
  self.launch = &launch;
  self.dynamic.resize(launch.dynamic_shared);
  for (unsigned long i; (i = taken++) < blocks;) {
    if (launch.dynamic_shared) memset(self.dynamic.data(), 0xff, launch.dynamic_shared);
    self.run_block(in_order(self.order, i, blocks));
  }
  self.launch = nullptr;
  worker = before;
}

}  // namespace

void run(const Launch &launch) {
  // One launch at a time: workers keep their stacks from one to the next.
  static std::mutex one;
  static std::vector<std::unique_ptr<Worker>> workers;
  std::lock_guard<std::mutex> lock(one);
  const unsigned long blocks = (unsigned long)launch.grid.x * launch.grid.y * launch.grid.z;
  // Another OS thread takes longer to start than a small grid to run.
  const unsigned long worthwhile = blocks * (launch.block.x * launch.block.y * launch.block.z) / 8192;
  const unsigned long threads = std::max(1ul, std::min({(unsigned long)settings().threads, blocks, worthwhile}));
  while (workers.size() < threads) workers.push_back(std::make_unique<Worker>());
  std::atomic<unsigned long> taken{0};
  std::vector<std::thread> others;
  for (unsigned long i = 1; i < threads; i++)
    others.emplace_back([&, i] { work(*workers[i], launch, taken, blocks); });
  work(*workers[0], launch, taken, blocks);
  for (std::thread &other : others) other.join();
}

const char *running_kernel() { return worker && worker->launch ? worker->launch->kernel->name : nullptr; }

Tally barrier(bool predicate) { return worker->barrier(predicate); }
Exchange exchange(unsigned mask, uint64_t value, unsigned source) { return worker->exchange(mask, value, source); }
void *dynamic_shared() { return worker->dynamic.data(); }

}  // namespace emulator
