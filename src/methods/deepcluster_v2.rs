//! DeepCluster v2: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
//! <https://arxiv.org/abs/2006.09882>, appendix; after Caron et al. 2018, "Deep Clustering for Unsupervised Learning of
//! Visual Features", <https://arxiv.org/abs/1807.05520>.
//!
//! Before each epoch, the projections of the previous epoch are clustered; before the first epoch, those of an
//! additional pass over the pairs. During the epoch, each view is classified into the cluster of its slot. The
//! centroids are the weights of the classifier and are not trained.
//!
//! Semantic pairs: each pair has a slot in two memory banks, one for each view. The first holds the pairs' first
//! images, the second their second images. A head's clusters come from one of the two (the heads alternate) and are the
//! targets of both views. So a pair's second image is classified into the cluster of its first image, or the reverse.

use dfdx::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::kernels::cpu::matmul;
use crate::methods::LossAndGrad;
use crate::methods::contrast::Attended;
use crate::methods::contrast::UnitRows;
use crate::methods::contrast::attend;
use crate::methods::contrast::indicator;
use crate::methods::contrast::similarities;
use crate::methods::contrast::unit;
use crate::methods::reduce::inner;
use crate::methods::reduce::largest;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Identity, Linear, sequence};
use crate::optim::Recipe;
use crate::rng::Key;
use crate::tensor::{self, Comparison, DeviceLoss, Reading, Rows, Term, Vectors};

use super::bank::{Bank, rows_state};
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Size, Start, State, above_zero, at_least};

/// DeepCluster v2's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Divides the scores.
    pub temperature: f32,
    /// The number of clusters of each head.
    pub clusters: Vec<usize>,
    /// The size of the projector.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Linear, batch normalisation, ReLU, linear, as in SwAV; the loss normalises rows to unit length.
type Projector<const F: usize, const H: usize, const P: usize> =
    sequence!(Linear<F, H>, BatchNormRelu<H>, Linear<H, P>);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        at_least(key, "clusters", self.clusters.iter().copied().min().unwrap_or(0), 1)
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Projector<F, 512, 128>, Identity)),
            Size::Paper => self.with(start, head!(F => Projector<F, 2048, 128>, Identity)),
        }
    }
}

impl Settings {
    fn with<D: tensor::Losses, const P: usize>(
        &self,
        start: &Start<D>,
        head: BuildHead<D, P, P>,
    ) -> Result<Box<dyn Learner<D>>> {
        // A pass drops an incomplete last batch, so this many pairs are known before the first epoch.
        let known = start.pairs / start.batch * start.batch;
        if let Some(clusters) = self.clusters.iter().find(|&&clusters| clusters > known) {
            return Err(Error::new(format!("{clusters} clusters of the {known} pairs that a pass sees"))
                .hint(format!("ask for at most {known} in each head: `--set 'methods.deepcluster-v2.clusters=[{known}]'`")));
        }
        Ok(Box::new(DeepclusterV2 {
            network: Network::open(&start.spec, head, &start.device, &start.initialisation)?,
            on_device: OnDevice::of(&start.device, start.pairs, P),
            memories: [0, 1].map(|_| Memory::new(start.pairs, P)),
            heads: Vec::new(),
            draws: start.draws.split("clusters"),
            settings: self.clone(),
        }))
    }
}

struct DeepclusterV2<D: tensor::Losses, const P: usize> {
    network: Network<D, P, P>,
    /// The memory banks of first views and of second views.
    memories: [Memory; 2],
    /// The rows of both and the centroids of the heads, if the device has the losses. Then those in `memories` are out of
    /// date, except in `state` and at the beginning of an epoch.
    on_device: Option<OnDevice<D>>,
    /// The clusters of each head in this epoch.
    heads: Vec<Clusters>,
    draws: Key,
    settings: Settings,
}

