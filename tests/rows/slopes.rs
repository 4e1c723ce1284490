//! Backward passes against finite differences of the definitions in f64.

use sempair::kernels::cpu::batch_norm;
use sempair::kernels::cpu::batch_norm::Gate;
use sempair::kernels::cpu::batch_norm::NormGradients;
use sempair::kernels::cpu::batch_norm::NormMode;
use sempair::kernels::cpu::batch_norm::Normalization;
use sempair::kernels::cpu::isa;
use sempair::kernels::cpu::layer_norm;
use sempair::kernels::cpu::softmax;

use super::EPS;
use super::column;
use super::mean_and_var;
use super::numbers;
use super::wide;

/// Asserts that `gradient` is the slope of `objective` at `point`, by f64 central differences.
///
/// The error of a difference is about step², far below f32's eps times the dozens of terms of a gradient.
pub fn assert_slope(gradient: &[f32], point: &[f32], objective: impl Fn(&[f64]) -> f64, what: &str) {
    for (at, &gradient) in gradient.iter().enumerate() {
        let value = |step: f64| {
            let mut moved = wide(point);
            moved[at] += step;
            objective(&moved)
        };
        let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
        let tolerance = 64.0 * EPS * (1.0 + slope.abs());
        assert!((f64::from(gradient) - slope).abs() < tolerance, "{what}[{at}]: {gradient} for {slope}");
    }
}

/// gamma (x - mean) / sqrt(var + 1e-5) + beta over `x`.
fn normalized(x: &[f64], gamma: &dyn Fn(usize) -> f64, beta: &dyn Fn(usize) -> f64) -> Vec<f64> {
    let (mean, var) = mean_and_var(x.iter().copied());
    x.iter().enumerate().map(|(at, x)| gamma(at) * (x - mean) / (var + 1e-5).sqrt() + beta(at)).collect()
}

#[test]
fn batch_norm_backward_agrees_with_finite_differences() {
    let (rows, channels) = (7, 3);
    let (x, weight, shortcut) = (numbers::<f32>(21, 1), numbers::<f32>(21, 2), numbers::<f32>(21, 3));
    let (gamma, beta) = ([0.5f32, -1.5, 2.0], [0.1f32, 0.2, 0.3]);
    let objective = |x: &[f64], gamma: &[f64], beta: &[f64], shortcut: &[f64], rectify: bool| {
        let of_channel = |c: usize| {
            let x: Vec<f64> = column(x, channels, c).collect();
            let y = normalized(&x, &|_| gamma[c], &|_| beta[c]).into_iter().zip(column(shortcut, channels, c));
            let y = y.map(|(y, shortcut)| if rectify { (y + shortcut).max(0.0) } else { y + shortcut });
            y.zip(column(&wide(&weight), channels, c)).map(|(y, weight)| weight * y).sum::<f64>()
        };
        (0..channels).map(of_channel).sum::<f64>()
    };
    let [mut mean, mut var] = [(); 2].map(|()| vec![0.0f32; channels]);
    batch_norm::statistics(&mut mean, &mut var, &x, rows, channels);
    let inv_std: Vec<f32> = var.iter().map(|v| 1.0 / (v + 1e-5).sqrt()).collect();
    let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma: &gamma, beta: &beta };
    let mut y = vec![0.0; x.len()];
    batch_norm::normalize(&mut y, &x, &norm, Some(&shortcut), true);
    let zeros = vec![0.0f32; x.len()];
    let gates = [
        ("open", Gate::Open, &zeros),
        ("recomputed", Gate::Recomputed, &zeros),
        ("output", Gate::Output(&y), &shortcut),
    ];
    for (name, gate, shortcut) in gates {
        let rectify = !matches!(gate, Gate::Open);
        let (mut dx, mut dz) = (vec![f32::NAN; x.len()], vec![f32::NAN; x.len()]);
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0f32; channels]);
        let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
        batch_norm::backward(&mut dx, Some(&mut dz), NormMode::Batch(gradients), &weight, &x, &norm, gate);
        let (x64, gamma64, beta64, shortcut64) = (wide(&x), wide(&gamma), wide(&beta), wide(shortcut));
        assert_slope(&dx, &x, |x| objective(x, &gamma64, &beta64, &shortcut64, rectify), name);
        assert_slope(&dgamma, &gamma, |gamma| objective(&x64, gamma, &beta64, &shortcut64, rectify), name);
        assert_slope(&dbeta, &beta, |beta| objective(&x64, &gamma64, beta, &shortcut64, rectify), name);
        assert_slope(&dz, shortcut, |shortcut| objective(&x64, &gamma64, &beta64, shortcut, rectify), name);
    }
}

#[test]
fn layer_norm_and_softmax_backward_agree_with_finite_differences() {
    let (x, weight) = (numbers::<f32>(2 * 9, 1), numbers::<f32>(2 * 9, 2));
    let (gamma, beta) = (numbers::<f32>(9, 3), numbers::<f32>(9, 4));
    let weighted = |y: &[f64]| y.iter().zip(wide(&weight)).map(|(y, weight)| y * weight).sum::<f64>();
    let (mut y, mut dx) = (vec![0.0; 18], vec![0.0; 18]);
    let (mut mean, mut inv_std) = (vec![0.0; 2], vec![0.0; 2]);
    layer_norm::forward(&mut y, &mut mean, &mut inv_std, &x, (&gamma, &beta), 1e-5);
    let (mut dgamma, mut dbeta) = (vec![0.0; 9], vec![0.0; 9]);
    let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
    let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma: &gamma, beta: &beta };
    layer_norm::backward(&mut dx, gradients, &weight, &x, &norm, None);
    let objective = |x: &[f64], gamma: &[f64], beta: &[f64]| {
        let y = x.chunks_exact(9).flat_map(|x| normalized(x, &|at| gamma[at], &|at| beta[at]));
        weighted(&y.collect::<Vec<_>>())
    };
    assert_slope(&dx, &x, |x| objective(x, &wide(&gamma), &wide(&beta)), "dx");
    assert_slope(&dgamma, &gamma, |gamma| objective(&wide(&x), gamma, &wide(&beta)), "dgamma");
    assert_slope(&dbeta, &beta, |beta| objective(&wide(&x), &wide(&gamma), beta), "dbeta");

    softmax::softmax_rows(isa(), &mut y, &mut x.clone(), (2, 9), 3.0);
    softmax::softmax_rows_backward(isa(), &mut dx, &weight, &y, (2, 9), 3.0);
    let softmax = |x: &[f64]| {
        let powers: Vec<f64> = x.iter().map(|x| (3.0 * x).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    assert_slope(&dx, &x, |x| weighted(&x.chunks_exact(9).flat_map(softmax).collect::<Vec<_>>()), "softmax");
}
