//! The maps of an encoder before they are pooled.

use crate::nn::Parameters;
use crate::tensor::{Device, Shape, Tensor};

/// Maps (N, C, H, W) whose sizes are known only at run time. In memory they are (H, W, N, C), as all maps.
pub type StageMap<D> = Tensor<(usize, usize, usize, usize), D>;

/// An encoder whose maps can be used before they are pooled, as a detector does: one map for each stage, from the
/// finest to the coarsest.
pub trait Stages<D: Device, S: Shape> {
    /// What `backward_stages` needs from `forward_stages`.
    type Saved;

    /// Computes the maps in training mode.
    fn forward_stages(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Vec<StageMap<D>>, Self::Saved);

    /// Adds the parameters' gradients, given the gradient of each map; `None` for a map that is not used.
    fn backward_stages(&self, saved: Self::Saved, gradients: Vec<Option<StageMap<D>>>, parameters: &mut Parameters<D>);

    /// Computes the maps in evaluation mode.
    fn infer_stages(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Vec<StageMap<D>>;
}

/// A trunk with its pooling has the maps of the trunk.
impl<D: Device, S: Shape, T: Stages<D, S>, P> Stages<D, S> for (T, P) {
    type Saved = T::Saved;

    fn forward_stages(&self, x: Tensor<S, D>, parameters: &mut Parameters<D>) -> (Vec<StageMap<D>>, Self::Saved) {
        self.0.forward_stages(x, parameters)
    }

    fn backward_stages(&self, saved: Self::Saved, gradients: Vec<Option<StageMap<D>>>, parameters: &mut Parameters<D>) {
        self.0.backward_stages(saved, gradients, parameters);
    }

    fn infer_stages(&self, x: Tensor<S, D>, parameters: &Parameters<D>) -> Vec<StageMap<D>> {
        self.0.infer_stages(x, parameters)
    }
}
