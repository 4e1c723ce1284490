//! MoCo v2: Chen, Fan, Girshick, He 2020, "Improved Baselines with Momentum Contrastive Learning",
//! <https://arxiv.org/abs/2003.04297>; the loss and the queue are those of He et al. 2020, "Momentum Contrast for
//! Unsupervised Visual Representation Learning", <https://arxiv.org/abs/1911.05722>.
//!
//! A query is trained to identify its key among the keys of earlier batches. A momentum encoder
//! computes the key from the other view.
//!
//! Semantic pairs: the key comes from another image of the query's category. A queue holds the keys of one view. The
//! loss has both directions, so there are two queues: one for the second images' keys, which the first images'
//! queries use, and one for the first images' keys. Keys of other pairs of the same category are negatives, as in the
//! paper, unless categories are given.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::methods::LossAndGrad;
use crate::methods::contrast::EXCLUDED;
use crate::methods::contrast::NO_CATEGORY;
use crate::methods::contrast::UnitRows;
use crate::methods::contrast::indicator;
use crate::methods::contrast::info_nce;
use crate::methods::contrast::random_rows;
use crate::methods::contrast::same;
use crate::methods::contrast::similarities;
use crate::methods::contrast::unit;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{Identity, Linear, Relu, sequence};
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::{self, Comparison, DeviceLoss, Reading, Rows, Term, Vectors};

use super::bank::{Bank, rows_state};
use super::target::Target;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Start, State, a_part, above_zero, at_least, categories, places};

/// MoCo v2's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Divides the similarities.
    pub temperature: f32,
    /// The key encoder's momentum.
    pub momentum: f32,
    /// The number of keys of earlier batches, in each of the two queues.
    pub queue: usize,
    /// Label-aware variant, not in the paper: keys of a query's category are not negatives.
    pub mask_same_category: bool,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Width of queries and keys.
const P: usize = 128;
/// Linear, ReLU, linear, as in SimCLR (Chen et al., section 2).
type Head<const F: usize> = sequence!(Linear<F, F>, Relu, Linear<F, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        a_part(key, "momentum", self.momentum)?;
        at_least(key, "queue", self.queue, 1)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        let head: BuildHead<D, P, P> = head!(F => Head<F>, Identity);
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        let target = Target::steady(&network, self.momentum);
        let queues = [0, 1].map(|view| Queue::new(start.draws.split("queue").at(view), self.queue, P));
        let keys = queues.each_ref().map(|queue| Bank::of(&start.device, &queue.keys, P));
        let on_device = match keys {
            [Some(first), Some(second)] if !self.mask_same_category => Some([first, second]),
            _ => None,
        };
        Ok(Box::new(MocoV2 { network, target, queues, on_device, settings: self.clone() }))
    }
}

struct MocoV2<D: tensor::Losses> {
    network: Network<D, P, P>,
    /// The momentum encoder, which computes the keys. The authors shuffle the batch between GPUs, so that batch
    /// normalisation sees different images for a query than for its key. Here each network normalises one view at a
    /// time, so it sees other views of the same images or, with semantic pairs, other images.
    target: Target<D>,
    /// The queues of first views' keys and of second views' keys.
    queues: [Queue; 2],
    /// The keys of both queues, if the device has the losses and this is not the label-aware variant. Then those in
    /// `queues` are out of date, except in `state`.
    on_device: Option<[Bank<D>; 2]>,
    settings: Settings,
}

