//! Residual networks (He et al. 2016, <https://arxiv.org/abs/1512.03385>), with torchvision's parameter names.
//!
//! A network is a type; heights and widths follow from its input. Bottlenecks have their stride in the 3x3 convolution, as
//! in torchvision ("V1.5").

use crate::nn::sequence;
use crate::nn::{
    BatchNorm, BatchNormRelu, Block, Build, Builder, Conv2d, GlobalAveragePool, Identity, Layer, MaxPool, Parameters,
    PixelConv2d,
};
use crate::tensor::{Device, Shape, Tensor};

/// 7x7 convolution of stride 2, then 3x3 max pooling of stride 2: an image of side 64 becomes a map of side 16.
pub type ImageNetStem<const C: usize> = sequence!(PixelConv2d<C, 7, 2>, BatchNormRelu<C>, MaxPool);
/// 3x3 convolution of stride `STRIDE`: stride 1 for images of side 32, as in CIFAR's ResNets, or stride 2, which is
/// cheaper.
pub type SmallStem<const C: usize, const STRIDE: usize> = sequence!(PixelConv2d<C, 3, STRIDE>, BatchNormRelu<C>);

type BasicBranch<const I: usize, const O: usize, const STRIDE: usize> =
    sequence!(Conv2d<I, O, 3, STRIDE>, BatchNormRelu<O>, Conv2d<O, O, 3, 1>);
type BottleneckBranch<const I: usize, const M: usize, const O: usize, const STRIDE: usize> = sequence!(
    Conv2d<I, M, 1, 1>, BatchNormRelu<M>,
    Conv2d<M, M, 3, STRIDE>, BatchNormRelu<M>,
    Conv2d<M, O, 1, 1>
);
type Downsample<const I: usize, const O: usize, const STRIDE: usize> = sequence!(Conv2d<I, O, 1, STRIDE>, BatchNorm<O>);

/// Two 3x3 convolutions with a shortcut.
pub type BasicBlock<const C: usize> = Block<BasicBranch<C, C, 1>, Identity, C>;
type BasicDown<const I: usize, const O: usize> = Block<BasicBranch<I, O, 2>, Downsample<I, O, 2>, O>;
/// 1x1, 3x3, 1x1 convolutions with a shortcut. `O` is four times `M`.
pub type Bottleneck<const M: usize, const O: usize> = Block<BottleneckBranch<O, M, O, 1>, Identity, O>;
type BottleneckDown<const I: usize, const M: usize, const O: usize, const STRIDE: usize> =
    Block<BottleneckBranch<I, M, O, STRIDE>, Downsample<I, O, STRIDE>, O>;

/// [`ResNet18`] before its pooling, with another last stage.
type Trunk18<Stem, Last> = Trunk<
    Stem,
    (BasicBlock<64>, BasicBlock<64>),
    (BasicDown<64, 128>, BasicBlock<128>),
    (BasicDown<128, 256>, BasicBlock<256>),
    Last,
>;

/// [`ResNet50`] before its pooling, with another last stage.
type Trunk50<Stem, Last> = Trunk<
    Stem,
    sequence!(BottleneckDown<64, 64, 256, 1>, Bottleneck<64, 256>, Bottleneck<64, 256>),
    sequence!(BottleneckDown<256, 128, 512, 2>, Bottleneck<128, 512>, Bottleneck<128, 512>, Bottleneck<128, 512>),
    sequence!(
        BottleneckDown<512, 256, 1024, 2>, Bottleneck<256, 1024>, Bottleneck<256, 1024>, Bottleneck<256, 1024>,
        Bottleneck<256, 1024>, Bottleneck<256, 1024>
    ),
    Last,
>;

/// [`ResNetSmall`] before its pooling, with another last stage, which is its third.
type TrunkSmall<Stem, Last> = Trunk<Stem, BasicBlock<32>, BasicDown<32, 64>, Last, Identity>;

/// The last stage of [`ResNet18`], `layer4`.
pub type Last18 = (BasicDown<256, 512>, BasicBlock<512>);
/// The last stage of [`ResNet50`], `layer4`.
pub type Last50 = sequence!(BottleneckDown<1024, 512, 2048, 2>, Bottleneck<512, 2048>, Bottleneck<512, 2048>);
/// The last stage of [`ResNetSmall`], `layer3`.
pub type LastSmall = BasicDown<64, 128>;

