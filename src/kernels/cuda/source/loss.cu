// Losses and their gradients with respect to predictions. Kernels write the terms of a loss in f64; `sum_terms` adds them
// up. Rows are views: of 2N rows, row i and row i + N are a pair.

constexpr float LOWEST = -3.0e38f;

// The largest number of a block, in every thread; `scratch` holds 8 numbers.
DEV float block_max(float x, float* scratch) {
    x = warp_max(x);
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
    __syncthreads();
    for (int i = 0; i < 8; ++i) x = x < scratch[i] ? scratch[i] : x;
    __syncthreads();
    return x;
}

KERNEL sum_terms(double* value, const double* terms, u64 n) {
    __shared__ double scratch[8];
    double sum = 0;
    for (u64 i = threadIdx.x; i < n; i += THREADS) sum += terms[i];
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) *value = sum;
}

constexpr float TINY = 1e-24f; // added to the square of a length

// Rows at unit length in f32, and their lengths, a warp a row.
KERNEL unit_floats(float* unit, float* length, const T* x, u64 rows, u32 columns) {
    u64 row = warp_index();
    if (row >= rows) return;
    x += row * columns; unit += row * columns;
    float squares = 0;
    of_row(x, columns, [&](u32, float v) { squares += v * v; });
    float l = sqrtf(warp_sum(squares) + TINY), scale = 1 / l;
    if (threadIdx.x % 32 == 0) length[row] = l;
    of_row(x, columns, [&](u32 c, float v) { unit[c] = v * scale; });
}

// dx = factor (du - u (u du)) / length.
KERNEL unit_floats_backward(T* dx, const float* du, const float* unit, const float* length, u64 rows, u32 columns, float factor) {
    u64 row = warp_index();
    if (row >= rows) return;
    du += row * columns; unit += row * columns; dx += row * columns;
    u32 lane = threadIdx.x % 32;
    float along = 0;
    for (u32 c = lane; c < columns; c += 32) along += du[c] * unit[c];
    along = warp_sum(along);
    float scale = factor / length[row];
    for (u32 c = lane; c < columns; c += 32) store(dx + c, scale * (du[c] - unit[c] * along));
}

// NT-Xent, a block a row: similarities s (views, views) become softmax(scale s) over the other views, minus 1 at the pair.
KERNEL contrast(double* terms, float* s, u32 views, float scale) {
    __shared__ float scratch[8];
    __shared__ double sums[8];
    u32 row = blockIdx.x, pair = (row + views / 2) % views;
    s += (u64)row * views;
    float largest = LOWEST, of_pair = s[pair];
    for (u32 j = threadIdx.x; j < views; j += THREADS)
        if (j != row && s[j] > largest) largest = s[j];
    largest = block_max(largest, scratch);
    double sum = 0;
    for (u32 j = threadIdx.x; j < views; j += THREADS)
        if (j != row) sum += expf((s[j] - largest) * scale);
    sum = block_sum(sum, sums);
    float share = (float)(1 / sum);
    for (u32 j = threadIdx.x; j < views; j += THREADS) {
        float q = j == row ? 0 : expf((s[j] - largest) * scale) * share;
        s[j] = j == pair ? q - 1 : q;
    }
    if (threadIdx.x == 0) terms[row] = (log(sum) + (double)(largest - of_pair) * scale) / views;
}

// weight cos(p, target of the pair), a warp a row, and its gradient weight / |p| (z / |z| - cos p / |p|).
KERNEL mean_cosine(T* gradient, double* terms, const T* p, const T* targets, u64 rows, u32 columns, double weight) {
    u64 row = warp_index();
    if (row >= rows) return;
    const T* z = targets + (row + rows / 2) % rows * columns;
    p += row * columns; gradient += row * columns;
    float of_p = 0, of_z = 0, product = 0;
    of_row(p, columns, [&](u32 c, float v) {
        float target = to_float(z[c]);
        of_p += v * v; of_z += target * target; product += v * target;
    });
    of_p = sqrtf(warp_sum(of_p) + TINY);
    of_z = sqrtf(warp_sum(of_z) + TINY);
    float cosine = warp_sum(product) / of_p / of_z, slope = (float)weight / of_p;
    of_row(p, columns, [&](u32 c, float v) { store(gradient + c, slope * (to_float(z[c]) / of_z - cosine * v / of_p)); });
    if (threadIdx.x % 32 == 0) terms[row] = weight * cosine;
}

