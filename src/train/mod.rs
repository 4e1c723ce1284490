//! The one training loop: step, log, checkpoint, resume, stop on non-finite values.

pub mod bench;
pub mod checkpoint;
mod features;
pub mod machine;
pub mod settings;
pub mod stages;

pub use features::{features, pixels};

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use dfdx::prelude::{AsArray, Backward};
use serde::{Deserialize, Serialize};

use crate::data::augment::Pipeline;
use crate::data::batches::{Batches, Source};
use crate::error::{Error, Result};
use crate::files;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::methods::Method;
use crate::models::{self, ModelSpec, Network};
use crate::optim::{Optimizer, OptimizerSettings, Schedule, ScheduleSettings};
use crate::rng::Key;
use crate::tensor::{Cpu, Precision};

use checkpoint::Position;

/// File of a finished encoder in its stage's folder.
pub const ENCODER: &str = "encoder.safetensors";
/// File of the training curves in its stage's folder.
pub const HISTORY: &str = "history.json";
/// File of an unfinished training, to resume from.
const CHECKPOINT: &str = "checkpoint.safetensors";

/// How long and how to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainSettings {
    /// Passes over the pairs.
    pub epochs: usize,
    /// Pairs of a step; a last batch with fewer is left out.
    pub batch: usize,
}

/// One pretraining, whole: with the pairs' hash and what computes (device, instruction set, precision) it determines
/// the encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pretraining {
    /// The network.
    pub model: ModelSpec,
    /// The loss.
    pub method: Method,
    /// Length and batch.
    pub pretrain: PretrainSettings,
    /// The optimiser; its learning rate is for 256 pairs.
    pub optimizer: OptimizerSettings,
    /// The learning rate's course.
    pub schedule: ScheduleSettings,
    /// Initialisation, order and augmentation descend from it.
    pub seed: u64,
}

/// What a training left beside its encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Mean loss of each epoch.
    pub losses: Vec<f64>,
    /// Seconds of training in all, over every resumption.
    pub seconds: f64,
    /// Seconds of these in which a step waited for its batch.
    pub waited: f64,
}

/// The key of everything random in a run.
fn key(seed: u64) -> Key {
    Key::root(seed)
}

/// The network of a run before its first step: the random baseline, too. Its parameters do not depend on `precision`.
///
/// # Errors
/// When no network was built for the image size.
pub fn initial(model: &ModelSpec, precision: Precision, seed: u64) -> Result<Box<dyn Network<Cpu>>> {
    models::open(model, &Cpu { precision }, key(seed).split("initialisation"))
}

/// Trains in `dir`: resumes from its checkpoint where there is one, writes one every `checkpoint_seconds`, and leaves
/// [`ENCODER`] and [`HISTORY`].
///
/// # Errors
/// Non-finite loss, a checkpoint of another run, no space for one; or the user's wish to stop, with the checkpoint
/// written.
#[expect(clippy::too_many_arguments, reason = "what is trained, on what, where, and who watches")]
pub fn pretrain(
    run: &Pretraining,
    precision: Precision,
    source: Source,
    pipeline: Pipeline,
    dir: &Path,
    checkpoint_seconds: f64,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<()> {
    let batches = Batches::new(Arc::new(source), Arc::new(pipeline), run.pretrain.batch, run.seed)?;
    let mut training = Training::start(run, precision, &batches, dir)?;
    let steps = batches.steps_per_epoch();
    let total = run.pretrain.epochs * steps;
    let pairs = run.pretrain.batch as u64;
    let bar = progress.bar("pretrain", total as u64 * pairs, "pairs");
    bar.advance(training.position.steps_done(steps) as u64 * pairs);
    while training.position.epoch < run.pretrain.epochs {
        let epoch = training.position.epoch;
        let mut iterator = batches.epoch(epoch, training.position.step);
        while let Some(batch) = iterator.next() {
            let loss = training.step(&batch.views)?;
            iterator.give_back(batch.views);
            bar.advance(pairs);
            bar.message(&format!("epoch {} loss {loss:.3}", epoch + 1));
            training.waited = iterator.waited();
            if interrupt.requested() {
                training.save()?;
                return Err(Error::interrupted(format!("stopped in epoch {} of the pretraining", epoch + 1))
                    .hint("run the same command to go on from here"));
            }
            if training.saved.elapsed().as_secs_f64() >= checkpoint_seconds {
                training.save()?;
            }
        }
        training.end_epoch(iterator.waited(), steps);
    }
    training.finish()
}

struct Training<'a> {
    run: &'a Pretraining,
    dir: &'a Path,
    network: Box<dyn Network<Cpu>>,
    optimizer: Optimizer<Cpu>,
    schedule: Schedule,
    position: Position,
    steps_per_epoch: usize,
    waited: f64,
    started: Instant,
    saved: Instant,
}

