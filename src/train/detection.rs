//! Training of a detector on an encoder, and its detections: the loop, checkpoints, and the moments of its
//! normalisations.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::data::annotated::AnnotatedSet;
use crate::data::annotated_batches::{AnnotatedBatch, AnnotatedBatches, Resizing};
use crate::data::augment::Normalization;
use crate::detection::{Detection, Protocol, Step, StepLosses, Truth, detect, propose};
use crate::error::{Error, Result};
use crate::files;
use crate::harness::clock::Stopwatch;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::models::{AnyDetector, DetectorShape, Learns, ModelSpec, OWN, Pixels, detector};
use crate::nn::{Builder, Entry, MOMENTUM, ParamKind, Parameters};
use crate::optim::{Drops, Optimizer, OptimizerSettings, ParamOverrides, Rule, StepRates};
use crate::rng::Key;
use crate::tensor::{AnyDevice, Device};

use super::context::TrainContext;
use super::network_state;
use super::weights;

/// File of a finished detector in its stage's folder.
pub const DETECTOR: &str = "detector.safetensors";
/// File of the losses of a detector's training in its stage's folder.
pub const LOSSES: &str = "losses.json";
/// File of an unfinished training, to resume from.
const CHECKPOINT: &str = "checkpoint.safetensors";
/// About how many times the mean losses are recorded.
const RECORDED: usize = 50;
/// Images of one size that are evaluated together, at most.
const TOGETHER: usize = 16;
/// Pixels that are evaluated together, at most, if that is one image or more.
const PIXELS: usize = 1 << 21;

/// How detectors are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorRecipe {
    /// Which parameters learn.
    pub learns: Learns,
    /// Images of a step.
    pub batch: usize,
    /// Steps.
    pub steps: usize,
    /// The learning rate after the warm-up.
    pub learning_rate: f64,
    /// Steps of the warm-up.
    pub warmup: usize,
    /// The rate of the first step as a fraction of the peak.
    pub warmup_from: f64,
    /// The fractions of all steps after which the rate is a tenth of that before.
    pub drops: Vec<f64>,
    /// The momentum of stochastic gradient descent.
    pub momentum: f32,
    /// L2 penalty of weights and biases, but not of normalisations.
    pub weight_decay: f32,
    /// Batches from which the moments of the normalisations are computed after training (Wu & Johnson 2021,
    /// <https://arxiv.org/abs/2105.07576>); 0 keeps the running moments.
    pub precise_moments: usize,
}

/// Everything that determines a detector, except the encoder's weights, the images, code and device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorTraining {
    /// The encoder.
    pub model: ModelSpec,
    /// How its images are normalised.
    pub normalization: Normalization,
    /// The sizes of images.
    pub resizing: Resizing,
    /// Anchors, proposals, regions.
    pub protocol: Protocol,
    /// The optimisation.
    pub recipe: DetectorRecipe,
    /// The seed of new weights, order, flips and samples.
    pub seed: u64,
}

/// The record of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorHistory {
    /// Mean losses, at about fifty moments.
    pub losses: Vec<StepLosses>,
    /// Total seconds of training, including all resumed parts.
    pub seconds: f64,
}

/// The position of a training, as a checkpoint has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Position {
    step: usize,
    sum: StepLosses,
    summed: usize,
    history: DetectorHistory,
}

