//! The time of one training step, measured as the peers' script measures theirs.

use std::time::Instant;

use crate::error::Result;
use crate::methods::{Batch, Method, Moment, Size, Start, simclr};
use crate::models::ModelSpec;
use crate::optim::{Optimizer, OptimizerSettings, Pace, Recipe, Rule};
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
    let recipe = Recipe { rule: Rule::Sgd, learning_rate: 0.03, weight_decay: [1e-4; 2], clip: 0.0 };
    let pace = Pace { rate: 0.03, steady_rate: 0.03, weight_decay: 1e-4 };
    let settings = OptimizerSettings {
        momentum: 0.9,
        nesterov: false,
        decay_vectors: true,
        trust: 0.0,
        betas: [0.9, 0.999],
        epsilon: 1e-8,
    };
    let method = Method::Simclr(simclr::Settings {
        temperature: 0.5,
        mask_same_category: false,
        hard_negatives: 0.0,
        head: Size::Paper,
        recipe,
    });
    let (initialisation, draws) = (Key::root(0), Key::root(0));
    let mut learner =
        method.start(&Start { spec: *model, device: Cpu { precision }, initialisation, draws, pairs, batch: pairs })?;
    let mut optimizer = Optimizer::new(Rule::Sgd, &settings, None, &learner.network().backbone().parameters());
    let mut stream = Key::root(0).split("images").stream();
    let images: Vec<f32> =
        std::iter::repeat_with(|| stream.normal()).take(2 * pairs * model.image * model.image * 3).collect();
    let chosen: Vec<u32> = (0..pairs as u32).collect();
    let batch = Batch { images: &images, crops: &[], pairs: &chosen, categories: &chosen };
    let moment = Moment { step: 0, steps: 1, steps_per_epoch: 1 };
    let mut step = || {
        let start = Instant::now();
        learner.network().backbone().parameters().clear_gradients();
        learner.step(&batch, moment);
        optimizer.step(&mut learner.network().backbone().parameters(), pace);
        learner.moved(moment);
        start.elapsed().as_secs_f64()
    };
    (0..WARM_UP).for_each(|_| {
        step();
    });
    profile::start();
    let seconds = (0..steps).map(|_| step()).collect();
    Ok(Steps { precision, seconds, profile: profile::take() })
}
