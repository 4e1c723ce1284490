// Element by element, and rows at unit length.

KERNEL relu(T* y, const T* x, u64 n) {
    map<1>(y, {x}, n, [](const float (&v)[1], u64) { return v[0] < 0 ? 0.0f : v[0]; });
}

// dy where y > 0.
KERNEL relu_backward(T* dx, const T* dy, const T* y, u64 n) {
    map<2>(dx, {dy, y}, n, [](const float (&v)[2], u64) { return v[1] > 0 ? v[0] : 0.0f; });
}

KERNEL add(T* y, const T* a, const T* b, u64 n) {
    map<2>(y, {a, b}, n, [](const float (&v)[2], u64) { return v[0] + v[1]; });
}

// Φ(x). The complementary error function keeps it accurate where it is small.
DEV float normal(float x) { return 0.5f * erfcf(-0.70710678f * x); }

KERNEL gelu(T* y, const T* x, u64 n) {
    map<1>(y, {x}, n, [](const float (&v)[1], u64) { return v[0] * normal(v[0]); });
}

// dy (Φ(x) + x φ(x)).
KERNEL gelu_backward(T* dx, const T* dy, const T* x, u64 n) {
    map<2>(dx, {dy, x}, n, [](const float (&v)[2], u64) {
        float x = v[1], density = 0.39894228f * expf(-0.5f * x * x);
        // Where the density is 0, x may be infinite.
        return v[0] * (normal(x) + (density > 0 ? x * density : 0));
    });
}

// y (T, N, C) = each image times its scale (N), plus `onto` if it is not null.
KERNEL scale_images(T* y, const T* x, const float* scales, const T* onto, u64 n, u32 images, u32 channels) {
    Column column = Column::of(thread_index() * 8, channels);
    map<2>(y, {x, onto ? onto : x}, n, [&](const float (&v)[2], u64) {
        float scaled = v[0] * scales[column.row % images];
        column.next();
        return onto ? scaled + v[1] : scaled;
    });
}

// y (T, N, C) = the class token, then the patches (T - 1, N, C) plus their bias, each plus the vector of its position.
KERNEL embed_patches(T* y, const T* patches, const float* first, const float* bias, const float* positions, u64 n, u32 images, u32 channels) {
    u64 i = thread_index();
    if (i >= n) return;
    u64 image = (u64)images * channels, token = i / image;
    u32 c = (u32)(i % channels);
    float v = token == 0 ? first[c] : to_float(patches[i - image]) + bias[c];
    store(y + i, v + positions[token * channels + c]);
}

// sums (T, C) = the sums of dy (T, N, C) over the images.
KERNEL token_sums(float* sums, const T* dy, u32 tokens, u32 images, u32 channels) {
    u64 i = thread_index();
    if (i >= (u64)tokens * channels) return;
    u64 token = i / channels, c = i % channels;
    float sum = 0;
    for (u64 n = 0; n < images; ++n) sum += to_float(dy[(token * images + n) * channels + c]);
    sums[i] = sum;
}

// The gradients of class token and bias, and of the first `taken` positions, from the sums of the tokens.
KERNEL embedding_gradients(float* first, float* bias, float* positions, const float* sums, u32 tokens, u32 taken, u32 channels) {
    u32 c = (u32)thread_index();
    if (c >= channels) return;
    first[c] += sums[c];
    float sum = 0;
    for (u64 t = 1; t < tokens; ++t) sum += sums[t * channels + c];
    bias[c] += sum;
    for (u64 t = 0; t < taken; ++t) positions[t * channels + c] += sums[t * channels + c];
}

constexpr float SHORTEST = 1e-12f; // shorter rows are divided by it

// Each row at unit length, a warp a row.
template <class E> DEV void unit(E* y, const E* x, u64 rows, u32 columns) {
    u64 row = warp_index();
    if (row >= rows) return;
    u32 lane = threadIdx.x % 32;
    x += row * columns; y += row * columns;
    float squares = 0;
    for (u32 c = lane; c < columns; c += 32) { float v = to_float(x[c]); squares += v * v; }
    float length = sqrtf(warp_sum(squares));
    length = length < SHORTEST ? SHORTEST : length;
    for (u32 c = lane; c < columns; c += 32) store(y + c, to_float(x[c]) / length);
}
KERNEL unit_rows(T* y, const T* x, u64 rows, u32 columns) { unit(y, x, rows, columns); }
KERNEL unit_weight(float* y, const float* x, u64 rows, u32 columns) { unit(y, x, rows, columns); }

// With n = |x| and u = x / n: dx = (dy - u (u dy)) / n; dy / SHORTEST where x is shorter than that.
template <class E> DEV void unit_backward(E* dx, const E* dy, const E* x, u64 rows, u32 columns, bool add) {
    u64 row = warp_index();
    if (row >= rows) return;
    u32 lane = threadIdx.x % 32;
    x += row * columns; dx += row * columns; dy += row * columns;
    float squares = 0, product = 0;
    for (u32 c = lane; c < columns; c += 32) {
        float v = to_float(x[c]);
        squares += v * v;
        product += v * to_float(dy[c]);
    }
    float length = sqrtf(warp_sum(squares)), along = 0;
    product = warp_sum(product);
    if (length < SHORTEST) length = SHORTEST;
    else along = product / length;
    for (u32 c = lane; c < columns; c += 32) {
        float d = (to_float(dy[c]) - to_float(x[c]) / length * along) / length;
        store(dx + c, add ? to_float(dx[c]) + d : d);
    }
}
KERNEL unit_rows_backward(T* dx, const T* dy, const T* x, u64 rows, u32 columns) { unit_backward(dx, dy, x, rows, columns, false); }
KERNEL unit_weight_backward(float* dx, const float* dy, const float* x, u64 rows, u32 columns) { unit_backward(dx, dy, x, rows, columns, true); }
