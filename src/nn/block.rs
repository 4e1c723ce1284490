//! The residual block of He et al. 2016, <https://arxiv.org/abs/1512.03385>.

use crate::tensor::{Device, Shape, Tensor};

use super::norm::{Channels, SavedNorm};
use super::{BatchNormRelu, Build, Builder, Layer, Parameters};

/// relu(bn(branch(x)) + shortcut(x)). The branch ends with its last convolution. Its batch normalisation over `C`
/// channels, the sum and the ReLU are one pass.
#[derive(Clone, Copy, Debug)]
pub struct Block<F, G, const C: usize> {
    branch: F,
    norm: BatchNormRelu<C>,
    shortcut: G,
}

/// What a block's backward needs from the branch, from the shortcut, and from the normalisation that joins them.
#[derive(Debug)]
pub struct SavedBlock<D: Device, B, S, Y: Shape> {
    branch: B,
    shortcut: S,
    norm: SavedNorm<Y, D>,
    y: Tensor<Y, D>,
}

impl<F: Build, G: Build, const C: usize> Build for Block<F, G, C> {
    /// The block is named by its index in the sequence, its shortcut `downsample`, as in torchvision.
    fn build(builder: &mut Builder<'_>) -> Self {
        let index = builder.next_index();
        builder.scope(&index, |builder| Self {
            branch: F::build(builder),
            norm: Build::build(builder),
            shortcut: builder.indexed_scope("downsample", G::build),
        })
    }
}

impl<D: Device, S: Shape, F, G, const C: usize> Layer<D, S> for Block<F, G, C>
where
    F: Layer<D, S, Output: Channels<C>>,
    G: Layer<D, S, Output = F::Output>,
{
    type Output = F::Output;
    type Saved = SavedBlock<D, F::Saved, G::Saved, F::Output>;

    fn forward(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Tensor<F::Output, D>, Self::Saved) {
        let (a, branch) = self.branch.forward(x.clone(), parameters);
        let (b, shortcut) = self.shortcut.forward(x, parameters);
        let (y, norm) = self.norm.normalize(a, Some(&b), parameters);
        (y.clone(), SavedBlock { branch, shortcut, norm, y })
    }

    fn backward(
        &self,
        SavedBlock { branch, shortcut, norm, y }: Self::Saved,
        dy: Tensor<F::Output, D>,
        parameters: &mut Parameters<D>,
    ) -> Tensor<S, D> {
        let (da, db) = self.norm.backward_with_shortcut(norm, &y, dy, parameters);
        let onto = self.shortcut.backward(shortcut, db, parameters);
        self.branch.backward_onto(branch, da, onto, parameters)
    }

    fn infer(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Tensor<F::Output, D> {
        let a = self.branch.infer(x.clone(), parameters);
        let b = self.shortcut.infer(x, parameters);
        self.norm.normalize_running(&a, Some(&b), parameters)
    }
}
