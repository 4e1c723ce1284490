// Batch and layer normalisation. x, y, dx, dy, dz and the shortcut are (rows, columns).

// Partial sums of differences from the first row, and of their squares: (parts, 2, columns).
KERNEL moment_parts(float* partial, const T* x, u64 rows, u64 rows_of_part, u32 columns) {
    bool aligned = columns % 2 == 0;
    column_sums<2>(partial, rows, rows_of_part, columns, [&](u64 row, u32 column, int count, float (&t)[2][2]) {
        float2 pivot = load2(x + column, count, aligned), v = load2(x + row * columns + column, count, aligned);
        v.x -= pivot.x; v.y -= pivot.y;
        t[0][0] = v.x; t[0][1] = v.y;
        t[1][0] = v.x * v.x; t[1][1] = v.y * v.y;
    });
}

// The moments of each column, a warp a column, and the running moments moved towards them, with the unbiased variance.
KERNEL batch_moments(float* mean, float* inv_std, float* running, const float* partial, const T* x, u32 parts, u64 rows, u32 columns, float epsilon, float momentum) {
    u32 c = (u32)warp_index();
    if (c >= columns) return;
    double shift = sum_of_parts(partial, parts, 2, 0, columns, c) / (double)rows;
    double variance = sum_of_parts(partial, parts, 2, 1, columns, c) / (double)rows - shift * shift;
    if (threadIdx.x % 32) return;
    float m = (float)((double)to_float(x[c]) + shift), v = variance < 0 ? 0 : (float)variance;
    mean[c] = m;
    inv_std[c] = 1.0f / sqrtf(v + epsilon);
    float unbiased = (float)rows / (float)((rows < 2 ? 2 : rows) - 1);
    running[c] += momentum * (m - running[c]);
    running[columns + c] += momentum * (v * unbiased - running[columns + c]);
}

KERNEL running_moments(float* mean, float* inv_std, const float* running, u32 columns, float epsilon) {
    u32 c = (u32)thread_index();
    if (c >= columns) return;
    mean[c] = running[c];
    inv_std[c] = 1.0f / sqrtf(running[columns + c] + epsilon);
}

struct Norm { const float* mean; const float* inv_std; const float* gamma; const float* beta; }; // no gamma: 1, no beta: 0

// A column's normalisation: forward and the recomputed gate of backward must round alike.
struct Scale {
    float mean, inv_std, scale, beta;
    DEV Scale(const Norm& norm, u32 c) {
        mean = norm.mean[c]; inv_std = norm.inv_std[c];
        scale = norm.gamma ? norm.gamma[c] * inv_std : inv_std;
        beta = norm.beta ? norm.beta[c] : 0;
    }
    DEV float of(float x) const { return fmaf(x - mean, scale, beta); }
};

KERNEL normalize(T* y, const T* x, const T* shortcut, Norm norm, u64 n, u32 columns, u32 rectify) {
    Column column = Column::of(thread_index() * 8, columns);
    map<2>(y, {x, shortcut ? shortcut : x}, n, [&](const float (&v)[2], u64) {
        float z = Scale(norm, column.at).of(v[0]);
        if (shortcut) z += v[1];
        column.next();
        return rectify && z < 0 ? 0.0f : z;
    });
}

enum { OPEN = 0, RECOMPUTED = 1, OUTPUT = 2 }; // which elements of dy pass the ReLU

// Partial sums of dz and of dz x̂, with dz = dy where the gate is open: (parts, 2, columns).
KERNEL backward_parts(float* partial, const T* dy, const T* x, const T* y, Norm norm, u64 rows, u64 rows_of_part, u32 columns, u32 gate) {
    bool aligned = columns % 2 == 0;
    column_sums<2>(partial, rows, rows_of_part, columns, [&](u64 row, u32 column, int count, float (&t)[2][2]) {
        u64 at = row * columns + column;
        float2 dz = load2(dy + at, count, aligned), v = load2(x + at, count, aligned);
        float2 out = gate == OUTPUT ? load2(y + at, count, aligned) : make_float2(0, 0);
        float d[2] = {dz.x, dz.y}, values[2] = {v.x, v.y}, outs[2] = {out.x, out.y};
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            if (i >= count) break;
            Scale scale(norm, column + i);
            bool open = gate == OPEN || (gate == OUTPUT ? outs[i] > 0 : scale.of(values[i]) > 0);
            t[0][i] = open ? d[i] : 0;
            t[1][i] = open ? d[i] * ((values[i] - scale.mean) * scale.inv_std) : 0;
        }
    });
}

// The means over the rows of both sums, (2, columns), a warp a column, added to the gradients of gamma and beta (whichever is not null).
KERNEL norm_gradients(float* means, float* dgamma, float* dbeta, const float* partial, u32 parts, u64 rows, u32 columns) {
    u32 c = (u32)warp_index();
    if (c >= columns) return;
    double sum = sum_of_parts(partial, parts, 2, 0, columns, c), product = sum_of_parts(partial, parts, 2, 1, columns, c);
    if (threadIdx.x % 32) return;
    if (means) { means[c] = (float)(sum / (double)rows); means[columns + c] = (float)(product / (double)rows); }
    if (dbeta) dbeta[c] += (float)sum;
    if (dgamma) dgamma[c] += (float)product;
}

