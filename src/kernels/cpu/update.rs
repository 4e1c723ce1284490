//! The optimisers' arithmetic over flat slices of one length. Values and moments are updated in place.

use rayon::prelude::*;

use super::check_len;
use super::partition::PIECE;

/// Momentum SGD as PyTorch defines it: g = scale (gradient + weight_decay p); v = momentum v + g; p -= lr (v, or g + momentum v
/// with Nesterov's look-ahead). `velocity` starts at zero.
#[allow(clippy::too_many_arguments)]
pub fn sgd(
    values: &mut [f32],
    velocity: &mut [f32],
    gradients: &[f32],
    lr: f32,
    momentum: f32,
    weight_decay: f32,
    nesterov: bool,
    scale: f32,
) {
    check_len("update::sgd", "velocity", velocity, values.len());
    check_len("update::sgd", "gradients", gradients, values.len());
    let pieces = values.par_chunks_mut(PIECE).zip(velocity.par_chunks_mut(PIECE)).zip(gradients.par_chunks(PIECE));
    pieces.for_each(|((values, velocity), gradients)| {
        for ((p, v), &gradient) in values.iter_mut().zip(velocity).zip(gradients) {
            let g = scale * (gradient + weight_decay * *p);
            *v = momentum * *v + g;
            *p -= lr * if nesterov { g + momentum * *v } else { *v };
        }
    });
}

/// AdamW (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>) as PyTorch defines it: decay is decoupled,
/// `first` and `second` start at zero, and `step` counts from 1.
#[allow(clippy::too_many_arguments)]
pub fn adamw(
    values: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradients: &[f32],
    lr: f32,
    betas: (f32, f32),
    eps: f32,
    weight_decay: f32,
    step: u64,
) {
    check_len("update::adamw", "first", first, values.len());
    check_len("update::adamw", "second", second, values.len());
    check_len("update::adamw", "gradients", gradients, values.len());
    assert!(step > 0, "update::adamw: step counts from 1");
    let correction = |beta: f32| 1.0 - libm::pow(f64::from(beta), step as f64);
    let step_size = (f64::from(lr) / correction(betas.0)) as f32;
    let root_correction = correction(betas.1).sqrt() as f32;
    let keep = 1.0 - lr * weight_decay;
    let moments = first.par_chunks_mut(PIECE).zip(second.par_chunks_mut(PIECE));
    let pieces = values.par_chunks_mut(PIECE).zip(moments).zip(gradients.par_chunks(PIECE));
    pieces.for_each(|((values, (first, second)), gradients)| {
        for ((p, (m, v)), &g) in values.iter_mut().zip(first.iter_mut().zip(second)).zip(gradients) {
            *m += (1.0 - betas.0) * (g - *m);
            *v = betas.1 * *v + (1.0 - betas.1) * g * g;
            *p = *p * keep - step_size * *m / (v.sqrt() / root_correction + eps);
        }
    });
}

/// The Euclidean norm of `x`: f64 sums by fixed pieces, joined in order.
pub fn norm(x: &[f32]) -> f64 {
    let square = |x: &f32| f64::from(*x) * f64::from(*x);
    let sums: Vec<f64> = x.par_chunks(PIECE).map(|x| x.iter().map(square).sum()).collect();
    sums.iter().sum::<f64>().sqrt()
}