/// Trains a detector and writes [`DETECTOR`] and [`LOSSES`]; resumes from the checkpoint if there is one. `encoder`
/// is the file of the encoder's weights; without it, they are those before the first step of a training of this seed.
///
/// # Errors
/// When no image has an object, an image cannot be read, the loss is not finite, the checkpoint is of another network, or
/// a file cannot be written; or when the user asks to stop, after a checkpoint is written.
pub fn train_detector(
    run: &DetectorTraining,
    device: &AnyDevice,
    set: &AnnotatedSet,
    encoder: Option<&Path>,
    around: &TrainContext<'_>,
) -> Result<()> {
    let batches = AnnotatedBatches::new(set, &run.resizing, &run.normalization);
    if batches.is_empty() {
        return Err(Error::new(format!("no image of `{}` has an object to learn from", set.name))
            .hint("`sempair data list` shows how many objects each set has"));
    }
    let mut training = Training::start(run, device, set.classes.len(), encoder, around.dir)?;
    let (steps, images) = (run.recipe.steps, run.recipe.batch as u64);
    let bar = around.progress.bar("detector", steps as u64 * images, "images");
    bar.advance(training.position.step as u64 * images);
    let mut saved = Instant::now();
    while training.position.step < steps {
        let losses = training.step(&batches)?;
        bar.advance(images);
        bar.message(&shown(&losses));
        if around.interrupt.requested() {
            training.save(around.dir)?;
            return Err(Error::interrupted(format!("stopped at step {} of the detector", training.position.step))
                .hint("run the same command to go on from here"));
        }
        if saved.elapsed().as_secs_f64() >= around.checkpoint_seconds {
            training.save(around.dir)?;
            saved = Instant::now();
        }
    }
    training.finish(&batches, around)
}

fn shown(losses: &StepLosses) -> String {
    let StepLosses { objectness, anchors, classes, regions } = losses;
    format!("loss {:.3} (anchors {objectness:.3} + {anchors:.3}, regions {classes:.3} + {regions:.3})", losses.sum())
}

/// The detector of a training, with freshly initialised parameters.
fn build(
    run: &DetectorTraining,
    device: &AnyDevice,
    categories: usize,
) -> Result<(Box<dyn AnyDetector<AnyDevice>>, Parameters<AnyDevice>)> {
    let Protocol { region_side, .. } = run.protocol;
    let shape =
        DetectorShape { anchors: run.protocol.anchors_per_position(), categories, side: region_side, samples: 0 };
    let key = Key::root(run.seed).split("initialisation");
    let mut builder = Builder::new(&key);
    let network = detector(&run.model, &shape, &mut builder)?;
    Ok((network, builder.finish(device)))
}

struct Training<'a> {
    run: &'a DetectorTraining,
    detector: Box<dyn AnyDetector<AnyDevice>>,
    parameters: Parameters<AnyDevice>,
    optimizer: Optimizer<AnyDevice>,
    /// The places of running mean and variance of each channel whose normalisation learns.
    moments: Vec<[usize; 2]>,
    schedule: Drops,
    position: Position,
    started: Stopwatch,
}

impl<'a> Training<'a> {
    fn start(
        run: &'a DetectorTraining,
        device: &AnyDevice,
        categories: usize,
        encoder: Option<&Path>,
        dir: &Path,
    ) -> Result<Self> {
        let (detector, mut parameters) = build(run, device, categories)?;
        encoder.map_or(Ok(()), |file| weights::load_encoder(file, OWN, &mut parameters))?;
        let recipe = &run.recipe;
        let last = format!("{}.", detector.last_stage());
        let learns = |entry: &Entry| match recipe.learns {
            Learns::All => true,
            Learns::Head => entry.name.starts_with(OWN) || entry.name.starts_with(&last),
            Learns::New => entry.name.starts_with(OWN),
        };
        let sgd = OptimizerSettings {
            momentum: recipe.momentum,
            nesterov: false,
            decay_vectors: false,
            trust: 0.0,
            betas: [0.0; 2],
            epsilon: 1.0,
        };
        let mut optimizer = Optimizer::of(Rule::Sgd, &sgd, ParamOverrides::default(), &parameters, learns);
        let moments = places_of_moments(parameters.layout.entries.iter().filter(|&entry| learns(entry)));
        let path = dir.join(CHECKPOINT);
        let position = if path.exists() {
            network_state::load_network(&path, &mut parameters, &mut optimizer)?
        } else {
            Position::default()
        };
        let at = recipe.drops.iter().map(|drop| (drop * recipe.steps as f64).round() as usize).collect();
        let schedule = Drops { peak: recipe.learning_rate, warmup: recipe.warmup, from: recipe.warmup_from, at };
        Ok(Self { run, detector, parameters, optimizer, moments, schedule, position, started: Stopwatch::start() })
    }

