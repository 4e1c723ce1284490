//! Scales vectors to unit length.

use crate::tensor::{Device, Tensor, Vectors};

use super::{Build, Builder, Layer, Parameters};

/// y = x / max(|x|, 1e-12), row by row, as in PyTorch's `normalize`.
#[derive(Clone, Copy, Debug)]
pub struct UnitRows;

impl Build for UnitRows {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl<D: Device, const C: usize> Layer<D, Vectors<C>> for UnitRows {
    type Output = Vectors<C>;
    type Saved = Tensor<Vectors<C>, D>;

    fn forward(&self, x: Tensor<Vectors<C>, D>, parameters: &mut Parameters<D>) -> (Self::Saved, Self::Saved) {
        (self.infer(x.clone(), parameters), x)
    }

    fn backward(&self, x: Self::Saved, dy: Tensor<Vectors<C>, D>, _: &mut Parameters<D>) -> Tensor<Vectors<C>, D> {
        dy.with(x.shape(), x.device().unit_rows_backward(dy.data(), x.data(), C))
    }

    fn infer(&self, x: Tensor<Vectors<C>, D>, _: &Parameters<D>) -> Tensor<Vectors<C>, D> {
        x.with(x.shape(), x.device().unit_rows(x.data(), C))
    }
}
