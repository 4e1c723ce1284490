// Runs CUDA blocks on the host, so that kernels are tested without a GPU. Each thread of a block is a fiber; the blocks
// of a launch run one after the other, on each core. The meaning of every instruction that the kernels use is here: barriers, warp
// shuffles, asynchronous copies to shared memory, ldmatrix, mma.
//
// A kernel that lacks a barrier or a wait is right under some orders of its threads and wrong under others. So a launch
// takes its order from SIM_ORDER: forward, reverse or random (all threads go on at the same pace, in this order), deep or
// deep-reverse (a warp runs as far as it can before the next one). With SIM_ASYNC=late, asynchronous copies happen when
// somebody waits for them, not when they are issued. Memory that nobody wrote is NaN; an access outside of an allocation
// stops the program with the block and the thread. What the host cannot show: weak memory order between blocks, bank
// conflicts, registers.
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <utility>
#include <vector>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
struct uint3 { u32 x, y, z; };
struct alignas(8) float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct alignas(8) uint2 { u32 x, y; };
struct alignas(16) uint4 { u32 x, y, z, w; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline uint4 make_uint4(u32 x, u32 y, u32 z, u32 w) { return {x, y, z, w}; }

#define __global__ __attribute__((used))
#define __launch_bounds__(threads)
#define __shared__ static thread_local
#define threadIdx (sim::fiber->index)
#define blockIdx (sim::block->index)
#define blockDim (sim::block->threads)
#define gridDim (sim::block->grid)
#define __syncthreads() sim::barrier(__LINE__)

namespace sim {
constexpr size_t STACK = 96 << 10, SHARED = 256 << 10;

struct Fiber {
    uint3 index;
    u32 linear, lane, warp;
    void* stack_pointer;
    bool done = false;
    const u64* generation = nullptr; // it waits while this is `seen`
    u64 seen = 0;
    int line = 0;                  // where it waits
    std::vector<std::function<void()>> open;               // copies of the group that is not ended
    std::deque<std::vector<std::function<void()>>> groups; // unfinished groups of copies
};
// Where the lanes of a warp put values for each other. Two sets, so that a fast lane does not overwrite what a slow one
// has not read.
struct Warp { alignas(16) unsigned char slots[2][32][32]; u64 generation = 0; u32 arrived = 0; };
struct Block {
    uint3 index, threads, grid;
    unsigned char* shared;
    size_t dynamic; // bytes of shared memory that the launch asked for
    u32 alive, arrived = 0;
    u64 generation = 0; // of the barrier
    std::vector<Warp> warps;
    std::vector<Fiber> fibers;
};
inline thread_local Fiber* fiber;
inline thread_local Block* block;
inline thread_local void* scheduler;
inline thread_local const std::function<void()>* body;

[[noreturn]] inline void fail(const char* what) {
    fprintf(stderr, "sim: %s; block (%u, %u, %u), thread %u\n", what, block->index.x, block->index.y, block->index.z, fiber->linear);
    int shown = 0;
    for (auto& f : block->fibers)
        if (!f.done && shown++ < 4) fprintf(stderr, "sim: thread %u waits at line %d\n", f.linear, f.line);
    abort();
}

// Saves the registers of this fiber and goes on with another one.
extern "C" void sim_switch(void** from, void* to);
asm(R"(
.text
.weak sim_switch
sim_switch:
    pushq %rbp; pushq %rbx; pushq %r12; pushq %r13; pushq %r14; pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15; popq %r14; popq %r13; popq %r12; popq %rbx; popq %rbp
    ret
)");
inline void pause() { sim_switch(&fiber->stack_pointer, scheduler); }
// Waits until a generation ends.
inline void wait_for(const u64& generation, int line) {
    fiber->generation = &generation;
    fiber->seen = generation;
    fiber->line = line;
    pause();
}

// Lets the threads at the barrier go on if all that live have arrived.
inline bool open_barrier() {
    if (block->arrived < block->alive) return false;
    block->arrived = 0;
    ++block->generation;
    return true;
}

// All living threads arrive before one goes on.
inline void barrier(int line) {
    ++block->arrived;
    if (!open_barrier()) wait_for(block->generation, line);
}

// Gives a value to the other lanes of the warp, and returns those of all lanes.
template <class V> inline const V* exchange(u32 mask, const V& value, int line) {
    static_assert(sizeof(V) <= 32);
    if (!(mask >> fiber->lane & 1)) fail("a lane takes part in a warp operation whose mask leaves it out");
    Warp& w = block->warps[fiber->warp];
    u64 mine = w.generation;
    auto* slots = reinterpret_cast<unsigned char*>(w.slots[mine & 1]);
    memcpy(slots + fiber->lane * sizeof(V), &value, sizeof(V));
    w.arrived |= 1u << fiber->lane;
    if ((w.arrived & mask) == mask) { w.arrived = 0; ++w.generation; }
    else wait_for(w.generation, line);
    return reinterpret_cast<const V*>(slots);
}

inline void run_fiber() {
    (*body)();
    if (!fiber->open.empty() || !fiber->groups.empty()) {
        for (auto& group : fiber->groups) if (!group.empty()) fail("a thread ends before its copies to shared memory");
    }
    fiber->done = true;
    --block->alive;
    if (block->arrived) open_barrier();
    pause();
    abort();
}

inline bool late() {
    static const bool late = [] { const char* s = getenv("SIM_ASYNC"); return s && !strcmp(s, "late"); }();
    return late;
}
inline const std::string& order_name() {
    static const std::string name = getenv("SIM_ORDER") ? getenv("SIM_ORDER") : "forward";
    return name;
}

// The memory of one block: stacks of fibers and shared memory. Threads that run blocks take one and give it back.
struct Room {
    std::vector<char*> stacks;
    unsigned char* shared = (unsigned char*)map(SHARED);
    static char* map(size_t bytes) { return (char*)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0); }
};
struct Rooms {
    std::mutex lock;
    std::vector<Room*> free;
    Room* take() {
        std::lock_guard<std::mutex> guard(lock);
        if (free.empty()) return new Room;
        Room* room = free.back();
        free.pop_back();
        return room;
    }
    void give(Room* room) { std::lock_guard<std::mutex> guard(lock); free.push_back(room); }
};
inline Rooms rooms;

inline void run_block(Room& room, uint3 index, uint3 grid, uint3 threads, size_t dynamic, const std::function<void()>& kernel) {
    std::vector<char*>& stacks = room.stacks;
    memset(room.shared, 0xff, dynamic); // NaN in each format
    Block b;
    b.index = index; b.grid = grid; b.threads = threads; b.shared = room.shared; b.dynamic = dynamic;
    u32 count = b.alive = threads.x * threads.y * threads.z;
    b.warps.resize((count + 31) / 32);
    b.fibers.resize(count);
    block = &b;
    body = &kernel;
    while (stacks.size() < count) stacks.push_back(Room::map(STACK));
    std::vector<u32> order(count);
    for (u32 t = 0; t < count; ++t) {
        Fiber& f = b.fibers[t];
        f.index = {t % threads.x, t / threads.x % threads.y, t / threads.x / threads.y};
        f.linear = order[t] = t;
        f.lane = t % 32;
        f.warp = t / 32;
        void** top = (void**)(stacks[t] + STACK - 64);
        *--top = nullptr;
        *--top = (void*)run_fiber;
        for (int i = 0; i < 6; ++i) *--top = nullptr;
        f.stack_pointer = top;
    }
    bool deep = order_name().rfind("deep", 0) == 0;
    if (order_name() == "reverse" || order_name() == "deep-reverse") std::reverse(order.begin(), order.end());
    std::mt19937 random(index.x * 7919 + index.y);
    auto advance = [&](u32 t) {
        Fiber& f = b.fibers[t];
        if (f.done || (f.generation && *f.generation == f.seen)) return false;
        f.generation = nullptr;
        fiber = &f;
        sim_switch(&scheduler, f.stack_pointer);
        return true;
    };
    while (b.alive) {
        if (order_name() == "random") std::shuffle(order.begin(), order.end(), random);
        bool moved = false;
        size_t width = deep ? 32 : count;
        for (size_t first = 0; first < count; first += width) {
            bool again = true;
            while (again) {
                again = false;
                for (size_t i = first; i < std::min<size_t>(count, first + width); ++i)
                    if (advance(order[i])) moved = again = true;
                if (!deep) break;
            }
        }
        if (!moved) fail("every thread waits: a barrier or a warp operation that not all of them reach");
    }
    for (auto& w : b.warps) if (w.arrived) fail("a warp operation that not all lanes of its mask reached");
}

inline void outside(int) { fail("an access to memory outside of every allocation"); }

inline void launch(const u32* grid, const u32* threads, u32 dynamic, const std::function<void()>& kernel) {
    struct sigaction mine = {}, old;
    mine.sa_handler = outside;
    sigaction(SIGSEGV, &mine, &old);
    uint3 g{grid[0], grid[1], grid[2]}, t{threads[0], threads[1], threads[2]};
    u64 blocks = (u64)g.x * g.y * g.z;
    bool backwards = order_name().find("reverse") != std::string::npos;
    std::atomic<u64> next{0};
    auto work = [&] {
        Room* room = rooms.take();
        for (u64 i; (i = next++) < blocks;) {
            u64 n = backwards ? blocks - 1 - i : i;
            run_block(*room, {(u32)(n % g.x), (u32)(n / g.x % g.y), (u32)(n / g.x / g.y)}, g, t, dynamic, kernel);
        }
        rooms.give(room);
    };
    std::vector<std::thread> others;
    for (u64 i = 1; i < std::min<u64>(std::thread::hardware_concurrency(), blocks / 2); ++i) others.emplace_back(work);
    work();
    for (auto& other : others) other.join();
    sigaction(SIGSEGV, &old, nullptr);
}

// A kernel is called with pointers to its arguments, whose sizes the driver must know.
template <class... A, size_t... I> inline void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::decay_t<A>*>(arguments[I])...);
}
template <class... A> inline void call(void (*kernel)(A...), void** arguments) { call(kernel, arguments, std::index_sequence_for<A...>{}); }
template <class... A> inline size_t sizes(void (*)(A...), u32* out) {
    u32 all[] = {(u32)sizeof(A)..., 0};
    for (size_t i = 0; out && i < sizeof...(A); ++i) out[i] = all[i];
    return sizeof...(A);
}

