// What all kernels share: number formats, loads and stores of several numbers at once, reductions, and the
// instructions that C++ does not have. The instructions are PTX under NVRTC; `tests/cuda/sim.h` gives their meaning on
// the host. No header of the CUDA toolkit is needed: a bf16 is a u16.

#ifdef __CUDACC_RTC__
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#define DEV __device__ __forceinline__
#define DYNAMIC_SHARED(name) extern __shared__ __align__(128) unsigned char name[]
#else
#include "sim.h"
#define DEV inline
#define DYNAMIC_SHARED(name) unsigned char* name = sim::dynamic_shared()
#endif

// The format of activations: the source is compiled once for each.
#ifdef BF16
typedef u16 T;
#else
typedef float T;
#endif

// Every kernel has blocks of 256 threads.
#define KERNEL extern "C" __global__ void __launch_bounds__(256)
constexpr int THREADS = 256;
constexpr u32 ALL_LANES = 0xffffffffu;

// Formats. Sums are always f32 or f64.

DEV float to_float(float x) { return x; }
DEV float to_float(u16 x) { return __uint_as_float((u32)x << 16); }

// To the nearest bf16, ties to even; a NaN stays one.
DEV u16 to_bf16(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (u16)(bits >> 16 | 0x40u);
    return (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

DEV void store(float* to, float x) { *to = x; }
DEV void store(u16* to, float x) { *to = to_bf16(x); }

#ifdef __CUDACC_RTC__
// (low, high), rounded.
DEV u32 pack_bf16(float low, float high) {
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}
#else
DEV u32 pack_bf16(float low, float high) { return to_bf16(low) | (u32)to_bf16(high) << 16; }
#endif

// Eight numbers from an address that is aligned to all of them.
DEV void load8(float (&v)[8], const float* from) {
    float4 low = ((const float4*)from)[0], high = ((const float4*)from)[1];
    v[0] = low.x; v[1] = low.y; v[2] = low.z; v[3] = low.w;
    v[4] = high.x; v[5] = high.y; v[6] = high.z; v[7] = high.w;
}
DEV void load8(float (&v)[8], const u16* from) {
    uint4 word = *(const uint4*)from;
    u32 pairs[4] = {word.x, word.y, word.z, word.w};
    #pragma unroll
    for (int i = 0; i < 8; ++i) v[i] = to_float((u16)(pairs[i / 2] >> i % 2 * 16));
}
DEV void store8(float* to, const float (&v)[8]) {
    ((float4*)to)[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4*)to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}
DEV void store8(u16* to, const float (&v)[8]) {
    *(uint4*)to = make_uint4(pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7]));
}

// Two neighbouring numbers, of which `count` exist; `aligned` if the address is aligned to both.
DEV float2 load2(const float* from, int count, bool aligned) {
    if (aligned && count == 2) return *(const float2*)from;
    return make_float2(from[0], count == 2 ? from[1] : 0);
}
DEV float2 load2(const u16* from, int count, bool aligned) {
    if (aligned && count == 2) {
        u32 pair = *(const u32*)from;
        return make_float2(to_float((u16)pair), to_float((u16)(pair >> 16)));
    }
    return make_float2(to_float(from[0]), count == 2 ? to_float(from[1]) : 0);
}

// The index of this thread among all threads of the launch.
DEV u64 thread_index() { return (u64)blockIdx.x * THREADS + threadIdx.x; }
// The index of this warp among all warps of the launch.
DEV u64 warp_index() { return (u64)blockIdx.x * (THREADS / 32) + threadIdx.x / 32; }

// y[i] = f(the i-th numbers of the N inputs, i) for i < n, eight neighbours a thread.
template <int N, class E, class F> DEV void map(E* y, const E* const (&inputs)[N], u64 n, F f) {
    u64 first = thread_index() * 8;
    if (first >= n) return;
    if (first + 8 <= n) {
        float in[N][8], out[8];
        #pragma unroll
        for (int k = 0; k < N; ++k) load8(in[k], inputs[k] + first);
        #pragma unroll
        for (int i = 0; i < 8; ++i) {
            float v[N];
            #pragma unroll
            for (int k = 0; k < N; ++k) v[k] = in[k][i];
            out[i] = f(v, first + i);
        }
        store8(y + first, out);
    } else {
        for (u64 i = first; i < n; ++i) {
            float v[N];
            for (int k = 0; k < N; ++k) v[k] = to_float(inputs[k][i]);
            store(y + i, f(v, i));
        }
    }
}

