//! VICReg's three terms.

use sempair::methods::vicreg::{Weights, definition, graded};

use super::*;

// import torch, torch.nn.functional as F  # 2.15.0; the paper's algorithm 1
// def vicreg(a, b):
//     n, d = a.shape
//     std = lambda x: F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean()
//     def cov(x):
//         c = x - x.mean(0); c = c.T @ c / (n - 1)
//         return (c.pow(2).sum() - c.diagonal().pow(2).sum()) / d
//     return 25 * F.mse_loss(a, b) + 25 * (std(a) + std(b)) + cov(a) + cov(b)
// rows = lambda n, d: torch.arange(n * d).reshape(n, d).mul(0.7).sin().double()
// for z in (rows(6, 4), 2 * rows(8, 2)):
//     z.requires_grad_(True); l = vicreg(*z.chunk(2)); print(l.item(), torch.autograd.grad(l, z))
#[test]
fn agrees_with_torch() {
    let gradient = [
        [-4.442077764, -1.728670634, 3.744166052, 7.741018861],
        [3.178352907, 3.414828908, -1.058978514, -7.67316356],
        [-3.579221946, -2.67140985, 0.650640657, 6.020155791],
        [3.892925149, -1.566873784, -2.366322692, -4.846184908],
        [-6.137859343, 1.56928357, 3.403401812, 4.154796755],
        [7.087880997, 0.982841791, -4.372907314, -5.396622939],
    ];
    assert_torch(&graded(&sines(24, 0.7), 4, Weights::PAPER), 49.145445854, gradient.as_flattened(), 64.0);
    let gradient = [
        [9.567237801, 7.529369289],
        [6.393375158, 0.875116677],
        [-7.595671263, -7.75179278],
        [-9.177159289, -4.030113758],
        [-8.088048964, -9.431703868],
        [-2.271179753, 2.667526602],
        [6.930224639, 9.892423734],
        [4.241221671, 0.249174104],
    ];
    let doubled: Vec<f32> = sines(16, 0.7).iter().map(|z| 2.0 * z).collect();
    assert_torch(&graded(&doubled, 2, Weights::PAPER), 30.593198341, gradient.as_flattened(), 64.0);
}

/// Bounds of the rounding errors of value and gradient, from the sizes of their terms: centred numbers are below 2 z,
/// deviations are above 0.01, and a covariance's gradient is a sum of N D products of three numbers, with rounded
/// partial sums.
fn tolerances(z: &[f32], width: usize) -> [f64; 2] {
    let (n, d, z) = ((z.len() / width / 2) as f64, width as f64, largest(z));
    let free = n - 1.0;
    let all = n * d * (2.0 * z).powi(3) / (d * free * free);
    let steps = n + d;
    let value = 25.0 * z * z + 25.0 * 100.0 * z * z + steps * all * 2.0 * z * n * d;
    let gradient = 25.0 * z / (n * d) + 25.0 * 100.0 * z / (d * free) + steps * 4.0 * all;
    [8.0 * EPS * value, 8.0 * EPS * gradient]
}

fn check<const D: usize>(z: &[f32], what: &str) {
    for weights in [Weights::PAPER, Weights { invariance: 0.0, variance: 0.0, covariance: 1.0 }] {
        let defined = defined::<D>(z, |z| definition(z, weights));
        let [of_value, of_gradient] = tolerances(z, D);
        assert_graded(
            &graded(z, D, weights),
            &defined,
            of_value,
            |_| of_gradient,
            &format!("vicreg {what}, width {D}"),
        );
    }
}

#[test]
fn the_closed_form_is_the_definition() {
    check::<1>(&hard_rows(4, 1, 1), "a batch of two");
    check::<9>(&hard_rows(4, 9, 2), "a batch of two");
    check::<5>(&hard_rows(24, 5, 3), "more pairs than variables");
    check::<40>(&hard_rows(24, 40, 4), "more variables than pairs");
    check::<12>(&[0.3; 24 * 12], "all rows alike");
    let spread: Vec<f32> = numbers(32 * 8, 5).iter().map(|z| 5.0 * z).collect();
    check::<8>(&spread, "deviations above 1");
}
