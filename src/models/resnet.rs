//! Residual networks (He et al. 2016, <https://arxiv.org/abs/1512.03385>), with torchvision's parameter names.
//!
//! A network is a type; image sizes follow from its input. Bottlenecks carry their stride on the 3x3 convolution, as
//! torchvision's do ("V1.5").

use crate::nn::sequence;
use crate::nn::{
    BatchNorm, Build, Builder, Conv2d, GlobalAveragePool, Identity, Layer, MaxPool, Parameters, Relu, Residual,
};
use crate::tensor::{Device, Shape, Tensor};

/// 7x7 convolution of stride 2, then 3x3 max pooling of stride 2: an image of 64 becomes 16.
pub type ImageNetStem<const C: usize> = sequence!(Conv2d<3, C, 7, 2>, BatchNorm<C>, Relu, MaxPool);
/// 3x3 convolution of stride `STRIDE`: for images of 32, as in CIFAR's ResNets (stride 1), or cheaper (stride 2).
pub type SmallStem<const C: usize, const STRIDE: usize> = sequence!(Conv2d<3, C, 3, STRIDE>, BatchNorm<C>, Relu);

type BasicBranch<const I: usize, const O: usize, const STRIDE: usize> =
    sequence!(Conv2d<I, O, 3, STRIDE>, BatchNorm<O>, Relu, Conv2d<O, O, 3, 1>, BatchNorm<O>);
type BottleneckBranch<const I: usize, const M: usize, const O: usize, const STRIDE: usize> = sequence!(
    Conv2d<I, M, 1, 1>, BatchNorm<M>, Relu,
    Conv2d<M, M, 3, STRIDE>, BatchNorm<M>, Relu,
    Conv2d<M, O, 1, 1>, BatchNorm<O>
);
type Downsample<const I: usize, const O: usize, const STRIDE: usize> = sequence!(Conv2d<I, O, 1, STRIDE>, BatchNorm<O>);

/// Two 3x3 convolutions around a shortcut; then ReLU.
pub type BasicBlock<const C: usize> = Block<BasicBranch<C, C, 1>, Identity>;
type BasicDown<const I: usize, const O: usize> = Block<BasicBranch<I, O, 2>, Downsample<I, O, 2>>;
/// 1x1, 3x3, 1x1 convolutions around a shortcut; then ReLU. `O` is four times `M`.
pub type Bottleneck<const M: usize, const O: usize> = Block<BottleneckBranch<O, M, O, 1>, Identity>;
type BottleneckDown<const I: usize, const M: usize, const O: usize, const STRIDE: usize> =
    Block<BottleneckBranch<I, M, O, STRIDE>, Downsample<I, O, STRIDE>>;

/// 11.2 million parameters, 512 features.
pub type ResNet18<Stem> = ResNet<
    Stem,
    (BasicBlock<64>, BasicBlock<64>),
    (BasicDown<64, 128>, BasicBlock<128>),
    (BasicDown<128, 256>, BasicBlock<256>),
    (BasicDown<256, 512>, BasicBlock<512>),
>;

/// 23.5 million parameters, 2048 features.
pub type ResNet50<Stem> = ResNet<
    Stem,
    sequence!(BottleneckDown<64, 64, 256, 1>, Bottleneck<64, 256>, Bottleneck<64, 256>),
    sequence!(BottleneckDown<256, 128, 512, 2>, Bottleneck<128, 512>, Bottleneck<128, 512>, Bottleneck<128, 512>),
    sequence!(
        BottleneckDown<512, 256, 1024, 2>, Bottleneck<256, 1024>, Bottleneck<256, 1024>, Bottleneck<256, 1024>,
        Bottleneck<256, 1024>, Bottleneck<256, 1024>
    ),
    sequence!(BottleneckDown<1024, 512, 2048, 2>, Bottleneck<512, 2048>, Bottleneck<512, 2048>),
>;

/// One basic block each of 32, 64 and 128 channels: 0.31 million parameters, 128 features, for the quick profile.
pub type ResNetSmall<Stem> = ResNet<Stem, BasicBlock<32>, BasicDown<32, 64>, BasicDown<64, 128>, Identity>;

/// A residual branch and its shortcut, added, then ReLU.
#[derive(Clone, Copy, Debug)]
pub struct Block<F, G>((Residual<F, G>, Relu));

impl<F: Build, G: Build> Build for Block<F, G> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let index = builder.next_index();
        builder.scope(&index, |builder| Self(Build::build(builder)))
    }
}

/// A stem, four stages and the mean over the pixels that are left.
#[derive(Clone, Copy, Debug)]
pub struct ResNet<Stem, L1, L2, L3, L4>(Whole<Stem, L1, L2, L3, L4>);

type Whole<Stem, L1, L2, L3, L4> = sequence!(Stem, L1, L2, L3, L4, GlobalAveragePool);

impl<Stem: Build, L1: Build, L2: Build, L3: Build, L4: Build> Build for ResNet<Stem, L1, L2, L3, L4> {
    fn build(builder: &mut Builder<'_>) -> Self {
        Self((
            Stem::build(builder),
            (
                builder.scope("layer1", L1::build),
                (
                    builder.scope("layer2", L2::build),
                    (
                        builder.scope("layer3", L3::build),
                        (builder.scope("layer4", L4::build), GlobalAveragePool::build(builder)),
                    ),
                ),
            ),
        ))
    }
}

/// A named structure is the layer that it holds.
macro_rules! layer_of_inner {
    ($outer:ident<$($part:ident),+>, $inner:ty) => {
        impl<D: Device, S: Shape, $($part),+> Layer<D, S> for $outer<$($part),+>
        where
            $inner: Layer<D, S>,
        {
            type Output = <$inner as Layer<D, S>>::Output;
            type Saved = <$inner as Layer<D, S>>::Saved;

            fn forward(&self, x: Tensor<S, D>, p: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved) {
                self.0.forward(x, p)
            }

            fn backward(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, p: &mut Parameters<D>) -> Tensor<S, D> {
                self.0.backward(saved, dy, p)
            }

            fn backward_parameters(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, p: &mut Parameters<D>) {
                self.0.backward_parameters(saved, dy, p);
            }

            fn infer(&self, x: Tensor<S, D>, p: &Parameters<D>) -> Tensor<Self::Output, D> {
                self.0.infer(x, p)
            }
        }
    };
}
layer_of_inner!(Block<F, G>, (Residual<F, G>, Relu));
layer_of_inner!(ResNet<Stem, L1, L2, L3, L4>, Whole<Stem, L1, L2, L3, L4>);
