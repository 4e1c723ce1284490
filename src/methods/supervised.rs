//! Training with labels: an upper bound with which methods without labels are compared. It is
//! not a method of the paper.
//!
//! One linear layer on the encoder's features classifies both images of a pair into the pair's category.

use dfdx::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::models::{AnyNetwork, BuildHead, Network, head};
use crate::nn::{Identity, Linear};
use crate::optim::Recipe;
use crate::tensor::{self, Reading, Vectors};

use super::number;
use super::{MethodBatch, Learner, MethodSettings, StepInfo, Start};

/// Hyperparameters of training with labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Optimiser, learning rate, decay.
    pub recipe: Recipe,
}

/// The number of outputs of the classifier, enough for ImageNet's categories. Categories without images are never
/// correct, and have no effect after the first steps.
pub const CATEGORIES: usize = 1024;

impl MethodSettings for Settings {
    fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    fn validate(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn start<D: tensor::Losses>(&self, start: &Start<D>) -> Result<Box<dyn Learner<D>>> {
        if start.categories > CATEGORIES {
            return Err(Error::new(format!(
                "training with labels knows {CATEGORIES} categories, and the pairs' set has {}",
                start.categories
            ))
            .hint(format!("`--set pairs.categories={CATEGORIES}`")));
        }
        let head: BuildHead<D, CATEGORIES, CATEGORIES> = head!(F => Linear<F, CATEGORIES>, Identity);
        Ok(Box::new(Supervised { network: Network::open(&start.spec, head, &start.device, &start.initialisation)? }))
    }
}

struct Supervised<D: tensor::Losses> {
    network: Network<D, CATEGORIES, CATEGORIES>,
}

impl<D: tensor::Losses> Learner<D> for Supervised<D> {
    fn network(&self) -> &dyn AnyNetwork<D> {
        &self.network
    }

    fn step(&mut self, batch: &MethodBatch<'_>, _: StepInfo) -> Reading {
        let of_views = batch.categories.repeat(2);
        let pass = self.network.embed(batch.images, &[]);
        let scores = pass.predictions();
        if let Some(loss) = scores.device().category_cross_entropy(scores.data(), &of_views, CATEGORIES) {
            return pass.backward_from(loss);
        }
        let loss = cross_entropy(pass.on_tape(), &of_views);
        let value = f64::from(loss.array());
        loss.backward();
        Reading::Known(value)
    }
}

/// L = -1/N sum_n log softmax(s_n)_{c_n}
///
/// scores s (N, K), categories c (N).
///
/// # Panics
/// When a category is K or more, or there are not N of them.
pub fn cross_entropy<const K: usize, E: Dtype, T: Tape<E, Cpu>>(
    scores: Tensor<Vectors<K>, E, Cpu, T>,
    categories: &[u32],
) -> Tensor<Rank0, E, Cpu, T>
where
    Cpu: Device<E>,
{
    let shape = *scores.shape();
    assert!(categories.len() == shape.0, "cross_entropy: {} categories of {} rows", categories.len(), shape.0);
    let mut targets = vec![number::<E>(0.0); shape.num_elements()];
    for (row, &category) in targets.chunks_exact_mut(K).zip(categories) {
        row[category as usize] = number(1.0);
    }
    let targets: Tensor<Vectors<K>, E, Cpu> = scores.device().tensor_from_vec(targets, shape);
    (scores.log_softmax::<Axis<1>>() * targets).sum::<Rank0, _>() / number::<E>(-(shape.0 as f64))
}
