// The GPU's peak rates: products whose operands stay in registers.

// Each thread: 128 multiplications and additions a round, in eight chains.
KERNEL peak_floats(float* out, u32 rounds) {
    float sums[8];
    #pragma unroll
    for (int i = 0; i < 8; ++i) sums[i] = (float)(threadIdx.x + i);
    for (u32 round = 0; round < rounds; ++round)
        #pragma unroll
        for (int step = 0; step < 16; ++step)
            #pragma unroll
            for (int i = 0; i < 8; ++i) sums[i] = fmaf(sums[i], 0.5f, 1.0f);
    float sum = 0;
    #pragma unroll
    for (int i = 0; i < 8; ++i) sum += sums[i];
    out[thread_index()] = sum;
}

#ifdef BF16
// Each warp: 16 products of (16, 16) and (16, 8) a round, in eight chains.
KERNEL peak_tensor_cores(float* out, u32 rounds) {
    const u32 half = 0x3f003f00u; // two numbers 0.5
    u32 a[4] = {half, half, half, half};
    float sums[8][4] = {};
    for (u32 round = 0; round < rounds; ++round)
        #pragma unroll
        for (int step = 0; step < 2; ++step)
            #pragma unroll
            for (int i = 0; i < 8; ++i) mma(sums[i], a, half, half);
    float sum = 0;
    #pragma unroll
    for (int i = 0; i < 8; ++i) sum += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
    out[thread_index()] = sum;
}
#endif
