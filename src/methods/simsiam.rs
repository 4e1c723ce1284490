//! SimSiam: Chen & He 2021, "Exploring Simple Siamese Representation Learning", <https://arxiv.org/abs/2011.10566>.
//!
//! A predictor on the projection of one view predicts the projection of the other view, through which no gradient flows
//! (stop-gradient). The network is its own target.
//!
//! The small head differs from the paper: its predictor is wide and, by default, has a higher learning rate than the
//! rest. With a bottleneck at the peak rate, short trainings from semantic pairs learned nothing.
//!
//! Semantic pairs: the target is the projection of another image of the category, not of the same image. There are no
//! negatives and there is no memory, so several pairs of one category in a batch do not affect each other.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormPlain, BatchNormRelu, Linear, LinearNoBias, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Reading, Vectors};

use super::LossAndGrad;
use super::cosine;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, above_zero};

/// SimSiam's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The predictor's constant learning rate, as a multiple of the recipe's peak; 1 is the authors' `--fix-pred-lr`.
    /// In a linear model, a predictor that learns faster than the rest makes the basin of collapse smaller (Tian et al.
    /// 2021, <https://arxiv.org/abs/2102.06810>).
    pub predictor_rate_factor: f32,
    /// The size of the heads.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Three layers, each followed by batch normalisation, the last one without parameters (section 3 and the authors'
/// code). Because of the normalisation, the linear maps need no bias.
type Projector<const F: usize, const P: usize> = sequence!(
    LinearNoBias<F, P>, BatchNormRelu<P>,
    LinearNoBias<P, P>, BatchNormRelu<P>,
    LinearNoBias<P, P>, BatchNormPlain<P>
);
/// Two layers. The paper's predictor is a bottleneck, H = P / 4 (section 3); the small head's is wide, H = 2 P.
type Predictor<const H: usize, const P: usize> = sequence!(LinearNoBias<P, H>, BatchNormRelu<H>, Linear<H, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "predictor_rate_factor", self.predictor_rate_factor)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Projector<F, 512>, Predictor<1024, 512>)),
            Size::Paper => self.with(start, head!(F => Projector<F, 2048>, Predictor<512, 2048>)),
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
        Ok(Box::new(Simsiam { network, predictor_rate_factor: self.predictor_rate_factor }))
    }
}

struct Simsiam<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    predictor_rate_factor: f32,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for Simsiam<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let (p, z) = (pass.predictions(), pass.projections());
        match p.device().mean_cosine(p.data(), z.data(), P, SLOPE) {
            Some(loss) => pass.backward_from(loss),
            None => graded(&pass.p(), &pass.z(), P).backward(pass),
        }
    }

    fn steady(&self) -> Option<(&'static str, f32)> {
        Some(("predictor.", self.predictor_rate_factor))
    }
}

/// The loss is this multiple of the mean cosine.
const SLOPE: f64 = -1.0;

/// Equations 1 to 4 of the paper, averaged over the N pairs:
///
/// L = 1/2 D(p, z') + 1/2 D(p', z),  D(p, z) = -1/N sum_i cos(p_i, z_i)
///
/// p (2N, P): predictions; z (2N, P): projections, without gradient. Row i and row i + N are a pair.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    p: Tensor<Vectors<P>, E, Cpu, T>,
    z: Tensor<Vectors<P>, E, Cpu>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    -cosine::mean_cosine(p, z)
}

/// The loss of `definition` and its gradient with respect to p, in rows of `width`.
pub fn graded(p: &[f32], z: &[f32], width: usize) -> LossAndGrad {
    cosine::graded(p, z, width, SLOPE)
}
