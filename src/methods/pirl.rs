//! PIRL: Misra, van der Maaten 2020, "Self-Supervised Learning of Pretext-Invariant Representations",
//! <https://arxiv.org/abs/1912.01991>.
//!
//! The embeddings of an image and of a jigsaw of its patches are both trained to identify the image's slot in a memory
//! bank among the slots of other images. A slot is the moving average of an image's embedding.
//!
//! The loss is the paper's h and L_NCE (its section on the loss function), in which h contains the sum over the
//! negatives. (VISSL, by the same authors, has a constant instead of the sum, which is fixed in the first batch; its
//! variant with an MLP head uses the cross-entropy instead.) With the sum, -sum_j log(1 - h_j) = sum_j log(1 + w_j),
//! where w is the softmax over the negatives. With many negatives this term is nearly 1 for any negatives, and the
//! gradient is nearly that of the cross-entropy.
//!
//! Semantic pairs: a slot belongs to a pair and follows the pair's first image; the jigsaw is made from the second
//! image. So the jigsaw must identify another image of its category. Slots of other pairs of the category are
//! negatives, as in the paper, unless categories are given.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::methods::LossAndGrad;
use crate::methods::contrast::Attended;
use crate::methods::contrast::EXCLUDED;
use crate::methods::contrast::NO_CATEGORY;
use crate::methods::contrast::UnitRows;
use crate::methods::contrast::attend;
use crate::methods::contrast::indicator;
use crate::methods::contrast::logistic;
use crate::methods::contrast::random_rows;
use crate::methods::contrast::same;
use crate::methods::contrast::similarities;
use crate::methods::contrast::softplus;
use crate::methods::contrast::unit;
use crate::methods::reduce::inner;
use crate::methods::reduce::sum;
use crate::models::{AnyNetwork, Network, head};
use crate::nn::{Identity, JoinRows, Linear, sequence};
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::{self, Comparison, DeviceLoss, Reading, Rows, Term, Vectors};

use super::bank::{Bank, rows_state};
use super::{MethodBatch, Crops, Learner, MethodSettings, StepInfo, Start, State, a_part, above_zero, at_least, categories};

/// PIRL's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Divides the similarities.
    pub temperature: f32,
    /// The weight of the jigsaw's part of the loss; the image's part has the rest.
    pub jigsaw_weight: f32,
    /// The number of slots of the memory bank that are drawn as negatives for each step.
    pub negatives: usize,
    /// Label-aware variant, not in the paper: slots of a pair's category are not negatives.
    pub mask_same_category: bool,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Width of the embeddings.
const P: usize = 128;
/// The number of cells of a jigsaw.
const CELLS: usize = super::learner::JIGSAW_CELLS;
/// The cells' embeddings, concatenated in their shuffled order, and a linear map of the result (the
/// paper's implementation details).
type JigsawHead<const F: usize> = sequence!(Linear<F, P>, JoinRows<P, { CELLS * P }>, Linear<{ CELLS * P }, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn crops(&self) -> Crops {
        Crops::Jigsaw
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        a_part(key, "jigsaw_weight", self.jigsaw_weight)?;
        at_least(key, "negatives", self.negatives, 1)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        let (image, jigsaw) = Network::open_two(
            &start.spec,
            head!(F => Linear<F, P>, Identity),
            head!(F => JigsawHead<F>, Identity),
            &start.device,
            &start.initialisation,
        )?;
        let draws = start.draws.split("pirl");
        let bank = MemoryBank::new(draws.split("bank"), start.pairs, P);
        let on_device = Bank::of(&start.device, &bank.rows, P).filter(|_| !self.mask_same_category);
        let categories = vec![NO_CATEGORY; start.pairs];
        Ok(Box::new(Pirl { image, jigsaw, bank, on_device, categories, draws, settings: self.clone() }))
    }
}

struct Pirl<D: tensor::Losses> {
    image: Network<D, P, P>,
    jigsaw: Network<D, P, P>,
    bank: MemoryBank,
    /// The rows of the bank, if the device has the losses and this is not the label-aware variant. Then those in `bank`
    /// are out of date, except in `state`.
    on_device: Option<Bank<D>>,
    /// The category of each pair that has been seen.
    categories: Vec<u32>,
    draws: Key,
    settings: Settings,
}

