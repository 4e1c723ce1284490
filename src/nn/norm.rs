//! Batch normalisation over maps and vectors (Ioffe & Szegedy 2015, <https://arxiv.org/abs/1502.03167>).

use crate::tensor::{Device, Dim, Maps, NormOptions, Norms, Shape, Slot, Tensor, Vectors};

use super::{Build, Builder, Layer, ParamKind, Parameters};

/// The fraction by which running moments move towards those of a batch.
pub const MOMENTUM: f32 = 0.1;

/// y = gamma (x - mean) / sqrt(var + 1e-5) + beta per channel, over batch and positions, with torchvision's
/// constants; then ReLU in the same pass with `RELU`. Without `AFFINE`, gamma is always 1 and beta always 0. In training,
/// [`Parameters::norms`] says which moments are used and what is trained.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm<const C: usize, const RELU: bool = false, const AFFINE: bool = true> {
    options: NormOptions,
}

/// Batch normalisation, then ReLU.
pub type BatchNormRelu<const C: usize> = BatchNorm<C, true>;

/// Batch normalisation without scale and shift: the last layer of the heads of SimSiam and MoCo v3.
pub type BatchNormPlain<const C: usize> = BatchNorm<C, false, false>;

impl<const C: usize, const RELU: bool, const AFFINE: bool> Build for BatchNorm<C, RELU, AFFINE> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let name = builder.next("bn");
        // Scale and shift are adjacent, and so are the two running moments: one slot covers both.
        let affine = AFFINE.then(|| {
            let gamma = builder.parameter(&format!("{name}.weight"), &[C], ParamKind::Vector, |_| 1.0);
            builder.parameter(&format!("{name}.bias"), &[C], ParamKind::Vector, |_| 0.0);
            Slot { start: gamma.start, len: 2 * C }
        });
        let mean = builder.statistic(&format!("{name}.running_mean"), C, 0.0);
        builder.statistic(&format!("{name}.running_var"), C, 1.0);
        let running = Slot { start: mean.start, len: 2 * C };
        Self {
            options: NormOptions {
                affine,
                running,
                rectify: RELU,
                epsilon: 1e-5,
                momentum: MOMENTUM,
                norms: Norms::Trained,
            },
        }
    }
}

/// A shape with `C` channels that batch normalisation supports.
pub trait Channels<const C: usize>: Shape {}
impl<const C: usize> Channels<C> for Vectors<C> {}
impl<const C: usize, H: Dim, W: Dim> Channels<C> for Maps<C, H, W> {}

/// What the backward pass of a batch normalisation needs.
#[derive(Debug)]
pub struct SavedNorm<X: Shape, D: Device> {
    x: Tensor<X, D>,
    moments: D::Moments,
    /// The options of the forward pass: what it froze, its backward pass freezes.
    options: NormOptions,
}

impl<const C: usize, const RELU: bool, const AFFINE: bool> BatchNorm<C, RELU, AFFINE> {
    /// Normalises `x` in training mode and adds `shortcut` before the ReLU.
    pub(super) fn normalize<D: Device, X: Channels<C>>(
        &self,
        x: Tensor<X, D>,
        shortcut: Option<&Tensor<X, D>>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<X, D>, SavedNorm<X, D>) {
        let options = NormOptions { norms: parameters.norms, ..self.options };
        let Parameters { values, statistics, device, .. } = parameters;
        let (y, moments) = device.batch_norm(&options, x.data(), shortcut.map(Tensor::data), values, statistics);
        (x.with(x.shape(), y), SavedNorm { x, moments, options })
    }

    /// As `normalize`, with the running moments.
    pub(super) fn normalize_running<D: Device, X: Channels<C>>(
        &self,
        x: &Tensor<X, D>,
        shortcut: Option<&Tensor<X, D>>,
        parameters: &Parameters<D>,
    ) -> Tensor<X, D> {
        let Parameters { values, statistics, device, .. } = parameters;
        let shortcut = shortcut.map(Tensor::data);
        x.with(x.shape(), device.batch_norm_running(&self.options, x.data(), shortcut, values, statistics))
    }

    /// Returns the gradients of x and of the shortcut. `y` is the result of the forward pass.
    pub(super) fn backward_with_shortcut<D: Device, X: Channels<C>>(
        &self,
        SavedNorm { x, moments, options }: SavedNorm<X, D>,
        y: &Tensor<X, D>,
        dy: Tensor<X, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<X, D>, Tensor<X, D>) {
        let Parameters { values, gradients, device, .. } = parameters;
        let (dy, data) = (dy.data(), x.data());
        let (dx, dz) = device.batch_norm_shortcut_backward(&options, dy, data, y.data(), &moments, values, gradients);
        (x.with(x.shape(), dx), x.with(x.shape(), dz))
    }
}

impl<D: Device, X: Channels<C>, const C: usize, const RELU: bool, const AFFINE: bool> Layer<D, X>
    for BatchNorm<C, RELU, AFFINE>
{
    type Output = X;
    type Saved = SavedNorm<X, D>;

    fn forward(&self, x: Tensor<X, D>, parameters: &mut Parameters<D>) -> (Tensor<X, D>, Self::Saved) {
        self.normalize(x, None, parameters)
    }

    fn backward(
        &self,
        SavedNorm { x, moments, options }: Self::Saved,
        dy: Tensor<X, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<X, D> {
        let Parameters { values, gradients, device, .. } = parameters;
        let dx = device.batch_norm_backward(&options, dy.data(), x.data(), &moments, values, gradients);
        x.with(x.shape(), dx)
    }

    fn infer(&self, x: Tensor<X, D>, parameters: &Parameters<D>) -> Tensor<X, D> {
        self.normalize_running(&x, None, parameters)
    }
}
