//! Measures trainings in parallel, for `sempair bench trainings`: their speed together, and the part of their time
//! during which a step waits for its images.

use serde::Serialize;

use crate::data::pairs::PairKind;
use crate::error::{Context as _, Result};
use crate::files::read_json;
use crate::harness::cache::Cache;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::stage_runner::StageRunner;
use crate::study::settings::Settings;
use crate::study::stages::{self, Context};
use crate::threads;
use crate::train::{HISTORY, History};

/// The speed of some trainings in parallel.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Speed {
    /// The number of trainings.
    pub jobs: usize,
    /// The number of threads of each training.
    pub threads: usize,
    /// Pairs per second of all trainings together.
    pub pairs_per_second: f64,
    /// Seconds of a step, measurements of health included; the mean over all steps of all trainings.
    pub step_seconds: f64,
    /// Seconds of these during which the step waits for its images.
    pub waiting_seconds: f64,
}

/// Trains `jobs` encoders with these settings in parallel, from as many seeds, and deletes them. `threads` is the
/// number of all threads, at least as many; each training gets an equal share.
///
/// # Errors
/// When a folder for temporary files cannot be made; the errors of a training.
pub fn measure(
    settings: &Settings,
    jobs: usize,
    threads: usize,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<Speed> {
    let folder = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    let cache = Cache::open(folder.path());
    let share = threads / jobs;
    let train = |seed: u64| {
        let progress = progress.of(&format!("training {} of {jobs}", seed + 1));
        threads::share(share, || trained(settings, seed, StageRunner::new(&cache, &progress, interrupt, "bench")))
    };
    let trained = std::thread::scope(|scope| {
        let started: Vec<_> = (0..jobs as u64).map(|seed| scope.spawn(move || train(seed))).collect();
        let ended = started.into_iter().map(|training| training.join());
        ended.map(|ended| ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect::<Result<Vec<_>>>()
    })?;
    let steps: usize = trained.iter().map(|(_, steps)| steps).sum();
    let mean =
        |seconds: fn(&History) -> f64| trained.iter().map(|(history, _)| seconds(history)).sum::<f64>() / steps as f64;
    let rate = |(history, steps): &(History, usize)| (steps * settings.pretrain.batch) as f64 / history.seconds;
    Ok(Speed {
        jobs,
        threads: share,
        pairs_per_second: trained.iter().map(rate).sum(),
        step_seconds: mean(|history| history.seconds),
        waiting_seconds: mean(|history| history.waited),
    })
}

/// Trains on semantic pairs. Returns the history, and the number of steps.
fn trained(settings: &Settings, seed: u64, mut runner: StageRunner<'_>) -> Result<(History, usize)> {
    let training = stages::training(&Context::new(settings)?, settings, PairKind::Semantic, seed)?;
    let mut needed = Vec::new();
    training.stage.gather(&mut needed);
    for stage in &needed {
        runner.run(stage)?;
    }
    let history = read_json(&runner.done().of(&training.stage).dir.join(HISTORY))?;
    Ok((history, settings.epochs() * (training.pairs.chosen.count() / settings.pretrain.batch)))
}
