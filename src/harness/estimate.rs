//! Estimates the time of the missing cells: the predicted costs of their stages, corrected by the times of such
//! stages in earlier runs.

use std::collections::HashMap;

use crate::harness::cache::Cache;
use crate::harness::experiment::Cell;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Host;
use crate::harness::record::Record;
use crate::harness::scaling::Scaling;
use crate::harness::schedule::Resources;
use crate::harness::schedule::Schedule;
use crate::harness::schedule::Step;
use crate::harness::schedule::Task;
use crate::harness::schedule::Work;
use crate::harness::stage::Stage;

/// Estimates the time of stages.
pub struct Estimate<'a> {
    /// Measured over predicted seconds, by the stage's name.
    rates: HashMap<String, f64>,
    scaling: &'a Scaling,
}

/// The missing work, in the form that a schedule needs.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// A task for each cell, in their order.
    pub work: Work,
    /// The index of the step of each stage, by its key.
    pub steps: HashMap<String, usize>,
    /// The indices of the steps that are in the cache, in ascending order.
    pub there: Vec<usize>,
}

impl<'a> Estimate<'a> {
    /// Learns from the profile's runs on the same processor, instruction set and precision. Without such runs,
    /// predictions are used unchanged: they are closer than the times of other networks and datasets.
    pub fn new(records: &[Record], profile: &str, host: &Host, compute: &Compute, scaling: &'a Scaling) -> Self {
        let mut sums: HashMap<&str, (f64, f64)> = HashMap::new();
        let of_profile = records.iter().filter(|record| record.profile == profile);
        let alike = of_profile.filter(|record| record.compute == *compute && record.host.cpu == host.cpu);
        for stage in alike.flat_map(|record| &record.stages).filter(|stage| stage.computed && stage.predicted > 0.0) {
            let (measured, predicted) = sums.entry(&stage.name).or_default();
            (*measured, *predicted) = (*measured + stage.seconds, *predicted + stage.predicted);
        }
        let rates =
            sums.into_iter().map(|(name, (measured, predicted))| (name.to_owned(), measured / predicted)).collect();
        Self { rates, scaling }
    }

    /// The work of these cells that is not in the cache; with `again`, all of their work. A cell that is left out
    /// gets a task without steps, so that the cache is not asked for stages that are not needed.
    pub fn missing<'c>(
        &self,
        cells: impl IntoIterator<Item = Option<&'c Cell>>,
        cache: &Cache,
        again: bool,
    ) -> Missing {
        let mut missing = Missing::default();
        for cell in cells {
            let Some(cell) = cell else {
                missing.work.tasks.push(Task::default());
                continue;
            };
            let steps = cell.stages().map(|stage| missing.step(stage, || self.of(stage), cache, again)).collect();
            missing.work.tasks.push(Task { steps, turn: 0 });
            for stage in cell.stages().filter(|stage| cell.is_timed() && !stage.description.timed.is_empty()) {
                missing.work.alone[missing.steps[stage.key()]] = true;
            }
        }
        missing
    }

    fn of(&self, stage: &Stage) -> Step {
        let cost = &stage.description.cost;
        let rate = self.rates.get(stage.name()).copied().unwrap_or(1.0);
        let serial = self.scaling.serial(cost.load.as_deref());
        Step { seconds: rate * cost.seconds, serial, memory: cost.memory }
    }
}

impl Missing {
    fn step(&mut self, stage: &Stage, estimate: impl FnOnce() -> Step, cache: &Cache, again: bool) -> usize {
        *self.steps.entry(stage.key().to_owned()).or_insert_with(|| {
            let step = self.work.steps.len();
            self.work.steps.push(estimate());
            self.work.alone.push(false);
            if !again && cache.has(stage.name(), stage.key()) {
                self.there.push(step);
            }
            step
        })
    }

    /// Makes a schedule of this work, before any of it has run.
    pub fn schedule(&self, machine: Resources) -> Schedule {
        let mut schedule = Schedule::new(self.work.clone(), machine);
        self.there.iter().for_each(|&step| schedule.end_step(step));
        schedule
    }

    /// The seconds of all missing steps, each once, one after another on this many threads.
    pub fn total(&self, threads: usize) -> f64 {
        self.absent().map(|step| step.on(threads)).sum()
    }

    /// The largest predicted memory of a missing step, in bytes.
    pub fn memory(&self) -> u64 {
        self.absent().map(|step| step.memory).max().unwrap_or(0)
    }

    /// The missing steps. `there` is sorted.
    fn absent(&self) -> impl Iterator<Item = &Step> {
        let is_absent = |step: &usize| self.there.binary_search(step).is_err();
        (0..self.work.steps.len()).filter(is_absent).map(|step| &self.work.steps[step])
    }
}