impl<D: tensor::Losses, const P: usize> Learner<D> for DeepclusterV2<D, P> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn remembers(&self) -> bool {
        true
    }

    /// Uses the network as it was initialised, one view at a time (as in the authors' code); a
    /// transformer drops no paths.
    fn warm_up(&mut self, batch: &MethodBatch<'_>) {
        let pass = self.network.embed_views(batch.images);
        match &mut self.on_device {
            Some(on_device) => on_device.write(batch.pairs, pass.projections()),
            None => drop(write(&mut self.memories, batch.pairs, &pass.z())),
        }
    }

    fn step(&mut self, batch: &MethodBatch<'_>, at: StepInfo) -> Reading {
        if at.begins_epoch() {
            if let Some(on_device) = &self.on_device {
                on_device.copy_to(&mut self.memories);
            }
            self.heads = cluster_heads(&self.memories, &self.settings.clusters, self.draws.at(at.epoch() as u64));
            if let Some(on_device) = &mut self.on_device {
                on_device.take_centroids(&self.heads);
            }
        }
        let pass = self.network.embed(batch.images, &[]);
        if let Some(on_device) = &mut self.on_device {
            on_device.write(batch.pairs, pass.projections());
            let loss = on_device.loss(pass.predictions(), batch.pairs, &self.heads, self.settings.temperature);
            return pass.backward_from(loss);
        }
        let slots = write(&mut self.memories, batch.pairs, &pass.z());
        graded(&pass.p(), P, &slots, &self.heads, self.settings.temperature).backward(pass)
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        let mut banks = self.on_device.iter_mut().flat_map(|on_device| &mut on_device.memories);
        for (view, memory) in self.memories.iter_mut().enumerate() {
            rows_state(banks.next(), &format!("memory.{view}"), &mut memory.rows, state)?;
        }
        let mut heads = [self.heads.len() as u64];
        state.counts("heads", &mut heads)?;
        if self.heads.len() as u64 != heads[0] {
            let pairs = self.memories[0].rows.len() / P;
            let empty = |&clusters: &usize| Clusters { centroids: vec![0.0; clusters * P], assignments: vec![-1; pairs] };
            self.heads = self.settings.clusters.iter().map(empty).collect();
        }
        for (index, head) in self.heads.iter_mut().enumerate() {
            state.floats(&format!("centroids.{index}"), &mut head.centroids)?;
            let mut shifted: Vec<u64> = head.assignments.iter().map(|&cluster| (cluster + 1) as u64).collect();
            state.counts(&format!("assignments.{index}"), &mut shifted)?;
            head.assignments = shifted.iter().map(|&cluster| cluster as i32 - 1).collect();
        }
        if let Some(on_device) = &mut self.on_device {
            on_device.take_centroids(&self.heads);
        }
        Ok(())
    }
}

/// What a device with losses keeps. The host clusters copies of the memories at the beginning of each epoch.
struct OnDevice<D: tensor::Losses> {
    memories: [Bank<D>; 2],
    /// Of each head.
    centroids: Vec<Bank<D>>,
    device: D,
}

impl<D: tensor::Losses> OnDevice<D> {
    fn of(device: &D, pairs: usize, dim: usize) -> Option<Self> {
        let empty = || Bank::of(device, &Memory::new(pairs, dim).rows, dim);
        Some(Self { memories: [empty()?, empty()?], centroids: Vec::new(), device: device.clone() })
    }

    /// Stores the projections (2N, P) of these pairs, as `write` does.
    fn write<const P: usize>(&mut self, pairs: &[u32], projections: &tensor::Tensor<Vectors<P>, D>) {
        let (n, unit) = (pairs.len(), self.device.unit_floats(projections.data(), P));
        for (memory, first) in self.memories.iter_mut().zip([0, n]) {
            memory.mix(pairs, Rows { arena: &unit, rows: first..first + n }, 0.0);
        }
    }

    fn copy_to(&self, memories: &mut [Memory; 2]) {
        memories.iter_mut().zip(&self.memories).for_each(|(memory, bank)| bank.copy_to(&mut memory.rows));
    }

