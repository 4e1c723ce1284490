//! Measures the time of one training step; by default SimCLR's, as the script that measures the peers does.

use std::time::Instant;

use crate::error::Result;
use crate::methods::{Learner, Method, MethodBatch, Size, Start, StepInfo, simclr};
use crate::models::ModelSpec;
use crate::optim::{Optimizer, OptimizerSettings, ParamOverrides, Recipe, Rule, StepRates};
use crate::rng::Key;
use crate::tensor::profile;
use crate::tensor::{AnyDevice, Precision};

use crate::train::descend;

pub use crate::tensor::profile::{Entry, Group};

/// Untimed warm-up steps: after them, memory is warm and a method's memory of all pairs is filled.
const WARM_UP: usize = 4;

/// The measured steps.
pub struct Steps {
    /// Number format of activations and products.
    pub precision: Precision,
    /// Seconds of each step.
    pub seconds: Vec<f64>,
    /// The profile of the network's and the optimiser's operations, over all steps together; empty if none was asked
    /// for.
    pub profile: Vec<Entry>,
}

/// The subject of the timing: a method with its optimiser.
pub struct Subject {
    /// The method.
    pub method: Method,
    optimizer: OptimizerSettings,
}

impl Subject {
    /// Creates a subject from a method and an optimiser.
    pub fn new(method: Method, optimizer: OptimizerSettings) -> Self {
        Self { method, optimizer }
    }

    /// SimCLR with the settings of the peers' script: head of the paper's size, temperature 0.5, SGD with momentum
    /// 0.9, rate 0.03 and decay 1e-4.
    pub fn simclr_of_peers() -> Self {
        let method = Method::Simclr(simclr::Settings {
            temperature: 0.5,
            mask_same_category: false,
            hard_negatives: 0.0,
            head: Size::Paper,
            recipe: Recipe { epochs: 1, rule: Rule::Sgd, learning_rate: 0.03, weight_decay: [1e-4; 2], clip: 0.0 },
        });
        let optimizer = OptimizerSettings {
            momentum: 0.9,
            nesterov: false,
            decay_vectors: true,
            trust: 0.0,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
        };
        Self { method, optimizer }
    }
}

/// Times `steps` steps of a method on `pairs` pairs of random images. Work that is done once per epoch is done before
/// the first timed step. With a `group`, operations are timed, too.
///
/// # Errors
/// As [`Stepper::new`].
pub fn time_steps(
    model: &ModelSpec,
    subject: &Subject,
    device: &AnyDevice,
    pairs: usize,
    steps: usize,
    group: Option<Group>,
) -> Result<Steps> {
    let mut stepper = Stepper::new(model, subject, device, pairs, WARM_UP + steps)?;
    let mut step = |_| {
        let start = Instant::now();
        stepper.step();
        device.synchronize();
        start.elapsed().as_secs_f64()
    };
    for index in 0..WARM_UP {
        step(index);
    }
    if let Some(group) = group {
        profile::start(group);
    }
    let seconds = (0..steps).map(step).collect();
    Ok(Steps { precision: device.precision(), seconds, profile: profile::take() })
}

/// A training on random images whose steps can be timed: forward, loss, backward, optimiser, and the method's updates
/// of its target or of its memory, which holds the pairs of four steps.
pub struct Stepper {
    learner: Box<dyn Learner<AnyDevice>>,
    optimizer: Optimizer<AnyDevice>,
    pace: StepRates,
    /// The gradient's norm is clipped to this.
    bound: f32,
    images: Vec<f32>,
    crops: Vec<f32>,
    slots: Vec<u32>,
    moment: StepInfo,
}

impl Stepper {
    /// Starts a method on `pairs` pairs. The first `epoch` steps are one epoch.
    ///
    /// # Errors
    /// When there is no network for the image size, or the pairs do not suit the method.
    pub fn new(
        model: &ModelSpec,
        Subject { method, optimizer }: &Subject,
        device: &AnyDevice,
        pairs: usize,
        epoch: usize,
    ) -> Result<Self> {
        let &Recipe { rule, learning_rate: rate, weight_decay: [weight_decay, _], clip: bound, .. } = method.recipe();
        let pace = StepRates { rate, peak_rate: rate, weight_decay };
        let (initialisation, draws) = (Key::root(0), Key::root(0));
        let (device, slots) = (device.clone(), WARM_UP * pairs);
        let start =
            Start { spec: *model, device, initialisation, draws, pairs: slots, categories: slots, batch: pairs };
        let learner = method.start(&start)?;
        let apart = ParamOverrides { steady: learner.steady(), frozen: None };
        let optimizer = Optimizer::new(rule, optimizer, apart, &learner.network().backbone().parameters());
        let mut stream = Key::root(0).split("images").stream();
        let mut pixels = |images: usize, side: usize| -> Vec<f32> {
            std::iter::repeat_with(|| stream.normal()).take(images * side * side * 3).collect()
        };
        let mut stepper = Self {
            learner,
            optimizer,
            pace,
            bound,
            images: pixels(2 * pairs, model.image),
            crops: pixels(method.crops().count() * pairs, model.image / 2),
            slots: (0..slots as u32).collect(),
            moment: StepInfo { step: 0, steps: epoch, steps_per_epoch: epoch },
        };
        if stepper.learner.remembers() {
            (0..WARM_UP).for_each(|step| stepper.on_batch(step, |learner, batch| learner.warm_up(batch)));
        }
        Ok(stepper)
    }

    /// Performs one step.
    pub fn step(&mut self) {
        let moment = self.moment;
        self.learner.network().backbone().parameters().clear_gradients();
        let loss = self.on_batch(moment.step, |learner, batch| learner.step(batch, moment));
        descend(&mut *self.learner, &mut self.optimizer, self.bound, self.pace, moment);
        loss.value();
        self.moment.step = (moment.step + 1) % moment.steps;
    }

    fn on_batch<R>(&mut self, step: usize, then: impl FnOnce(&mut dyn Learner<AnyDevice>, &MethodBatch) -> R) -> R {
        let pairs = self.slots.len() / WARM_UP;
        let chosen = &self.slots[step % WARM_UP * pairs..][..pairs];
        let batch = MethodBatch { images: &self.images, crops: &self.crops, pairs: chosen, categories: chosen };
        then(&mut *self.learner, &batch)
    }
}
