//! VICReg: Bardes et al. 2022, "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
//! <https://arxiv.org/abs/2105.04906>.
//!
//! The loss pulls the two projections of a pair together, keeps the variance of each variable over the batch above a
//! minimum, and decorrelates the variables.
//!
//! Semantic pairs: the invariance term pulls together two images of one category, not two transformations of one image.
//! Variance and covariance are computed for each side of the batch separately. Several pairs of one category in a batch
//! count like any other pairs, as in the paper.

use dfdx::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::batch_norm;
use crate::kernels::cpu::with_scratch;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Identity, Linear, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Reading, Vectors, VicregWeights};

use super::LossAndGrad;
use super::correlation::through;
use super::number;
use super::reduce::inner;
use super::reduce::sum_pairs;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, above_zero};

/// VICReg's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The weights of the three terms.
    pub weights: Weights,
    /// The size of the head.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Three layers as wide as the output, with batch normalisation after the first two (section 4.2).
type Expander<const F: usize, const P: usize> = sequence!(
    Linear<F, P>, BatchNormRelu<P>, Linear<P, P>, BatchNormRelu<P>, Linear<P, P>
);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        let Weights { invariance, variance, covariance } = self.weights;
        above_zero(key, "weights.invariance", invariance)?;
        above_zero(key, "weights.variance", variance)?;
        above_zero(key, "weights.covariance", covariance)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Expander<F, 512>, Identity)),
            Size::Paper => self.with(start, head!(F => Expander<F, 8192>, Identity)),
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
        Ok(Box::new(Vicreg { network, weights: self.weights }))
    }
}

struct Vicreg<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    weights: Weights,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for Vicreg<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let z = pass.predictions();
        match z.device().vicreg(z.data(), P, self.weights.of_device()) {
            Some(loss) => pass.backward_from(loss),
            None => graded(&pass.p(), P, self.weights).backward(pass),
        }
    }
}

/// Added to a variance before the square root.
const EPSILON: f64 = 1e-4;

/// The loss increases the deviation of a variable while it is below this value.
const DEVIATION: f64 = 1.0;

/// The weights of the three terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// The weight of the mean squared distance of pairs, lambda.
    pub invariance: f32,
    /// The weight of the missing deviation, mu.
    pub variance: f32,
    /// The weight of the squared covariances, nu.
    pub covariance: f32,
}

impl Weights {
    /// The weights of the paper, section 4.2.
    pub const PAPER: Self = Self { invariance: 25.0, variance: 25.0, covariance: 1.0 };

    /// The weights as a device takes them.
    pub fn of_device(self) -> VicregWeights {
        let Self { invariance, variance, covariance } = self;
        VicregWeights { invariance, variance, covariance }
    }
}


/// Equation 6 of the paper:
///
/// L = lambda s(Z, Z') + mu (v(Z) + v(Z')) + nu (c(Z) + c(Z'))
///
/// s: mean of (Z - Z')² over pairs and variables; v: mean of max(0, 1 - sqrt(variance + 1e-4)) over the D
/// variables; c: sum of the squared covariances of different variables, divided by D. Variances and covariances are
/// sample estimates, divided by N - 1.
///
/// z (2N, D): row i and row i + N are a pair. Gradients flow through both sides.
///
/// Where sources differ: equation 5 sums s over the variables; the paper's algorithm 1 takes the mean, as
/// here. The authors' code and some other implementations halve v(Z) + v(Z'); equation 6 and algorithm 1 do
/// not, and neither does this code.
pub fn definition<const D: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<D>, E, Cpu, T>,
    weights: Weights,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let pairs = z.shape().0 / 2;
    // dfdx's slice writes its gradient instead of adding it: no row may be in two slices.
    let first = z.retaped::<T>().slice((0..pairs, ..));
    let second = z.slice((pairs.., ..));
    let Weights { invariance, variance, covariance } = weights;
    let [lambda, mu, nu]: [E; 3] = [invariance, variance, covariance].map(|weight| number(weight.into()));
    let s = (first.retaped::<T>() - second.retaped::<T>()).square().mean::<Rank0, _>();
    let (first, second) = (centred(first), centred(second));
    let v = missing_deviation(first.retaped::<T>()) + missing_deviation(second.retaped::<T>());
    let c = squared_covariances(first) + squared_covariances(second);
    s * lambda + v * mu + c * nu
}

fn centred<const D: usize, E: Dtype, T: Tape<E, Cpu>>(z: Tensor<Vectors<D>, E, Cpu, T>) -> Tensor<Vectors<D>, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *z.shape();
    let mean = z.retaped::<T>().mean::<Rank1<D>, Axis<0>>();
    z - mean.broadcast_like::<_, Axis<0>>(&shape)
}

