// Products of matrices. Output z is c_z (m, n) = sum over its segments of A (m, inner) B (n, inner)ᵀ, each operand with
// any strides. Every product of a network is one: a linear map has one segment; a convolution's output at one position
// has a segment for each tap that falls on the map, so padding is never multiplied; the gradient of a tap has one for
// each position.

struct Segment { u32 a, b, inner, unused; }; // where A and B begin, in elements

struct Product {
    const void* a; const void* b;
    const void* onto;   // added to the result if it is not null; laid out as c
    const float* bias;  // (n), added to each row if it is not null
    void* c;
    const Segment* segments;
    const uint2* ends;  // of each output: the end of its segments, and its number of steps of K
    const u32* outs;    // where each output begins, in elements
    u32 m, n;
    u32 a_row, a_inner; // strides of A in elements
    u32 b_row, b_inner;
    u32 ldc;
    u32 tiles_m, tiles_n;
    u32 mode;           // what is done with c: WRITE in the format of A and B, or ADD or KEEP in f32
    u32 pairs;          // whether two neighbours of c can be written at once
};
enum { WRITE = 0, ADD = 1, KEEP = 2 };

struct Place { u32 z, m, n; }; // an output, and the first row and column of a tile of it
DEV Place place_of_block(const Product& p, u32 tile_m, u32 tile_n) {
    u32 tile = blockIdx.x, rest = tile / p.tiles_n;
    return {rest / p.tiles_m, rest % p.tiles_m * tile_m, tile % p.tiles_n * tile_n};
}

template <class E> DEV void write(const Product& p, u64 out, u32 row, u32 column, float v) {
    u64 at = out + (u64)row * p.ldc + column;
    if (p.mode == ADD) { ((float*)p.c)[at] += v; return; }
    if (p.bias) v += p.bias[column];
    if (p.onto) v += to_float(((const E*)p.onto)[at]);
    if (p.mode == KEEP) ((float*)p.c)[at] = v;
    else store((E*)p.c + at, v);
}

#ifdef BF16
// On tensor cores. Addresses and strides are multiples of 8 elements, and each operand is contiguous in one direction.

constexpr int M = 128, K = 32, STAGES = 4, TILE_A = M * K * 2;
template <int N> constexpr int STAGE = TILE_A + N * K * 2; // bytes of both operands' tiles

// Where 8 numbers of a tile lie, in bytes, so that neither copies nor `ldmatrix` collide. A tile is W rows of 4 chunks
// of the inner index, or, if the other index is contiguous, 32 rows of W / 8 chunks of that.
template <bool OUTER, int W> DEV u32 chunk_at(u32 row, u32 chunk) {
    return OUTER ? row * (W * 2) + ((chunk ^ (row & 7)) << 4) : row * 64 + ((chunk ^ (row >> 1 & 3)) << 4);
}

template <bool OUTER, int W> DEV void load_tile(u32 to, const u16* from, u32 stride, u32 first, u32 count, u32 k, u32 inner) {
    #pragma unroll
    for (u32 i = 0; i < W / 64; ++i) {
        u32 chunk = threadIdx.x + i * THREADS;
        u32 row = OUTER ? chunk / (W / 8) : chunk / 4, c = OUTER ? chunk % (W / 8) : chunk % 4;
        u32 outer = OUTER ? first + c * 8 : first + row, in = OUTER ? k + row : k + c * 8;
        bool valid = outer < count && in < inner;
        u64 at = OUTER ? (u64)in * stride + outer : (u64)outer * stride + in;
        copy_async(to + chunk_at<OUTER, W>(row, c), valid ? from + at : from, valid);
    }
}