// Shared memory.

inline unsigned char* dynamic_shared() { return block->shared; }
inline u32 shared_address(const void* p) {
    size_t at = (const unsigned char*)p - block->shared;
    if (at >= block->dynamic) fail("an address that is not in the dynamic shared memory");
    return (u32)at;
}
inline unsigned char* at_shared(u32 at, u32 bytes) {
    if (at + bytes > block->dynamic) fail("an instruction reads or writes beyond the dynamic shared memory");
    return block->shared + at;
}

inline void copy_async(u32 to, const void* from, bool valid) {
    if (to % 16 || (valid && (uintptr_t)from % 16)) fail("a copy of 16 bytes that is not aligned to them");
    unsigned char* at = at_shared(to, 16);
    auto copy = [at, from, valid] { if (valid) memcpy(at, from, 16); else memset(at, 0, 16); };
    if (late()) fiber->open.push_back(copy);
    else copy();
}
inline void copies_end() { fiber->groups.push_back(std::move(fiber->open)); fiber->open.clear(); }
inline void copies_wait(size_t most) {
    while (fiber->groups.size() > most) {
        for (auto& copy : fiber->groups.front()) copy();
        fiber->groups.pop_front();
    }
}

// Tensor cores, as the PTX manual lays out their fragments.

inline float widen(u32 bits) { bits <<= 16; float x; memcpy(&x, &bits, 4); return x; }

