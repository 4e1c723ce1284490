//! Training with labels.

use sempair::methods::supervised::cross_entropy;

use super::*;

// import math
// s, c = [math.sin(0.7 * i) for i in range(12)], [2, 0, 1, 1]
// rows = [s[3 * n:3 * n + 3] for n in range(4)]
// sums = [sum(map(math.exp, row)) for row in rows]
// print(sum(math.log(z) - row[k] for row, z, k in zip(rows, sums, c)) / 4)
// print([[(math.exp(v) / z - (j == k)) / 4 for j, v in enumerate(row)] for row, z, k in zip(rows, sums, c)])
#[test]
fn is_the_mean_negative_logarithm_of_the_right_share() {
    let gradient = [
        [0.044774679, 0.08527322, -0.130047899],
        [-0.117490837, 0.078134413, 0.039356424],
        [0.078946757, -0.179338786, 0.100392028],
        [0.045139978, -0.16437811, 0.119238133],
    ];
    let ours = defined::<3>(&sines(12, 0.7), |scores| cross_entropy(scores, &[2, 0, 1, 1]));
    assert!((ours.value - 0.926065392).abs() < 1e-7, "{}", ours.value);
    for (ours, expected) in ours.gradient.iter().zip(gradient.as_flattened()) {
        assert!((ours - expected).abs() < 1e-7, "{ours} for {expected}");
    }
}
