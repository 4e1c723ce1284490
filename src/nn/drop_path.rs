//! Stochastic depth (Huang et al. 2016, <https://arxiv.org/abs/1603.09382>), image by image as timm's `DropPath`.

use crate::tensor::{ConstDim, Device, Tensor, Tokens};

use super::Pass;

/// Which block of how many draws: the rate rises linearly from the first to the last.
#[derive(Clone, Copy, Debug)]
pub(super) struct DropPath {
    /// Keeps the draws of blocks apart.
    index: u64,
    /// This block's part of the pass's rate.
    share: f32,
}

/// What each image's two branches (attention, perceptron) are multiplied with: 0, or 1 / (1 - rate), so that the mean
/// stays. None where nothing is dropped.
#[derive(Debug)]
pub(super) struct Scales(Option<[Vec<f32>; 2]>);

impl DropPath {
    /// Of block `index` of `depth`; one alone has the whole rate.
    pub fn new(index: usize, depth: usize) -> Self {
        Self { index: index as u64, share: if depth > 1 { index as f32 / (depth - 1) as f32 } else { 1.0 } }
    }

    /// The draws of a pass.
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
    /// x, where the branch's last product may add it because nothing is dropped.
    pub fn onto<'x, X>(&self, x: &'x X) -> Option<&'x X> {
        self.0.is_none().then_some(x)
    }

    /// x + scale y; y as it is where [`Self::onto`] gave x to the branch.
    pub fn join<D: Device, T: ConstDim, const C: usize>(
        &self,
        branch: usize,
        y: Tensor<Tokens<T, C>, D>,
        x: &Tensor<Tokens<T, C>, D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let Some(scales) = &self.0 else { return y };
        y.with(y.shape(), y.device().scale_images(y.data(), &scales[branch], Some(x.data()), C))
    }

    /// The branch's gradient: scale dy.
    pub fn branch_gradient<D: Device, T: ConstDim, const C: usize>(
        &self,
        branch: usize,
        dy: &Tensor<Tokens<T, C>, D>,
    ) -> Tensor<Tokens<T, C>, D> {
        let Some(scales) = &self.0 else { return dy.clone() };
        dy.with(dy.shape(), dy.device().scale_images(dy.data(), &scales[branch], None, C))
    }
}
