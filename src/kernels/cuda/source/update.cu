// Optimisers, norms and averages over f32 arenas, for many ranges at once. A chunk is some elements of one range.

struct Chunk { u64 start; u32 len, range; };

enum { SGD = 0, ADAMW = 1 };
struct Rule {
    u32 kind, nesterov;
    float learning_rate, momentum, weight_decay; // SGD
    float trust;                                 // of LARS; negative without
    float beta1, beta2, step_size, root_correction, epsilon, keep; // AdamW
};

// The sums of squares of each chunk's values and gradients (either may be null): (2, chunks).
KERNEL square_sums(double* sums, const float* values, const float* gradients, const Chunk* chunks) {
    __shared__ double scratch[8];
    Chunk chunk = chunks[blockIdx.x];
    const float* sources[2] = {values, gradients};
    for (int s = 0; s < 2; ++s) {
        if (!sources[s]) continue;
        double sum = 0;
        for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
            double v = sources[s][chunk.start + i];
            sum += v * v;
        }
        sum = block_sum(sum, scratch);
        if (threadIdx.x == 0) sums[(u64)s * gridDim.x + blockIdx.x] = sum;
    }
}

// The norm of a range from the sums of its chunks, by a warp.
DEV double norm_of(const double* sums, uint2 range) {
    double sum = 0;
    for (u32 c = range.x + threadIdx.x % 32; c < range.y; c += 32) sum += sums[c];
    return sqrt(warp_sum(sum));
}

// The factor by which LARS scales the step of each range, 1 for the others, a warp a range. `ranges`: first and last chunk of each.
KERNEL trust_ratios(float* factors, const double* sums, const uint2* ranges, const Rule* rules, u32 count, u32 chunks) {
    u32 r = (u32)warp_index();
    if (r >= count) return;
    bool writes = threadIdx.x % 32 == 0;
    Rule rule = rules[r];
    if (rule.trust < 0) { if (writes) factors[r] = 1; return; }
    double value = norm_of(sums, ranges[r]), gradient = norm_of(sums + chunks, ranges[r]);
    bool none = value == 0 || gradient == 0;
    if (writes) factors[r] = none ? 1.0f : (float)((double)rule.trust * value / (gradient + (double)rule.weight_decay * value));
}

// The factor that shortens each range to `limit`, at most 1, a warp a range.
KERNEL clip_factors(float* factors, const double* sums, const uint2* ranges, u32 count, double limit) {
    u32 r = (u32)warp_index();
    if (r >= count) return;
    double factor = limit / (norm_of(sums, ranges[r]) + 1e-6);
    if (threadIdx.x % 32 == 0) factors[r] = factor < 1 ? (float)factor : 1.0f;
}

KERNEL scale_chunks(float* values, const Chunk* chunks, const float* factors) {
    Chunk chunk = chunks[blockIdx.x];
    float factor = factors[chunk.range];
    if (factor == 1) return;
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) values[chunk.start + i] *= factor;
}

// `first` and `second` are the optimiser's own arenas: velocity, or the two moments.
KERNEL update_chunks(float* values, const float* gradients, float* first, float* second, const Chunk* chunks, const Rule* rules, const float* factors) {
    Chunk chunk = chunks[blockIdx.x];
    Rule rule = rules[chunk.range];
    float factor = factors[chunk.range];
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
        u64 at = chunk.start + i;
        float p = values[at], g = gradients[at];
        if (rule.kind == SGD) {
            g = fmaf(rule.weight_decay, p, g) * factor;
            float v = fmaf(rule.momentum, first[at], g);
            first[at] = v;
            values[at] = fmaf(-rule.learning_rate, rule.nesterov ? fmaf(rule.momentum, v, g) : v, p);
        } else {
            float m = fmaf(1 - rule.beta1, g - first[at], first[at]);
            float v = fmaf((1 - rule.beta2) * g, g, second[at] * rule.beta2);
            first[at] = m;
            second[at] = v;
            values[at] = p * rule.keep - rule.step_size * m / fmaf(sqrtf(v), rule.root_correction, rule.epsilon);
        }
    }
}

// target + pull (online - target), so that equal values stay equal.
KERNEL average(float* target, const float* online, float pull, u64 n) {
    u64 i = thread_index();
    if (i < n) target[i] = fmaf(pull, online[i] - target[i], target[i]);
}