    fn take_centroids(&mut self, heads: &[Clusters]) {
        let dim = self.memories[0].width();
        self.centroids = heads.iter().filter_map(|head| Bank::of(&self.device, &head.centroids, dim)).collect();
    }

    /// The loss of `definition`. A view's own centroid is its positive, the others are candidates.
    fn loss<const P: usize>(
        &self,
        views: &tensor::Tensor<Vectors<P>, D>,
        pairs: &[u32],
        heads: &[Clusters],
        temperature: f32,
    ) -> DeviceLoss<D> {
        let rows = views.shape().0;
        let assigned = |head: &Clusters| {
            let cluster = |&pair: &u32| u32::try_from(head.assignments[pair as usize]).ok();
            let of_pairs: Vec<Option<u32>> = pairs.iter().map(cluster).collect();
            of_pairs.repeat(rows / pairs.len())
        };
        let own_centroids = |clusters: &[Option<u32>], bank: &Bank<D>| {
            // A view without a cluster has weight 0, with any centroid.
            bank.gather(&clusters.iter().map(|cluster| cluster.unwrap_or(0)).collect::<Vec<_>>())
        };
        let clusters: Vec<_> = heads.iter().map(assigned).collect();
        let positives: Vec<_> = clusters.iter().zip(&self.centroids).map(|(of, bank)| own_centroids(of, bank)).collect();
        let of_heads = clusters.iter().zip(&positives).zip(&self.centroids);
        let comparisons: Vec<_> = of_heads.map(|((clusters, positives), bank)| {
            let weight = 1.0 / (clusters.iter().flatten().count().max(1) * heads.len()) as f32;
            let term = |&excluded: &Option<u32>| Term { weight: excluded.map_or(0.0, |_| weight), excluded };
            Comparison {
                first: 0,
                terms: clusters.iter().map(term).collect(),
                candidates: bank.all(),
                positives: Rows { arena: positives, rows: 0..rows },
                mistaken: false,
            }
        }).collect();
        self.device.info_nce(views.data(), P, temperature, &comparisons)
    }
}

/// Rounds of k-means (as in the authors' code).
const ROUNDS: usize = 10;
/// The number of rows whose similarities with all centroids are in memory at once.
const BLOCK: usize = 512;
/// The assignment of a slot without a cluster.
const NONE: i32 = -1;

/// A memory bank: the latest projection of one view of each pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// (pairs, P); each row has unit length, or is zero until it is written.
    pub rows: Vec<f32>,
    /// P.
    pub dim: usize,
}

impl Memory {
    /// An empty memory bank for `pairs` pairs.
    pub fn new(pairs: usize, dim: usize) -> Self {
        Self { rows: vec![0.0; pairs * dim], dim }
    }

    /// Stores the projections (N, P) of these pairs, normalised to unit length.
    pub fn write(&mut self, slots: &[usize], projections: &[f32]) {
        for (slot, row) in slots.iter().zip(UnitRows::new(projections, self.dim).rows.chunks_exact(self.dim)) {
            self.rows[slot * self.dim..][..self.dim].copy_from_slice(row);
        }
    }
}

/// Stores the projections (2N, P) of these pairs, all first views before all second views, and
/// returns the pairs' slots.
fn write(memories: &mut [Memory; 2], pairs: &[u32], projections: &[f32]) -> Vec<usize> {
    let slots: Vec<usize> = pairs.iter().map(|&pair| pair as usize).collect();
    for (memory, views) in memories.iter_mut().zip(projections.chunks(projections.len() / 2)) {
        memory.write(&slots, views);
    }
    slots
}

/// The clusters of one head.
#[derive(Clone, Debug, PartialEq)]
pub struct Clusters {
    /// (K, P), each row of unit length.
    pub centroids: Vec<f32>,
    /// (pairs): the cluster of each slot; -1 if it has none.
    pub assignments: Vec<i32>,
}

/// A row's most similar centroid.
#[derive(Clone, Copy, Debug)]
struct Nearest {
    cluster: usize,
    similarity: f32,
}

