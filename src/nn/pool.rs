//! Pooling.

use crate::tensor::{Const, Device, Maps, PoolShape, Side, Tensor, Vectors};

use super::{Build, Builder, Layer, Parameters};

/// The maximum of each 3x3 window at stride 2 with padding 1: the pooling of ResNet's stem for large images.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool;

/// The mean over all positions: (N, C, S, S) to (N, C).
#[derive(Clone, Copy, Debug)]
pub struct GlobalAveragePool;

impl Build for MaxPool {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl Build for GlobalAveragePool {
    fn build(_: &mut Builder<'_>) -> Self {
        Self
    }
}

impl MaxPool {
    fn shape<const C: usize, S: Side>((batch, ..): Maps<C, S>) -> PoolShape {
        PoolShape { batch, side: S::SIZE, channels: C, kernel: 3, stride: 2, padding: 1 }
    }
}

impl<D: Device, S: Side, const C: usize> Layer<D, Maps<C, S>> for MaxPool {
    type Output = Maps<C, S::Half>;
    type Saved = (usize, D::Places);

    fn forward(&self, x: Tensor<Maps<C, S>, D>, _: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved) {
        let batch = x.shape().0;
        let (y, places) = x.device().max_pool(&Self::shape(x.shape()), x.data());
        (x.with((batch, Const, Default::default(), Default::default()), y), (batch, places))
    }

    fn backward(
        &self,
        (batch, places): Self::Saved,
        dy: Tensor<Self::Output, D>,
        _: &mut Parameters<D>,
    ) -> Tensor<Maps<C, S>, D> {
        let shape = (batch, Const, S::default(), S::default());
        dy.with(shape, dy.device().max_pool_backward(&Self::shape(shape), dy.data(), &places))
    }

    fn infer(&self, x: Tensor<Maps<C, S>, D>, _: &Parameters<D>) -> Tensor<Self::Output, D> {
        let (y, _) = x.device().max_pool(&Self::shape(x.shape()), x.data());
        x.with((x.shape().0, Const, Default::default(), Default::default()), y)
    }
}

impl<D: Device, S: Side, const C: usize> Layer<D, Maps<C, S>> for GlobalAveragePool {
    type Output = Vectors<C>;
    type Saved = ();

    fn forward(&self, x: Tensor<Maps<C, S>, D>, parameters: &mut Parameters<D>) -> (Tensor<Vectors<C>, D>, ()) {
        (self.infer(x, parameters), ())
    }

    fn backward(&self, (): (), dy: Tensor<Vectors<C>, D>, _: &mut Parameters<D>) -> Tensor<Maps<C, S>, D> {
        let batch = dy.shape().0;
        let dx = dy.device().average_pool_backward(dy.data(), S::SIZE * S::SIZE, batch, C);
        dy.with((batch, Const, S::default(), S::default()), dx)
    }

    fn infer(&self, x: Tensor<Maps<C, S>, D>, _: &Parameters<D>) -> Tensor<Vectors<C>, D> {
        let batch = x.shape().0;
        x.with((batch, Const), x.device().average_pool(x.data(), batch, C))
    }
}
