//! SwAV: Caron et al. 2020, "Unsupervised Learning of Visual Features by Contrasting Cluster Assignments",
//! <https://arxiv.org/abs/2006.09882>.
//!
//! Each view's scores over K prototypes predict the assignments of the other views. The assignments come from optimal
//! transport: every prototype gets an equal share of the batch, so that not all views are assigned to one prototype.
//!
//! Semantic pairs: a view predicts the prototype of another image of its category. The prototypes share the batch
//! equally, so several pairs of one category in a batch compete for its prototypes, as similar images do in the paper.
//! The queue of a view holds projections of only that view's images, of any category.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::kernels::cpu::matmul;
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{BatchNormRelu, Linear, Prototypes, UnitRows, sequence};
use crate::optim::Recipe;
use crate::tensor::{self, DeviceLoss, Reading, Vectors, ViewTargets};

use super::LossAndGrad;
use super::cross_entropy;
use super::sinkhorn::{Sinkhorn, assign};
use super::{MethodBatch, Crops, Learner, MethodSettings, StepInfo, Size, Start, State, above_zero, at_least, places};

/// SwAV's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The temperature by which the predicting scores are divided.
    pub temperature: f32,
    /// How assignments are computed.
    pub sinkhorn: Sinkhorn,
    /// The number of earlier projections that are assigned together with those of each view; 0 disables the queue.
    pub queue: usize,
    /// The number of epochs before the queue is used.
    pub queue_from_epoch: usize,
    /// The number of first epochs in which the prototypes are frozen.
    pub freeze_epochs: usize,
    /// The number of small crops of each pair, with half the side length; 0 disables multi-crop.
    pub crops: usize,
    /// The size of the head, which includes the number of prototypes.
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

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        match self.head {
            Size::Small => self.with(start, head!(F => Projector<F, 512, 128>, Prototypes<128, 128>)),
            Size::Paper => self.with(start, head!(F => Projector<F, 2048, 128>, Prototypes<128, 3000>)),
        }
    }
}

impl Settings {
    fn with<D: tensor::Losses, const P: usize, const K: usize>(
        &self,
        start: &Start<D>,
        head: BuildHead<D, P, K>,
    ) -> Result<Box<dyn Learner<D>>> {
        let network = Network::open(&start.spec, head, &start.device, &start.initialisation)?;
        let queues = [0, 1].map(|_| ProjectionQueue::new(self.queue, P));
        let upload = |queue: &ProjectionQueue| start.device.upload(&queue.rows);
        let on_device = start.device.has_losses().then(|| queues.each_ref().map(upload));
        Ok(Box::new(Swav { network, queues, on_device, settings: self.clone() }))
    }
}

struct Swav<D: tensor::Losses, const P: usize, const K: usize> {
    network: Network<D, P, K>,
    /// The queues of first views and of second views.
    queues: [ProjectionQueue; 2],
    /// The rows of both, if the device has the losses: (capacity, P), the oldest first. Then those in `queues` are out of
    /// date, except in `state`.
    on_device: Option<[D::Buffer; 2]>,
    settings: Settings,
}

impl<D: tensor::Losses, const P: usize, const K: usize> Swav<D, P, K> {
    /// Whether a view is assigned together with its queue.
    fn uses_queue(&self, queue: &ProjectionQueue, at: StepInfo) -> bool {
        self.settings.queue > 0 && at.epoch() >= self.settings.queue_from_epoch && queue.is_full()
    }

    /// Assignments (N, K) of one view's scores, computed together with the scores of its queue; one view at a
    /// time, as in the authors' code.
    fn assign(&self, scores: &[f32], view: usize, at: StepInfo) -> Vec<f32> {
        let (queue, batch) = (&self.queues[view], scores.len() / K);
        if !self.uses_queue(queue, at) {
            return assign(scores, K, batch, self.settings.sinkhorn);
        }
        let prototypes = self.network.backbone().read().host_of(PROTOTYPES); // (K, P)
        let mut all = scores.to_vec();
        all.resize(scores.len() + queue.rows.len() / P * K, 0.0);
        matmul::nt(&mut all[scores.len()..], &queue.rows, &prototypes, queue.rows.len() / P, P, K);
        assign(&all, K, batch, self.settings.sinkhorn)
    }

    /// The loss of scores (V N, K), if the device has it. Then the projections (V N, P) enter the queues.
    fn loss_on_device(
        &mut self,
        scores: &tensor::Tensor<Vectors<K>, D>,
        projections: &tensor::Tensor<Vectors<P>, D>,
        n: usize,
        at: StepInfo,
    ) -> Option<DeviceLoss<D>> {
        let (device, rows) = (scores.device(), self.on_device.as_ref()?);
        let of_view = |view: usize| {
            let of_batch = device.slice(scores.data(), view * n * K..(view + 1) * n * K);
            if !self.uses_queue(&self.queues[view], at) {
                return of_batch;
            }
            let parameters = self.network.backbone().read();
            let prototypes = parameters.slots(PROTOTYPES)[0];
            device.concat(&of_batch, &device.linear(&rows[view], &parameters.values, prototypes, None, None, K))
        };
        let assigning = device.concat(&of_view(0), &of_view(1));
        let Sinkhorn { epsilon, iterations: rounds } = self.settings.sinkhorn;
        let targets = ViewTargets::Shared { scores: &assigning, groups: 2, given: n, epsilon, rounds };
        let loss = device.view_cross_entropy(scores.data(), targets, K, self.settings.temperature);
        if self.settings.queue > 0 {
            self.enqueue_on_device(projections, n);
        }
        loss
    }

