//! Barlow Twins: Zbontar et al. 2021, "Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
//! <https://arxiv.org/abs/2103.03230>.
//!
//! The loss drives the correlation matrix between the variables of one view and those of the other, computed over
//! the batch, towards the identity.
//!
//! Semantic pairs: a variable should agree between two images of one category, not between two transformations of one
//! image. There are no negatives and there is no memory. Several pairs of one category in a batch contribute to the
//! correlations like any other pairs.

use dfdx::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::batch_norm;
use crate::kernels::cpu::batch_norm::Gate;
use crate::kernels::cpu::batch_norm::NormGradients;
use crate::kernels::cpu::batch_norm::NormMode;
use crate::kernels::cpu::batch_norm::Normalization;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Identity, LinearNoBias, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Reading, TwinWeights, Vectors};

use super::LossAndGrad;
use super::correlation::through;
use super::number;
use super::reduce::column_sums;
use super::reduce::dot;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, above_zero};

/// Barlow Twins's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The weights of the loss's terms.
    pub weights: Weights,
    /// The size of the head.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Three layers as wide as the output, with batch normalisation after the first two (section 2.2).
type Expander<const F: usize, const P: usize> = sequence!(
    LinearNoBias<F, P>, BatchNormRelu<P>, LinearNoBias<P, P>, BatchNormRelu<P>, LinearNoBias<P, P>
);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "weights.redundancy", self.weights.redundancy)?;
        above_zero(key, "weights.scale", self.weights.scale)
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
        Ok(Box::new(BarlowTwins { network, weights: self.weights }))
    }
}

struct BarlowTwins<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    weights: Weights,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for BarlowTwins<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let z = pass.predictions();
        match z.device().barlow_twins(z.data(), P, self.weights.of_device()) {
            Some(loss) => pass.backward_from(loss),
            None => graded(&pass.p(), P, self.weights).backward(pass),
        }
    }
}

/// Added to a variance before the square root, as in batch normalisation.
const EPSILON: f64 = 1e-5;

/// The weights of the loss's terms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// The weight of the squared correlations of different variables, lambda.
    pub redundancy: f32,
    /// The weight of the whole loss; 1 in the paper. Other implementations have 0.1 or 0.024, after the authors' early
    /// code. Learning rates that were tuned with such a weight need it.
    pub scale: f32,
}

impl Weights {
    /// The weights of the paper's runs: lambda as in the authors' code, rounded to 0.005 in the paper.
    pub const PAPER: Self = Self { redundancy: 0.0051, scale: 1.0 };

    /// The same for a device's loss.
    pub fn of_device(self) -> TwinWeights {
        let Self { redundancy, scale } = self;
        TwinWeights { redundancy, scale }
    }
}

/// Equations 1 and 2 of the paper:
///
/// L = scale (sum_i (1 - C_ii)² + lambda sum_{i != j} C_ij²),  C = A'B / N,  A and B the standardised sides
///
/// z (2N, D): row i and row i + N are a pair. Each side is standardised over its own N rows, with the variance divided
/// by N. Gradients flow through both sides.
pub fn definition<const D: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<D>, E, Cpu, T>,
    weights: Weights,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let pairs = z.shape().0 / 2;
    let device = z.device().clone();
    // dfdx's slice writes its gradient instead of adding it: no row may be in two slices.
    let first = standardised(z.retaped::<T>().slice((0..pairs, ..)));
    let second = standardised(z.slice((pairs.., ..)));
    let correlation = first.permute::<(Const<D>, usize), Axes2<1, 0>>().matmul(second) / number::<E>(pairs as f64); // (D, D)
    let matrix = |itself: f64, other: f64| -> Tensor<Rank2<D, D>, E, Cpu> {
        let values = (0..D * D).map(|at| number(if at % (D + 1) == 0 { itself } else { other })).collect();
        device.tensor_from_vec(values, (Const, Const))
    };
    let weight = matrix(weights.scale.into(), f64::from(weights.scale) * f64::from(weights.redundancy));
    ((correlation - matrix(1.0, 0.0)).square() * weight).sum::<Rank0, _>()
}

fn standardised<const D: usize, E: Dtype, T: Tape<E, Cpu>>(
    z: Tensor<Vectors<D>, E, Cpu, T>,
) -> Tensor<Vectors<D>, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *z.shape();
    let mean = z.retaped::<T>().mean::<Rank1<D>, Axis<0>>();
    let centred = z - mean.broadcast_like::<_, Axis<0>>(&shape);
    let variance = centred.retaped::<T>().square().mean::<Rank1<D>, Axis<0>>();
    let deviation = (variance + number::<E>(EPSILON)).sqrt();
    centred / deviation.broadcast_like::<_, Axis<0>>(&shape)
}