impl<D: tensor::Losses> Learner<D> for Pirl<D> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.image
    }

    fn step(&mut self, batch: &MethodBatch<'_>, at: StepInfo) -> Reading {
        let own: Vec<usize> = batch.pairs.iter().map(|&pair| pair as usize).collect();
        own.iter().zip(batch.categories).for_each(|(&pair, &category)| self.categories[pair] = category);
        let first_images = &batch.images[..batch.images.len() / 2];
        let images = self.image.embed(first_images, &[]); // (N, P)
        let jigsaws = self.jigsaw.embed(&[], batch.crops); // (N, P)
        let negatives = self.bank.draw(self.draws.at(at.step as u64), self.settings.negatives);
        if let Some(bank) = &mut self.on_device {
            let (views, slots) = ([images.predictions(), jigsaws.predictions()], (&own[..], &negatives[..]));
            let loss = loss_on_device(views, bank, slots, &self.settings);
            let device = images.predictions().device().clone();
            let of_images = device.unit_floats(images.predictions().data(), P);
            bank.mix(batch.pairs, Rows { arena: &of_images, rows: 0..own.len() }, KEPT);
            let [of_images, of_jigsaws] = [0, 1].map(|half| {
                device.slice(&loss.gradient, half * own.len() * P..(half + 1) * own.len() * P)
            });
            jigsaws.backward_on_device(of_jigsaws);
            images.backward_on_device(of_images);
            return loss.value;
        }
        let categories = self.settings.mask_same_category.then_some(&self.categories[..]);
        let slots = Slots { bank: &self.bank, own: &own, negatives: &negatives, categories };
        let (of_images, of_jigsaws) = (images.p(), jigsaws.p());
        let views = [&of_images[..], &of_jigsaws].concat();
        let graded = graded(&views, slots, self.settings.jigsaw_weight, self.settings.temperature);
        self.bank.update(&own, &of_images);
        let (of_images, of_jigsaws) = graded.gradient.split_at(of_images.len());
        jigsaws.backward(of_jigsaws);
        images.backward(of_images);
        Reading::Known(graded.value)
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        rows_state(self.on_device.as_mut(), "bank", &mut self.bank.rows, state)?;
        categories(state, "categories", &mut self.categories)
    }
}

/// The share of a slot's value that is kept when its image is seen (0.5 in the paper).
const KEPT: f32 = 0.5;

/// A memory bank with a unit vector for each pair.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryBank {
    /// (pairs, P), each row of unit length.
    pub rows: Vec<f32>,
    /// P.
    pub dim: usize,
}

impl MemoryBank {
    /// A memory bank of `pairs` random directions in `dim` dimensions.
    pub fn new(key: Key, pairs: usize, dim: usize) -> Self {
        Self { rows: random_rows(key, pairs, dim), dim }
    }

    /// Moves the slots of the pairs half way to the normalised embeddings (N, P) of their first images, and
    /// normalises them to unit length.
    pub fn update(&mut self, slots: &[usize], images: &[f32]) {
        let images = UnitRows::new(images, self.dim);
        for (&slot, image) in slots.iter().zip(images.rows.chunks_exact(self.dim)) {
            let row = &mut self.rows[slot * self.dim..][..self.dim];
            row.iter_mut().zip(image).for_each(|(row, image)| *row = KEPT * *row + (1.0 - KEPT) * image);
            row.copy_from_slice(&UnitRows::new(row, self.dim).rows);
        }
    }

    /// Draws `count` different slots uniformly, in ascending order; all slots if there are fewer.
    pub fn draw(&self, key: Key, count: usize) -> Vec<usize> {
        let mut slots = key.stream().permutation(self.rows.len() / self.dim);
        slots.truncate(count);
        slots.sort_unstable();
        slots
    }

    /// The rows of these slots, (slots, P).
    fn gather(&self, slots: &[usize]) -> Vec<f32> {
        slots.iter().flat_map(|slot| &self.rows[slot * self.dim..][..self.dim]).copied().collect()
    }
}

