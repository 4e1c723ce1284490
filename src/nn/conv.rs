//! Convolution with square kernels and padding `K / 2`, without bias.

use crate::tensor::{Const, ConvShape, Device, Images, Layout, Maps, Side, Slot, Strided, Tensor};

use super::{Build, Builder, Layer, ParamKind, Parameters};

/// Maps (N, I, S, S) to (N, O, S / STRIDE rounded up, ..); kernel (O, I, K, K).
#[derive(Clone, Copy, Debug)]
pub struct Conv2d<const I: usize, const O: usize, const K: usize, const STRIDE: usize> {
    weight: Slot,
}

/// The first convolution: reads images (N, S, S, 3) in their own memory layout and returns maps
/// (N, O, S / STRIDE rounded up, ..).
#[derive(Clone, Copy, Debug)]
pub struct PixelConv2d<const O: usize, const K: usize, const STRIDE: usize> {
    weight: Slot,
}

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize> Build for Conv2d<I, O, K, STRIDE> {
    /// Normal with variance 2 / (O K K): He et al. 2015, fan-out, as ResNets are initialised
    /// (<https://arxiv.org/abs/1502.01852>).
    fn build(builder: &mut Builder<'_>) -> Self {
        const { assert!(K % 2 == 1, "a kernel's side must be odd") }
        Self { weight: kernel(builder, [O, I, K, K]) }
    }
}

impl<const O: usize, const K: usize, const STRIDE: usize> Build for PixelConv2d<O, K, STRIDE> {
    /// As for [`Conv2d`].
    fn build(builder: &mut Builder<'_>) -> Self {
        const { assert!(K % 2 == 1, "a kernel's side must be odd") }
        Self { weight: kernel(builder, [O, 3, K, K]) }
    }
}

fn kernel(builder: &mut Builder<'_>, shape: [usize; 4]) -> Slot {
    let [outputs, _, height, width] = shape;
    let deviation = (2.0 / (outputs * height * width) as f32).sqrt();
    let name = builder.next("conv");
    builder.parameter(&format!("{name}.weight"), &shape, ParamKind::Weight, |stream| deviation * stream.normal())
}

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize> Conv2d<I, O, K, STRIDE> {
    fn shape<S: Side>((batch, ..): Maps<I, S>) -> ConvShape {
        ConvShape {
            layout: Layout::Maps,
            batch,
            height: S::SIZE,
            width: S::SIZE,
            in_channels: I,
            out_channels: O,
            kernel: K,
            stride: STRIDE,
            padding: K / 2,
        }
    }
}

impl<const O: usize, const K: usize, const STRIDE: usize> PixelConv2d<O, K, STRIDE> {
    fn shape<S: Side>((batch, ..): Images<S>) -> ConvShape {
        let maps = (batch, Const, S::default(), S::default());
        ConvShape { layout: Layout::Images, ..Conv2d::<3, O, K, STRIDE>::shape(maps) }
    }
}

/// Implements `Layer` for both convolutions. `$input` is the shape of their input.
macro_rules! conv_layer {
    ($conv:ty, $input:ty, $($constants:tt)*) => {
        impl<D: Device, S: Side + Strided<STRIDE>, $($constants)*> Layer<D, $input> for $conv {
            type Output = Maps<O, S::Output>;
            type Saved = Tensor<$input, D>;

            fn forward(
                &self,
                x: Tensor<$input, D>,
                parameters: &mut Parameters<D>,
            ) -> (Tensor<Self::Output, D>, Self::Saved) {
                (self.infer(x.clone(), parameters), x)
            }

            fn backward(
                &self,
                x: Self::Saved,
                dy: Tensor<Self::Output, D>,
                parameters: &mut Parameters<D>,
            ) -> Tensor<$input, D> {
                let shape = x.shape();
                self.backward_parameters(x, dy.clone(), parameters);
                let (device, values) = (dy.device(), &parameters.values);
                dy.with(shape, device.conv2d_input(&Self::shape(shape), dy.data(), values, self.weight, None))
            }

            fn backward_onto(
                &self,
                x: Self::Saved,
                dy: Tensor<Self::Output, D>,
                onto: Tensor<$input, D>,
                parameters: &mut Parameters<D>,
            ) -> Tensor<$input, D> {
                let shape = x.shape();
                self.backward_parameters(x, dy.clone(), parameters);
                let (device, values, onto) = (dy.device(), &parameters.values, Some(onto.data()));
                dy.with(shape, device.conv2d_input(&Self::shape(shape), dy.data(), values, self.weight, onto))
            }

            fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
                let shape = Self::shape(x.shape());
                x.device().conv2d_weight(&shape, x.data(), dy.data(), &mut parameters.gradients, self.weight);
            }

            fn infer(&self, x: Tensor<$input, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
                let shape = Self::shape(x.shape());
                let y = x.device().conv2d(&shape, x.data(), &parameters.values, self.weight);
                x.with((shape.batch, Const, Default::default(), Default::default()), y)
            }
        }
    };
}
conv_layer!(
    Conv2d<I, O, K, STRIDE>, Maps<I, S>, const I: usize, const O: usize, const K: usize, const STRIDE: usize
);
conv_layer!(PixelConv2d<O, K, STRIDE>, Images<S>, const O: usize, const K: usize, const STRIDE: usize);