/// The clusters of each head: head h has `counts[h]` clusters, from memory h modulo the number of memories.
pub fn cluster_heads(memories: &[Memory], counts: &[usize], key: Key) -> Vec<Clusters> {
    let head = |(index, &count)| cluster(&memories[index % memories.len()], count, key.at(index as u64));
    counts.iter().enumerate().map(head).collect()
}

/// Spherical k-means of the rows that were written. Centroids are sums of rows, normalised to unit length, and the
/// similarity is the cosine. It starts from `count` different rows drawn by `key`.
///
/// # Panics
/// When `count` is 0, or more than the number of written rows.
pub fn cluster(memory: &Memory, count: usize, key: Key) -> Clusters {
    let dim = memory.dim;
    let row = |slot: usize| &memory.rows[slot * dim..][..dim];
    let pairs = memory.rows.len() / dim;
    let written: Vec<usize> = (0..pairs).filter(|&slot| row(slot).iter().any(|&x| x != 0.0)).collect();
    assert!((1..=written.len()).contains(&count), "k-means: {count} clusters of {} rows", written.len());
    let rows: Vec<f32> = written.iter().flat_map(|&slot| row(slot)).copied().collect();

    let start = key.stream().permutation(written.len());
    let mut centroids: Vec<f32> = start[..count].iter().flat_map(|&index| row(written[index])).copied().collect();
    for _ in 0..ROUNDS {
        let mut nearest = nearest(&rows, &centroids, dim);
        fill_empty(&mut nearest, count);
        move_centroids(&mut centroids, &rows, &nearest, dim);
    }
    let mut assignments = vec![NONE; pairs];
    for (slot, nearest) in written.into_iter().zip(nearest(&rows, &centroids, dim)) {
        assignments[slot] = i32::try_from(nearest.cluster).expect("fewer clusters than rows in memory");
    }
    Clusters { centroids, assignments }
}

/// The most similar centroid of each row; among equals, the first.
fn nearest(rows: &[f32], centroids: &[f32], dim: usize) -> Vec<Nearest> {
    let count = centroids.len() / dim;
    let mut nearest = Vec::with_capacity(rows.len() / dim);
    let mut similarities = vec![0.0; BLOCK * count];
    for block in rows.chunks(BLOCK * dim) {
        let height = block.len() / dim;
        let similarities = &mut similarities[..height * count]; // (height, K)
        matmul::nt(similarities, block, centroids, height, dim, count);
        nearest.par_extend(similarities.par_chunks_exact(count).map(|row| {
            let similarity = largest(row);
            Nearest { cluster: row.iter().position(|&other| other == similarity).unwrap_or(0), similarity }
        }));
    }
    nearest
}

/// Moves to each empty cluster one row of the largest cluster: the row that is least similar to its
/// centroid; among equals, the first.
fn fill_empty(nearest: &mut [Nearest], count: usize) {
    let mut sizes = vec![0; count];
    nearest.iter().for_each(|nearest| sizes[nearest.cluster] += 1);
    for empty in 0..count {
        if sizes[empty] > 0 {
            continue;
        }
        let largest = (1..count).fold(0, |best, cluster| if sizes[cluster] > sizes[best] { cluster } else { best });
        let members = nearest.iter_mut().filter(|nearest| nearest.cluster == largest);
        let outermost = members.min_by(|a, b| a.similarity.total_cmp(&b.similarity)).expect("the largest is not empty");
        *outermost = Nearest { cluster: empty, similarity: 1.0 };
        sizes[largest] -= 1;
        sizes[empty] = 1;
    }
}