    fn step(&mut self, batches: &AnnotatedBatches<'_>) -> Result<StepLosses> {
        let step = self.position.step;
        let rate = self.schedule.rate(step) as f32;
        let losses = self.gradients(batches, step)?;
        let rates = StepRates { rate, peak_rate: rate, weight_decay: self.run.recipe.weight_decay };
        self.optimizer.step(&mut self.parameters, rates);
        self.position.step += 1;
        self.record(&losses);
        Ok(losses)
    }

    /// Computes the gradients and losses of the batch of a step.
    ///
    /// # Errors
    /// When an image cannot be read, or the loss is not finite.
    fn gradients(&mut self, batches: &AnnotatedBatches<'_>, step: usize) -> Result<StepLosses> {
        let key = Key::root(self.run.seed).split("detector");
        let batch = batches.training(self.run.recipe.batch, step, key)?;
        let truths = truths(&batch);
        let sampled = key.split("samples").at(step as u64);
        let mut targets = Step::new(&self.run.protocol, self.detector.stride(), &truths, sampled);
        self.parameters.clear_gradients();
        self.detector.train(pixels(&batch), self.run.recipe.learns, &mut targets, &mut self.parameters);
        let total = targets.losses.sum();
        if !total.is_finite() {
            return Err(Error::diverged(format!("the detector's loss became {total} in step {}", step + 1)).hint(
                "lower the rate: `--set detection.recipe.learning_rate=..`, or raise `detection.recipe.warmup`",
            ));
        }
        Ok(targets.losses)
    }

    fn record(&mut self, losses: &StepLosses) {
        let Position { step, sum, summed, history } = &mut self.position;
        *sum = added(*sum, *losses, 1.0);
        *summed += 1;
        if step.is_multiple_of(self.run.recipe.steps.div_ceil(RECORDED)) || *step == self.run.recipe.steps {
            history.losses.push(added(StepLosses::default(), *sum, 1.0 / *summed as f64));
            (*sum, *summed) = (StepLosses::default(), 0);
        }
    }

    fn save(&mut self, dir: &Path) -> Result<()> {
        self.position.history.seconds += self.started.seconds();
        self.started = Stopwatch::start();
        network_state::save_network(&dir.join(CHECKPOINT), &self.parameters, &self.optimizer, &self.position)
    }

    fn finish(mut self, batches: &AnnotatedBatches<'_>, around: &TrainContext<'_>) -> Result<()> {
        self.compute_moments(batches, around.interrupt)?;
        self.position.history.seconds += self.started.seconds();
        weights::save_weights(&around.dir.join(DETECTOR), &self.parameters)?;
        files::write_json(&around.dir.join(LOSSES), &self.position.history)?;
        network_state::remove(&around.dir.join(CHECKPOINT))
    }

    /// Replaces the running moments of normalisations that learn by the moments over several training batches, with the
    /// weights as they are. If such a statistic is 0 before a pass, it is [`MOMENTUM`] times that of its batch after it.
    fn compute_moments(&mut self, batches: &AnnotatedBatches<'_>, interrupt: &Interrupt) -> Result<()> {
        let count = self.run.recipe.precise_moments;
        let mut sums = vec![[0.0; 2]; self.moments.len()];
        for batch in 0..count {
            interrupt.check()?;
            let mut statistics = self.statistics();
            self.moments.iter().flatten().for_each(|&at| statistics[at] = 0.0);
            self.set_statistics(statistics);
            self.gradients(batches, self.run.recipe.steps + batch)?;
            let statistics = self.statistics();
            for (sum, places) in sums.iter_mut().zip(&self.moments) {
                let [mean, variance] = places.map(|at| f64::from(statistics[at] / MOMENTUM));
                sum[0] += mean;
                sum[1] += variance + mean * mean;
            }
        }
        let mut statistics = self.statistics();
        for (sum, &[mean, variance]) in sums.iter().zip(&self.moments).filter(|_| count > 0) {
            let [first, second] = sum.map(|sum| sum / count as f64);
            statistics[mean] = first as f32;
            statistics[variance] = (second - first * first) as f32;
        }
        self.set_statistics(statistics);
        Ok(())
    }

