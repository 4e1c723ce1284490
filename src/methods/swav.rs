//! SwAV: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
//! <https://arxiv.org/abs/2006.09882>.
//!
//! Each view's scores over K prototypes predict the assignment of the other views. Assignments are optimal transport's:
//! every prototype gets its share of the batch, so that not all views go to one.
//!
//! Semantic pairs: a view predicts the prototype of another image of its category. Prototypes share the batch equally:
//! where a batch has several pairs of one category, they compete for its prototypes, as images that look alike do in
//! the paper. The queue of a view holds projections of that view's images alone, of whatever category.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::matmul;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Linear, Prototypes, UnitRows, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, Vectors};

use super::Graded;
use super::cross_entropy;
use super::sinkhorn::{Sinkhorn, assign};
use super::{Batch, Crops, Learner, MethodSettings, Moment, Size, Start, State, above_zero, at_least, places};

/// SwAV's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What scores are divided by where they predict.
    pub temperature: f32,
    /// How assignments are found.
    pub sinkhorn: Sinkhorn,
    /// Projections of earlier batches that are assigned with each view's; 0 is without a queue.
    pub queue: usize,
    /// Epochs before the queue is used.
    pub queue_from_epoch: usize,
    /// Epochs in which the prototypes stay as they are.
    pub freeze_epochs: usize,
    /// Small crops of each pair, half the side; 0 is without multi-crop.
    pub crops: usize,
    /// Of the head, and the number of prototypes.
    pub head: Size,
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// Linear, batch normalisation, ReLU, linear, unit length (section 4 and the authors' code).
type Projector<const F: usize, const H: usize, const P: usize> =
    sequence!(Linear<F, H>, BatchNormRelu<H>, Linear<H, P>, UnitRows);

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn crops(&self) -> Crops {
        if self.crops == 0 { Crops::None } else { Crops::Random(self.crops) }
    }

    fn validate(&self, key: &str) -> Result<()> {
        above_zero(key, "temperature", self.temperature)?;
        above_zero(key, "sinkhorn.epsilon", self.sinkhorn.epsilon)?;
        at_least(key, "sinkhorn.iterations", self.sinkhorn.iterations, 1)
    }

    fn start<D: tensor::Device>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Projector<F, 512, 128>, Prototypes<128, 128>)),
            Size::Paper => self.with(start, head!(F => Projector<F, 2048, 128>, Prototypes<128, 3000>)),
        }
    }
}

impl Settings {
    fn with<D: tensor::Device, const P: usize, const K: usize>(
        &self,
        start: &Start<D>,
        head: BuildHead<D, P, K>,
    ) -> Result<Box<dyn Learner<D>>> {
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        let queues = [0, 1].map(|_| ProjectionQueue::new(self.queue, P));
        Ok(Box::new(Swav { network, queues, settings: self.clone() }))
    }
}

struct Swav<D: tensor::Device, const P: usize, const K: usize> {
    network: Network<D, P, K>,
    /// Of first views, and of second views.
    queues: [ProjectionQueue; 2],
    settings: Settings,
}

impl<D: tensor::Device, const P: usize, const K: usize> Swav<D, P, K> {
    /// Assignments (N, K) of one view's scores, together with its queue's; one view at a time, as in the authors' code.
    fn assign(&self, scores: &[f32], view: usize, at: Moment) -> Vec<f32> {
        let (queue, batch) = (&self.queues[view], scores.len() / K);
        if self.settings.queue == 0 || at.epoch() < self.settings.queue_from_epoch || !queue.is_full() {
            return assign(scores, K, batch, self.settings.sinkhorn);
        }
        let prototypes = self.network.backbone().read().host_of(PROTOTYPES); // (K, P)
        let mut all = scores.to_vec();
        all.resize(scores.len() + queue.rows.len() / P * K, 0.0);
        matmul::nt(&mut all[scores.len()..], &queue.rows, &prototypes, queue.rows.len() / P, P, K);
        assign(&all, K, batch, self.settings.sinkhorn)
    }
}

/// The prototypes' names begin so.
const PROTOTYPES: &str = "predictor.";

impl<D: tensor::Device, const P: usize, const K: usize> Learner<D> for Swav<D, P, K> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &Batch<'_>, at: Moment) -> f64 {
        self.network.parameters().unit_rows_of(PROTOTYPES, P);
        let pass = self.network.embed(batch.images, batch.crops); // ((2 + crops) N, K)
        let n = batch.pairs.len();
        let assignments: Vec<f32> =
            (0..2).flat_map(|view| self.assign(&pass.p[view * n * K..][..n * K], view, at)).collect();
        let loss = graded(&pass.p, &assignments, K, self.settings.temperature);
        if self.settings.queue > 0 {
            for (queue, view) in self.queues.iter_mut().zip(pass.z.chunks(n * P)) {
                queue.push(view);
            }
        }
        pass.backward(&loss.gradient);
        loss.value
    }

    fn frozen(&self) -> Option<(&'static str, usize)> {
        Some((PROTOTYPES, self.settings.freeze_epochs))
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        for (view, queue) in self.queues.iter_mut().enumerate() {
            state.floats(&format!("queue.{view}"), &mut queue.rows)?;
            let ProjectionQueue { cursor, filled, .. } = queue;
            places(state, &format!("queue.{view}.places"), &mut [cursor, filled])?;
        }
        Ok(())
    }
}

/// Equations 1, 2 and 6 of the paper, averaged over the images, over the other views and over the two that assign, as in
/// the authors' code:
///
/// L = mean over i < 2, j != i of -sum_k q_ik log softmax(s_j / t)_k
///
/// scores s (V N, K) of V crops against the prototypes: view by view, those that assign first; q (2N, K): [`assign`] of
/// each of the first two, values. t is 0.1 in the paper.
pub fn definition<const K: usize, E: Dtype, T: Tape<E, Cpu>>(
    scores: Tensor<Vectors<K>, E, Cpu, T>,
    assignments: Tensor<Vectors<K>, E, Cpu>,
    temperature: f32,
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    cross_entropy::definition(scores, assignments, temperature)
}

/// The same and the gradient of the scores.
pub fn graded(scores: &[f32], assignments: &[f32], prototypes: usize, temperature: f32) -> Graded {
    cross_entropy::graded(scores, assignments, prototypes, temperature)
}

/// The last projections of one view, with which a small batch is assigned: a ring of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionQueue {
    /// The rows, (capacity, width); zero where none came yet.
    pub rows: Vec<f32>,
    /// The row that is written next.
    pub cursor: usize,
    /// Rows that came, at most the capacity.
    pub filled: usize,
    /// Length of a row.
    pub width: usize,
}

impl ProjectionQueue {
    /// An empty queue.
    pub fn new(capacity: usize, width: usize) -> Self {
        Self { rows: vec![0.0; capacity * width], cursor: 0, filled: 0, width }
    }

    /// Whether it may be used: as in the authors' code, once every row has come.
    pub fn is_full(&self) -> bool {
        self.filled * self.width == self.rows.len()
    }

    /// Takes rows in, in order, each in the place of the oldest.
    pub fn push(&mut self, projections: &[f32]) {
        let capacity = self.rows.len() / self.width;
        assert!(projections.len().is_multiple_of(self.width), "ProjectionQueue::push: {} numbers", projections.len());
        for row in projections.chunks(self.width) {
            self.rows[self.cursor * self.width..][..self.width].copy_from_slice(row);
            self.cursor = (self.cursor + 1) % capacity;
            self.filled = capacity.min(self.filled + 1);
        }
    }
}