// dx = gamma inv_std (dz - mean(dz) - x̂ mean(dz x̂)), without the means if there are none; also writes dz if it is given.
KERNEL norm_backward(T* dx, T* dz, const T* dy, const T* x, const T* y, const float* means, Norm norm, u64 n, u32 columns, u32 gate) {
    Column column = Column::of(thread_index() * 8, columns);
    map<3>(dx, {dy, x, gate == OUTPUT ? y : x}, n, [&](const float (&v)[3], u64 i) {
        u32 c = column.at;
        Scale scale(norm, c);
        bool open = gate == OPEN || (gate == OUTPUT ? v[2] > 0 : scale.of(v[1]) > 0);
        float d = open ? v[0] : 0;
        if (dz) store(dz + i, d);
        column.next();
        if (!means) return scale.scale * d;
        return scale.scale * (d - means[c] - (v[1] - scale.mean) * scale.inv_std * means[columns + c]);
    });
}

// Layer normalisation: a warp a row.

// Calls `each(column, x)` for the numbers of a row that this lane reads.
template <class F> DEV void of_row(const T* x, u32 columns, F each) {
    u32 lane = threadIdx.x % 32;
    if (columns % 8 == 0) {
        for (u32 c = lane * 8; c < columns; c += 256) {
            float v[8];
            load8(v, x + c);
            #pragma unroll
            for (int i = 0; i < 8; ++i) each(c + i, v[i]);
        }
    } else {
        for (u32 c = lane; c < columns; c += 32) each(c, to_float(x[c]));
    }
}

KERNEL layer_norm(T* y, float* mean, float* inv_std, const T* x, const float* gamma, const float* beta, u64 rows, u32 columns, float epsilon) {
    u64 row = warp_index();
    if (row >= rows) return;
    x += row * columns; y += row * columns;
    float sum = 0, squares = 0;
    of_row(x, columns, [&](u32, float v) { sum += v; });
    float m = warp_sum(sum) / (float)columns;
    of_row(x, columns, [&](u32, float v) { squares += (v - m) * (v - m); });
    float r = 1.0f / sqrtf(warp_sum(squares) / (float)columns + epsilon);
    if (threadIdx.x % 32 == 0) { mean[row] = m; inv_std[row] = r; }
    of_row(x, columns, [&](u32 c, float v) { store(y + c, fmaf((v - m) * r, gamma[c], beta[c])); });
}

// dx = inv_std (dŷ - mean(dŷ) - x̂ mean(dŷ x̂)) with dŷ = dy gamma, plus `onto` if it is not null.
KERNEL layer_norm_backward(T* dx, const T* dy, const T* x, const T* onto, const float* mean, const float* inv_std, const float* gamma, u64 rows, u32 columns) {
    u64 row = warp_index();
    if (row >= rows) return;
    u64 at = row * columns;
    float m = mean[row], r = inv_std[row], sum = 0, product = 0;
    of_row(x + at, columns, [&](u32 c, float v) {
        float d = to_float(dy[at + c]) * gamma[c];
        sum += d;
        product += d * ((v - m) * r);
    });
    sum = warp_sum(sum) / (float)columns;
    product = warp_sum(product) / (float)columns;
    of_row(x + at, columns, [&](u32 c, float v) {
        float d = r * (to_float(dy[at + c]) * gamma[c] - sum - (v - m) * r * product);
        store(dx + at + c, onto ? d + to_float(onto[at + c]) : d);
    });
}

// Partial sums of dy and of dy x̂ with the moments of each row: (parts, 2, columns).
KERNEL layer_norm_parts(float* partial, const T* dy, const T* x, const float* mean, const float* inv_std, u64 rows, u64 rows_of_part, u32 columns) {
    bool aligned = columns % 2 == 0;
    column_sums<2>(partial, rows, rows_of_part, columns, [&](u64 row, u32 column, int count, float (&t)[2][2]) {
        u64 at = row * columns + column;
        float2 d = load2(dy + at, count, aligned), v = load2(x + at, count, aligned);
        float m = mean[row], r = inv_std[row];
        t[0][0] = d.x; t[0][1] = d.y;
        t[1][0] = d.x * ((v.x - m) * r); t[1][1] = d.y * ((v.y - m) * r);
    });
}

// Partial sums of the columns: (parts, columns).
KERNEL sum_parts(float* partial, const T* x, u64 rows, u64 rows_of_part, u32 columns) {
    bool aligned = columns % 2 == 0;
    column_sums<1>(partial, rows, rows_of_part, columns, [&](u64 row, u32 column, int count, float (&t)[1][2]) {
        float2 v = load2(x + row * columns + column, count, aligned);
        t[0][0] = v.x; t[0][1] = v.y;
    });
}

// sums += the sum over the parts of each column, a warp a column.
KERNEL add_column_parts(float* sums, const float* partial, u32 parts, u32 columns) {
    u32 c = (u32)warp_index();
    if (c >= columns) return;
    double sum = sum_of_parts(partial, parts, 1, 0, columns, c);
    if (threadIdx.x % 32 == 0) sums[c] += (float)sum;
}