// The sum over the 8 lines of a block of 32 columns, in every line; `sums` holds (8, 32).
DEV double lines_sum(double x, double* sums) {
    sums[threadIdx.x] = x;
    __syncthreads();
    double sum = 0;
    for (u32 line = 0; line < 8; ++line) sum += sums[line * 32 + threadIdx.x % 32];
    __syncthreads();
    return sum;
}

constexpr double VICREG_EPSILON = 1e-4; // added to a variance

// VICReg, one side at blockIdx.y: the centred columns, mu times the missing deviation minus nu variance² of each column,
// and the factor `own` of the centred number in its gradient.
KERNEL vicreg_columns(float* centred, float* own, double* terms, const T* z, u64 rows, u32 columns, double mu, double nu) {
    __shared__ double sums[256];
    u32 column = blockIdx.x * 32 + threadIdx.x % 32, line = threadIdx.x / 32;
    z += blockIdx.y * rows * columns; centred += blockIdx.y * rows * columns;
    u64 end = column < columns ? rows : 0;
    double sum = 0, squares = 0, rest = (double)rows - 1;
    for (u64 row = line; row < end; row += 8) sum += to_float(z[row * columns + column]);
    double mean = lines_sum(sum, sums) / (double)rows;
    for (u64 row = line; row < end; row += 8) {
        float v = (float)(to_float(z[row * columns + column]) - mean);
        centred[row * columns + column] = v;
        squares += (double)v * v;
    }
    double variance = lines_sum(squares, sums) / rest, deviation = sqrt(variance + VICREG_EPSILON);
    if (column >= columns || line) return;
    u64 at = (u64)blockIdx.y * columns + column;
    bool missing = deviation < 1;
    own[at] = (float)(-((missing ? mu / deviation : 0) + 4 * nu * variance) / rest);
    terms[at] = (missing ? mu * (1 - deviation) : 0) - nu * variance * variance;
}

// VICReg, a block a pair. With c the centred rows and `through` = c c' c of each side: the gradients of both rows, and
// their terms invariance (f - s)² + covariance c `through`.
KERNEL vicreg_rows(T* gradient, double* terms, const T* z, const float* centred, const float* through, const float* own, u64 pairs, u32 columns, double invariance, double covariance) {
    __shared__ double scratch[8];
    u64 first = blockIdx.x * (u64)columns, second = first + pairs * columns;
    float along = (float)(4 * covariance), slope = (float)(2 * invariance);
    double sum = 0;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) {
        u64 f = first + c, s = second + c;
        float apart = to_float(z[f]) - to_float(z[s]);
        store(gradient + f, along * through[f] + own[c] * centred[f] + slope * apart);
        store(gradient + s, along * through[s] + own[columns + c] * centred[s] - slope * apart);
        sum += invariance * apart * apart + covariance * ((double)centred[f] * through[f] + (double)centred[s] * through[s]);
    }
    sum = block_sum(sum, scratch);
    if (threadIdx.x == 0) terms[blockIdx.x] = sum;
}

constexpr double TWIN_EPSILON = 1e-5; // added to a variance

// Barlow Twins, one side at blockIdx.y: the standardised columns, and the inverse of each column's deviation.
KERNEL twin_columns(float* standardised, double* inverse, const T* z, u64 rows, u32 columns) {
    __shared__ double sums[256];
    u32 column = blockIdx.x * 32 + threadIdx.x % 32, line = threadIdx.x / 32;
    z += blockIdx.y * rows * columns; standardised += blockIdx.y * rows * columns;
    u64 end = column < columns ? rows : 0;
    double sum = 0, squares = 0, share = 1 / (double)rows;
    for (u64 row = line; row < end; row += 8) sum += to_float(z[row * columns + column]);
    double mean = lines_sum(sum, sums) * share;
    for (u64 row = line; row < end; row += 8) {
        double v = to_float(z[row * columns + column]) - mean;
        squares += v * v;
    }
    double scale = 1 / sqrt(lines_sum(squares, sums) * share + TWIN_EPSILON);
    for (u64 row = line; row < end; row += 8) {
        float v = (float)(to_float(z[row * columns + column]) - mean);
        standardised[row * columns + column] = v * (float)scale;
    }
    if (column < columns && line == 0) inverse[(u64)blockIdx.y * columns + column] = scale;
}

