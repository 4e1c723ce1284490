//! The training loop: step, log, checkpoint, resume, stop on non-finite values.

use std::sync::Arc;
use std::time::Instant;

use crate::data::augment::Pipeline;
use crate::data::batches::{self, Batches, Source};
use crate::error::{Error, Result};
use crate::eval::Health;
use crate::files;
use crate::harness::clock::Stopwatch;
use crate::methods::{Learner, MethodBatch, Start, StepInfo};
use crate::nn::Pass;
use crate::optim::{Cosine, Optimizer, ParamOverrides, Schedule, StepRates, clip};
use crate::tensor::{AnyDevice, Reading};

use super::checkpoint::{self, Position};
use super::context::TrainContext;
use super::history::{HISTORY, MOMENTS};
use super::monitor::{MonitorImages, MonitorPairs};
use super::network_state;
use super::run::{Pretraining, key};
use super::weights::{self, ENCODER, snapshot};

/// File of an unfinished training, to resume from.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// The data of a training: what it learns from, and what its health is measured on.
pub struct Material {
    /// Images and pairs.
    pub source: Source,
    /// Makes views of the images.
    pub pipeline: Pipeline,
    /// The pairs on which health is measured: two different images of one category each.
    pub monitor: MonitorPairs,
}

/// Runs a training: resumes from the checkpoint if there is one, writes a checkpoint from time to time, and finally
/// writes [`ENCODER`] and [`HISTORY`].
///
/// # Errors
/// When the loss is not finite, the representation collapses, the checkpoint belongs to another run, or a file cannot
/// be written; or when the user asks to stop. The checkpoint is written before stopping, if at least one step was
/// done.
pub fn pretrain(run: &Pretraining, device: &AnyDevice, material: Material, around: &TrainContext<'_>) -> Result<()> {
    let Material { source, pipeline, monitor } = material;
    let images = monitor.images(&source.set, &pipeline);
    let batches = Batches::new(Arc::new(source), Arc::new(pipeline), run.pretrain.batch, run.seed)?;
    let mut training = Training::start(run, device, &batches, around, images)?;
    let steps = batches.steps_per_epoch();
    let total = run.epochs() * steps;
    let pairs = run.pretrain.batch as u64;
    let bar = around.progress.bar("pretrain", total as u64 * pairs, "pairs");
    bar.advance(training.position.steps_done(steps) as u64 * pairs);
    training.warm_up(&batches)?;
    while training.position.epoch < run.epochs() {
        let epoch = training.position.epoch;
        let mut iterator = batches.epoch(epoch, training.position.step);
        while let Some(batch) = iterator.next() {
            let loss = training.step(&batch)?;
            iterator.give_back(batch);
            bar.advance(pairs);
            if let Some(loss) = loss {
                bar.message(&format!("epoch {} loss {loss:.3}", epoch + 1));
            }
            training.waited = iterator.waited();
            if around.interrupt.requested() {
                training.save()?;
                return Err(Error::interrupted(format!("stopped in epoch {} of the pretraining", epoch + 1))
                    .hint("run the same command to go on from here"));
            }
            if training.saved.elapsed().as_secs_f64() >= around.checkpoint_seconds {
                training.save()?;
            }
        }
        training.end_epoch(iterator.waited(), steps)?;
    }
    training.finish()
}

/// Performs the part of a step that follows the backward pass: clips the gradients if `bound` is above 0, performs
/// the optimiser's step, and then lets the method update what depends on the network.
pub fn descend(
    learner: &mut dyn Learner<AnyDevice>,
    optimizer: &mut Optimizer<AnyDevice>,
    bound: f32,
    rates: StepRates,
    at: StepInfo,
) {
    {
        let mut parameters = learner.network().backbone().parameters();
        if bound > 0.0 {
            clip(&mut parameters, f64::from(bound));
        }
        optimizer.step(&mut parameters, rates);
    }
    learner.after_step(at);
}

/// Returns a batch in the form that methods take.
fn of_method(batch: &batches::Batch) -> MethodBatch<'_> {
    MethodBatch { images: &batch.views, crops: &batch.crops, pairs: &batch.chosen, categories: &batch.categories }
}

/// The loss of a step.
struct StepLoss {
    loss: Reading,
    /// The epoch and the step in it, from 0.
    at: [usize; 2],
    rate: f32,
}

struct Training<'a> {
    run: &'a Pretraining,
    around: &'a TrainContext<'a>,
    monitor: MonitorImages,
    learner: Box<dyn Learner<AnyDevice>>,
    optimizer: Optimizer<AnyDevice>,
    schedule: Schedule,
    position: Position,
    /// The loss of the last step, while the device computes it.
    pending: Option<StepLoss>,
    steps_per_epoch: usize,
    waited: f64,
    started: Stopwatch,
    saved: Instant,
}

