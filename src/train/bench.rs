//! The time of one training step, measured as the peers' script measures theirs.

use std::time::Instant;

use dfdx::prelude::Backward;

use crate::error::Result;
use crate::methods::Method;
use crate::models::{self, ModelSpec};
use crate::optim::{Optimizer, OptimizerSettings, Rule};
use crate::rng::Key;
use crate::tensor::profile::{self, Entry};
use crate::tensor::{Cpu, Precision};

/// Steps before the first that counts: memory is warm after them.
const WARM_UP: usize = 3;

/// What was measured.
pub struct Steps {
    /// Number format of activations and products.
    pub precision: Precision,
    /// Seconds of each step.
    pub seconds: Vec<f64>,
    /// What the network's and the optimiser's operations took of all steps together.
    pub profile: Vec<Entry>,
}

/// Times `steps` SimCLR steps on `pairs` pairs of random images: encoder, head, NT-Xent at temperature
/// 0.5, backward, SGD with momentum 0.9, rate 0.03 and decay 1e-4.
///
/// # Errors
/// When no network was built for the image size.
pub fn time_steps(model: &ModelSpec, precision: Precision, pairs: usize, steps: usize) -> Result<Steps> {
    let network = models::open(model, &Cpu { precision }, Key::root(0))?;
    let settings = OptimizerSettings {
        rule: Rule::Sgd,
        learning_rate: 0.03,
        momentum: 0.9,
        nesterov: false,
        weight_decay: 1e-4,
        decay_vectors: true,
        trust: 0.0,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
    };
    let mut optimizer = Optimizer::new(&settings, &network.parameters());
    let mut stream = Key::root(0).split("images").stream();
    let images: Vec<f32> =
        std::iter::repeat_with(|| stream.normal()).take(2 * pairs * model.image * model.image * 3).collect();
    let method = Method::Simclr { temperature: 0.5 };
    let mut step = || {
        let start = Instant::now();
        network.parameters().clear_gradients();
        method.loss(network.embed(&images)).backward();
        optimizer.step(&mut network.parameters(), settings.learning_rate);
        start.elapsed().as_secs_f64()
    };
    (0..WARM_UP).for_each(|_| {
        step();
    });
    profile::start();
    let seconds = (0..steps).map(|_| step()).collect();
    Ok(Steps { precision, seconds, profile: profile::take() })
}