// Barlow Twins, one side a at blockIdx.y and the other side b, with t = b b' a and the correlation c = a b / n of each
// column: the column's term, at the first side, and the gradient of z through the standardisation of a, whose slope is
// 2 scale (redundancy t / n² - (1 - c + redundancy c) b / n).
KERNEL twin_gradient(T* gradient, double* terms, const float* standardised, const float* through, const double* inverse, u64 rows, u32 columns, double redundancy, double scale) {
    __shared__ double sums[256];
    u32 column = blockIdx.x * 32 + threadIdx.x % 32, line = threadIdx.x / 32;
    u64 side = blockIdx.y * rows * columns, other = (1 - blockIdx.y) * rows * columns, end = column < columns ? rows : 0;
    const float *a = standardised + side, *b = standardised + other, *t = through + side;
    double ab = 0, at = 0, t_alone = 0, b_alone = 0, n = (double)rows;
    for (u64 row = line; row < end; row += 8) {
        u64 i = row * columns + column;
        ab += (double)a[i] * b[i]; at += (double)a[i] * t[i]; t_alone += t[i]; b_alone += b[i];
    }
    ab = lines_sum(ab, sums) / n; at = lines_sum(at, sums) / n; t_alone = lines_sum(t_alone, sums) / n; b_alone = lines_sum(b_alone, sums) / n;
    double along = 2 * scale * redundancy / (n * n), across = -2 * scale * (1 - ab + redundancy * ab) / n;
    double mean = along * t_alone + across * b_alone, of_a = along * at + across * ab;
    u64 index = (u64)blockIdx.y * columns + column;
    for (u64 row = line; row < end; row += 8) {
        u64 i = row * columns + column;
        store(gradient + side + i, (float)(inverse[index] * (along * t[i] + across * b[i] - mean - a[i] * of_a)));
    }
    if (column >= columns || line) return;
    terms[index] = blockIdx.y ? 0 : scale * ((1 - ab) * (1 - ab) + redundancy * (at / n - ab * ab));
}

// Softmax over a row of many classes, a block a row: the largest exponent and the sum of the exponentials below it.
struct Softmax { float largest; double sum; };
template <class F> DEV Softmax softmax_of(u32 columns, float* scratch, double* sums, F exponent) {
    float largest = LOWEST, sum = 0;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) {
        float v = exponent(c);
        if (v > largest) { sum = sum * expf(largest - v) + 1; largest = v; }
        else sum += expf(v - largest);
    }
    float of_block = block_max(largest, scratch);
    return {of_block, block_sum((double)sum * expf(largest - of_block), sums)};
}

// targets = softmax(scale (scores - centre)) of each row.
KERNEL centred_targets(float* targets, const T* scores, const float* centre, u32 columns, float scale) {
    __shared__ float scratch[8];
    __shared__ double sums[8];
    scores += (u64)blockIdx.x * columns; targets += (u64)blockIdx.x * columns;
    auto exponent = [&](u32 c) { return scale * (to_float(scores[c]) - centre[c]); };
    Softmax softmax = softmax_of(columns, scratch, sums, exponent);
    float share = (float)(1 / softmax.sum);
    for (u32 c = threadIdx.x; c < columns; c += THREADS) targets[c] = expf(exponent(c) - softmax.largest) * share;
}

// centre = momentum centre + (1 - momentum) mean of the rows, from partial sums, a warp a column.
KERNEL move_centre(float* centre, const float* partial, u32 parts, u64 rows, u32 columns, float momentum) {
    u32 c = (u32)warp_index();
    if (c >= columns) return;
    double mean = sum_of_parts(partial, parts, 1, 0, columns, c) / (double)rows, kept = momentum;
    if (threadIdx.x % 32 == 0) centre[c] = (float)(kept * centre[c] + (1 - kept) * mean);
}