inline void ldmatrix(u32 (&r)[4], u32 at, bool transposed) {
    if (at % 16) fail("ldmatrix of a row that is not aligned to 16 bytes");
    const u32* rows = exchange(~0u, at, 0);
    u32 lane = fiber->lane;
    for (int j = 0; j < 4; ++j) {
        u16 pair[2];
        for (u32 h = 0; h < 2; ++h) {
            u32 row = transposed ? lane % 4 * 2 + h : lane / 4, column = transposed ? lane / 4 : lane % 4 * 2 + h;
            memcpy(&pair[h], at_shared(rows[j * 8 + row], 16) + column * 2, 2);
        }
        r[j] = pair[0] | (u32)pair[1] << 16;
    }
}

inline void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    struct Operands { u32 a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    const Operands* all = exchange(~0u, mine, 0);
    u32 lane = fiber->lane;
    for (u32 i = 0; i < 4; ++i) {
        u32 row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2, any = 0;
        // Most rows of small matrices are beyond their end, and zero.
        for (u32 k = 0; k < 8; ++k) any |= all[row % 8 * 4 + k % 4].a[row / 8 + k / 4 * 2];
        if (!any) continue;
        float sum = d[i];
        for (u32 k = 0; k < 16; ++k) {
            u32 of_a = all[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2], of_b = all[column * 4 + k % 8 / 2].b[k / 8];
            sum += widen(of_a >> k % 2 * 16 & 0xffff) * widen(of_b >> k % 2 * 16 & 0xffff);
        }
        d[i] = sum;
    }
}
} // namespace sim

template <class V> inline V __shfl_xor_sync(u32 mask, V value, int distance, int line = __builtin_LINE()) {
    return sim::exchange(mask, value, line)[(sim::fiber->lane ^ distance) & 31];
}
inline u32 __float_as_uint(float x) { u32 bits; memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(u32 bits) { float x; memcpy(&x, &bits, 4); return x; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }

#define SIM_EXPORT extern "C" __attribute__((visibility("default")))
#define SIM_KERNEL(name) \
    SIM_EXPORT void sim_launch_##name(const u32* grid, const u32* threads, u32 dynamic, void** arguments) { sim::launch(grid, threads, dynamic, [arguments] { sim::call(&name, arguments); }); } \
    SIM_EXPORT size_t sim_sizes_##name(u32* out) { return sim::sizes(&name, out); }
