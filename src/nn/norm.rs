//! Batch normalisation over images and vectors (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>).

use crate::tensor::{Affine, Const, Device, Dim, Moments, NormSettings, Shape, Slot, Tensor};

use super::{Build, Builder, Kind, Layer, Parameters};

/// y = gamma (x - mean) / sqrt(var + 1e-5) + beta per channel, over batch and pixels; torchvision's constants.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<const C: usize> {
    affine: Affine,
    running: Slot,
}

const SETTINGS: NormSettings = NormSettings { epsilon: 1e-5, momentum: 0.1 };

impl<const C: usize> Build for BatchNorm<C> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let name = builder.next("bn");
        let gamma = builder.parameter(&format!("{name}.weight"), &[C], Kind::Vector, |_| 1.0);
        let beta = builder.parameter(&format!("{name}.bias"), &[C], Kind::Vector, |_| 0.0);
        let mean = builder.statistic(&format!("{name}.running_mean"), C, 0.0);
        builder.statistic(&format!("{name}.running_var"), C, 1.0);
        // The two running moments are neighbours, so one slot names both.
        Self { affine: Affine { gamma, beta }, running: Slot { start: mean.start, len: 2 * C } }
    }
}

/// A shape whose channels batch normalisation can see.
pub trait Channels<const C: usize>: Shape {}
impl<const C: usize> Channels<C> for (usize, Const<C>) {}
impl<const C: usize, S: Dim> Channels<C> for (usize, Const<C>, S, S) {}

impl<D: Device, X: Channels<C>, const C: usize> Layer<D, X> for BatchNorm<C> {
    type Output = X;
    type Saved = (Tensor<X, D>, Moments<D>);

    fn forward(&self, x: Tensor<X, D>, parameters: &mut Parameters<D>) -> (Tensor<X, D>, Self::Saved) {
        let Parameters { values, statistics, device, .. } = parameters;
        let (y, moments) = device.batch_norm(x.data(), values, self.affine, statistics, self.running, SETTINGS);
        (x.with(x.shape(), y), (x, moments))
    }

    fn backward(&self, (x, moments): Self::Saved, dy: Tensor<X, D>, parameters: &mut Parameters<D>) -> Tensor<X, D> {
        let Parameters { values, gradients, device, .. } = parameters;
        x.with(x.shape(), device.batch_norm_backward(dy.data(), x.data(), &moments, values, gradients, self.affine))
    }

    fn infer(&self, x: Tensor<X, D>, parameters: &Parameters<D>) -> Tensor<X, D> {
        let Parameters { values, statistics, device, .. } = parameters;
        let y = device.batch_norm_running(x.data(), values, self.affine, statistics, self.running, SETTINGS);
        x.with(x.shape(), y)
    }
}