impl<'a> Training<'a> {
    fn start(
        run: &'a Pretraining,
        device: &AnyDevice,
        batches: &Batches,
        around: &'a TrainContext<'a>,
        monitor: MonitorImages,
    ) -> Result<Self> {
        let mut learner = run.method.start(&Start {
            spec: run.model,
            device: device.clone(),
            initialisation: key(run.seed).split("initialisation"),
            draws: key(run.seed).split("method"),
            pairs: batches.pairs(),
            categories: batches.categories(),
            batch: run.pretrain.batch,
        })?;
        let recipe = run.method.recipe();
        let steps_per_epoch = batches.steps_per_epoch();
        let frozen = learner.frozen().map(|(prefix, epochs)| (prefix, (epochs * steps_per_epoch) as u64));
        let overrides = ParamOverrides { steady: learner.steady(), frozen };
        let mut optimizer =
            Optimizer::new(recipe.rule, &run.optimizer, overrides, &learner.network().backbone().parameters());
        let path = around.dir.join(CHECKPOINT);
        let position =
            if path.exists() { checkpoint::load(&path, &mut *learner, &mut optimizer)? } else { Position::default() };
        let peak = f64::from(recipe.learning_rate) * run.pretrain.batch as f64 / 256.0;
        let schedule = Schedule::new(&run.schedule, peak, run.epochs() * steps_per_epoch);
        Ok(Self {
            run,
            around,
            monitor,
            learner,
            optimizer,
            schedule,
            position,
            pending: None,
            steps_per_epoch,
            waited: 0.0,
            started: Stopwatch::start(),
            saved: Instant::now(),
        })
    }

    /// Before the first step, shows the pairs of an epoch that is never reached to a method that asks for them.
    fn warm_up(&mut self, batches: &Batches) -> Result<()> {
        if self.position.steps_done(self.steps_per_epoch) > 0 || !self.learner.remembers() {
            return Ok(());
        }
        let mut pass = batches.epoch(self.run.epochs(), 0);
        while let Some(batch) = pass.next() {
            self.learner.warm_up(&of_method(&batch));
            pass.give_back(batch);
            self.around.interrupt.check()?;
        }
        Ok(())
    }

    /// Performs a step. Returns its loss or, if the device still computes that, the loss of the step before, so that the
    /// device never waits.
    fn step(&mut self, batch: &batches::Batch) -> Result<Option<f64>> {
        let step = self.position.steps_done(self.steps_per_epoch);
        let info =
            StepInfo { step, steps: self.run.epochs() * self.steps_per_epoch, steps_per_epoch: self.steps_per_epoch };
        let rate = self.schedule.rate(step) as f32;
        {
            let mut parameters = self.learner.network().backbone().parameters();
            parameters.clear_gradients();
            parameters.pass = Some(Pass {
                key: key(self.run.seed).split("pass").at(step as u64),
                drop_path: self.run.model.drop_path,
            });
        }
        let loss = self.learner.step(&of_method(batch), info);
        let at = [self.position.epoch, self.position.step];
        let before = self.pending.replace(StepLoss { loss, at, rate });
        let mut known = self.settle(before)?;
        if let Some(now) = self.pending.take_if(|now| matches!(now.loss, Reading::Known(_))) {
            known = self.settle(Some(now))?;
        }
        let recipe = self.run.method.recipe();
        let [from, to] = recipe.weight_decay.map(f64::from);
        let decay = Cosine { from, to, total: info.steps };
        let rates =
            StepRates { rate, peak_rate: self.schedule.peak() as f32, weight_decay: decay.at(info.step) as f32 };
        descend(&mut *self.learner, &mut self.optimizer, recipe.clip, rates, info);
        self.position.step += 1;
        Ok(known)
    }

    /// Waits for a loss, and adds it to those of the epoch.
    fn settle(&mut self, loss: Option<StepLoss>) -> Result<Option<f64>> {
        let Some(StepLoss { loss, at: [epoch, step], rate }) = loss else { return Ok(None) };
        let value = loss.value();
        if !value.is_finite() {
            return Err(Error::diverged(format!(
                "the loss became {value} in epoch {}, step {} (learning rate {rate})",
                epoch + 1,
                step + 1
            ))
            .hint(format!(
                "lower the rate: `--set methods.{}.recipe.learning_rate=..`, or raise `schedule.warmup`",
                self.run.method.name().id()
            )));
        }
        self.position.loss_sum += value;
        Ok(Some(value))
    }

    fn settle_pending(&mut self) -> Result<()> {
        let pending = self.pending.take();
        self.settle(pending).map(drop)
    }

