//! BYOL: Grill et al. 2020, "Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
//! <https://arxiv.org/abs/2006.07733>.
//!
//! A predictor on the online network's projection of one view predicts the target network's projection of the other
//! view. The target's weights are a moving average of the online weights, with the momentum
//! tau = 1 - (1 - tau_0)(cos(pi t / T) + 1) / 2 at step t of T ([`crate::optim::Cosine`] from tau_0 to 1).
//!
//! The defaults differ from the paper: the predictor has a higher learning rate than the rest, and this rate is
//! constant. Without that, some short trainings from semantic pairs learned nothing, depending on the seed.
//!
//! Semantic pairs: the target is the projection of another image of the category, not of the same image. There are no
//! negatives and there is no memory, so several pairs of one category in a batch do not affect each other.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Linear, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Reading, Vectors};

use super::LossAndGrad;
use super::cosine;
use super::number;
use super::target::Target;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, State, a_part, not_negative};

/// BYOL's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The target's momentum at the first step; it rises to 1 along half a cosine.
    pub momentum: f32,
    /// The predictor's constant learning rate, as a multiple of the recipe's peak. With 0, the predictor has the same
    /// schedule as the rest, as in the paper.
    pub predictor_rate_factor: f32,
    /// The size of the heads.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Linear, batch normalisation, ReLU, linear: both the projector and the predictor (section 3.3).
type Mlp<const I: usize, const H: usize, const P: usize> = sequence!(Linear<I, H>, BatchNormRelu<H>, Linear<H, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        not_negative(key, "predictor_rate_factor", self.predictor_rate_factor)?;
        a_part(key, "momentum", self.momentum)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Mlp<F, 512, 128>, Mlp<128, 512, 128>)),
            Size::Paper => self.with(start, head!(F => Mlp<F, 4096, 256>, Mlp<256, 4096, 256>)),
        }
    }
}

impl Settings {
    fn with<D: tensor::Losses, const P: usize>(
        &self,
        start: &Start<D>,
        head: BuildHead<D, P, P>,
    ) -> Result<Box<dyn Learner<D>>> {
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        let target = Target::rising(&network, self.momentum);
        Ok(Box::new(Byol { network, target, predictor_rate_factor: self.predictor_rate_factor }))
    }
}

struct Byol<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    target: Target<D>,
    predictor_rate_factor: f32,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for Byol<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let target = self.target.project(&self.network, batch.images); // (2N, P)
        let p = pass.predictions();
        match p.device().mean_cosine(p.data(), target.data(), P, SLOPE) {
            Some(loss) => pass.backward_from(loss).plus(-SLOPE),
            None => graded(&pass.p(), &target.download(), P).backward(pass),
        }
    }

    fn steady(&self) -> Option<(&'static str, f32)> {
        (self.predictor_rate_factor > 0.0).then_some(("predictor.", self.predictor_rate_factor))
    }

    fn after_step(&mut self, at: StepInfo) {
        self.target.follow(&self.network, at);
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        self.target.state("target", state)
    }
}

/// The loss is this multiple of the mean cosine, minus its value where all cosines are 1.
const SLOPE: f64 = -4.0;

/// Equation 2 of the paper, summed over both directions and averaged over the N pairs:
///
/// L = 1/N sum_i (2 - 2 cos(p_i, z'_i)) + (2 - 2 cos(p'_i, z_i))
///
/// p (2N, P): predictions of the online network; z (2N, P): projections of the target network, without
/// gradient. Row i and row i + N are a pair. Implementations that average the directions have half of this loss
/// and half its gradient; the paper sums.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    p: Tensor<Vectors<P>, E, Cpu, T>,
    z: Tensor<Vectors<P>, E, Cpu>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    cosine::mean_cosine(p, z) * number::<E>(SLOPE) + number::<E>(-SLOPE)
}

/// The loss of `definition` and its gradient with respect to p, in rows of `width`.
pub fn graded(p: &[f32], z: &[f32], width: usize) -> LossAndGrad {
    let LossAndGrad { value, gradient } = cosine::graded(p, z, width, SLOPE);
    LossAndGrad { value: 4.0 + value, gradient }
}
