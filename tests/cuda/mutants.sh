#!/usr/bin/env bash
# Plants one mistake at a time into the GPU's kernels and runs the tests on the simulator: each must fail. By hand; half a
# minute for each mistake. `mutants.sh PATTERN` plants only those whose names match.
set -u
cd "$(dirname "$0")/../.."
tests=$(cargo test --release --test sempair --no-run 2>&1 | tee /dev/stderr | sed -n 's/.*Executable .*(\(.*\))/\1/p')
[ -n "$tests" ] || exit 2
only=${1:-.}
caught=0 missed=0 folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT

# mistake NAME PATTERN REPLACEMENT: fixed strings.
mistake() {
    [[ $1 =~ $only ]] || return
    for schedule in "forward early" "reverse late" "random early" "deep late" "deep-reverse early"; do
        read -r order copies <<< "$schedule"
        if SIM_PATTERN=$2 SIM_REPLACEMENT=$3 SIM_ORDER=$order SIM_ASYNC=$copies RUST_BACKTRACE=0 \
            "$tests" --quiet cuda::methods:: cuda::losses:: > "$folder/log" 2>&1; then
            continue
        fi
        if grep -q 'no source holds' "$folder/log"; then echo "no such place: $1"; exit 2; fi
        caught=$((caught + 1))
        echo "caught  $1 ($schedule): $(grep -m1 -E 'sim: |error:|is .* on the CPU|other bits' "$folder/log" | cut -c1-110)"
        return
    done
    missed=$((missed + 1)); echo "MISSED  $1"
}

