//! Optimisers over a network's flat arenas; schedules, clipping of gradients, and target networks.

mod clip;
mod schedule;
mod target;

pub use clip::clip;
pub use schedule::{Cosine, Drops, Schedule, ScheduleSettings};
pub use target::follow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Entry, ParamKind, Parameters};
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

/// How a method's network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the pairs.
    pub epochs: usize,
    /// Which optimiser.
    pub rule: Rule,
    /// Peak learning rate for a batch of 256 pairs; scaled in proportion to the batch.
    pub learning_rate: f32,
    /// L2 penalty (SGD, LARS) or decoupled decay (AdamW): at the first step and at the last, along half a cosine.
    pub weight_decay: [f32; 2],
    /// The largest norm of a parameter's gradient; a longer gradient is scaled down to it. 0 disables clipping.
    pub clip: f32,
}

/// The optimiser settings that all methods share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerSettings {
    /// SGD's and LARS's momentum.
    pub momentum: f32,
    /// Whether SGD and LARS use Nesterov momentum.
    pub nesterov: bool,
    /// Whether SGD also decays biases and normalisation parameters, as in PyTorch. LARS and AdamW never do, as in
    /// SimCLR, BYOL and DINO.
    pub decay_vectors: bool,
    /// LARS's trust coefficient.
    pub trust: f32,
    /// AdamW's averaging coefficients, of gradients and of their squares.
    pub betas: [f32; 2],
    /// AdamW's epsilon, which is added to the root of the second moment.
    pub epsilon: f32,
}

/// Rejects a value outside its range.
fn within(key: &str, name: &str, value: f32, range: std::ops::RangeInclusive<f32>) -> Result<()> {
    if range.contains(&value) {
        return Ok(());
    }
    let (low, high) = (range.start(), range.end());
    Err(Error::new(format!("`{key}.{name}` is {value}; it must lie between {low} and {high}"))
        .hint(format!("`sempair config {key}` shows each value, what it means, and where it comes from")))
}

impl Recipe {
    /// Rejects values that make no sense for a run. `key` is the method's table in the configuration.
    ///
    /// # Errors
    /// When a value is out of range; the error names the key, its value and the range.
    pub fn validate(&self, key: &str) -> Result<()> {
        let key = format!("{key}.recipe");
        if self.epochs == 0 {
            return Err(Error::new(format!("`{key}.epochs` is 0")).hint(format!("`--set {key}.epochs=24`")));
        }
        within(&key, "learning_rate", self.learning_rate, 0.0..=1e3)?;
        within(&key, "weight_decay[0]", self.weight_decay[0], 0.0..=1e3)?;
        within(&key, "weight_decay[1]", self.weight_decay[1], 0.0..=1e3)?;
        within(&key, "clip", self.clip, 0.0..=f32::MAX)
    }
}

impl OptimizerSettings {
    /// Rejects values that make no sense for a run. `key` is the table's name in the configuration.
    ///
    /// # Errors
    /// When a value is out of range; the error names the key, its value and the range.
    pub fn validate(&self, key: &str) -> Result<()> {
        within(key, "momentum", self.momentum, 0.0..=1.0)?;
        within(key, "trust", self.trust, 0.0..=1e3)?;
        within(key, "betas[0]", self.betas[0], 0.0..=0.999_999)?;
        within(key, "betas[1]", self.betas[1], 0.0..=0.999_999)?;
        within(key, "epsilon", self.epsilon, f32::MIN_POSITIVE..=1.0)
    }
}

/// The rates of one optimiser step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepRates {
    /// Learning rate.
    pub rate: f32,
    /// The schedule's peak. Steady parameters have a multiple of it.
    pub peak_rate: f32,
    /// L2 penalty or decoupled decay.
    pub weight_decay: f32,
}