/// The loss of `definition` and its gradient with respect to z, in rows of `width`.
///
/// With standardised A and B, sum C² = |A'B|² / N², and its gradient with respect to A is 2 B B' A / N².
pub fn graded(z: &[f32], width: usize, weights: Weights) -> LossAndGrad {
    assert!(z.len().is_multiple_of(2 * width) && !z.is_empty(), "barlow_twins: {} numbers, width {width}", z.len());
    let half = z.len() / 2;
    let rows = half / width;
    let n = rows as f64;
    let sides = [&z[..half], &z[half..]].map(|z| Side::new(z, width));
    let [a, b] = sides.each_ref().map(|side| side.standardised.as_slice());
    let diagonal = column_sums(rows, width, |row, columns, sums| {
        let (a, b) = (&a[row * width..][columns.clone()], &b[row * width..][columns]);
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, &a), &b)| *sum += f64::from(a) * f64::from(b));
    });
    let diagonal: Vec<f64> = diagonal.iter().map(|sum| sum / n).collect();
    let mut along_sides = [(); 2].map(|()| vec![0.0; half]);
    let [through_b, through_a] = &mut along_sides;
    through(through_b, b, a, width);
    through(through_a, a, b, width);

    let (scale, lambda) = (f64::from(weights.scale), f64::from(weights.redundancy));
    let all = dot(a, through_b, width) / (n * n);
    let itself: f64 = diagonal.iter().map(|c| c * c).sum();
    let missing: f64 = diagonal.iter().map(|c| (1.0 - c) * (1.0 - c)).sum();
    let value = scale * (missing + lambda * (all - itself));

    let along = (2.0 * scale * lambda / (n * n)) as f32;
    let across = |c: &f64| (-2.0 * scale * (1.0 - c + lambda * c) / n) as f32;
    let across: Vec<f32> = diagonal.iter().map(across).collect();
    let mut gradient = vec![0.0; z.len()];
    let (of_first, of_second) = gradient.split_at_mut(half);
    let grade = |into: &mut [f32], side: &Side, slope: &mut [f32], other: &[f32]| {
        slope.par_chunks_mut(width).zip(other.par_chunks(width)).for_each(|(slope, other)| {
            for ((slope, other), across) in slope.iter_mut().zip(other).zip(&across) {
                *slope = along * *slope + across * other;
            }
        });
        side.backward(into, slope);
    };
    grade(of_first, &sides[0], through_b, b);
    grade(of_second, &sides[1], through_a, a);
    LossAndGrad { value, gradient }
}

/// One side of the batch, (N, D), and the values that the gradient of its standardisation needs.
struct Side<'a> {
    z: &'a [f32],
    standardised: Vec<f32>,
    mean: Vec<f32>,
    inv_std: Vec<f32>,
    /// Scales of 1 and, in `zeros`, shifts of 0: standardised variables have no learned scale and shift.
    ones: Vec<f32>,
    zeros: Vec<f32>,
}

impl<'a> Side<'a> {
    fn new(z: &'a [f32], width: usize) -> Self {
        let (mut mean, mut variance) = (vec![0.0; width], vec![0.0; width]);
        batch_norm::statistics(&mut mean, &mut variance, z, z.len() / width, width);
        let inv_std: Vec<f32> =
            variance.iter().map(|&variance| (1.0 / (f64::from(variance) + EPSILON).sqrt()) as f32).collect();
        let (ones, zeros) = (vec![1.0; width], vec![0.0; width]);
        let mut standardised = vec![0.0; z.len()];
        let norm = Normalization { mean: &mean, inv_std: &inv_std, gamma: &ones, beta: &zeros };
        batch_norm::normalize(&mut standardised, z, &norm, None, false);
        Self { z, standardised, mean, inv_std, ones, zeros }
    }

    /// Writes dz, given the gradient with respect to the standardised rows.
    fn backward(&self, dz: &mut [f32], slope: &[f32]) {
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0; self.mean.len()]);
        let gradients = NormGradients { dgamma: &mut dgamma, dbeta: &mut dbeta };
        let Self { z, mean, inv_std, ones, zeros, .. } = self;
        let norm = Normalization { mean, inv_std, gamma: ones, beta: zeros };
        batch_norm::backward(dz, None, NormMode::Batch(gradients), slope, z, &norm, Gate::Open);
    }
}