/// Sets each centroid to the sum of its rows, added in order and normalised to unit length. If the sum is
/// zero, the centroid does not change.
fn move_centroids(centroids: &mut [f32], rows: &[f32], nearest: &[Nearest], dim: usize) {
    let mut members = vec![Vec::new(); centroids.len() / dim];
    nearest.iter().enumerate().for_each(|(row, nearest)| members[nearest.cluster].push(row));
    centroids.par_chunks_exact_mut(dim).zip(members).for_each(|(centroid, members)| {
        let mut sum = vec![0.0; dim];
        for row in members {
            sum.iter_mut().zip(&rows[row * dim..][..dim]).for_each(|(sum, &x)| *sum += f64::from(x));
        }
        let length = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
        if length > 0.0 {
            centroid.iter_mut().zip(sum).for_each(|(centroid, sum)| *centroid = (sum / length) as f32);
        }
    });
}

/// Cross-entropy of the views' clusters, averaged over the heads:
///
/// L = -1/H sum_h 1/n_h sum_i log( exp(c_h,a·z_i / t) / sum_k exp(c_h,k·z_i / t) )
///
/// over the n_h views whose pair has a cluster in head h, with a the cluster of i's pair in head h; 0 if no pair
/// has one. `views` (V N, P), all first views before all second views, are normalised to unit length; `slots`
/// (N) are the slots of the pairs.
pub fn definition<const P: usize, E: Dtype, T: Tape<E, Cpu>>(
    views: Tensor<Vectors<P>, E, Cpu, T>,
    slots: &[usize],
    heads: &[Clusters],
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let number = super::number::<E>;
    let device = views.device().clone();
    let rows = views.shape().0;
    let views = unit(views);
    let copy = views.retaped::<T>();
    let mut total = views.sum::<Rank0, _>() * number(0.0); // has a gradient even without heads
    for head in heads {
        let count = head.centroids.len() / P;
        let target = |row: usize| head.assignments[slots[row % slots.len()]];
        let counted = (0..rows).filter(|&row| target(row) != NONE).count().max(1);
        let centroids = head.centroids.iter().map(|&x| number(x.into())).collect();
        let centroids = device.tensor_from_vec(centroids, (count, Const::<P>));
        let targets = indicator(&device, (rows, count), |row, cluster| target(row) == cluster as i32);
        let logits = similarities(copy.retaped::<T>(), centroids) / number(temperature.into()); // (V N, K)
        let log_likelihood = (logits.log_softmax::<Axis<1>>() * targets).sum::<Rank0, _>();
        total = total - log_likelihood / number((counted * heads.len()) as f64);
    }
    total
}

/// The loss of `definition` and its gradient with respect to the views (V N, P).
pub fn graded(views: &[f32], dim: usize, slots: &[usize], heads: &[Clusters], temperature: f32) -> LossAndGrad {
    let views = UnitRows::new(views, dim);
    let copies = views.rows.len() / dim / slots.len();
    let scale = f64::from(1.0 / temperature);
    let mut value = 0.0;
    let mut gradient = vec![0.0; views.rows.len()];
    for head in heads {
        let targets: Vec<i32> = slots.iter().map(|&slot| head.assignments[slot]).collect();
        let counted = copies * targets.iter().filter(|&&target| target != NONE).count();
        if counted == 0 {
            continue;
        }
        let share = 1.0 / (counted * heads.len()) as f64;
        let Attended { sums: means, rows: log_sums } =
            attend(&views.rows, &head.centroids, dim, temperature, |_, _| {}, |_, _, log_sum| log_sum);
        let rows = gradient.chunks_exact_mut(dim).zip(means.chunks_exact(dim)).zip(views.rows.chunks_exact(dim));
        for (((gradient, mean), view), (log_sum, &target)) in rows.zip(log_sums.into_iter().zip(targets.iter().cycle()))
        {
            let Ok(target) = usize::try_from(target) else { continue };
            let centroid = &head.centroids[target * dim..][..dim];
            value += share * (log_sum - scale * inner(view, centroid));
            for (gradient, (&mean, &centroid)) in gradient.iter_mut().zip(mean.iter().zip(centroid)) {
                *gradient += (share * scale * (f64::from(mean) - f64::from(centroid))) as f32;
            }
        }
    }
    LossAndGrad { value, gradient: views.backward(gradient) }
}
