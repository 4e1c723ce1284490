//! Stochastic depth (Huang et al. 2016, <https://arxiv.org/abs/1603.09382>), for each image separately, as in timm's
//! `DropPath`.

use crate::tensor::{Device, Dim, Tensor, Tokens};

use super::Pass;

/// The position of a block among all blocks. The rate rises linearly from the first to the last block.
#[derive(Clone, Copy, Debug)]
pub(super) struct DropPath {
    /// The block's index, so that the draws of blocks differ.
    index: u64,
    /// This block's share of the pass's rate.
    share: f32,
}

/// The factors of each image's two branches (attention, perceptron): 0, or 1 / (1 - rate), so that the mean stays the
/// same. `None` if nothing is dropped.
#[derive(Debug)]
pub(super) struct Scales(Option<[Vec<f32>; 2]>);

impl DropPath {
    /// Creates the drop path of block `index` of `depth`. A single block has the whole rate.
    pub fn new(index: usize, depth: usize) -> Self {
        Self { index: index as u64, share: if depth > 1 { index as f32 / (depth - 1) as f32 } else { 1.0 } }
    }

    /// Draws the factors of a pass.
    pub fn draw(&self, images: usize, pass: Option<Pass>) -> Scales {
        let Some(Pass { key, drop_path }) = pass else { return Scales(None) };
        assert!((0.0..1.0).contains(&drop_path), "drop path: a rate of {drop_path}");
        let kept = 1.0 - drop_path * self.share;
        let key = key.split("drop path").at(self.index);
        Scales((kept < 1.0).then(|| {
            ["attention", "mlp"].map(|branch| {
                let mut stream = key.split(branch).stream();
                (0..images).map(|_| if stream.chance(kept) { 1.0 / kept } else { 0.0 }).collect()
            })
        }))
    }
}

impl Scales {
    /// Returns x if nothing is dropped; then the branch's last linear layer adds x.
    pub fn onto<'x, X>(&self, x: &'x X) -> Option<&'x X> {
        self.0.is_none().then_some(x)
    }

    /// Returns x + scale y, or y unchanged if [`Self::onto`] gave x to the branch.
    pub fn join<D: Device, T: Dim, const C: usize>(
        &self,
        branch: usize,
        y: Tensor<Tokens<T, C>, D>,
        x: &Tensor<Tokens<T, C>, D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let Some(scales) = &self.0 else { return y };
        y.with(y.shape(), y.device().scale_images(y.data(), &scales[branch], Some(x.data()), C))
    }

    /// The branch's gradient: scale dy.
    pub fn branch_gradient<D: Device, T: Dim, const C: usize>(
        &self,
        branch: usize,
        dy: &Tensor<Tokens<T, C>, D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let Some(scales) = &self.0 else { return dy.clone() };
        dy.with(dy.shape(), dy.device().scale_images(dy.data(), &scales[branch], None, C))
    }
}
