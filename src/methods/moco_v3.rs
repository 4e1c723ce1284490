//! MoCo v3: Chen, Xie, He 2021, "An Empirical Study of Training Self-Supervised Vision Transformers",
//! <https://arxiv.org/abs/2104.02057>.
//!
//! A prediction is trained to identify the other view's key among the keys of its batch. A
//! momentum encoder computes the keys.
//!
//! Semantic pairs: the key comes from the other image of the pair. Other pairs of the same category in the batch are
//! negatives, as in the paper, unless categories are given.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::methods::LossAndGrad;
use crate::methods::contrast::EXCLUDED;
use crate::methods::contrast::UnitRows;
use crate::methods::contrast::indicator;
use crate::methods::contrast::info_nce;
use crate::methods::contrast::same;
use crate::methods::contrast::similarities;
use crate::methods::contrast::unit;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormPlain, BatchNormRelu, LinearNoBias, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Comparison, DeviceLoss, Reading, Rows, Term, Vectors};

use super::target::Target;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, State, a_part, above_zero};

/// MoCo v3's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Divides the similarities.
    pub temperature: f32,
    /// The target's momentum at the first step; it rises to 1 along half a cosine.
    pub momentum: f32,
    /// Label-aware variant, not in the paper: pairs of the same category are not negatives of each other.
    pub mask_same_category: bool,
    /// The size of the heads.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Two layers, as in the authors' code for ResNets (for transformers it has three), each followed by batch
/// normalisation, the last one without parameters.
type Projector<const F: usize, const H: usize, const P: usize> =
    sequence!(LinearNoBias<F, H>, BatchNormRelu<H>, LinearNoBias<H, P>, BatchNormPlain<P>);
/// Two layers, with batch normalisation after the first.
type Predictor<const H: usize, const P: usize> = sequence!(LinearNoBias<P, H>, BatchNormRelu<H>, LinearNoBias<H, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        a_part(key, "momentum", self.momentum)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Projector<F, 512, 128>, Predictor<512, 128>)),
            Size::Paper => self.with(start, head!(F => Projector<F, 4096, 256>, Predictor<4096, 256>)),
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
        Ok(Box::new(MocoV3 { network, target, settings: self.clone() }))
    }
}

struct MocoV3<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    /// The momentum encoder, which computes the keys.
    target: Target<D>,
    settings: Settings,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for MocoV3<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let keys = self.target.project(&self.network, batch.images); // (2N, P)
        let temperature = self.settings.temperature;
        if self.settings.mask_same_category {
            return both_directions(&pass.p(), &keys.download(), P, Some(batch.categories), temperature).backward(pass);
        }
        match loss_on_device(pass.predictions(), &keys, temperature) {
            Some(loss) => pass.backward_from(loss),
            None => both_directions(&pass.p(), &keys.download(), P, None, temperature).backward(pass),
        }
    }

    fn after_step(&mut self, at: StepInfo) {
        self.target.follow(&self.network, at);
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        self.target.state("target", state)
    }
}

/// [`both_directions`] without categories, if the device has the losses.
fn loss_on_device<D: tensor::Losses, const P: usize>(
    queries: &tensor::Tensor<Vectors<P>, D>,
    keys: &tensor::Tensor<Vectors<P>, D>,
    temperature: f32,
) -> Option<DeviceLoss<D>> {
    let device = queries.device();
    if !device.has_losses() {
        return None;
    }
    let (pairs, keys) = (keys.shape().0 / 2, device.unit_floats(keys.data(), P));
    let comparisons = [0, pairs].map(|first| {
        let keys_of_others = || Rows { arena: &keys, rows: pairs - first..2 * pairs - first };
        let weight = 2.0 * temperature / pairs as f32;
        let terms = (0..pairs).map(|row| Term { weight, excluded: Some(row as u32) }).collect();
        Comparison { first, terms, candidates: keys_of_others(), positives: keys_of_others(), mistaken: false }
    });
    Some(device.info_nce(queries.data(), P, temperature, &comparisons))
}

/// The contrastive loss of one direction, `ctr` of algorithm 1. The `loss` of that algorithm is
/// the sum of both directions.
///
/// L = -2t/N sum_i log( exp(q_i·k_i / t) / sum_j exp(q_i·k_j / t) )
///
/// Row i of `queries` (N, P) belongs to row i of `keys` (N, P); both are normalised to unit length. With `categories`
/// (N), keys of other pairs of the query's category do not count.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    queries: Tensor<Vectors<P>, E, Cpu, T>,
    keys: Tensor<Vectors<P>, E, Cpu>,
    categories: Option<&[u32]>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let number = super::number::<E>;
    let rows = queries.shape().0;
    let temperature = f64::from(temperature);
    let excluded = indicator(queries.device(), (rows, rows), |i, j| {
        i != j && categories.is_some_and(|categories| same(categories[i], categories[j]))
    });
    let diagonal = indicator(queries.device(), (rows, rows), |i, j| i == j);
    let logits = (similarities(unit(queries), unit(keys)) - excluded * number(1e9)) / number(temperature); // (N, N)
    let log_likelihood = (logits.log_softmax::<Axis<1>>() * diagonal).sum::<Rank0, _>();
    log_likelihood * number(-2.0 * temperature / rows as f64)
}

/// The loss of `definition` and its gradient with respect to the queries (N, P).
pub fn one_direction(
    queries: &[f32],
    keys: &[f32],
    dim: usize,
    categories: Option<&[u32]>,
    temperature: f32,
) -> LossAndGrad {
    let keys = UnitRows::new(keys, dim).rows;
    let contrast = info_nce(queries, &keys, &keys, dim, temperature, |row, similarities| {
        similarities[row] = EXCLUDED; // the positive is handled separately
        let Some(categories) = categories else { return };
        for (similarity, &category) in similarities.iter_mut().zip(categories) {
            if same(category, categories[row]) {
                *similarity = EXCLUDED;
            }
        }
    });
    let gradient = contrast.gradient.iter().map(|g| 2.0 * temperature * g).collect();
    LossAndGrad { value: 2.0 * f64::from(temperature) * contrast.value, gradient }
}

/// The sum of both directions: first views' predictions with second views' keys, and the reverse. `queries` and `keys`
/// (2N, `dim`) hold all first views before all second views; `categories` (N) are the categories of the pairs. The
/// gradient is with respect to the queries (2N, `dim`).
pub fn both_directions(
    queries: &[f32],
    keys: &[f32],
    dim: usize,
    categories: Option<&[u32]>,
    temperature: f32,
) -> LossAndGrad {
    let (first, second) = queries.split_at(queries.len() / 2);
    let (first_keys, second_keys) = keys.split_at(keys.len() / 2);
    let forth = one_direction(first, second_keys, dim, categories, temperature);
    let back = one_direction(second, first_keys, dim, categories, temperature);
    LossAndGrad { value: forth.value + back.value, gradient: [forth.gradient, back.gradient].concat() }
}