    /// Each view's projections replace the oldest of its queue.
    fn enqueue_on_device(&mut self, projections: &tensor::Tensor<Vectors<P>, D>, n: usize) {
        let (device, capacity) = (projections.device(), self.settings.queue);
        let newer = n.min(capacity);
        for (view, (rows, queue)) in self.on_device.iter_mut().flatten().zip(&mut self.queues).enumerate() {
            let end = (view + 1) * n;
            let of_view = device.slice(projections.data(), (end - newer) * P..end * P);
            *rows = device.concat(&device.slice(rows, newer * P..capacity * P), &of_view);
            queue.advance(n);
        }
    }
}

/// The prefix of the names of the prototypes' parameters.
const PROTOTYPES: &str = "predictor.";

impl<D: tensor::Losses, const P: usize, const K: usize> Learner<D> for Swav<D, P, K> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, at: StepInfo) -> Reading {
        self.network.parameters().unit_rows_of(PROTOTYPES, P);
        let pass = self.network.embed(batch.images, batch.crops); // ((2 + crops) N, K)
        let n = batch.pairs.len();
        if let Some(loss) = self.loss_on_device(pass.predictions(), pass.projections(), n, at) {
            return pass.backward_from(loss);
        }
        let scores = pass.p();
        let assignments: Vec<f32> =
            (0..2).flat_map(|view| self.assign(&scores[view * n * K..][..n * K], view, at)).collect();
        let loss = graded(&scores, &assignments, K, self.settings.temperature);
        if self.settings.queue > 0 {
            for (queue, view) in self.queues.iter_mut().zip(pass.z().chunks(n * P)) {
                queue.push(view);
            }
        }
        loss.backward(pass)
    }

    fn frozen(&self) -> Option<(&'static str, usize)> {
        Some((PROTOTYPES, self.settings.freeze_epochs))
    }

    fn state(&mut self, state: &mut dyn State<D>) -> Result<()> {
        let device = self.network.parameters().device.clone();
        let mut on_device = self.on_device.iter_mut().flatten();
        for (view, queue) in self.queues.iter_mut().enumerate() {
            let mut on_device = on_device.next();
            if let Some(rows) = &on_device {
                queue.set_oldest_first(&device.download(rows));
            }
            state.floats(&format!("queue.{view}"), &mut queue.rows)?;
            let ProjectionQueue { cursor, filled, .. } = queue;
            places(state, &format!("queue.{view}.places"), &mut [cursor, filled])?;
            if let Some(rows) = &mut on_device {
                **rows = device.upload(&queue.oldest_first());
            }
        }
        Ok(())
    }
}

/// Equations 1, 2 and 6 of the paper, averaged over the images, over the other views and over the two assigning
/// views, as in the authors' code:
///
/// L = mean over i < 2, j != i of -sum_k q_ik log softmax(s_j / t)_k
///
/// scores s (V N, K) of V crops against the prototypes: one view after the other, the assigning views first; q (2N, K):
/// [`assign`] of each of the first two views, without gradient. t is 0.1 in the paper.
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

/// The loss of `definition` and its gradient with respect to the scores.
pub fn graded(scores: &[f32], assignments: &[f32], prototypes: usize, temperature: f32) -> LossAndGrad {
    cross_entropy::graded(scores, assignments, prototypes, temperature)
}

/// A ring buffer of the last projections of one view, with which a small batch is assigned.
#[derive(Clone, Debug, PartialEq)]
pub struct ProjectionQueue {
    /// The rows, (capacity, width); zero until they are written.
    pub rows: Vec<f32>,
    /// The row that is written next.
    pub cursor: usize,
    /// The number of rows written, at most the capacity.
    pub filled: usize,
    /// Length of a row.
    pub width: usize,
}

impl ProjectionQueue {
    /// An empty queue.
    pub fn new(capacity: usize, width: usize) -> Self {
        Self { rows: vec![0.0; capacity * width], cursor: 0, filled: 0, width }
    }

    /// Whether the queue may be used: as in the authors' code, only after every row has been written.
    pub fn is_full(&self) -> bool {
        self.filled * self.width == self.rows.len()
    }

    /// The rows from that which is written next.
    fn oldest_first(&self) -> Vec<f32> {
        let (newer, older) = self.rows.split_at(self.cursor * self.width);
        [older, newer].concat()
    }

    fn set_oldest_first(&mut self, rows: &[f32]) {
        self.rows.copy_from_slice(rows);
        self.rows.rotate_right(self.cursor * self.width);
    }

    /// Counts rows that were written.
    fn advance(&mut self, count: usize) {
        let capacity = self.rows.len() / self.width;
        self.cursor = (self.cursor + count) % capacity;
        self.filled = capacity.min(self.filled + count);
    }

    /// Writes rows in order, each over the oldest row.
    pub fn push(&mut self, projections: &[f32]) {
        assert!(projections.len().is_multiple_of(self.width), "ProjectionQueue::push: {} numbers", projections.len());
        for row in projections.chunks(self.width) {
            self.rows[self.cursor * self.width..][..self.width].copy_from_slice(row);
            self.advance(1);
        }
    }
}
