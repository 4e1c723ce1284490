// Pooling over maps (H, W, N, C), and ROIAlign. A row is N C numbers.

struct Pool { u32 height, width, row, kernel, stride, padding, out_height, out_width; };

// The first maximum of each window, and its index in the window. NaN is larger than any number.
KERNEL max_pool(T* y, u8* places, const T* x, Pool p) {
    u64 i = thread_index();
    if (i >= (u64)p.out_height * p.out_width * p.row) return;
    u32 element = (u32)(i % p.row), position = (u32)(i / p.row);
    u32 top = position / p.out_width * p.stride, left = position % p.out_width * p.stride;
    float best = 0;
    int place = -1;
    for (u32 tap = 0; tap < p.kernel * p.kernel; ++tap) {
        u32 iy = top + tap / p.kernel - p.padding, ix = left + tap % p.kernel - p.padding; // large where negative
        if (iy >= p.height || ix >= p.width) continue;
        float v = to_float(x[((u64)iy * p.width + ix) * p.row + element]);
        if (place < 0 || v > best || (v != v && best == best)) { best = v; place = (int)tap; }
    }
    store(y + i, best);
    places[i] = (u8)place;
}

// For each element of x, the sum of dy over the windows whose maximum it is.
KERNEL max_pool_backward(T* dx, const T* dy, const u8* places, Pool p) {
    u64 i = thread_index();
    if (i >= (u64)p.height * p.width * p.row) return;
    u32 element = (u32)(i % p.row), position = (u32)(i / p.row);
    u32 y = position / p.width + p.padding, x = position % p.width + p.padding;
    u32 first_y = y + 1 < p.kernel ? 0 : (y + 1 - p.kernel + p.stride - 1) / p.stride;
    u32 first_x = x + 1 < p.kernel ? 0 : (x + 1 - p.kernel + p.stride - 1) / p.stride;
    float sum = 0;
    for (u32 oy = first_y; oy < p.out_height && oy * p.stride <= y; ++oy)
        for (u32 ox = first_x; ox < p.out_width && ox * p.stride <= x; ++ox) {
            u64 at = ((u64)oy * p.out_width + ox) * p.row + element;
            if (places[at] == (y - oy * p.stride) * p.kernel + x - ox * p.stride) sum += to_float(dy[at]);
        }
    store(dx + i, sum);
}

// y (row) = the mean of x (pixels, row).
KERNEL average_pool(T* y, const T* x, u32 pixels, u64 row) {
    u64 i = thread_index();
    if (i >= row) return;
    float sum = 0;
    for (u64 pixel = 0; pixel < pixels; ++pixel) sum += to_float(x[pixel * row + i]);
    store(y + i, sum / (float)pixels);
}

KERNEL average_pool_backward(T* dx, const T* dy, u32 pixels, u64 row) {
    u64 i = thread_index();
    if (i >= pixels * row) return;
    store(dx + i, to_float(dy[i % row]) / (float)pixels);
}

// ROIAlign; `kernels/cpu/roi_align.rs` has the definition. Coordinates are computed in the same order, since they decide
// how many samples a bin has.

struct Roi { u32 image; float edges[4]; }; // left, top, right, bottom
struct RoiAlign { u32 batch, height, width, channels, side, samples, regions; float scale; };

