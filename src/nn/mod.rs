//! Layers with an explicit backward, and the flat arenas that hold their parameters.
//!
//! A layer is a description: it knows where its parameters lie, not their values. So one network runs with any
//! [`Parameters`] of its layout: a momentum encoder is a second `Parameters`, a checkpoint is its three arenas, an
//! optimiser walks them in one pass.

mod block;
mod compose;
mod conv;
mod drop_path;
mod layer_norm;
mod linear;
mod norm;
mod parameters;
mod patches;
mod pool;
mod prototypes;
mod resample;
mod transformer;
mod unit_rows;

pub use block::{Block, SavedBlock};
pub(crate) use compose::sequence;
pub use compose::{Gelu, Identity, JoinRows, Relu};
pub use conv::{Conv2d, PixelConv2d};
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearNoBias, NormalLinear, Rows};
pub use norm::{BatchNorm, BatchNormPlain, BatchNormRelu, Channels};
pub use parameters::{Builder, Entry, Kind, Layout, Parameters, Pass};
pub use patches::{ClassToken, PatchEmbedding};
pub use pool::{GlobalAveragePool, MaxPool};
pub use prototypes::{Prototypes, WeightNormLinear};
pub use transformer::{Attention, SavedAttention, SavedTransformerBlock, TransformerBlock};
pub use unit_rows::UnitRows;

use crate::tensor::{Device, Shape, Tensor};

/// A differentiable map from tensors of shape `S` to tensors of shape `Output`.
///
/// Shapes are checked when the program is built. Two convolutions that fit:
/// ```
/// use sempair::nn::{Conv2d, Layer, PixelConv2d};
/// use sempair::tensor::{Const, Cpu, Images};
/// fn is_layer<L: Layer<Cpu, Images<Const<32>>>>() {}
/// is_layer::<(PixelConv2d<16, 3, 2>, Conv2d<16, 32, 3, 1>)>();
/// ```
/// One channel too many does not compile:
/// ```compile_fail
/// use sempair::nn::{Conv2d, Layer, PixelConv2d};
/// use sempair::tensor::{Const, Cpu, Images};
/// fn is_layer<L: Layer<Cpu, Images<Const<32>>>>() {}
/// is_layer::<(PixelConv2d<16, 3, 2>, Conv2d<17, 32, 3, 1>)>();
/// ```
/// Images lie otherwise than maps, so a convolution of maps does not read them:
/// ```compile_fail
/// use sempair::nn::{Conv2d, Layer};
/// use sempair::tensor::{Const, Cpu, Images};
/// fn is_layer<L: Layer<Cpu, Images<Const<32>>>>() {}
/// is_layer::<Conv2d<3, 16, 3, 2>>();
/// ```
/// Neither does a block compile whose branch halves the map while its shortcut does not:
/// ```compile_fail
/// use sempair::nn::{Block, Conv2d, Identity, Layer};
/// use sempair::tensor::{Const, Cpu, Maps};
/// fn is_layer<L: Layer<Cpu, Maps<16, Const<32>>>>() {}
/// is_layer::<Block<Conv2d<16, 16, 3, 2>, Identity, 16>>();
/// ```
pub trait Layer<D: Device, S: Shape> {
    /// The shape of the result.
    type Output: Shape;
    /// What `backward` needs of `forward`; dropped as it is used.
    type Saved;

    /// The result while training: batch normalisation uses the batch's moments and moves its running ones.
    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved);

    /// Adds the parameters' gradients and gives the input's.
    fn backward(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>)
    -> Tensor<S, D>;

    /// As `backward`, with the input's gradient added to `onto`: another path's gradient of the same input.
    fn backward_onto(
        &self,
        saved: Self::Saved,
        dy: Tensor<Self::Output, D>,
        onto: Tensor<S, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<S, D> {
        let dx = self.backward(saved, dy, parameters);
        dx.with(dx.shape(), dx.device().add(dx.data(), onto.data()))
    }

    /// Adds the parameters' gradients where nobody needs the input's, as in the layer that sees the pixels.
    fn backward_parameters(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.backward(saved, dy, parameters);
    }

    /// The result in evaluation mode, by the running moments. Nothing is kept.
    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D>;
}

/// A layer or network that can place its parameters.
pub trait Build: Sized {
    /// Registers the parameters, in order, under torchvision's or timm's names where they have one.
    fn build(builder: &mut Builder<'_>) -> Self;
}