    fn statistics(&self) -> Vec<f32> {
        self.parameters.device.host(&self.parameters.statistics)
    }

    fn set_statistics(&mut self, statistics: Vec<f32>) {
        self.parameters.statistics = self.parameters.device.arena(statistics);
    }
}

/// The places of running mean and variance of each channel of these normalisations.
fn places_of_moments<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<[usize; 2]> {
    let statistics: Vec<&Entry> = entries.filter(|entry| entry.kind == ParamKind::Statistic).collect();
    let (pairs, _) = statistics.as_chunks::<2>();
    let channels = |[mean, variance]: &[&Entry; 2]| {
        let (mean, variance) = (mean.slot, variance.slot);
        (0..mean.len).map(move |c| [mean.start + c, variance.start + c]).collect::<Vec<_>>()
    };
    pairs.iter().flat_map(channels).collect()
}

fn added(a: StepLosses, b: StepLosses, factor: f64) -> StepLosses {
    StepLosses {
        objectness: a.objectness + factor * b.objectness,
        anchors: a.anchors + factor * b.anchors,
        classes: a.classes + factor * b.classes,
        regions: a.regions + factor * b.regions,
    }
}

fn truths(batch: &AnnotatedBatch) -> Vec<Truth> {
    let truth = |placed: &crate::data::annotated_batches::Placed| Truth {
        size: placed.size,
        boxes: placed.objects.iter().map(|object| object.edges).collect(),
        classes: placed.objects.iter().map(|object| object.category as usize).collect(),
    };
    batch.images.iter().map(truth).collect()
}

fn pixels(batch: &AnnotatedBatch) -> Pixels<'_> {
    Pixels { values: &batch.values, height: batch.height, width: batch.width }
}

/// The detections of a finished detector in each image of a set, whose categories are those of its training, in pixels of
/// the original image.
///
/// # Errors
/// When the detector's file or an image cannot be read, or when the user asks to stop.
pub fn detections(
    run: &DetectorTraining,
    device: &AnyDevice,
    set: &AnnotatedSet,
    file: &Path,
    (progress, interrupt): (&Progress, &Interrupt),
) -> Result<Vec<Vec<Detection>>> {
    let (network, mut parameters) = build(run, device, set.classes.len())?;
    weights::load_weights(file, &mut parameters)?;
    let anchors = run.protocol.anchors(network.stride());
    let batches = AnnotatedBatches::new(set, &run.resizing, &run.normalization);
    let bar = progress.bar("detect", set.len() as u64, "images");
    let mut all = Vec::with_capacity(set.len());
    while all.len() < set.len() {
        interrupt.check()?;
        let first = all.len();
        let size = batches.evaluated_size(first);
        let together = (PIXELS / (size.0 * size.1).max(1)).clamp(1, TOGETHER);
        let same = (first..set.len()).take(together).take_while(|&image| batches.evaluated_size(image) == size);
        let images: Vec<usize> = same.collect();
        let batch = batches.evaluation(&images)?;
        let sizes = vec![size; images.len()];
        let mut regions = Vec::new();
        let predictions = network.infer(
            pixels(&batch),
            &mut |map, first| {
                regions = propose(&run.protocol, &anchors, &sizes, map, first);
                regions.clone()
            },
            &parameters,
        );
        let found = detect(&run.protocol, &sizes, &regions, &predictions).into_iter().zip(&images);
        all.extend(
            found.map(|(found, &image)| found.into_iter().map(|one| original(one, size, set.size(image))).collect()),
        );
        bar.advance(images.len() as u64);
    }
    Ok(all)
}

/// A detection in the pixels of the original image.
fn original(found: Detection, from: (usize, usize), to: (usize, usize)) -> Detection {
    if from == to { found } else { Detection { edges: crate::detection::boxes::scale(found.edges, from, to), ..found } }
}
