//! Layer normalisation of vectors and tokens (Ba et al. 2016, <https://arxiv.org/abs/1607.06450>).

use crate::tensor::{Device, LayerNormOptions, Tensor};

use super::{Build, Builder, Layer, ParamKind, Parameters, Rows};

/// y = gamma (x - mean) / sqrt(var + 1e-6) + beta over the C numbers of each row, with the epsilon of timm's
/// transformers.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<const C: usize> {
    options: LayerNormOptions,
}

impl<const C: usize> Build for LayerNorm<C> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let name = builder.next("norm");
        Self::named(builder, &name)
    }
}

impl<const C: usize> LayerNorm<C> {
    /// Builds the layer under a given name.
    pub fn named(builder: &mut Builder<'_>, name: &str) -> Self {
        let gamma = builder.parameter(&format!("{name}.weight"), &[C], ParamKind::Vector, |_| 1.0);
        let beta = builder.parameter(&format!("{name}.bias"), &[C], ParamKind::Vector, |_| 0.0);
        Self { options: LayerNormOptions { gamma, beta, epsilon: 1e-6 } }
    }

    fn backward_input<D: Device, X: Rows<C>>(
        &self,
        (x, moments): (Tensor<X, D>, D::Moments),
        dy: &Tensor<X, D>,
        onto: Option<&Tensor<X, D>>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<X, D> {
        let Parameters { values, gradients, device, .. } = parameters;
        let (dy, data, onto) = (dy.data(), x.data(), onto.map(Tensor::data));
        x.with(x.shape(), device.layer_norm_backward(&self.options, dy, data, &moments, onto, values, gradients))
    }
}

impl<D: Device, X: Rows<C>, const C: usize> Layer<D, X> for LayerNorm<C> {
    type Output = X;
    type Saved = (Tensor<X, D>, D::Moments);

    fn forward(&self, x: Tensor<X, D>, parameters: &mut Parameters<D>) -> (Tensor<X, D>, Self::Saved) {
        let (y, moments) = x.device().layer_norm(&self.options, x.data(), &parameters.values);
        (x.with(x.shape(), y), (x, moments))
    }

    fn backward(&self, saved: Self::Saved, dy: Tensor<X, D>, parameters: &mut Parameters<D>) -> Tensor<X, D> {
        self.backward_input(saved, &dy, None, parameters)
    }

    fn backward_onto(
        &self,
        saved: Self::Saved,
        dy: Tensor<X, D>,
        onto: Tensor<X, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<X, D> {
        self.backward_input(saved, &dy, Some(&onto), parameters)
    }

    fn infer(&self, x: Tensor<X, D>, parameters: &Parameters<D>) -> Tensor<X, D> {
        let (y, _) = x.device().layer_norm(&self.options, x.data(), &parameters.values);
        x.with(x.shape(), y)
    }
}
