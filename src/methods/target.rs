//! The target network (momentum network) of BYOL, DINO and both versions of MoCo. Its parameters have the layout of the
//! online network's parameters and follow them slowly; no gradient flows through it. It is updated after the
//! optimiser's step. Its batch normalisation uses the moments of its inputs, as the online network's does.

use crate::error::Result;
use crate::models::{AnyNetwork, Network};
use crate::nn::Parameters;
use crate::optim::{Cosine, follow};
use crate::tensor::{Device, Tensor, Vectors};

use super::{State, StepInfo};

/// A target network.
pub(super) struct Target<D: Device> {
    parameters: Parameters<D>,
    /// The momentum at the first step and after the last step; half a cosine in between.
    momentum: [f64; 2],
}

impl<D: Device> Target<D> {
    /// A copy of the online network with a momentum that rises to 1.
    pub(super) fn rising<const P: usize, const Q: usize>(network: &Network<D, P, Q>, momentum: f32) -> Self {
        Self { parameters: network.backbone().read().clone(), momentum: [momentum.into(), 1.0] }
    }

    /// A copy of the online network with a constant momentum.
    pub(super) fn steady<const P: usize, const Q: usize>(network: &Network<D, P, Q>, momentum: f32) -> Self {
        Self { momentum: [momentum.into(); 2], ..Self::rising(network, momentum) }
    }

    /// Projections (2N, P) of `images` (2N, ..), one view at a time.
    pub(super) fn project<const P: usize, const Q: usize>(
        &mut self,
        network: &Network<D, P, Q>,
        images: &[f32],
    ) -> Tensor<Vectors<P>, D> {
        network.target_views(images, &mut self.parameters)
    }

    /// Predictions (N, Q) of `images`, all at once.
    pub(super) fn predict<const P: usize, const Q: usize>(
        &mut self,
        network: &Network<D, P, Q>,
        images: &[f32],
    ) -> Tensor<Vectors<Q>, D> {
        network.target_predictions(images, &mut self.parameters)
    }

    /// Moves the parameters towards those of the online network.
    pub(super) fn follow<const P: usize, const Q: usize>(&mut self, network: &Network<D, P, Q>, at: StepInfo) {
        let [from, to] = self.momentum;
        let momentum = Cosine { from, to, total: at.steps }.at(at.step);
        follow(&mut self.parameters, &network.backbone().read(), momentum);
    }

    /// Passes the parameters to a checkpoint.
    pub(super) fn state(&mut self, name: &str, state: &mut dyn State<D>) -> Result<()> {
        state.network(name, &mut self.parameters)
    }
}
