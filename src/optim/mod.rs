//! Optimisers over a network's flat arenas, and the learning rate's schedule.

mod schedule;

pub use schedule::{Schedule, ScheduleSettings};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Entry, Kind, Parameters};
use crate::tensor::{Device, Slot, Update};

/// Which optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// SGD whose step for each weight is scaled to the weight's norm (You et al. 2017,
    /// <https://arxiv.org/abs/1708.03888>, algorithm 1).
    Lars,
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019, <https://arxiv.org/abs/1711.05101>).
    Adamw,
}

/// The optimiser's hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// Which optimiser.
    pub rule: Rule,
    /// Peak learning rate for a batch of 256 pairs; scaled in proportion to the batch.
    pub learning_rate: f32,
    /// SGD's and LARS's momentum.
    pub momentum: f32,
    /// Whether SGD looks ahead.
    pub nesterov: bool,
    /// L2 penalty (SGD, LARS) or decoupled decay (AdamW).
    pub weight_decay: f32,
    /// Whether biases and normalisation parameters are decayed too, as PyTorch's SGD does.
    pub decay_vectors: bool,
    /// LARS's trust coefficient.
    pub trust: f32,
    /// AdamW's averaging of gradients and of their squares.
    pub betas: [f32; 2],
    /// AdamW's floor under the root of the second moment.
    pub epsilon: f32,
}

impl OptimizerSettings {
    /// Refuses values with which no run makes sense; `key` is the table's name in the configuration.
    ///
    /// # Errors
    /// Names the key, its value and the range.
    pub fn validate(&self, key: &str) -> Result<()> {
        let within = |name: &str, value: f32, range: std::ops::RangeInclusive<f32>| {
            if range.contains(&value) {
                return Ok(());
            }
            let (low, high) = (range.start(), range.end());
            Err(Error::new(format!("`{key}.{name}` is {value}; it must lie between {low} and {high}"))
                .hint("run `sempair config` to see each value and where it came from"))
        };
        within("learning_rate", self.learning_rate, 0.0..=1e3)?;
        within("momentum", self.momentum, 0.0..=1.0)?;
        within("weight_decay", self.weight_decay, 0.0..=1e3)?;
        within("trust", self.trust, 0.0..=1e3)?;
        within("betas[0]", self.betas[0], 0.0..=0.999_999)?;
        within("betas[1]", self.betas[1], 0.0..=0.999_999)
    }
}

/// An optimiser with its state.
#[derive(Clone, Debug)]
pub struct Optimizer<D: Device> {
    settings: OptimizerSettings,
    /// Ranges that take the same treatment, neighbours joined.
    groups: Vec<Group>,
    state: Vec<D::Arena>,
    step: u64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    at: Slot,
    weight_decay: f32,
    scaled: bool,
}

impl<D: Device> Optimizer<D> {
    /// An optimiser of these parameters, its state zero.
    pub fn new(settings: &OptimizerSettings, parameters: &Parameters<D>) -> Self {
        let arenas = if settings.rule == Rule::Adamw { 2 } else { 1 };
        let state = (0..arenas).map(|_| parameters.device.arena(vec![0.0; parameters.count()])).collect();
        Self { settings: settings.clone(), groups: groups(settings, &parameters.layout.entries), state, step: 0 }
    }

    /// Moves the parameters against their gradients.
    pub fn step(&mut self, parameters: &mut Parameters<D>, learning_rate: f32) {
        self.step += 1;
        let Parameters { values, gradients, device, .. } = parameters;
        for group in &self.groups {
            let OptimizerSettings { momentum, nesterov, betas, epsilon, .. } = self.settings;
            let weight_decay = group.weight_decay;
            let update = if self.settings.rule == Rule::Adamw {
                let betas = (betas[0], betas[1]);
                Update::AdamW { learning_rate, betas, epsilon, weight_decay, step: self.step }
            } else {
                let scale = if group.scaled {
                    let (value, gradient) = (device.norm(values, group.at), device.norm(gradients, group.at));
                    trust_ratio(self.settings.trust, value, gradient, weight_decay)
                } else {
                    1.0
                };
                Update::Sgd { learning_rate, momentum, weight_decay, nesterov, scale }
            };
            device.update(&update, group.at, values, gradients, &mut self.state);
        }
    }

    /// The state for a checkpoint: the number of steps and the arenas.
    pub fn state(&self) -> (u64, &[D::Arena]) {
        (self.step, &self.state)
    }

    /// Takes up the state of a checkpoint.
    pub fn restore(&mut self, step: u64, state: Vec<D::Arena>) {
        assert!(state.len() == self.state.len(), "restore: {} arenas, not {}", state.len(), self.state.len());
        self.step = step;
        self.state = state;
    }
}

/// How far LARS scales a weight's step: trust |w| / (|g| + decay |w|), and 1 where either norm is 0.
fn trust_ratio(trust: f32, value: f64, gradient: f64, weight_decay: f32) -> f32 {
    if value == 0.0 || gradient == 0.0 {
        return 1.0;
    }
    (f64::from(trust) * value / (gradient + f64::from(weight_decay) * value)) as f32
}

/// LARS scales each weight by itself and leaves vectors plain and undecayed; elsewhere neighbours of one decay join.
fn groups(settings: &OptimizerSettings, entries: &[Entry]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind != Kind::Statistic) {
        let weight = entry.kind == Kind::Weight;
        let decayed = weight || settings.decay_vectors;
        let group = Group {
            at: entry.slot,
            weight_decay: if decayed { settings.weight_decay } else { 0.0 },
            scaled: settings.rule == Rule::Lars && weight,
        };
        match groups.last_mut() {
            Some(last) if !last.scaled && !group.scaled && last.weight_decay == group.weight_decay => {
                last.at.len += group.at.len;
            }
            _ => groups.push(group),
        }
    }
    groups
}