/// Parameters with special treatment, selected by a prefix of their names.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParamOverrides {
    /// Their learning rate is constant: this multiple of the schedule's peak.
    pub steady: Option<(&'static str, f32)>,
    /// They do not change during this many first steps, and these steps do not count for them.
    pub frozen: Option<(&'static str, u64)>,
}

/// An optimiser with its state.
#[derive(Clone, Debug)]
pub struct Optimizer<D: Device> {
    rule: Rule,
    settings: OptimizerSettings,
    /// Ranges with the same treatment; adjacent ranges are merged.
    groups: Vec<Group>,
    state: Vec<D::Arena>,
    step: u64,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    at: Slot,
    decayed: bool,
    /// Whether LARS scales it.
    scaled: bool,
    /// Its constant rate as a multiple of the schedule's peak. If `None`, it follows the schedule.
    times_peak: Option<f32>,
    /// The number of first steps in which it does not change.
    frozen: u64,
}

impl Group {
    fn is_treated_as(&self, other: &Self) -> bool {
        let treatment = |group: &Self| (group.decayed, group.scaled, group.times_peak, group.frozen);
        treatment(self) == treatment(other)
    }
}

impl<D: Device> Optimizer<D> {
    /// Creates an optimiser for these parameters. Its state is zero.
    pub fn new(
        rule: Rule,
        settings: &OptimizerSettings,
        overrides: ParamOverrides,
        parameters: &Parameters<D>,
    ) -> Self {
        Self::of(rule, settings, overrides, parameters, |_| true)
    }

    /// As [`Optimizer::new`], for the parameters that `learns` accepts. The others never change.
    pub fn of(
        rule: Rule,
        settings: &OptimizerSettings,
        overrides: ParamOverrides,
        parameters: &Parameters<D>,
        learns: impl Fn(&Entry) -> bool,
    ) -> Self {
        let arenas = if rule == Rule::Adamw { 2 } else { 1 };
        let state = (0..arenas).map(|_| parameters.device.zeros(parameters.count())).collect();
        let groups = groups(rule, settings, overrides, parameters.layout.entries.iter().filter(|&entry| learns(entry)));
        Self { rule, settings: settings.clone(), groups, state, step: 0 }
    }

    /// Performs one step: moves the parameters against their gradients.
    pub fn step(&mut self, parameters: &mut Parameters<D>, rates: StepRates) {
        self.step += 1;
        let Parameters { values, gradients, device, .. } = parameters;
        let active = self.groups.iter().filter(|group| self.step > group.frozen);
        let updates = active.map(|group| {
            let OptimizerSettings { momentum, nesterov, betas, epsilon, trust, .. } = self.settings;
            let weight_decay = if group.decayed { rates.weight_decay } else { 0.0 };
            let learning_rate = group.times_peak.map_or(rates.rate, |times| times * rates.peak_rate);
            let update = if self.rule == Rule::Adamw {
                let betas = (betas[0], betas[1]);
                Update::AdamW { learning_rate, betas, epsilon, weight_decay, step: self.step - group.frozen }
            } else {
                Update::Sgd { learning_rate, momentum, weight_decay, nesterov, trust: group.scaled.then_some(trust) }
            };
            (group.at, update)
        });
        let updates: Vec<_> = updates.collect();
        device.update(&updates, values, gradients, &mut self.state.iter_mut().collect::<Vec<_>>());
    }

    /// The state for a checkpoint: the number of steps and the arenas.
    pub fn state(&self) -> (u64, &[D::Arena]) {
        (self.step, &self.state)
    }

    /// Restores the state of a checkpoint.
    pub fn restore(&mut self, step: u64, state: Vec<D::Arena>) {
        assert!(state.len() == self.state.len(), "restore: {} arenas, not {}", state.len(), self.state.len());
        self.step = step;
        self.state = state;
    }
}

/// Groups parameters with the same treatment. LARS scales each weight separately, and neither scales nor decays
/// vectors. Elsewhere, adjacent parameters with the same treatment are merged.
fn groups<'a>(
    rule: Rule,
    settings: &OptimizerSettings,
    overrides: ParamOverrides,
    entries: impl Iterator<Item = &'a Entry>,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for entry in entries.filter(|entry| entry.kind != ParamKind::Statistic) {
        let weight = entry.kind == ParamKind::Weight;
        let group = Group {
            at: entry.slot,
            decayed: weight || (rule == Rule::Sgd && settings.decay_vectors),
            scaled: rule == Rule::Lars && weight,
            times_peak: overrides.steady.filter(|(prefix, _)| entry.name.starts_with(prefix)).map(|(_, times)| times),
            frozen: overrides.frozen.filter(|(prefix, _)| entry.name.starts_with(prefix)).map_or(0, |(_, steps)| steps),
        };
        match groups.last_mut() {
            Some(last)
                if !last.scaled && last.is_treated_as(&group) && last.at.start + last.at.len == group.at.start =>
            {
                last.at.len += group.at.len;
            }
            _ => groups.push(group),
        }
    }
    groups
}