impl<D: tensor::Losses> Learner<D> for MocoV2<D> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let pass = self.network.embed_views(batch.images);
        let keys = self.target.project(&self.network, batch.images); // (2N, P)
        if let Some(banks) = &mut self.on_device {
            let unit = keys.device().unit_floats(keys.data(), P);
            let loss = loss_on_device(pass.predictions(), &unit, banks, self.settings.temperature);
            let n = batch.pairs.len();
            for ((queue, bank), first) in self.queues.iter_mut().zip(banks).zip([0, n]) {
                queue.enqueue_on_device(bank, &Rows { arena: &unit, rows: first..first + n }, batch.categories);
            }
            return pass.backward_from(loss);
        }
        let keys = keys.download();
        let categories = self.settings.mask_same_category.then_some(batch.categories);
        let [first, second] = &mut self.queues;
        let loss = both_directions(&pass.p(), &keys, [first, second], categories, self.settings.temperature);
        let (of_first, of_second) = keys.split_at(keys.len() / 2);
        first.enqueue(of_first, Some(batch.categories));
        second.enqueue(of_second, Some(batch.categories));
        loss.backward(pass)
    }

    fn after_step(&mut self, at: StepInfo) {
        self.target.follow(&self.network, at);
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        self.target.state("target", state)?;
        let mut banks = self.on_device.iter_mut().flatten();
        for (view, queue) in self.queues.iter_mut().enumerate() {
            rows_state(banks.next(), &format!("queue.{view}"), &mut queue.keys, state)?;
            categories(state, &format!("queue.{view}.categories"), &mut queue.categories)?;
            places(state, &format!("queue.{view}.cursor"), &mut [&mut queue.cursor])?;
        }
        Ok(())
    }
}

/// The keys of the latest batches. The oldest keys are replaced first.
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// (K, P), each row of unit length.
    pub keys: Vec<f32>,
    /// (K): the category of each row; `NO_CATEGORY` if it is not known.
    pub categories: Vec<u32>,
    /// The row that is written next.
    pub cursor: usize,
    /// P.
    pub dim: usize,
}

impl Queue {
    /// A queue of `len` random directions in `dim` dimensions.
    pub fn new(key: Key, len: usize, dim: usize) -> Self {
        Self { keys: random_rows(key, len, dim), categories: vec![NO_CATEGORY; len], cursor: 0, dim }
    }

    /// Writes `keys` (N, P), normalised to unit length, over the oldest rows; after the last row it continues at the
    /// first. The length of the queue need not be a multiple of N, unlike in the authors' code.
    pub fn enqueue(&mut self, keys: &[f32], categories: Option<&[u32]>) {
        let places = self.next_places(keys.len() / self.dim, categories);
        for (place, key) in places.into_iter().zip(UnitRows::new(keys, self.dim).rows.chunks_exact(self.dim)) {
            self.keys[place as usize * self.dim..][..self.dim].copy_from_slice(key);
        }
    }

    /// The same for keys of unit length that a device keeps.
    fn enqueue_on_device<D: tensor::Losses>(&mut self, bank: &mut Bank<D>, keys: &Rows<'_, D>, categories: &[u32]) {
        let places = self.next_places(keys.rows.len(), Some(categories));
        // Of the keys that would be at one place, only the last stays.
        let lasting = places.len().min(self.categories.len());
        let rows = Rows { arena: keys.arena, rows: keys.rows.end - lasting..keys.rows.end };
        bank.mix(&places[places.len() - lasting..], rows, 0.0);
    }

    /// The places of the next `count` keys, whose categories are noted.
    fn next_places(&mut self, count: usize, categories: Option<&[u32]>) -> Vec<u32> {
        let capacity = self.categories.len();
        let places: Vec<u32> = (0..count).map(|index| ((self.cursor + index) % capacity) as u32).collect();
        for (index, &place) in places.iter().enumerate() {
            self.categories[place as usize] = categories.map_or(NO_CATEGORY, |categories| categories[index]);
        }
        self.cursor = (self.cursor + count) % capacity;
        places
    }
}

