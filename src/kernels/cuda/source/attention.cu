// Softmax of attention, between its products: a warp a row of scores. Scores are f32, (rows, stride); probabilities are
// (rows, stride), padded with zeros.

KERNEL attention_softmax(T* p, const float* scores, u64 rows, u32 columns, u32 stride, float scale) {
    u64 row = warp_index();
    if (row >= rows) return;
    u32 lane = threadIdx.x % 32;
    const float* s = scores + row * stride;
    float most = -3.0e38f, sum = 0;
    for (u32 c = lane; c < columns; c += 32) most = s[c] < most ? most : s[c];
    most = warp_max(most);
    for (u32 c = lane; c < columns; c += 32) sum += expf((s[c] - most) * scale);
    float factor = 1.0f / warp_sum(sum);
    for (u32 c = lane; c < stride; c += 32) store(p + row * stride + c, c < columns ? expf((s[c] - most) * scale) * factor : 0);
}

// ds = p (dp - sum(dp p)) scale: the gradient of the scores before they are scaled.
KERNEL attention_softmax_backward(T* ds, const float* dp, const T* p, u64 rows, u32 columns, u32 stride, float scale) {
    u64 row = warp_index();
    if (row >= rows) return;
    u32 lane = threadIdx.x % 32;
    u64 at = row * stride;
    float sum = 0;
    for (u32 c = lane; c < columns; c += 32) sum += dp[at + c] * to_float(p[at + c]);
    sum = warp_sum(sum);
    for (u32 c = lane; c < stride; c += 32)
        store(ds + at + c, c < columns ? to_float(p[at + c]) * (dp[at + c] - sum) * scale : 0);
}