/// All stages of [`ResNet18`] but the last: maps of 256 channels.
pub type Front18<Stem> = Trunk18<Stem, Identity>;
/// All stages of [`ResNet50`] but the last: maps of 1024 channels.
pub type Front50<Stem> = Trunk50<Stem, Identity>;
/// All stages of [`ResNetSmall`] but the last: maps of 64 channels.
pub type FrontSmall<Stem> = TrunkSmall<Stem, Identity>;

/// 11.2 million parameters, 512 features: a trunk and the mean over the remaining positions.
pub type ResNet18<Stem> = (Trunk18<Stem, Last18>, GlobalAveragePool);
/// 23.5 million parameters, 2048 features.
pub type ResNet50<Stem> = (Trunk50<Stem, Last50>, GlobalAveragePool);
/// One basic block each of 32, 64 and 128 channels: 0.31 million parameters, 128 features, for the quick profile.
pub type ResNetSmall<Stem> = (TrunkSmall<Stem, LastSmall>, GlobalAveragePool);

/// A stem and four stages. It gives the map of the last stage.
#[derive(Clone, Copy, Debug)]
pub struct Trunk<Stem, L1, L2, L3, L4>(Sequence<Stem, L1, L2, L3, L4>);

type Sequence<Stem, L1, L2, L3, L4> = sequence!(Stem, L1, L2, L3, L4);

/// [`ResNetSmall`] with ImageNet's stem, which reduces the side to a quarter.
pub type SmallImagenet = ResNetSmall<ImageNetStem<32>>;
/// The same with a stem that halves the side.
pub type SmallHalf = ResNetSmall<SmallStem<32, 2>>;
/// The same with a stem that keeps the side.
pub type SmallWhole = ResNetSmall<SmallStem<32, 1>>;
/// [`ResNet18`] with ImageNet's stem.
pub type ResNet18Imagenet = ResNet18<ImageNetStem<64>>;
/// The same with a stem that halves the side.
pub type ResNet18Half = ResNet18<SmallStem<64, 2>>;
/// The same with a stem that keeps the side.
pub type ResNet18Whole = ResNet18<SmallStem<64, 1>>;
/// [`ResNet50`] with ImageNet's stem.
pub type ResNet50Imagenet = ResNet50<ImageNetStem<64>>;
/// The same with a stem that halves the side.
pub type ResNet50Half = ResNet50<SmallStem<64, 2>>;
/// The same with a stem that keeps the side.
pub type ResNet50Whole = ResNet50<SmallStem<64, 1>>;

impl<Stem: Build, L1: Build, L2: Build, L3: Build, L4: Build> Build for Trunk<Stem, L1, L2, L3, L4> {
    fn build(builder: &mut Builder<'_>) -> Self {
        let stem = Stem::build(builder);
        let (layer1, layer2) = (builder.scope("layer1", L1::build), builder.scope("layer2", L2::build));
        let (layer3, layer4) = (builder.scope("layer3", L3::build), builder.scope("layer4", L4::build));
        Self((stem, (layer1, (layer2, (layer3, layer4)))))
    }
}

impl<D: Device, S: Shape, Stem, L1, L2, L3, L4> Layer<D, S> for Trunk<Stem, L1, L2, L3, L4>
where
    Sequence<Stem, L1, L2, L3, L4>: Layer<D, S>,
{
    type Output = <Sequence<Stem, L1, L2, L3, L4> as Layer<D, S>>::Output;
    type Saved = <Sequence<Stem, L1, L2, L3, L4> as Layer<D, S>>::Saved;

    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved) {
        self.0.forward(x, parameters)
    }

    fn backward(
        &self,
        saved: Self::Saved,
        dy: Tensor<Self::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<S, D> {
        self.0.backward(saved, dy, parameters)
    }

    fn backward_parameters(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.0.backward_parameters(saved, dy, parameters);
    }

    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D> {
        self.0.infer(x, parameters)
    }
}