// Counts columns along a thread's neighbours, so that only the first costs a division.
struct Column {
    u32 at, columns;
    u64 row;
    static DEV Column of(u64 index, u32 columns) { return {(u32)(index % columns), columns, index / columns}; }
    DEV void next() { if (++at == columns) { at = 0; ++row; } }
};

// Reductions.

DEV float warp_sum(float x) {
    #pragma unroll
    for (int d = 16; d; d >>= 1) x += __shfl_xor_sync(ALL_LANES, x, d);
    return x;
}
DEV double warp_sum(double x) {
    #pragma unroll
    for (int d = 16; d; d >>= 1) x += __shfl_xor_sync(ALL_LANES, x, d);
    return x;
}
DEV float warp_max(float x) {
    #pragma unroll
    for (int d = 16; d; d >>= 1) {
        float other = __shfl_xor_sync(ALL_LANES, x, d);
        x = x < other ? other : x;
    }
    return x;
}
// The sum over a block, in every thread; `scratch` holds 8 numbers.
DEV double block_sum(double x, double* scratch) {
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    double sum = 0;
    for (int i = 0; i < 8; ++i) sum += scratch[i];
    __syncthreads();
    return sum;
}

// Sums of K terms over the rows of each column, part by part: partial (parts, K, columns). The block at (x, y) sums 64
// columns of part y, each thread two columns of every eighth row. `term(row, column, count, t)` sets t[k][0] and, if
// `count` is 2, t[k][1].
template <int K, class F> DEV void column_sums(float* partial, u64 rows, u64 rows_of_part, u32 columns, F term) {
    __shared__ float sums[8][K][64];
    u32 lane = threadIdx.x % 32, line = threadIdx.x / 32, column = blockIdx.x * 64 + lane * 2;
    u64 first = blockIdx.y * rows_of_part, end = first + rows_of_part < rows ? first + rows_of_part : rows;
    float s[K][2] = {};
    if (column < columns) {
        int count = column + 1 < columns ? 2 : 1;
        for (u64 row = first + line; row < end; row += 8) {
            float t[K][2] = {};
            term(row, column, count, t);
            #pragma unroll
            for (int k = 0; k < K; ++k) { s[k][0] += t[k][0]; s[k][1] += t[k][1]; }
        }
    }
    #pragma unroll
    for (int k = 0; k < K; ++k) { sums[line][k][lane * 2] = s[k][0]; sums[line][k][lane * 2 + 1] = s[k][1]; }
    __syncthreads();
    for (u32 i = threadIdx.x; i < K * 64; i += THREADS) {
        u32 k = i / 64, c = i % 64;
        if (blockIdx.x * 64 + c >= columns) continue;
        float total = 0;
        for (int l = 0; l < 8; ++l) total += sums[l][k][c];
        partial[((u64)blockIdx.y * K + k) * columns + blockIdx.x * 64 + c] = total;
    }
}

// The sum over the parts of one term of one column, by a warp.
DEV double sum_of_parts(const float* partial, u32 parts, u32 terms, u32 term, u32 columns, u32 column) {
    double sum = 0;
    for (u32 part = threadIdx.x % 32; part < parts; part += 32) sum += partial[((u64)part * terms + term) * columns + column];
    return warp_sum(sum);
}

// Matrix products on tensor cores, and copies to shared memory that run beside them.

#ifdef __CUDACC_RTC__
DEV u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
// Four 8x8 matrices of bf16: lane l gives the address of row l % 8 of matrix l / 8.
DEV void ldmatrix(u32 (&r)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
// The same, each matrix transposed.
DEV void ldmatrix_transposed(u32 (&r)[4], u32 at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
// d (16, 8) += a (16, 16) b (16, 8).
DEV void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// Starts a copy of 16 bytes to shared memory; of zeros if not `valid`.
DEV void copy_async(u32 to, const void* from, bool valid) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
        :: "r"(to), "l"(__cvta_generic_to_global(from)), "r"(valid ? 16 : 0) : "memory");
}
// Ends a group of copies of this thread.
DEV void copies_end() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N groups of copies of this thread are unfinished.
template <int N> DEV void copies_wait() { asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory"); }
#else
DEV u32 shared_address(const void* p) { return sim::shared_address(p); }
DEV void ldmatrix(u32 (&r)[4], u32 at) { sim::ldmatrix(r, at, false); }
DEV void ldmatrix_transposed(u32 (&r)[4], u32 at) { sim::ldmatrix(r, at, true); }
DEV void mma(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) { sim::mma(d, a, b0, b1); }
DEV void copy_async(u32 to, const void* from, bool valid) { sim::copy_async(to, from, valid); }
DEV void copies_end() { sim::copies_end(); }
template <int N> DEV void copies_wait() { sim::copies_wait(N); }
#endif
