//! Layers with an explicit backward, and the flat arenas that hold their parameters.
//!
//! A layer is a description: it knows the location of its parameters, not their values. So one network runs with any
//! [`Parameters`] of its layout: a momentum encoder is a second `Parameters`, a checkpoint stores the values and the
//! running statistics, and an optimiser updates all values in one pass.

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
mod predictor;
mod prototypes;
mod resample;
mod roi_align;
mod transformer;
mod unit_rows;

pub use block::{Block, SavedBlock};
pub(crate) use compose::sequence;
pub use compose::{Gelu, Identity, JoinRows, Relu};
pub use conv::{Conv2d, PixelConv2d};
pub use layer_norm::LayerNorm;
pub use linear::{Linear, LinearNoBias, NormalLinear, Rows};
pub use norm::{BatchNorm, BatchNormPlain, BatchNormRelu, Channels, MOMENTUM, SavedNorm};
pub use parameters::{Builder, Entry, Layout, ParamKind, Parameters, Pass};
pub use patches::{ClassToken, PatchEmbedding};
pub use pool::{GlobalAveragePool, MaxPool};
pub use predictor::Predictor;
pub use prototypes::{Prototypes, WeightNormLinear};
pub use roi_align::RoiAlign;
pub use transformer::{Attention, SavedAttention, SavedTransformerBlock, TransformerBlock};
pub use unit_rows::UnitRows;

use crate::tensor::{Device, Shape, Tensor};

/// A differentiable map from tensors of shape `S` to tensors of shape `Output`.
///
/// Shapes are checked at compile time. Two convolutions that fit:
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
/// The memory layout of images differs from that of maps, so a convolution of maps does not accept images:
/// ```compile_fail
/// use sempair::nn::{Conv2d, Layer};
/// use sempair::tensor::{Const, Cpu, Images};
/// fn is_layer<L: Layer<Cpu, Images<Const<32>>>>() {}
/// is_layer::<Conv2d<3, 16, 3, 2>>();
/// ```
/// A block does not compile if its branch halves the map while its shortcut does not:
/// ```compile_fail
/// use sempair::nn::{Block, Conv2d, Identity, Layer};
/// use sempair::tensor::{Const, Cpu, Maps};
/// fn is_layer<L: Layer<Cpu, Maps<16, Const<32>>>>() {}
/// is_layer::<Block<Conv2d<16, 16, 3, 2>, Identity, 16>>();
/// ```
pub trait Layer<D: Device, S: Shape> {
    /// The shape of the result.
    type Output: Shape;
    /// What `backward` needs from `forward`, and consumes.
    type Saved;

    /// Computes the result in training mode: batch normalisation uses the batch's moments and updates the running
    /// moments, unless [`Parameters::norms`] freezes them.
    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<Self::Output, D>, Self::Saved);

    /// Adds the parameters' gradients and returns the input's gradient.
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

    /// Adds only the parameters' gradients, when the input's gradient is not needed, as in the layer that reads the
    /// pixels.
    fn backward_parameters(&self, saved: Self::Saved, dy: Tensor<Self::Output, D>, parameters: &mut Parameters<D>) {
        self.backward(saved, dy, parameters);
    }

    /// Computes the result in evaluation mode, with the running moments. Nothing is saved for `backward`.
    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<Self::Output, D>;
}

/// A layer or network that can register its parameters.
pub trait Build: Sized {
    /// Registers the parameters, in order, under the names that torchvision or timm gives them, if any.
    fn build(builder: &mut Builder<'_>) -> Self;
}