// AO, BO: whether A and B are contiguous along m and n rather than along the inner index.
template <int N, bool AO, bool BO> DEV void product(const Product& p) {
    DYNAMIC_SHARED(memory);
    constexpr int WARPS_N = N / 32, WARP_M = M / (8 / WARPS_N), TILES = WARP_M / 16;
    Place place = place_of_block(p, M, N);
    u32 base = shared_address(memory), warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    u32 warp_m = warp / WARPS_N * WARP_M, warp_n = warp % WARPS_N * 32;
    u32 stride_a = AO ? p.a_inner : p.a_row, stride_b = BO ? p.b_inner : p.b_row;
    u32 steps = p.ends[place.z].y, segment = place.z ? p.ends[place.z - 1].x : 0, k = 0;
    Segment current = steps ? p.segments[segment] : Segment{};
    float d[TILES][4][4] = {};

    auto load = [&](u32 step) {
        if (step < steps) {
            if (k >= current.inner) { current = p.segments[++segment]; k = 0; }
            u32 to = base + step % STAGES * STAGE<N>;
            load_tile<AO, M>(to, (const u16*)p.a + current.a, stride_a, place.m, p.m, k, current.inner);
            load_tile<BO, N>(to + TILE_A, (const u16*)p.b + current.b, stride_b, place.n, p.n, k, current.inner);
            k += K;
        }
        copies_end();
    };
    #pragma unroll
    for (u32 step = 0; step < STAGES - 1; ++step) load(step);
    for (u32 step = 0; step < steps; ++step) {
        copies_wait<STAGES - 2>();
        __syncthreads();
        load(step + STAGES - 1);
        u32 at = base + step % STAGES * STAGE<N>;
        #pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            u32 a[TILES][4], b[2][4];
            #pragma unroll
            for (u32 i = 0; i < TILES; ++i) {
                if (AO) ldmatrix_transposed(a[i], at + chunk_at<true, M>(half * 16 + lane / 16 * 8 + lane % 8, (warp_m + i * 16) / 8 + lane / 8 % 2));
                else ldmatrix(a[i], at + chunk_at<false, M>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16));
            }
            #pragma unroll
            for (u32 j = 0; j < 2; ++j) {
                u32 tile = at + TILE_A;
                if (BO) ldmatrix_transposed(b[j], tile + chunk_at<true, N>(half * 16 + lane % 16, (warp_n + j * 16) / 8 + lane / 16));
                else ldmatrix(b[j], tile + chunk_at<false, N>(warp_n + j * 16 + lane / 16 * 8 + lane % 8, half * 2 + lane / 8 % 2));
            }
            #pragma unroll
            for (u32 i = 0; i < TILES; ++i)
                #pragma unroll
                for (u32 j = 0; j < 4; ++j) mma(d[i][j], a[i], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
    }
    copies_wait<0>();

    u64 out = p.outs[place.z];
    #pragma unroll
    for (u32 i = 0; i < TILES; ++i)
        #pragma unroll
        for (u32 half = 0; half < 2; ++half) {
            u32 row = place.m + warp_m + i * 16 + half * 8 + lane / 4;
            if (row >= p.m) continue;
            #pragma unroll
            for (u32 j = 0; j < 4; ++j) {
                u32 column = place.n + warp_n + j * 8 + lane % 4 * 2;
                float v0 = d[i][j][half * 2], v1 = d[i][j][half * 2 + 1];
                if (p.mode == WRITE && p.pairs && column + 1 < p.n) {
                    u64 at = out + (u64)row * p.ldc + column;
                    if (p.bias) { v0 += p.bias[column]; v1 += p.bias[column + 1]; }
                    if (p.onto) {
                        float2 onto = load2((const u16*)p.onto + at, 2, true);
                        v0 += onto.x; v1 += onto.y;
                    }
                    *(u32*)((u16*)p.c + at) = pack_bf16(v0, v1);
                } else {
                    if (column < p.n) write<u16>(p, out, row, column, v0);
                    if (column + 1 < p.n) write<u16>(p, out, row, column + 1, v1);
                }
            }
        }
}

#define PRODUCTS(N) \
    KERNEL product_nt_##N(Product p) { product<N, false, false>(p); } \
    KERNEL product_nn_##N(Product p) { product<N, false, true>(p); } \
    KERNEL product_tn_##N(Product p) { product<N, true, true>(p); }
PRODUCTS(128)
PRODUCTS(64)
#endif

// With any strides and addresses: 64x64 tiles, 4x4 numbers a thread.
template <class E> DEV void plain(const Product& p) {
    __shared__ float tile_a[16][65], tile_b[16][65];
    Place place = place_of_block(p, 64, 64);
    u32 ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    float d[4][4] = {};
    bool busy = place.m + ty * 4 < p.m && place.n + tx < p.n;
    u32 first = place.z ? p.ends[place.z - 1].x : 0, end = p.ends[place.z].x;
    for (u32 s = first; s < end; ++s) {
        Segment segment = p.segments[s];
        const E* a = (const E*)p.a + segment.a;
        const E* b = (const E*)p.b + segment.b;
        for (u32 k = 0; k < segment.inner; k += 16) {
            for (u32 i = threadIdx.x; i < 64 * 16; i += THREADS) {
                // Neighbouring threads read neighbouring numbers.
                u32 row = p.a_inner == 1 ? i / 16 : i % 64, in = p.a_inner == 1 ? i % 16 : i / 64;
                bool valid = place.m + row < p.m && k + in < segment.inner;
                tile_a[in][row] = valid ? to_float(a[(u64)(place.m + row) * p.a_row + (u64)(k + in) * p.a_inner]) : 0;
                row = p.b_inner == 1 ? i / 16 : i % 64; in = p.b_inner == 1 ? i % 16 : i / 64;
                valid = place.n + row < p.n && k + in < segment.inner;
                tile_b[in][row] = valid ? to_float(b[(u64)(place.n + row) * p.b_row + (u64)(k + in) * p.b_inner]) : 0;
            }
            __syncthreads();
            #pragma unroll
            for (u32 in = 0; busy && in < 16; ++in)
                #pragma unroll
                for (u32 i = 0; i < 4; ++i)
                    #pragma unroll
                    for (u32 j = 0; j < 4; ++j) d[i][j] += tile_a[in][ty * 4 + i] * tile_b[in][tx + j * 16];
            __syncthreads();
        }
    }
    u64 out = p.outs[place.z];
    #pragma unroll
    for (u32 i = 0; i < 4; ++i)
        #pragma unroll
        for (u32 j = 0; j < 4; ++j) {
            u32 row = place.m + ty * 4 + i, column = place.n + tx + j * 16;
            if (row < p.m && column < p.n) write<E>(p, out, row, column, d[i][j]);
        }
}
KERNEL product_plain(Product p) { plain<T>(p); }
KERNEL product_floats(Product p) { plain<float>(p); }

