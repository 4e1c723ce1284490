//! Barlow Twins' correlations.

use sempair::methods::barlow_twins::{Weights, definition, graded};

use super::*;

// import torch  # 2.15.0
// def barlow(a, b, scale, l=0.0051):
//     n, d = a.shape; bn = torch.nn.BatchNorm1d(d, affine=False, dtype=torch.double)
//     c = bn(a).T @ bn(b) / n; on = torch.diagonal(c)
//     return scale * ((on - 1).pow(2).sum() + l * (c.pow(2).sum() - on.pow(2).sum()))
// for n, d, scale in ((6, 4, 1), (8, 2, 0.1)):
//     z = torch.arange(n * d).reshape(n, d).mul(0.7).sin().double().requires_grad_(True)
//     l = barlow(*z.chunk(2), scale); print(l.item(), torch.autograd.grad(l, z))
#[test]
fn agrees_with_torch() {
    let gradient = [
        [-2.489652685, 0.35253504, 1.099087568, 0.662154279],
        [1.626709965, 0.601774382, 0.236168743, -0.042010331],
        [0.86294272, -0.954309422, -1.335256311, -0.620143948],
        [-1.004671483, -0.645729782, -1.680977219, 0.690166768],
        [0.069351401, 0.23231701, 4.176255775, 0.326660815],
        [0.935320082, 0.413412772, -2.495278556, -1.016827583],
    ];
    assert_torch(&graded(&sines(24, 0.7), 4, Weights::PAPER), 8.885504897, gradient.as_flattened(), 64.0);
    let gradient = [
        [0.024090642, 0.010640413],
        [0.001892663, -0.005968856],
        [-0.02031592, -0.009961758],
        [-0.005667385, 0.0052902],
        [-0.01562095, -0.01400705],
        [-0.01702169, -0.000879245],
        [0.01087879, 0.011844447],
        [0.021763849, 0.003041848],
    ];
    let weights = Weights { scale: 0.1, ..Weights::PAPER };
    assert_torch(&graded(&sines(16, 0.7), 2, weights), 0.013766705, gradient.as_flattened(), 16.0);
}

/// Bounds of the rounding errors of value and gradient. A standardised number is at most sqrt(N), and its error is the
/// rounding of z divided by the deviation. The gradient is a sum of N D products of three such numbers, with rounded
/// partial sums, divided by the deviation.
fn tolerances(z: &[f32], width: usize, weights: Weights) -> [f64; 2] {
    let rows = z.len() / width;
    let deviation = |half: &[f32], column: usize| {
        let values = half.iter().skip(column).step_by(width).map(|&z| f64::from(z));
        let n = (rows / 2) as f64;
        let mean = values.clone().sum::<f64>() / n;
        (values.map(|z| (z - mean).powi(2)).sum::<f64>() / n + 1e-5).sqrt()
    };
    let (first, second) = z.split_at(z.len() / 2);
    let deviations = (0..width).flat_map(|column| [deviation(first, column), deviation(second, column)]);
    let sharpest = 1.0 / deviations.fold(f64::INFINITY, f64::min);
    let (n, d, lambda) = ((rows / 2) as f64, width as f64, f64::from(weights.redundancy));
    let steps = EPS * (n + d + 8.0 * sharpest * largest(z));
    let value = 4.0 * d + lambda * d * d;
    let gradient = sharpest * (4.0 / n.sqrt() + 2.0 * lambda * d * n.sqrt());
    [4.0 * steps * value, 4.0 * steps * gradient]
}

fn check<const D: usize>(z: &[f32], what: &str) {
    for weights in [Weights::PAPER, Weights { redundancy: 1.0, scale: 0.5 }] {
        let defined = defined::<D>(z, |z| definition(z, weights));
        let [of_value, of_gradient] = tolerances(z, D, weights);
        let ours = graded(z, D, weights);
        assert_graded(&ours, &defined, of_value, |_| of_gradient, &format!("barlow_twins {what}, width {D}"));
    }
}

#[test]
fn the_closed_form_is_the_definition() {
    check::<1>(&hard_rows(4, 1, 1), "a batch of two");
    check::<9>(&hard_rows(4, 9, 2), "a batch of two");
    check::<5>(&hard_rows(24, 5, 3), "more pairs than variables");
    check::<40>(&hard_rows(24, 40, 4), "more variables than pairs");
    check::<12>(&[0.25; 24 * 12], "all rows alike");
}