/// [`both_directions`] without categories, for keys (2N, P) of unit length and queues in a device's memory.
fn loss_on_device<D: tensor::Losses, const P: usize>(
    queries: &tensor::Tensor<Vectors<P>, D>,
    keys: &D::Arena,
    [first_queue, second_queue]: &[Bank<D>; 2],
    temperature: f32,
) -> DeviceLoss<D> {
    let pairs = queries.shape().0 / 2;
    let weight = 0.5 / pairs as f32;
    let comparisons = [(0, second_queue), (pairs, first_queue)].map(|(first, queue)| Comparison {
        first,
        terms: vec![Term { weight, excluded: None }; pairs],
        candidates: queue.all(),
        positives: Rows { arena: keys, rows: pairs - first..2 * pairs - first },
        mistaken: false,
    });
    queries.device().info_nce(queries.data(), P, temperature, &comparisons)
}

/// InfoNCE of one direction, equation 1 of He et al., averaged over the queries:
///
/// L = -1/N sum_i log( exp(q_i·k_i / t) / (exp(q_i·k_i / t) + sum_j exp(q_i·n_j / t)) )
///
/// Row i of `queries` (N, P) belongs to row i of `keys` (N, P), and both are normalised to unit length; the rows n of
/// the queue already have unit length. With `categories` (N), negatives of the query's category do not count.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    queries: Tensor<Vectors<P>, E, Cpu, T>,
    keys: Tensor<Vectors<P>, E, Cpu>,
    queue: &Queue,
    categories: Option<&[u32]>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let number = super::number::<E>;
    let (rows, columns) = (queries.shape().0, queue.categories.len());
    let device = queries.device().clone();
    let negatives = device.tensor_from_vec(queue.keys.iter().map(|&x| number(x.into())).collect(), (columns, Const));
    let excluded = indicator(&device, (rows, columns), |i, j| {
        categories.is_some_and(|categories| same(categories[i], queue.categories[j]))
    });
    let queries = unit(queries);
    let positive = (queries.retaped::<T>() * unit(keys)).sum::<(usize,), _>().reshape_like(&(rows, 1)); // (N, 1)
    let negative = similarities(queries, negatives) - excluded * number(1e9); // (N, K)
    let logits = (positive, negative).concat_along(Axis::<1>) / number(temperature.into()); // (N, 1 + K)
    let first = indicator(&device, (rows, 1 + columns), |_, j| j == 0);
    (logits.log_softmax::<Axis<1>>() * first).sum::<Rank0, _>() / number(-(rows as f64))
}

/// The loss of `definition` and its gradient with respect to the queries (N, P).
pub fn one_direction(
    queries: &[f32],
    keys: &[f32],
    queue: &Queue,
    categories: Option<&[u32]>,
    temperature: f32,
) -> LossAndGrad {
    let keys = UnitRows::new(keys, queue.dim).rows;
    info_nce(queries, &keys, &queue.keys, queue.dim, temperature, |row, similarities| {
        let Some(categories) = categories else { return };
        for (similarity, &category) in similarities.iter_mut().zip(&queue.categories) {
            if same(category, categories[row]) {
                *similarity = EXCLUDED;
            }
        }
    })
}

/// The mean of both directions: first views' queries with second views' keys, and the reverse. `queries` and `keys`
/// (2N, P) hold all first views before all second views; `queues` hold the earlier keys of first and of second views;
/// `categories` (N) are the categories of the pairs. The gradient is with respect to the queries (2N, P).
pub fn both_directions(
    queries: &[f32],
    keys: &[f32],
    queues: [&Queue; 2],
    categories: Option<&[u32]>,
    temperature: f32,
) -> LossAndGrad {
    let (first, second) = queries.split_at(queries.len() / 2);
    let (first_keys, second_keys) = keys.split_at(keys.len() / 2);
    let forth = one_direction(first, second_keys, queues[1], categories, temperature);
    let back = one_direction(second, first_keys, queues[0], categories, temperature);
    let gradient = forth.gradient.iter().chain(&back.gradient).map(|g| 0.5 * g).collect();
    LossAndGrad { value: 0.5 * (forth.value + back.value), gradient }
}