    fn end_epoch(&mut self, waited: f64, steps: usize) -> Result<()> {
        self.settle_pending()?;
        self.position.history.losses.push(self.position.loss_sum / steps as f64);
        self.position.history.waited += waited;
        self.waited = 0.0;
        self.position.epoch += 1;
        self.position.step = 0;
        self.position.loss_sum = 0.0;
        let (epoch, epochs) = (self.position.epoch, self.run.epochs());
        if epoch % epochs.div_ceil(MOMENTS) == 0 || epoch == epochs {
            let health = self.monitor.health(epoch, self.learner.network())?;
            let collapsed = health.collapsed();
            self.position.history.health.push(health);
            self.position.history.times.push(self.seconds());
            if self.run.pretrain.snapshots {
                self.keep(&snapshot(epoch))?;
            }
            if collapsed && !self.around.keep_going {
                return Err(self.collapse());
            }
        }
        Ok(())
    }

    fn collapse(&self) -> Error {
        let Some(Health { epoch, deviation, rank, .. }) = self.position.history.health.last() else {
            unreachable!("a collapse is measured")
        };
        let name = self.run.method.name();
        Error::diverged(format!(
            "the representation of {} has collapsed by epoch {epoch}: projections deviate by {deviation:.4} (1 is an even \
             spread), and the features' effective rank is {rank:.1}",
            name.title()
        ))
        .hint(format!(
            "lower the rate: `--set methods.{}.recipe.learning_rate=..`; `--keep-going` continues the training anyway",
            name.id()
        ))
    }

    /// Seconds of training so far, including all resumed parts.
    fn seconds(&self) -> f64 {
        self.position.history.seconds + self.started.seconds()
    }

    /// Writes the current weights under `name`.
    fn keep(&mut self, name: &str) -> Result<()> {
        weights::save_weights(&self.around.dir.join(name), &self.learner.network().backbone().parameters())
    }

    fn save(&mut self) -> Result<()> {
        self.settle_pending()?;
        self.position.history.seconds = self.seconds();
        self.started = Stopwatch::start();
        let mut position = self.position.clone();
        position.history.waited += self.waited;
        checkpoint::save(&self.around.dir.join(CHECKPOINT), &mut *self.learner, &self.optimizer, &position)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.position.history.seconds = self.seconds();
        self.keep(ENCODER)?;
        files::write_json(&self.around.dir.join(HISTORY), &self.position.history)?;
        network_state::remove(&self.around.dir.join(CHECKPOINT))
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::harness::config::Layers;
    use crate::methods::{Method, Methods, Name};
    use crate::models::ModelSpec;
    use crate::rng::Key;
    use crate::tensor::{Cpu, Precision, fresh};

    /// The settings that a step depends on.
    #[derive(Serialize, Deserialize)]
    struct Settings {
        model: ModelSpec,
        methods: Methods,
    }

    #[test]
    fn a_step_in_the_steady_state_asks_for_no_fresh_memory() {
        let defaults = include_str!("../../experiments/defaults.toml");
        let resolved = Layers::new().embedded("defaults", defaults).resolve::<Settings>().unwrap();
        let settings = resolved.settings;
        for (&name, precision) in Name::ALL.iter().flat_map(|name| [(name, Precision::F32), (name, Precision::Bf16)]) {
            let mut method = settings.methods.get(name);
            if let Method::DeepclusterV2(method) = &mut method {
                method.clusters = vec![2];
            }
            let batch = 5; // used by no other test, so that no other test takes the memory that is freed here
            let (initialisation, draws) = (Key::root(0), Key::root(0));
            let (device, pairs, categories) = (AnyDevice::Cpu(Cpu { precision }), batch, batch);
            let start = Start { spec: settings.model, device, initialisation, draws, pairs, categories, batch };
            let mut learner = method.start(&start).unwrap();
            let side = settings.model.image;
            let images = vec![0.5; 2 * batch * side * side * 3];
            let crops = vec![0.5; method.crops().count() * batch * (side / 2) * (side / 2) * 3];
            let pairs: Vec<u32> = (0..batch as u32).collect();
            let batch = MethodBatch { images: &images, crops: &crops, pairs: &pairs, categories: &pairs };
            learner.warm_up(&batch);
            let mut step = |step| {
                learner.step(&batch, StepInfo { step, steps: 8, steps_per_epoch: 1 }).value();
            };
            (0..3).for_each(&mut step);
            // Another test may take memory of these lengths for a moment. A step that allocates only now and then is
            // detected within twelve steps.
            let asks_for_none = (0..20).any(|_| {
                let warm = fresh();
                (0..4).for_each(|_| (3..6).for_each(&mut step));
                fresh() == warm
            });
            assert!(asks_for_none, "{name:?} {precision:?}");
        }
    }
}