mistake "product: no barrier before the tiles are read" $'copies_wait<STAGES - 2>();\n        __syncthreads();' 'copies_wait<STAGES - 2>();'
mistake "product: waits for one group of copies too few" 'copies_wait<STAGES - 2>()' 'copies_wait<STAGES - 1>()'
mistake "product: reads rows beyond the end" 'bool valid = outer < count && in < inner;' 'bool valid = in < inner;'
mistake "product: reads beyond the inner size" 'bool valid = outer < count && in < inner;' 'bool valid = outer < count;'
mistake "product: writes rows beyond the end" 'if (row >= p.m) continue;' ''
mistake "product: the swizzle differs between copy and load" 'ldmatrix(a[i], at + chunk_at<false, M>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16))' 'ldmatrix(a[i], at + chunk_at<false, M>(warp_m + i * 16 + lane % 16, half * 2 + lane / 16) ^ 16)'
mistake "product: a segment is skipped" 'current = p.segments[++segment]' 'current = p.segments[segment += 2]'
mistake "product: bias of the wrong column" 'v1 += p.bias[column + 1]' 'v1 += p.bias[column]'
mistake "plain product: no barrier after the sums" $'tile_b[in][tx + j * 16];\n            __syncthreads();' 'tile_b[in][tx + j * 16];'
mistake "windows: the padding is not zero" 'rows[i] = inside ? x[' 'rows[i] = true ? x['
mistake "folding: a stride is ignored" 'if (oy % w.stride || ox % w.stride ||' 'if (ox % w.stride ||'
mistake "weights: padding is not zero" 'column < entry.columns ? to_bf16(' 'true ? to_bf16('
mistake "column sums: no barrier" $'sums[line][k][lane * 2 + 1] = s[k][1]; }\n    __syncthreads();' 'sums[line][k][lane * 2 + 1] = s[k][1]; }'
mistake "column sums: the last column of an odd number" 'column + 1 < columns ? 2 : 1' '2'
mistake "block sum: no barrier before the next one" $'sum += scratch[i];\n    __syncthreads();' 'sum += scratch[i];'
mistake "rounding: ties away from even" '0x7fffu + (bits >> 16 & 1u)' '0x8000u'
mistake "batch norm: biased running variance" 'momentum * (v * unbiased -' 'momentum * (v -'
mistake "batch norm: the gate is not recomputed" 'gate == OUTPUT ? v[2] > 0 : scale.of(v[1]) > 0' 'gate == OUTPUT ? v[2] > 0 : true'
mistake "layer norm: dx without its second mean" '- (v - m) * r * product' ''
mistake "GELU: the tanh form" '0.5f * erfcf(-0.70710678f * x)' '0.5f * (1 + tanhf(0.7978846f * (x + 0.044715f * x * x * x)))'
mistake "scaled images: the next image too early" 'column.row % images' '(column.row + 1) % images'
mistake "unit rows: gradient without projection" 'else along = product / length;' ''
mistake "softmax: padding is not zero" 'c < columns ? expf((s[c] - most) * scale) * factor : 0' 'c < columns ? expf((s[c] - most) * scale) * factor : 1'
mistake "softmax: no maximum" 'most = warp_max(most);' 'most = 0; scale *= 40;'
mistake "max pool: the last maximum wins" 'v > best ||' 'v >= best ||'
mistake "ROIAlign: weights of a map that is too large" 'if (low >= last) return {last, last, 1, 0};' ''
mistake "SGD: Nesterov without Nesterov" 'rule.nesterov ? fmaf(rule.momentum, v, g) : v' 'v'
mistake "LARS: the trust ratio of another range" 'float factor = factors[chunk.range];
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
        u64 at' 'float factor = factors[0];
    for (u32 i = threadIdx.x; i < chunk.len; i += THREADS) {
        u64 at'
mistake "AdamW: decay is coupled" 'p * rule.keep - rule.step_size' 'p - rule.step_size'
mistake "average: not anchored at the target" 'fmaf(pull, online[i] - target[i], target[i])' 'fmaf(pull, online[i], target[i])'
mistake "contrast: a view is a candidate for itself" 'if (j != row) sum += expf((s[j] - largest) * scale);' 'sum += expf((s[j] - largest) * scale);'
mistake "contrast: the wrong pair" 'pair = (row + views / 2) % views' 'pair = (row + 1) % views'
mistake "block maximum: no barrier before the next one" $'x = x < scratch[i] ? scratch[i] : x;\n    __syncthreads();' 'x = x < scratch[i] ? scratch[i] : x;'
mistake "unit rows of f32: gradient without projection" 'scale * (du[c] - unit[c] * along)' 'scale * du[c]'
mistake "mean cosine: the target of the view itself" '(row + rows / 2) % rows * columns' 'row * columns'
mistake "VICReg: biased variance" 'rest = (double)rows - 1;' 'rest = (double)rows;'
mistake "VICReg: the second side pulls the wrong way" 'own[columns + c] * centred[s] - slope * apart' 'own[columns + c] * centred[s] + slope * apart'
mistake "lines: no barrier before the sums are read" $'sums[threadIdx.x] = x;\n    __syncthreads();' 'sums[threadIdx.x] = x;'
mistake "softmax of classes: a new largest does not shrink the sum" 'sum = sum * expf(largest - v) + 1' 'sum = sum + 1'
mistake "view targets: a view learns from itself" '(view == 0 ? 0 : first[c])' 'first[c]'
mistake "view targets: no mass" 'share = (float)(mass / softmax.sum)' 'share = (float)(1 / softmax.sum)'
mistake "centre: moves by the wrong share" 'kept * centre[c] + (1 - kept) * mean' '(1 - kept) * centre[c] + kept * mean'
mistake "Sinkhorn: groups share their rows" 'of_column += group * columns' 'of_column += 0'
mistake "Sinkhorn: rows do not know the largest of all" 'of_row[row] = behind(largest[row], most, inverse)' 'of_row[row] = 1'
mistake "Sinkhorn: targets of the second group are those of the first" '(group * given + row) * columns' 'row * columns'
mistake "Barlow Twins: unbiased variance" '* share + TWIN_EPSILON' '/ ((double)rows - 1) + TWIN_EPSILON'
mistake "Barlow Twins: gradient without its second mean" '- mean - a[i] * of_a' '- mean'
mistake "Barlow Twins: a side correlates with itself" '(1 - blockIdx.y) * rows * columns' 'blockIdx.y * rows * columns'
mistake "InfoNCE: the excluded candidate counts" 'if (j != term.excluded) sum +=' 'sum +='
mistake "InfoNCE: the excluded candidate has a slope" 'return j == term.excluded ? 0 : expf' 'return expf'
mistake "InfoNCE: no positive in the gradient" 'slopes[c] -= factor * (float)miss * positives[c]' 'slopes[c] -= 0'
mistake "InfoNCE: comparisons of the same queries do not add up" 'slopes[c] -= factor' 'slopes[c] = -factor'
mistake "PIRL: mistaken candidates have no slope" 'mistaken ? common + 1 / (1 + w) : common' 'common'
mistake "kept rows: not of unit length" 'share > 0 ? 1 / sqrtf(warp_sum(squares) + TINY) : 1' '1'
mistake "kept rows: the shares are swapped" 'share * kept[c] + (1 - share) * from[c]' '(1 - share) * kept[c] + share * from[c]'
mistake "categories: the gradient lacks the target" 'c == category ? probability - 1 / (double)rows : probability' 'probability'

echo "$caught of $((caught + missed)) mistakes are caught"
[ "$missed" -eq 0 ]