// The samples of a region's bins along one axis.
struct Axis {
    float start, bin;
    u32 each, size;
    DEV Axis(float low, float high, const RoiAlign& r, u32 size) : size(size) {
        // Without fused multiply-add, as on the CPU.
        start = __fadd_rn(__fmul_rn(low, r.scale), -0.5f);
        bin = __fadd_rn(__fadd_rn(__fmul_rn(high, r.scale), -0.5f), -start) / (float)r.side;
        float count = ceilf(bin);
        each = r.samples ? r.samples : count > 0 ? (u32)count : 0;
    }
    // Two neighbouring positions and their weights for sample i of bin p; weights of 0 outside of the map.
    struct Sample { u32 low, high; float of_low, of_high; };
    DEV Sample sample(u32 p, u32 i) const {
        float at = __fadd_rn(__fadd_rn(start, __fmul_rn((float)p, bin)), __fmul_rn((float)i + 0.5f, bin) / (float)each);
        if (!(at >= -1.0f && at <= (float)size)) return {0, 0, 0, 0};
        at = at < 0 ? 0 : at;
        u32 low = (u32)at, last = size - 1;
        if (low >= last) return {last, last, 1, 0};
        float part = at - (float)low;
        return {low, low + 1, 1 - part, part};
    }
    // The weight of a position in bin p, summed over its samples.
    DEV float weight(u32 p, u32 position) const {
        float sum = 0;
        for (u32 i = 0; i < each; ++i) {
            Sample s = sample(p, i);
            if (s.low == position) sum += s.of_low;
            if (s.high == position && s.high != s.low) sum += s.of_high;
        }
        return sum;
    }
    // Whether a sample may touch a position.
    DEV bool near(u32 position, u32 side) const {
        float low = start < 0 ? 0 : start, end = start + bin * (float)side, last = (float)(size - 1);
        return (float)position >= low - 1 && (float)position <= (end < last ? end : last) + 1;
    }
};

// y (P, P, R, C): a block a bin of a region.
KERNEL roi_align(T* y, const T* x, const Roi* rois, RoiAlign r) {
    u32 region = blockIdx.x % r.regions, bin = blockIdx.x / r.regions;
    Roi roi = rois[region];
    Axis rows(roi.edges[1], roi.edges[3], r, r.height), columns(roi.edges[0], roi.edges[2], r, r.width);
    u32 count = rows.each * columns.each;
    for (u32 c = threadIdx.x; c < r.channels; c += THREADS) {
        auto at = [&](u32 py, u32 px) { return to_float(x[((u64)(py * r.width + px) * r.batch + roi.image) * r.channels + c]); };
        float sum = 0;
        for (u32 i = 0; i < rows.each; ++i)
            for (u32 j = 0; j < columns.each; ++j) {
                Axis::Sample row = rows.sample(bin / r.side, i), column = columns.sample(bin % r.side, j);
                sum += row.of_low * (column.of_low * at(row.low, column.low) + column.of_high * at(row.low, column.high))
                    + row.of_high * (column.of_low * at(row.high, column.low) + column.of_high * at(row.high, column.high));
            }
        store(y + (u64)blockIdx.x * r.channels + c, count ? sum / (float)count : 0);
    }
}

// dx (H, W, N, C): a block a position of an image, which sums over the regions in their order.
KERNEL roi_align_backward(T* dx, const T* dy, const Roi* rois, RoiAlign r) {
    u32 image = blockIdx.x % r.batch, position = blockIdx.x / r.batch, py = position / r.width, px = position % r.width;
    for (u32 c = threadIdx.x; c < r.channels; c += THREADS) {
        float sum = 0;
        for (u32 region = 0; region < r.regions; ++region) {
            if (rois[region].image != image) continue;
            Roi roi = rois[region];
            Axis rows(roi.edges[1], roi.edges[3], r, r.height), columns(roi.edges[0], roi.edges[2], r, r.width);
            if (!rows.each || !columns.each || !rows.near(py, r.side) || !columns.near(px, r.side)) continue;
            float of_region = 0;
            for (u32 by = 0; by < r.side; ++by) {
                float of_row = rows.weight(by, py);
                if (of_row == 0) continue;
                for (u32 bx = 0; bx < r.side; ++bx) {
                    float weight = columns.weight(bx, px);
                    if (weight == 0) continue;
                    of_region += of_row * weight * to_float(dy[((u64)(by * r.side + bx) * r.regions + region) * r.channels + c]);
                }
            }
            sum += of_region / (float)(rows.each * columns.each);
        }
        store(dx + (u64)blockIdx.x * r.channels + c, sum);
    }
}