/// The slots with which the views of a batch of N pairs are compared.
#[derive(Clone, Copy, Debug)]
pub struct Slots<'a> {
    /// The memory bank that the slots are in.
    pub bank: &'a MemoryBank,
    /// (N): the pairs of the batch.
    pub own: &'a [usize],
    /// (M): slots in ascending order. A pair's own slot is not its negative.
    pub negatives: &'a [usize],
    /// The category of each pair of the bank. If it is given, negatives of a pair's own category do not count.
    pub categories: Option<&'a [u32]>,
}

impl Slots<'_> {
    fn counts(&self, pair: usize, negative: usize) -> bool {
        let (own, other) = (self.own[pair], self.negatives[negative]);
        own != other && !self.categories.is_some_and(|categories| same(categories[own], categories[other]))
    }

    /// Writes `EXCLUDED` where `counts` is false.
    fn exclude(&self, pair: usize, similarities: &mut [f32]) {
        let own = self.own[pair];
        if let Ok(itself) = self.negatives.binary_search(&own) {
            similarities[itself] = EXCLUDED;
        }
        let Some(categories) = self.categories else { return };
        for (similarity, &other) in similarities.iter_mut().zip(self.negatives) {
            if same(categories[own], categories[other]) {
                *similarity = EXCLUDED;
            }
        }
    }
}

/// L = 1/N sum_i (λ NCE(m_i, jigsaw_i) + (1 - λ) NCE(m_i, image_i)) of unit rows, with
///
/// NCE(m, v) = -log h(m) - sum_j log(1 - h(m_j)),  h(x) = exp(x·v / t) / (exp(x·v / t) + sum_j exp(m_j·v / t))
///
/// for the negatives m_j. `views` (2N, P) are the embeddings of all images, then those of all jigsaws.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    views: Tensor<Vectors<P>, E, Cpu, T>,
    slots: Slots,
    jigsaw_weight: f32,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let number = super::number::<E>;
    let device = views.device().clone();
    let (pairs, count) = (slots.own.len(), slots.negatives.len());
    let bank = |of: &[usize]| {
        let rows = slots.bank.gather(of).into_iter().map(|x| number(x.into())).collect();
        device.tensor_from_vec(rows, (of.len(), Const::<P>))
    };
    let temperature = number(temperature.into());
    let counted = indicator(&device, (2 * pairs, count), |i, j| slots.counts(i % pairs, j));
    let uncounted = indicator(&device, (2 * pairs, count), |i, j| !slots.counts(i % pairs, j));
    let weights = (0..2 * pairs).map(|i| f64::from(if i < pairs { 1.0 - jigsaw_weight } else { jigsaw_weight }));
    let weights = device.tensor_from_vec(weights.map(|w| number(w / pairs as f64)).collect(), (2 * pairs,));

    let views = unit(views);
    let own = bank(&[slots.own, slots.own].concat());
    let positive = ((views.retaped::<T>() * own).sum::<(usize,), Axis<1>>() / temperature).exp(); // (2N)
    let negative = (similarities(views, bank(slots.negatives)) / temperature).exp() * counted; // (2N, M)
    let sums = negative.retaped::<T>().sum::<(usize,), Axis<1>>(); // (2N)
    let recognised = positive.retaped::<T>() / (positive + sums.retaped::<T>());
    let sums = sums.broadcast_like::<_, Axis<1>>(&(2 * pairs, count));
    // `uncounted` is 1 where a negative does not count, so that h is 0 there, even if no negative counts.
    let mistaken = negative.retaped::<T>() / (negative + sums + uncounted);
    let others = (-mistaken + number(1.0)).ln().sum::<(usize,), Axis<1>>();
    -((recognised.ln() + others) * weights).sum::<Rank0, _>()
}

