//! SimSiam: Chen & He 2021, "Exploring Simple Siamese Representation Learning", <https://arxiv.org/abs/2011.10566>.
//!
//! A predictor on the projection of one view regresses the projection of the other, through which no gradient flows.
//! The network is its own target.
//!
//! Semantic pairs: the target is the projection of another image of the category, not of the same image. There are no
//! negatives and there is no memory, so several pairs of one category in a batch do not touch each other.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormPlain, BatchNormRelu, Linear, LinearNoBias, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Vectors};

use super::Graded;
use super::cosine;
use super::{Batch, Learner, MethodSettings, Moment, Size, Start};

/// SimSiam's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Of the heads.
    pub head: Size,
    /// Optimiser, learning rate, decay. The predictor's rate stays at its peak.
    pub recipe: Recipe,
}

/// Three layers, batch normalisation behind each, the last without parameters (section 3 and the authors' code).
/// Normalisation follows, so the linear maps need no bias.
type Projector<const F: usize, const P: usize> = sequence!(
    LinearNoBias<F, P>, BatchNormRelu<P>,
    LinearNoBias<P, P>, BatchNormRelu<P>,
    LinearNoBias<P, P>, BatchNormPlain<P>
);
/// A bottleneck of two layers.
type Predictor<const H: usize, const P: usize> = sequence!(LinearNoBias<P, H>, BatchNormRelu<H>, Linear<H, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn start<D: tensor::Device>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => with(start, head!(F => Projector<F, 512>, Predictor<128, 512>)),
            Size::Paper => with(start, head!(F => Projector<F, 2048>, Predictor<512, 2048>)),
        }
    }
}

fn with<D: tensor::Device, const P: usize>(
    start: &Start<D>,
    head: BuildHead<D, P, P>,
) -> Result<Box<dyn Learner<D>>> {
    Ok(Box::new(Simsiam { network: Network::open(&start.spec, head, &start.device, &start.initialisation)? }))
}

struct Simsiam<D: tensor::Device, const P: usize> {
    network: Network<D, P, P>,
}

impl<D: tensor::Device, const P: usize> Learner<D> for Simsiam<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &Batch<'_>, _: Moment) -> f64 {
        let pass = self.network.embed_views(batch.images);
        let loss = graded(&pass.p, &pass.z, P);
        pass.backward(&loss.gradient);
        loss.value
    }

    fn steady(&self) -> Option<&'static str> {
        Some("predictor.")
    }
}

/// Equations 1 to 4 of the paper, averaged over the N pairs:
///
/// L = 1/2 D(p, z') + 1/2 D(p', z),  D(p, z) = -1/N sum_i cos(p_i, z_i)
///
/// p (2N, P): predictions; z (2N, P): projections, values. Row i and row i + N are a pair.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    p: Tensor<Vectors<P>, E, Cpu, T>,
    z: Tensor<Vectors<P>, E, Cpu>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    -cosine::mean_cosine(p, z)
}

/// The same and the gradient of p, rows of `width`.
pub fn graded(p: &[f32], z: &[f32], width: usize) -> Graded {
    cosine::graded(p, z, width, -1.0)
}
