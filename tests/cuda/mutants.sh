#!/usr/bin/env bash
# Plants one mistake at a time into the GPU's kernels and runs the tests on the simulator: each must fail. By hand:
# `tests/cuda/mutants.sh` from the repository's root, about a minute for each mistake.
set -u
cd "$(dirname "$0")/../.."
sources=src/kernels/cuda/source
backup=$(mktemp -d)
cp "$sources"/* "$backup"
trap 'cp "$backup"/* "$sources"; rm -r "$backup"' EXIT

caught=0 missed=0
# mistake NAME FILE PATTERN REPLACEMENT: fixed strings; the first line that holds PATTERN changes.
mistake() {
    cp "$backup"/* "$sources"
    if ! python3 - "$sources/$2" "$3" "$4" <<'PY'
import sys
path, pattern, replacement = sys.argv[1:]
text = open(path).read()
if pattern not in text: sys.exit(f"{path} does not hold: {pattern}")
open(path, "w").write(text.replace(pattern, replacement, 1))
PY
    then exit 2; fi
    if cargo test --test sempair --quiet -- cuda::methods cuda::kernels > "$backup/log" 2>&1; then
        missed=$((missed + 1)); echo "MISSED  $1"
    else
        caught=$((caught + 1)); echo "caught  $1: $(grep -m1 -E 'sim: |error:|is .* on the CPU|other bits' "$backup/log" | cut -c1-100)"
    fi
    rm -f "$backup/log"
}

mistake "product: no barrier before the tiles are read" product.cu $'copies_wait<STAGES - 2>();\n        __syncthreads();' 'copies_wait<STAGES - 2>();'
mistake "product: waits for one group of copies too few" product.cu 'copies_wait<STAGES - 2>()' 'copies_wait<STAGES - 1>()'
mistake "product: reads rows beyond the end" product.cu 'bool valid = outer < count && in < inner;' 'bool valid = in < inner;'
mistake "product: reads beyond the inner size" product.cu 'bool valid = outer < count && in < inner;' 'bool valid = outer < count;'
mistake "product: writes rows beyond the end" product.cu 'if (row >= p.m) continue;' ''
mistake "product: the swizzle differs between copy and load" product.cu 'ldmatrix(a[i], at + chunk_at<false, M>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16))' 'ldmatrix(a[i], at + chunk_at<false, M>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16) ^ 16)'
mistake "product: a segment is skipped" product.cu 'current = p.segments[++segment]' 'current = p.segments[segment += 2]'
mistake "product: bias of the wrong column" product.cu 'v1 += p.bias[column + 1]' 'v1 += p.bias[column]'
mistake "plain product: no barrier after the sums" product.cu $'tile_b[in][tx + j * 16];\n            __syncthreads();' 'tile_b[in][tx + j * 16];'
mistake "windows: the padding is not zero" product.cu 'rows[i] = inside ? x[' 'rows[i] = true ? x['
mistake "folding: a stride is ignored" product.cu 'if (oy % w.stride || ox % w.stride ||' 'if (ox % w.stride ||'
mistake "weights: padding is not zero" product.cu 'column < entry.columns ? to_bf16(' 'true ? to_bf16('
mistake "column sums: no barrier" prims.cuh $'sums[line][k][lane * 2 + 1] = s[k][1]; }\n    __syncthreads();' 'sums[line][k][lane * 2 + 1] = s[k][1]; }'
mistake "column sums: the last column of an odd number" prims.cuh 'column + 1 < columns ? 2 : 1' '2'
mistake "block sum: no barrier before the next one" prims.cuh $'sum += scratch[i];\n    __syncthreads();' 'sum += scratch[i];'
mistake "rounding: ties away from even" prims.cuh '0x7fffu + (bits >> 16 & 1u)' '0x8000u'
mistake "batch norm: biased running variance" norm.cu 'momentum * (v * unbiased -' 'momentum * (v -'
mistake "batch norm: the gate is not recomputed" norm.cu 'gate == OUTPUT ? v[2] > 0 : scale.of(v[1]) > 0' 'gate == OUTPUT ? v[2] > 0 : true'
mistake "layer norm: dx without its second mean" norm.cu '- (v - m) * r * product' ''
mistake "GELU: the tanh form" elementwise.cu '0.5f * erfcf(-0.70710678f * x)' '0.5f * (1 + tanhf(0.7978846f * (x + 0.044715f * x * x * x)))'
mistake "scaled images: the next image too early" elementwise.cu 'column.row % images' '(column.row + 1) % images'
mistake "unit rows: gradient without projection" elementwise.cu 'else along = product / length;' ''
mistake "softmax: padding is not zero" attention.cu 'c < columns ? expf((s[c] - most) * scale) * factor : 0' 'c < columns ? expf((s[c] - most) * scale) * factor : 1'
mistake "softmax: no maximum" attention.cu 'most = warp_max(most);' 'most = 0; scale *= 40;'
mistake "max pool: the last maximum wins" pool.cu 'v > best ||' 'v >= best ||'
mistake "ROIAlign: weights of a map that is too large" pool.cu 'if (low >= last) return {last, last, 1, 0};' ''
mistake "SGD: Nesterov without Nesterov" update.cu 'rule.nesterov ? fmaf(rule.momentum, v, g) : v' 'v'
mistake "LARS: the trust ratio of another range" update.cu 'float factor = factors[chunk.range];
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
        u64 at' 'float factor = factors[0];
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
        u64 at'
mistake "AdamW: decay is coupled" update.cu 'p * rule.keep - rule.step_size' 'p - rule.step_size'
mistake "average: not anchored at the target" update.cu 'fmaf(pull, online[i] - target[i], target[i])' 'fmaf(pull, online[i], target[i])'

echo "$caught of $((caught + missed)) mistakes are caught"
[ "$missed" -eq 0 ]
