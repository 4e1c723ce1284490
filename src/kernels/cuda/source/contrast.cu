// Contrast of queries with candidates that have no gradient (a queue, a memory bank, centroids, a batch's keys), and the
// rows of unit length that methods keep for it, in f32.

// Rows `places` of `from`, a warp a row.
KERNEL gather_rows(float* to, const float* from, const u32* places, u64 rows, u32 columns) {
    u64 row = warp_index();
    if (row >= rows) return;
    from += (u64)places[row] * columns; to += row * columns;
    for (u32 c = threadIdx.x % 32; c < columns; c += 32) to[c] = from[c];
}

// Row places[i] of `kept` becomes share kept + (1 - share) from[i], at unit length; with share 0 it becomes from[i]. A
// warp a row; places differ.
KERNEL mix_rows(float* kept, const float* from, const u32* places, u64 rows, u32 columns, float share) {
    u64 row = warp_index();
    if (row >= rows) return;
    kept += (u64)places[row] * columns; from += row * columns;
    u32 lane = threadIdx.x % 32;
    auto mixed = [&](u32 c) { return share > 0 ? share * kept[c] + (1 - share) * from[c] : from[c]; };
    float squares = 0;
    for (u32 c = lane; c < columns; c += 32) squares += mixed(c) * mixed(c);
    float scale = share > 0 ? 1 / sqrtf(warp_sum(squares) + TINY) : 1;
    for (u32 c = lane; c < columns; c += 32) kept[c] = mixed(c) * scale;
}

// What a query's term is multiplied by, and the candidate that does not count for it.
struct Term { float weight; u32 excluded; };

// Contrast of a query with its positive k and the candidates, a block a query:
//
// weight log(1 + sum_j exp(scale (s_j - q k))), plus weight sum_j log(1 + w_j) if `mistaken`, w the softmax of scale s
//
// The similarities s become the slopes of this with respect to themselves; the positive's share of the slope of q is
// added to `slopes`. If no candidate counts, both are 0.
KERNEL info_nce(double* terms, float* slopes, float* s, const float* queries, const float* positives, const Term* of_rows, u32 candidates, u32 columns, float scale, u32 mistaken) {
    __shared__ float scratch[8];
    __shared__ double sums[8];
    u64 row = blockIdx.x;
    Term term = of_rows[row];
    s += row * candidates; queries += row * columns; positives += row * columns; slopes += row * columns;
    double product = 0, sum = 0;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) product += (double)queries[c] * positives[c];
    product = block_sum(product, sums);
    float largest = LOWEST;
    for (u32 j = threadIdx.x; j < candidates; j += THREADS)
        if (j != term.excluded && s[j] > largest) largest = s[j];
    largest = block_max(largest, scratch);
    for (u32 j = threadIdx.x; j < candidates; j += THREADS)
        if (j != term.excluded) sum += expf((s[j] - largest) * scale);
    sum = block_sum(sum, sums);
    float share = sum > 0 ? (float)(1 / sum) : 0;
    auto weight_of = [&](u32 j) { return j == term.excluded ? 0 : expf((s[j] - largest) * scale) * share; };
    double behind = log(sum) + (largest - product) * scale; // minus infinity without candidates
    double loss = (behind > 0 ? behind : 0) + log1p(exp(-fabs(behind))), miss = 1 / (1 + exp(-behind));
    double mass = 0, others = 0;
    if (mistaken) {
        for (u32 j = threadIdx.x; j < candidates; j += THREADS) {
            float w = weight_of(j);
            mass += w / (1 + w); others += log1pf(w);
        }
        mass = block_sum(mass, sums);
        loss += block_sum(others, sums);
    }
    float factor = term.weight * scale, common = (float)(miss - mass);
    for (u32 j = threadIdx.x; j < candidates; j += THREADS) {
        float w = weight_of(j);
        s[j] = factor * w * (mistaken ? common + 1 / (1 + w) : common);
    }
    for (u32 c = threadIdx.x; c < columns; c += THREADS) slopes[c] -= factor * (float)miss * positives[c];
    if (threadIdx.x == 0) terms[row] = term.weight * loss;
}

// The cross-entropy of scores with their categories, averaged, a block a row, and its gradient.
KERNEL category_cross_entropy(T* gradient, double* terms, const T* scores, const u32* categories, u64 rows, u32 columns) {
    __shared__ float scratch[8];
    __shared__ double sums[8];
    scores += (u64)blockIdx.x * columns; gradient += (u64)blockIdx.x * columns;
    u32 category = categories[blockIdx.x];
    Softmax softmax = softmax_of(columns, scratch, sums, [&](u32 c) { return to_float(scores[c]); });
    double share = 1 / ((double)rows * softmax.sum);
    for (u32 c = threadIdx.x; c < columns; c += THREADS) {
        double probability = expf(to_float(scores[c]) - softmax.largest) * share;
        store(gradient + c, (float)(c == category ? probability - 1 / (double)rows : probability));
    }
    if (threadIdx.x == 0) terms[blockIdx.x] = (softmax.largest + log(softmax.sum) - to_float(scores[category])) / (double)rows;
}