impl<'a> Training<'a> {
    fn start(run: &'a Pretraining, precision: Precision, batches: &Batches, dir: &'a Path) -> Result<Self> {
        let network = initial(&run.model, precision, run.seed)?;
        let mut optimizer = Optimizer::new(&run.optimizer, &network.parameters());
        let path = dir.join(CHECKPOINT);
        let position = if path.exists() {
            checkpoint::load(&path, &mut network.parameters(), &mut optimizer)?
        } else {
            Position::default()
        };
        let steps_per_epoch = batches.steps_per_epoch();
        let peak = f64::from(run.optimizer.learning_rate) * run.pretrain.batch as f64 / 256.0;
        let schedule = Schedule::new(&run.schedule, peak, run.pretrain.epochs * steps_per_epoch);
        let now = Instant::now();
        Ok(Self {
            run,
            dir,
            network,
            optimizer,
            schedule,
            position,
            steps_per_epoch,
            waited: 0.0,
            started: now,
            saved: now,
        })
    }

    fn step(&mut self, views: &[f32]) -> Result<f64> {
        let rate = self.schedule.rate(self.position.steps_done(self.steps_per_epoch)) as f32;
        self.network.parameters().clear_gradients();
        let loss = self.run.method.loss(self.network.embed(views));
        let value = f64::from(loss.array());
        if !value.is_finite() {
            let Position { epoch, step, .. } = self.position;
            return Err(Error::new(format!(
                "the loss became {value} in epoch {}, step {} (learning rate {rate})",
                epoch + 1,
                step + 1
            ))
            .hint("lower the rate: `--set optimizer.learning_rate=..`, or raise `schedule.warmup`"));
        }
        loss.backward();
        self.optimizer.step(&mut self.network.parameters(), rate);
        self.position.step += 1;
        self.position.loss_sum += value;
        Ok(value)
    }

    fn end_epoch(&mut self, waited: f64, steps: usize) {
        self.position.history.losses.push(self.position.loss_sum / steps as f64);
        self.position.history.waited += waited;
        self.waited = 0.0;
        self.position.epoch += 1;
        self.position.step = 0;
        self.position.loss_sum = 0.0;
    }

    fn save(&mut self) -> Result<()> {
        self.position.history.seconds += self.started.elapsed().as_secs_f64();
        self.started = Instant::now();
        let mut position = self.position.clone();
        position.history.waited += self.waited;
        checkpoint::save(&self.dir.join(CHECKPOINT), &self.network.parameters(), &self.optimizer, &position)?;
        self.saved = Instant::now();
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        self.position.history.seconds += self.started.elapsed().as_secs_f64();
        checkpoint::save_weights(&self.dir.join(ENCODER), &self.network.parameters())?;
        files::write_whole(
            &self.dir.join(HISTORY),
            &serde_json::to_vec_pretty(&self.position.history)
                .map_err(|e| Error::new(format!("the history is not JSON: {e}")))?,
        )?;
        checkpoint::remove(&self.dir.join(CHECKPOINT))
    }
}
