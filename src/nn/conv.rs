//! Convolution with square kernels and padding `K / 2`.

use crate::rng::Stream;
use crate::tensor::{Const, ConvShape, Device, Dim, Images, Layout, Maps, Slot, Strided, Tensor};

use super::{Build, Builder, Layer, ParamKind, Parameters};

/// Maps (N, I, H, W) to (N, O, H / STRIDE rounded up, W / STRIDE rounded up); kernel (O, I, K, K), bias (O) with `BIAS`.
#[derive(Clone, Copy, Debug)]
pub struct Conv2d<const I: usize, const O: usize, const K: usize, const STRIDE: usize, const BIAS: bool = false> {
    weight: Slot,
    bias: Option<Slot>,
}

/// The first convolution, without bias: reads images (N, H, W, 3) in their own memory layout and returns maps
/// (N, O, H / STRIDE rounded up, ..).
#[derive(Clone, Copy, Debug)]
pub struct PixelConv2d<const O: usize, const K: usize, const STRIDE: usize>(Conv2d<3, O, K, STRIDE>);

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize, const BIAS: bool> Build
    for Conv2d<I, O, K, STRIDE, BIAS>
{
    /// Normal with variance 2 / (O K K): He et al. 2015, fan-out, as ResNets are initialised
    /// (<https://arxiv.org/abs/1502.01852>). The bias is zero.
    fn build(builder: &mut Builder<'_>) -> Self {
        Self::normal(builder, (2.0 / (O * K * K) as f32).sqrt())
    }
}

impl<const O: usize, const K: usize, const STRIDE: usize> Build for PixelConv2d<O, K, STRIDE> {
    /// As for [`Conv2d`].
    fn build(builder: &mut Builder<'_>) -> Self {
        Self(Build::build(builder))
    }
}

impl<const I: usize, const O: usize, const K: usize, const STRIDE: usize, const BIAS: bool>
    Conv2d<I, O, K, STRIDE, BIAS>
{
    /// Builds the layer with weights from a normal distribution of this standard deviation, and a zero bias, which decays
    /// as weights do.
    pub fn normal(builder: &mut Builder<'_>, deviation: f32) -> Self {
        const { assert!(K % 2 == 1, "a kernel's side must be odd") }
        let name = builder.next("conv");
        let normal = |stream: &mut Stream| deviation * stream.normal();
        Self {
            weight: builder.parameter(&format!("{name}.weight"), &[O, I, K, K], ParamKind::Weight, normal),
            bias: BIAS.then(|| builder.parameter(&format!("{name}.bias"), &[O], ParamKind::Weight, |_| 0.0)),
        }
    }

    fn shape<H: Dim, W: Dim>((batch, _, height, width): Maps<I, H, W>) -> ConvShape {
        ConvShape {
            layout: Layout::Maps,
            batch,
            height: height.size(),
            width: width.size(),
            in_channels: I,
            out_channels: O,
            kernel: K,
            stride: STRIDE,
            padding: K / 2,
        }
    }

    fn output<H: Strided<STRIDE>, W: Strided<STRIDE>>(
        (batch, _, height, width): Maps<I, H, W>,
    ) -> Maps<O, H::Output, W::Output> {
        (batch, Const, height.strided(), width.strided())
    }

    fn slots(&self) -> (Slot, Option<Slot>) {
        (self.weight, self.bias)
    }
}

impl<const O: usize, const K: usize, const STRIDE: usize> PixelConv2d<O, K, STRIDE> {
    fn shape<H: Dim, W: Dim>((batch, height, width, _): Images<H, W>) -> ConvShape {
        let maps = (batch, Const, height, width);
        ConvShape { layout: Layout::Images, ..Conv2d::<3, O, K, STRIDE>::shape(maps) }
    }

    fn output<H: Strided<STRIDE>, W: Strided<STRIDE>>(
        (batch, height, width, _): Images<H, W>,
    ) -> Maps<O, H::Output, W::Output> {
        (batch, Const, height.strided(), width.strided())
    }

    fn slots(&self) -> (Slot, Option<Slot>) {
        self.0.slots()
    }
}

/// Implements `Layer` for both convolutions. `$input` is the shape of their input.
macro_rules! conv_layer {
    ($conv:ty, $input:ty, $($constants:tt)*) => {
        impl<D: Device, H: Strided<STRIDE>, W: Strided<STRIDE>, $($constants)*> Layer<D, $input> for $conv {
            type Output = Maps<O, H::Output, W::Output>;
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
                let (device, values, (weight, _)) = (dy.device(), &parameters.values, self.slots());
                dy.with(shape, device.conv2d_input(&Self::shape(shape), dy.data(), values, weight, None))
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
                let (device, values, (weight, _)) = (dy.device(), &parameters.values, self.slots());
                let onto = Some(onto.data());
                dy.with(shape, device.conv2d_input(&Self::shape(shape), dy.data(), values, weight, onto))
            }

            fn backward_parameters(&self, x: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
                let (shape, (weight, bias)) = (Self::shape(x.shape()), self.slots());
                x.device().conv2d_weight(&shape, x.data(), dy.data(), &mut parameters.gradients, weight, bias);
            }

            fn infer(&self, x: Tensor<$input, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
                let (shape, (weight, bias)) = (x.shape(), self.slots());
                let y = x.device().conv2d(&Self::shape(shape), x.data(), &parameters.values, weight, bias);
                x.with(Self::output(shape), y)
            }
        }
    };
}
conv_layer!(
    Conv2d<I, O, K, STRIDE, BIAS>, Maps<I, H, W>,
    const I: usize, const O: usize, const K: usize, const STRIDE: usize, const BIAS: bool
);
conv_layer!(PixelConv2d<O, K, STRIDE>, Images<H, W>, const O: usize, const K: usize, const STRIDE: usize);