/// The loss of `definition` and its gradient with respect to the views (2N, P).
pub fn graded(views: &[f32], slots: Slots, jigsaw_weight: f32, temperature: f32) -> LossAndGrad {
    let (dim, pairs) = (slots.bank.dim, slots.own.len());
    assert!(views.len() == 2 * pairs * dim, "PIRL: {} numbers in two views of {pairs} pairs, ({dim})", views.len());
    assert!(slots.negatives.is_sorted(), "PIRL: the negatives are not in order");
    let views = UnitRows::new(views, dim);
    let own = slots.bank.gather(slots.own);
    let negatives = slots.bank.gather(slots.negatives);
    let own = |row: usize| &own[row % pairs * dim..][..dim];
    let scale = f64::from(1.0 / temperature);
    let exclude = |row: usize, similarities: &mut [f32]| slots.exclude(row % pairs, similarities);
    let grade = |row: usize, weights: &mut [f32], log_sum: f64| {
        let behind = log_sum - scale * inner(&views.rows[row * dim..][..dim], own(row));
        let nce = softplus(behind) + log_of_product(weights);
        let miss = logistic(behind);
        slopes(weights, miss);
        (nce, miss)
    };
    let Attended { sums: mut gradient, rows } = attend(&views.rows, &negatives, dim, temperature, exclude, grade);
    let mut value = 0.0;
    for (row, (gradient, (nce, miss))) in gradient.chunks_exact_mut(dim).zip(rows).enumerate() {
        let share = f64::from(if row < pairs { 1.0 - jigsaw_weight } else { jigsaw_weight }) / pairs as f64;
        value += share * nce;
        for (gradient, &own) in gradient.iter_mut().zip(own(row)) {
            *gradient = (share * scale * (f64::from(*gradient) - miss * f64::from(own))) as f32;
        }
    }
    LossAndGrad { value, gradient: views.backward(gradient) }
}

/// The loss of `definition` of views [images, jigsaws] (N, P) whose slots a device keeps: the pairs' own slots, and the
/// negatives in ascending order.
fn loss_on_device<D: tensor::Losses>(
    [images, jigsaws]: [&tensor::Tensor<Vectors<P>, D>; 2],
    bank: &Bank<D>,
    (own, negatives): (&[usize], &[usize]),
    settings: &Settings,
) -> DeviceLoss<D> {
    let (device, pairs) = (images.device(), own.len());
    let gather = |slots: &[usize]| bank.gather(&slots.iter().map(|&slot| slot as u32).collect::<Vec<_>>());
    let (positives, candidates) = (gather(own), gather(negatives));
    let itself = |slot: &usize| negatives.binary_search(slot).ok().map(|index| index as u32);
    let excluded: Vec<Option<u32>> = own.iter().map(itself).collect();
    let part = |first: usize, share: f32| Comparison {
        first,
        terms: excluded.iter().map(|&excluded| Term { weight: share / pairs as f32, excluded }).collect(),
        candidates: Rows { arena: &candidates, rows: 0..negatives.len() },
        positives: Rows { arena: &positives, rows: 0..pairs },
        mistaken: true,
    };
    let comparisons = [part(0, 1.0 - settings.jigsaw_weight), part(pairs, settings.jigsaw_weight)];
    let views = device.concat(images.data(), jigsaws.data());
    device.info_nce(&views, P, settings.temperature, &comparisons)
}

/// sum_j log(1 + w_j) of a softmax w, computed as the logarithm of a product, which is at most e.
fn log_of_product(weights: &[f32]) -> f64 {
    let (whole, rest) = weights.as_chunks::<8>();
    let mut products = [1.0; 8];
    for chunk in whole {
        products.iter_mut().zip(chunk).for_each(|(product, &w)| *product *= 1.0 + f64::from(w));
    }
    libm::log(products.iter().product::<f64>() * rest.iter().map(|&w| 1.0 + f64::from(w)).product::<f64>())
}

/// Replaces the softmax w by the derivatives of log(1 + S / p) + sum_k log(1 + w_k) with respect to the negatives'
/// logits, with S the sum of the exponentials and `miss` = S / (p + S):
///
/// w_j (miss + 1 / (1 + w_j) - sum_k w_k / (1 + w_k))
fn slopes(weights: &mut [f32], miss: f64) {
    let common = (miss - sum(weights, |w| f64::from(w / (1.0 + w)))) as f32;
    weights.iter_mut().for_each(|w| *w *= common + 1.0 / (1.0 + *w));
}