// The cross-entropy of a view's scores with the targets q of the other of the first two views, a block a row, times
// `weight`, and its gradient weight scale (softmax(scale s) sum(q) - q).
KERNEL view_cross_entropy(T* gradient, double* terms, const T* scores, const float* targets, u64 batch, u32 columns, float scale, double weight) {
    __shared__ float scratch[8];
    __shared__ double sums[8];
    u64 view = blockIdx.x / batch, item = blockIdx.x % batch;
    scores += (u64)blockIdx.x * columns; gradient += (u64)blockIdx.x * columns;
    const float* first = targets + item * columns;
    const float* second = first + batch * columns;
    auto target = [&](u32 c) { return (view == 0 ? 0 : first[c]) + (view == 1 ? 0 : second[c]); };
    auto exponent = [&](u32 c) { return scale * to_float(scores[c]); };
    Softmax softmax = softmax_of(columns, scratch, sums, exponent);
    double mass = 0, entropy = 0, log_sum = softmax.largest + log(softmax.sum);
    for (u32 c = threadIdx.x; c < columns; c += THREADS) mass += target(c);
    mass = block_sum(mass, sums);
    float factor = (float)(weight * scale), share = (float)(mass / softmax.sum);
    for (u32 c = threadIdx.x; c < columns; c += THREADS) {
        float v = exponent(c), q = target(c);
        store(gradient + c, factor * (expf(v - softmax.largest) * share - q));
        entropy += q * (log_sum - v);
    }
    entropy = block_sum(entropy, sums);
    if (threadIdx.x == 0) terms[blockIdx.x] = weight * entropy;
}

// Sinkhorn's algorithm in f64, for groups of rows. Exponents are at least -600.
DEV double behind(float score, float largest, double inverse) {
    double exponent = ((double)score - largest) * inverse;
    return exp(exponent < -600 ? -600 : exponent);
}

// Each row's largest score, and exp((score - largest) / epsilon), a block a row.
KERNEL sinkhorn_shares(double* shares, float* largest, const T* scores, u32 columns, double inverse) {
    __shared__ float scratch[8];
    scores += (u64)blockIdx.x * columns; shares += (u64)blockIdx.x * columns;
    float most = LOWEST;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) {
        float v = to_float(scores[c]);
        most = most < v ? v : most;
    }
    most = block_max(most, scratch);
    if (threadIdx.x == 0) largest[blockIdx.x] = most;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) shares[c] = behind(to_float(scores[c]), most, inverse);
}

// The factor of each row before the first round, a block a group.
KERNEL sinkhorn_start(double* of_row, const float* largest, u64 rows, double inverse) {
    __shared__ float scratch[8];
    largest += blockIdx.x * rows; of_row += blockIdx.x * rows;
    float most = LOWEST;
    for (u64 row = threadIdx.x; row < rows; row += THREADS) most = most < largest[row] ? largest[row] : most;
    most = block_max(most, scratch);
    for (u64 row = threadIdx.x; row < rows; row += THREADS) of_row[row] = behind(largest[row], most, inverse);
}

// The factor of each column that gives it its share of the rows; the group at blockIdx.y.
KERNEL sinkhorn_columns(double* of_column, const double* shares, const double* of_row, u64 rows, u32 columns) {
    __shared__ double sums[256];
    u32 column = blockIdx.x * 32 + threadIdx.x % 32;
    shares += blockIdx.y * rows * columns; of_row += blockIdx.y * rows;
    u64 end = column < columns ? rows : 0;
    double sum = 0;
    for (u64 row = threadIdx.x / 32; row < end; row += 8) sum += of_row[row] * shares[row * columns + column];
    sum = lines_sum(sum, sums);
    if (column < columns && threadIdx.x < 32) of_column[(u64)blockIdx.y * columns + column] = (double)rows / (columns * sum);
}

// The factor of each row that makes its sum 1, a block a row. If `targets` is not null, those of the first `given` rows of
// each group are written.
KERNEL sinkhorn_rows(double* of_row, float* targets, const double* shares, const double* of_column, u64 rows, u64 given, u32 columns) {
    __shared__ double scratch[8];
    u64 group = blockIdx.x / rows, row = blockIdx.x % rows;
    shares += (u64)blockIdx.x * columns; of_column += group * columns;
    double mass = 0;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) mass += shares[c] * of_column[c];
    mass = block_sum(mass, scratch);
    if (threadIdx.x == 0) of_row[blockIdx.x] = 1 / mass;
    if (!targets || row >= given) return;
    targets += (group * given + row) * columns;
    for (u32 c = threadIdx.x; c < columns; c += THREADS) targets[c] = (float)(shares[c] * of_column[c] / mass);
}
