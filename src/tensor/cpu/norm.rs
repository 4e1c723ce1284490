//! What normalisation on the CPU does besides its kernels: moments, running moments, and where parameters are.

use std::borrow::Cow;

use crate::kernels::cpu::batch_norm::{self, NormGradients, NormMode, Normalization};
use crate::tensor::buffer::{Buffer, Format, Pooled, filled, with_format};
use crate::tensor::{LayerNormOptions, NormOptions, Norms};

use super::{Moments, of, of_mut};

fn inverse_deviation(variance: &[f32], epsilon: f32) -> Pooled<f32> {
    let mut inverse = Pooled::new(variance.len());
    inverse.iter_mut().zip(variance).for_each(|(inverse, variance)| *inverse = 1.0 / (variance + epsilon).sqrt());
    inverse
}

/// Returns scale and shift.
pub(super) fn affine<'a>(norm: &NormOptions, values: &'a [f32]) -> [Cow<'a, [f32]>; 2] {
    let channels = norm.channels();
    match norm.affine {
        None => [vec![1.0; channels].into(), vec![0.0; channels].into()],
        Some(slot) => {
            let (gamma, beta) = of(values, slot).split_at(channels);
            [gamma.into(), beta.into()]
        }
    }
}

/// Calls `body` with what is trained. If there are no scale and shift but the kernel needs their gradients, they are in a
/// temporary buffer that is discarded.
pub(super) fn with_mode(norm: &NormOptions, gradients: &mut [f32], body: impl FnOnce(NormMode<'_>)) {
    let split = |gradients| {
        let (dgamma, dbeta) = <[f32]>::split_at_mut(gradients, norm.channels());
        NormGradients { dgamma, dbeta }
    };
    match (norm.norms, norm.affine) {
        (Norms::Trained, Some(slot)) => body(NormMode::Batch(split(of_mut(gradients, slot)))),
        (Norms::Trained, None) => body(NormMode::Batch(split(&mut vec![0.0; 2 * norm.channels()]))),
        (Norms::FrozenMoments, Some(slot)) => body(NormMode::Frozen(Some(split(of_mut(gradients, slot))))),
        (Norms::FrozenMoments, None) | (Norms::Frozen, _) => body(NormMode::Frozen(None)),
    }
}

/// The moments of x. Moves the running moments towards them.
pub(super) fn batch_moments(norm: &NormOptions, x: &Buffer, statistics: &mut [f32]) -> Moments {
    let channels = norm.channels();
    let rows = x.len() / channels;
    let (mut mean, mut variance) = (Pooled::new(channels), Pooled::new(channels));
    with_format!(x.precision(), E => {
        batch_norm::statistics(&mut mean, &mut variance, E::values(x), rows, channels);
    });
    let unbiased = rows as f32 / (rows.max(2) - 1) as f32;
    let (running_mean, running_variance) = of_mut(statistics, norm.running).split_at_mut(channels);
    for c in 0..channels {
        running_mean[c] += norm.momentum * (mean[c] - running_mean[c]);
        running_variance[c] += norm.momentum * (variance[c] * unbiased - running_variance[c]);
    }
    Moments { mean, inv_std: inverse_deviation(&variance, norm.epsilon) }
}

/// The running moments.
pub(super) fn running_moments(norm: &NormOptions, statistics: &[f32]) -> Moments {
    let (running_mean, variance) = of(statistics, norm.running).split_at(norm.channels());
    let mut mean = Pooled::new(running_mean.len());
    mean.copy_from_slice(running_mean);
    Moments { mean, inv_std: inverse_deviation(variance, norm.epsilon) }
}

/// Scales and shifts x by these moments, adds the shortcut, and rectifies where the options ask for it.
pub(super) fn normalized(
    norm: &NormOptions,
    x: &Buffer,
    shortcut: Option<&Buffer>,
    Moments { mean, inv_std }: &Moments,
    values: &[f32],
) -> Buffer {
    let [gamma, beta] = &affine(norm, values);
    let affine = Normalization { mean, inv_std, gamma, beta };
    with_format!(x.precision(), E => filled(x.len(), |y| {
        batch_norm::normalize(y, E::values(x), &affine, shortcut.map(E::values), norm.rectify);
    }))
}

/// The places of the gradients of scale and shift.
pub(super) fn layer_norm_gradients<'a>(norm: &LayerNormOptions, gradients: &'a mut [f32]) -> NormGradients<'a> {
    let (gamma, beta) = (norm.gamma, norm.beta);
    // Scale and shift are adjacent in the arena, so that one split gives both.
    assert!(beta.start == gamma.start + gamma.len, "layer normalisation: beta does not follow gamma");
    let (dgamma, dbeta) = gradients[gamma.start..][..2 * gamma.len].split_at_mut(gamma.len);
    NormGradients { dgamma, dbeta }
}
