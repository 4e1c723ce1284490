//! Pooling.

use crate::tensor::{Const, Device, Dim, Maps, PoolShape, Side, Tensor, Vectors};

use super::{Build, Builder, Layer, Parameters};

/// The maximum of each 3x3 window at stride 2 with padding 1: the pooling of ResNet's stem for large images.
#[derive(Clone, Copy, Debug)]
pub struct MaxPool;

/// The mean over all positions: (N, C, H, W) to (N, C).
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
    fn shape<const C: usize, H: Side, W: Side>((batch, _, height, width): Maps<C, H, W>) -> PoolShape {
        let (height, width) = (height.size(), width.size());
        PoolShape { batch, height, width, channels: C, kernel: 3, stride: 2, padding: 1 }
    }
}

impl<D: Device, H: Side, W: Side, const C: usize> Layer<D, Maps<C, H, W>> for MaxPool {
    type Output = Maps<C, H::Half, W::Half>;
    type Saved = (Maps<C, H, W>, D::Places);

    fn forward(&self, x: Tensor<Maps<C, H, W>, D>, _: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved) {
        let shape = x.shape();
        let (y, places) = x.device().max_pool(&Self::shape(shape), x.data());
        (x.with(halved(shape), y), (shape, places))
    }

    fn backward(
        &self,
        (shape, places): Self::Saved,
        dy: Tensor<Self::Output, D>,
        _: &mut Parameters<D>,
    ) -> Tensor<Maps<C, H, W>, D> {
        dy.with(shape, dy.device().max_pool_backward(&Self::shape(shape), dy.data(), &places))
    }

    fn infer(&self, x: Tensor<Maps<C, H, W>, D>, _: &Parameters<D>) -> Tensor<Self::Output, D> {
        let (y, _) = x.device().max_pool(&Self::shape(x.shape()), x.data());
        x.with(halved(x.shape()), y)
    }
}

fn halved<const C: usize, H: Side, W: Side>(
    (batch, channels, height, width): Maps<C, H, W>,
) -> Maps<C, H::Half, W::Half> {
    (batch, channels, height.half(), width.half())
}

impl<D: Device, H: Dim, W: Dim, const C: usize> Layer<D, Maps<C, H, W>> for GlobalAveragePool {
    type Output = Vectors<C>;
    type Saved = Maps<C, H, W>;

    fn forward(
        &self,
        x: Tensor<Maps<C, H, W>, D>,
        parameters: &mut Parameters<D>,
    ) -> (Tensor<Vectors<C>, D>, Self::Saved) {
        let shape = x.shape();
        (self.infer(x, parameters), shape)
    }

    fn backward(
        &self,
        shape: Self::Saved,
        dy: Tensor<Vectors<C>, D>,
        _: &mut Parameters<D>,
    ) -> Tensor<Maps<C, H, W>, D> {
        let (batch, _, height, width) = shape;
        dy.with(shape, dy.device().average_pool_backward(dy.data(), height.size() * width.size(), batch, C))
    }

    fn infer(&self, x: Tensor<Maps<C, H, W>, D>, _: &Parameters<D>) -> Tensor<Vectors<C>, D> {
        let batch = x.shape().0;
        x.with((batch, Const), x.device().average_pool(x.data(), batch, C))
    }
}
