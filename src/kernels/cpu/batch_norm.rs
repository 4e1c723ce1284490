//! Batch normalisation over rows: x, y, dx, dy (rows, channels); plain loops that stand in for the fast kernels.

use super::check_len;
use super::vector::Element;

/// A batch's moments and the scale and shift, per channel.
#[derive(Clone, Copy, Debug)]
pub struct Normalization<'a> {
    pub mean: &'a [f32],
    pub inv_std: &'a [f32],
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
}

/// Where the gradients of scale and shift are added.
#[derive(Debug)]
pub struct NormGradients<'a> {
    pub dgamma: &'a mut [f32],
    pub dbeta: &'a mut [f32],
}

/// What the gradient passes through before it reaches the normalisation.
#[derive(Clone, Copy, Debug)]
pub enum Gate<'a, E> {
    /// No ReLU.
    Open,
    /// A ReLU whose mask is recomputed from x.
    Recomputed,
    /// A ReLU with this output.
    Output(&'a [E]),
}

/// mean and var (biased) of each channel.
pub fn statistics<E: Element>(mean: &mut [f32], var: &mut [f32], x: &[E], rows: usize, channels: usize) {
    check_len("batch_norm::statistics", "x", x, rows * channels);
    for c in 0..channels {
        let column = || x[c..].iter().step_by(channels).map(|x| f64::from(x.to_f32()));
        let average = column().sum::<f64>() / rows as f64;
        mean[c] = average as f32;
        var[c] = (column().map(|x| (x - average) * (x - average)).sum::<f64>() / rows as f64) as f32;
    }
}

/// y = [max(0, ] gamma (x - mean) inv_std + beta [+ shortcut] [)].
pub fn normalize<E: Element>(y: &mut [E], x: &[E], norm: &Normalization<'_>, shortcut: Option<&[E]>, rectify: bool) {
    let channels = norm.mean.len();
    check_len("batch_norm::normalize", "y", y, x.len());
    for (at, y) in y.iter_mut().enumerate() {
        let value = norm.at(x[at].to_f32(), at % channels) + shortcut.map_or(0.0, |shortcut| shortcut[at].to_f32());
        *y = E::from_f32(if rectify { value.max(0.0) } else { value });
    }
}

/// dbeta += sum dz, dgamma += sum dz x̂, dx = gamma inv_std (dz - mean(dz) - x̂ mean(dz x̂)), dz being dy after the gate.
pub fn backward<E: Element>(
    dx: &mut [E],
    mut dz: Option<&mut [E]>,
    gradients: NormGradients<'_>,
    dy: &[E],
    x: &[E],
    norm: &Normalization<'_>,
    gate: Gate<'_, E>,
) {
    let channels = norm.mean.len();
    let rows = (x.len() / channels) as f64;
    let gated = |at: usize| match gate {
        Gate::Open => true,
        Gate::Recomputed => norm.at(x[at].to_f32(), at % channels) > 0.0,
        Gate::Output(y) => y[at].to_f32() > 0.0,
    };
    let of = |at: usize| if gated(at) { f64::from(dy[at].to_f32()) } else { 0.0 };
    let unit = |at: usize| {
        (f64::from(x[at].to_f32()) - f64::from(norm.mean[at % channels])) * f64::from(norm.inv_std[at % channels])
    };
    for c in 0..channels {
        let places = || (c..x.len()).step_by(channels);
        let sum: f64 = places().map(of).sum();
        let product: f64 = places().map(|at| of(at) * unit(at)).sum();
        gradients.dbeta[c] += sum as f32;
        gradients.dgamma[c] += product as f32;
        let scale = f64::from(norm.gamma[c]) * f64::from(norm.inv_std[c]);
        for at in places() {
            dx[at] = E::from_f32((scale * (of(at) - sum / rows - unit(at) * product / rows)) as f32);
            if let Some(dz) = &mut dz {
                dz[at] = E::from_f32(of(at) as f32);
            }
        }
    }
}

impl Normalization<'_> {
    fn at(&self, x: f32, c: usize) -> f32 {
        self.gamma[c] * (x - self.mean[c]) * self.inv_std[c] + self.beta[c]
    }
}