// sums[i] += the sum over parts of partial (parts, n) at i.
KERNEL add_parts(float* sums, const float* partial, u32 parts, u64 n) {
    u64 i = thread_index();
    if (i >= n) return;
    float sum = 0;
    for (u32 part = 0; part < parts; ++part) sum += partial[part * n + i];
    sums[i] += sum;
}

// The rows of weights that products read, in bf16, each padded with zeros to `stride`.
struct Rows { u64 from, to; u32 rows, columns, stride, first; }; // `first`: blocks before those of this entry
KERNEL round_rows(u16* to, const float* from, const Rows* entries, u32 count) {
    u32 e = 0;
    while (e + 1 < count && entries[e + 1].first <= blockIdx.x) ++e;
    Rows entry = entries[e];
    u64 n = (u64)entry.rows * entry.stride, first = (u64)(blockIdx.x - entry.first) * THREADS * 8;
    for (u32 i = 0; i < 8; ++i) {
        u64 at = first + i * THREADS + threadIdx.x;
        if (at >= n) return;
        u32 row = (u32)(at / entry.stride), column = (u32)(at % entry.stride);
        to[entry.to + at] = column < entry.columns ? to_bf16(from[entry.from + (u64)row * entry.columns + column]) : (u16)0;
    }
}

// The windows of a convolution over images as rows of a matrix, and back.
struct Windows {
    u32 batch, height, width, channels, kernel, stride, padding, out_height, out_width;
    u32 row; // numbers of a row: K K C, padded
};

// rows (OH, OW, N, row) = the windows of x (N, H, W, C), (ky, kx, c) each; zeros in the padding.
KERNEL unfold(T* rows, const T* x, Windows w) {
    u64 i = thread_index();
    if (i >= (u64)w.out_height * w.out_width * w.batch * w.row) return;
    u32 row = (u32)i / w.row, k = (u32)i % w.row, n = row % w.batch, position = row / w.batch; // fewer than 2^32 numbers
    u32 c = k % w.channels, tap = k / w.channels;
    int y = (int)(position / w.out_width * w.stride + tap / w.kernel) - (int)w.padding;
    int column = (int)(position % w.out_width * w.stride + tap % w.kernel) - (int)w.padding;
    bool inside = tap < w.kernel * w.kernel && y >= 0 && y < (int)w.height && column >= 0 && column < (int)w.width;
    rows[i] = inside ? x[(((u64)n * w.height + y) * w.width + column) * w.channels + c] : (T)0;
}

// dx (N, H, W, C) = the sum of the windows' gradients that meet a pixel, plus `onto` if it is not null.
KERNEL fold(T* dx, const T* rows, const T* onto, Windows w) {
    u64 i = thread_index();
    if (i >= (u64)w.batch * w.height * w.width * w.channels) return;
    u32 pixel = (u32)i / w.channels, c = (u32)i % w.channels; // fewer than 2^32 numbers
    u32 x = pixel % w.width, line = pixel / w.width, y = line % w.height, n = line / w.height;
    float sum = onto ? to_float(onto[i]) : 0;
    for (u32 ky = 0; ky < w.kernel; ++ky)
        for (u32 kx = 0; kx < w.kernel; ++kx) {
            u32 oy = y + w.padding - ky, ox = x + w.padding - kx; // wraps around if it is negative
            if (oy % w.stride || ox % w.stride || y + w.padding < ky || x + w.padding < kx) continue;
            oy /= w.stride; ox /= w.stride;
            if (oy >= w.out_height || ox >= w.out_width) continue;
            u64 row = ((u64)oy * w.out_width + ox) * w.batch + n;
            sum += to_float(rows[row * w.row + (ky * w.kernel + kx) * w.channels + c]);
        }
    store(dx + i, sum);
}
