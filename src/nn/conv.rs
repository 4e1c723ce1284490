//! Convolution with square kernels and padding `K / 2`.

use crate::tensor::{Const, ConvShape, Device, Images, Side, Slot, Tensor};

use super::{Build, Builder, Kind, Layer, Parameters};

/// (N, I, S, S) to (N, O, S / STRIDE rounded up, ..); kernel (O, I, K, K), padding K / 2, no bias.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d<const I: usize, const O: usize, const K: usize, const STRIDE: usize> {
    weight: Slot,
}

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize> Build for Conv2d<I, O, K, STRIDE> {
    /// Normal with variance 2 / (O K K): He et al. 2015, fan-out, as ResNets start (<https://arxiv.org/abs/1502.01852>).
    fn build(builder: &mut Builder<'_>) -> Self {
        const { assert!(K % 2 == 1, "a kernel's side must be odd") }
        let deviation = (2.0 / (O * K * K) as f32).sqrt();
        let name = builder.next("conv");
        let shape = [O, I, K, K];
        let weight = builder.parameter(&format!("{name}.weight"), &shape, Kind::Weight, |s| deviation * s.normal());
        Self { weight }
    }
}

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize> Conv2d<I, O, K, STRIDE> {
    fn shape(batch: usize, side: usize) -> ConvShape {
        ConvShape {
            batch,
            height: side,
            width: side,
            in_channels: I,
            out_channels: O,
            kernel: K,
            stride: STRIDE,
            padding: K / 2,
        }
    }
}

macro_rules! conv_layer {
    ($stride:literal, $output:ty) => {
        impl<D: Device, S: Side, const I: usize, const O: usize, const K: usize> Layer<D, Images<I, S>>
            for Conv2d<I, O, K, $stride>
        {
            type Output = Images<O, $output>;
            type Saved = Tensor<Images<I, S>, D>;

            fn forward(
                &self,
                x: Tensor<Images<I, S>, D>,
                parameters: &mut Parameters<D>,
            ) -> (Tensor<Self::Output, D>, Self::Saved) {
                (self.infer(x.clone(), parameters), x)
            }

            fn backward(
                &self,
                x: Self::Saved,
                dy: Tensor<Self::Output, D>,
                parameters: &mut Parameters<D>,
            ) -> Tensor<Images<I, S>, D> {
                let shape = Self::shape(x.shape().0, S::SIZE);
                let device = x.device();
                device.conv2d_weight(&shape, x.data(), dy.data(), &mut parameters.gradients, self.weight);
                x.with(x.shape(), device.conv2d_input(&shape, dy.data(), &parameters.values, self.weight))
            }

            fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
                let shape = Self::shape(x.shape().0, S::SIZE);
                x.device().conv2d_weight(&shape, x.data(), dy.data(), &mut parameters.gradients, self.weight);
            }

            fn infer(&self, x: Tensor<Images<I, S>, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
                let batch = x.shape().0;
                let shape = Self::shape(batch, S::SIZE);
                let y = x.device().conv2d(&shape, x.data(), &parameters.values, self.weight);
                x.with((batch, Const, Default::default(), Default::default()), y)
            }
        }
    };
}
conv_layer!(1, S);
conv_layer!(2, S::Half);
