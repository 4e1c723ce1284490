//! The environment of a run: stages that are computed once and kept, progress, and interruption.

use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::cache::Request;
use crate::harness::concurrent_runs::ConcurrentRuns;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::record::StageUse;
use crate::harness::scaling::Scaling;
use crate::harness::schedule::Step;
use crate::harness::stage::Done;
use crate::harness::stage::Finished;
use crate::harness::stage::Stage;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

/// The environment of one run.
pub struct StageRunner<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    /// The id of the run that the stages are computed for.
    run: String,
    /// With `--force`: the stages that this command has computed again, each once.
    renewed: Option<&'a Mutex<HashSet<String>>>,
    concurrent: Arc<ConcurrentRuns>,
    /// How the work of stages speeds up with threads.
    scaling: Option<&'a Scaling>,
    done: Done,
    stages: Vec<StageUse>,
    /// The key of the last stage that failed.
    failed: Option<String>,
}

impl<'a> StageRunner<'a> {
    /// Makes a runner that keeps its stages in the cache; `run` is recorded as their origin.
    pub fn new(cache: &'a Cache, progress: &'a Progress, interrupt: &'a Interrupt, run: &str) -> Self {
        Self {
            cache,
            progress,
            interrupt,
            run: run.to_owned(),
            renewed: None,
            concurrent: Arc::default(),
            scaling: None,
            done: Done::default(),
            stages: Vec::new(),
            failed: None,
        }
    }

    /// Computes each stage again that is not in `renewed`, and adds it there.
    pub(super) fn renewing(self, renewed: Option<&'a Mutex<HashSet<String>>>) -> Self {
        Self { renewed, ..self }
    }

    /// Sets the other runs at the same time, and the scaling for predictions.
    pub(super) fn beside(self, concurrent: Arc<ConcurrentRuns>, scaling: &'a Scaling) -> Self {
        Self { concurrent, scaling: Some(scaling), ..self }
    }

    /// Computes a stage, or finds it in the cache. The stages that it reads must be run before it. If two processes
    /// ask for the same stage, the second one waits.
    pub fn run(&mut self, stage: &Stage) -> Result<&Finished> {
        let (name, key) = (stage.name(), stage.key());
        let renewed = || self.renewed.map(|renewed| renewed.lock().unwrap_or_else(PoisonError::into_inner));
        let fresh = renewed().is_some_and(|renewed| !renewed.contains(key));
        let (progress, interrupt, concurrent) = (self.progress, self.interrupt, &*self.concurrent);
        let request = Request { stage, run: &self.run, fresh, concurrent, progress, interrupt };
        let work = |dir: &std::path::Path| stage.compute(dir, &self.done, self.progress, self.interrupt);
        let (manifest, computed) = match self.cache.ensure(&request, work) {
            Ok(found) => found,
            Err(error) => {
                self.failed = Some(key.to_owned());
                return Err(error);
            }
        };
        if let Some(mut renewed) = renewed() {
            renewed.insert(key.to_owned());
        }
        let cost = &stage.description.cost;
        let serial = self.scaling.map_or(0.0, |scaling| scaling.serial(cost.load.as_deref()));
        self.stages.push(StageUse {
            name: name.to_owned(),
            key: key.to_owned(),
            computed,
            predicted: Step { seconds: cost.seconds, serial, memory: 0 }.on(manifest.threads),
            threads: manifest.threads,
            beside: manifest.beside,
            from: (!computed).then_some(manifest.run),
            seconds: manifest.seconds,
            files: manifest.files.clone(),
        });
        self.done.add(stage, Finished { dir: self.cache.folder(name, key), files: manifest.files });
        Ok(self.done.of(stage))
    }

    /// The stages that were run.
    pub fn done(&self) -> &Done {
        &self.done
    }

    /// The key of the last stage that failed.
    pub(super) fn failed(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// The stages used so far.
    pub fn into_stages(self) -> Vec<StageUse> {
        self.stages
    }
}