/// The term v of centred rows.
fn missing_deviation<const D: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<D>, E, Cpu, T>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let free = number::<E>(z.shape().0 as f64 - 1.0);
    let variance = z.square().sum::<Rank1<D>, Axis<0>>() / free;
    let deviation = (variance + number::<E>(EPSILON)).sqrt();
    (-deviation + number::<E>(DEVIATION)).relu().mean::<Rank0, _>()
}

/// The term c of centred rows.
fn squared_covariances<const D: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<D>, E, Cpu, T>,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let free = number::<E>(z.shape().0 as f64 - 1.0);
    let device = z.device().clone();
    let apart = (0..D * D).map(|at| number(if at % (D + 1) == 0 { 0.0 } else { 1.0 })).collect();
    let apart: Tensor<Rank2<D, D>, E, Cpu> = device.tensor_from_vec(apart, (Const, Const));
    // One side is multiplied by 1, because dfdx's matmul refuses a tensor and its own transpose.
    let other = z.retaped::<T>() * number::<E>(1.0);
    let covariance = z.permute::<(Const<D>, usize), Axes2<1, 0>>().matmul(other) / free; // (D, D)
    (covariance.square() * apart).sum::<Rank0, _>() / number::<E>(D as f64)
}

/// The loss of `definition` and its gradient with respect to z, in rows of `width`.
pub fn graded(z: &[f32], width: usize, weights: Weights) -> LossAndGrad {
    assert!(z.len().is_multiple_of(2 * width) && z.len() >= 4 * width, "vicreg: {} numbers, width {width}", z.len());
    let half = z.len() / 2;
    let (first, second) = z.split_at(half);
    let mut gradient = vec![0.0; z.len()];
    let (of_first, of_second) = gradient.split_at_mut(half);
    let spread = spread(of_first, first, width, weights) + spread(of_second, second, width, weights);
    let invariance = f64::from(weights.invariance) / half as f64;
    let rows = of_first.par_chunks_mut(width).zip(of_second.par_chunks_mut(width));
    let squares = rows.zip(first.par_chunks(width).zip(second.par_chunks(width))).map(|((df, ds), (f, s))| {
        let slope = (2.0 * invariance) as f32;
        for ((df, ds), (f, s)) in df.iter_mut().zip(ds).zip(f.iter().zip(s)) {
            let pull = slope * (f - s);
            *df += pull;
            *ds -= pull;
        }
        sum_pairs(f, s, |f, s| (f - s) * (f - s))
    });
    let squares: Vec<f64> = squares.collect();
    LossAndGrad { value: spread + invariance * squares.iter().sum::<f64>(), gradient }
}

/// Returns mu v(Z) + nu c(Z) of one side and writes its gradient.
///
/// With Z centred and C = Z'Z / (N - 1): dv/dZ = -Z / (D (N - 1) deviation) where the deviation is below 1, and
/// dc/dZ = 4 (Z C - Z diag(C)) / (D (N - 1)).
fn spread(gradient: &mut [f32], z: &[f32], width: usize, weights: Weights) -> f64 {
    let rows = z.len() / width;
    let (d, free) = (width as f64, rows as f64 - 1.0);
    let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
    batch_norm::statistics(&mut mean, &mut variance, z, rows, width);
    let variance: Vec<f64> = variance.iter().map(|&biased| f64::from(biased) * rows as f64 / free).collect();
    let (mu, nu) = (f64::from(weights.variance) / d, f64::from(weights.covariance) / d);
    let deviation = |variance: f64| (variance + EPSILON).sqrt();
    let missing: f64 = variance.iter().map(|&variance| (DEVIATION - deviation(variance)).max(0.0)).sum();
    let itself: f64 = variance.iter().map(|variance| variance * variance).sum();
    let along = (4.0 * nu / (free * free)) as f32;
    let own = variance.iter().map(|&variance| {
        let short = deviation(variance) < DEVIATION;
        let push = if short { mu / deviation(variance) } else { 0.0 };
        -((push + 4.0 * nu * variance) / free) as f32
    });
    let own: Vec<f32> = own.collect();

    // Allocating these two would take as long as the computation in them.
    let all = with_scratch(2 * z.len(), |scratch| {
        let (centred, through_centred) = scratch.split_at_mut(z.len());
        centred.par_chunks_mut(width).zip(z.par_chunks(width)).for_each(|(centred, z)| {
            centred.iter_mut().zip(z).zip(&mean).for_each(|((centred, z), mean)| *centred = z - mean);
        });
        through(through_centred, centred, centred, width);
        let rows = gradient.par_chunks_mut(width).zip(centred.par_chunks(width).zip(through_centred.par_chunks(width)));
        let squares = rows.map(|(gradient, (z, through))| {
            for (((gradient, z), through), own) in gradient.iter_mut().zip(z).zip(through).zip(&own) {
                *gradient = along * through + own * z;
            }
            inner(z, through)
        });
        squares.collect::<Vec<f64>>().iter().sum::<f64>() / (free * free)
    });
    mu * missing + nu * (all - itself)
}
