//! What a run works in: stages that are computed once and kept, progress, and the question whether to stop.

use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::cache::Request;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::record::StageUse;
use crate::harness::stage::Done;
use crate::harness::stage::Finished;
use crate::harness::stage::Stage;
use std::collections::HashSet;

/// The surroundings of one run.
pub struct Lab<'a> {
    cache: &'a Cache,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    /// The id of the run that the stages are computed for.
    run: String,
    /// With `--force`: the stages that this command has computed again, each once.
    renewed: Option<&'a mut HashSet<String>>,
    done: Done,
    stages: Vec<StageUse>,
    /// The key of the last stage that did not end well.
    failed: Option<String>,
}

impl<'a> Lab<'a> {
    /// A lab whose stages go into the cache; `run` names their origin.
    pub fn new(cache: &'a Cache, progress: &'a Progress, interrupt: &'a Interrupt, run: &str) -> Self {
        let (done, stages) = (Done::default(), Vec::new());
        Self { cache, progress, interrupt, run: run.to_owned(), renewed: None, done, stages, failed: None }
    }

    /// Computes every stage again that is not in `renewed`, and adds it there.
    pub(super) fn renewing(mut self, renewed: Option<&'a mut HashSet<String>>) -> Self {
        self.renewed = renewed;
        self
    }

    /// Computes a stage, or finds it in the cache. Those that it reads come first. Of two processes that ask for one
    /// stage, the second waits.
    pub fn run(&mut self, stage: &Stage) -> Result<&Finished> {
        let (name, key) = (stage.name(), stage.key());
        let fresh = self.renewed.as_ref().is_some_and(|renewed| !renewed.contains(key));
        let request = Request { stage, run: &self.run, fresh, progress: self.progress, interrupt: self.interrupt };
        let work = |dir: &std::path::Path| stage.compute(dir, &self.done, self.progress, self.interrupt);
        let (manifest, computed) = match self.cache.ensure(&request, work) {
            Ok(found) => found,
            Err(error) => {
                self.failed = Some(key.to_owned());
                return Err(error);
            }
        };
        if let Some(renewed) = &mut self.renewed {
            renewed.insert(key.to_owned());
        }
        self.stages.push(StageUse {
            name: name.to_owned(),
            key: key.to_owned(),
            computed,
            predicted: stage.description.cost.seconds,
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

    /// The key of the last stage that did not end well.
    pub(super) fn failed(&mut self) -> Option<String> {
        self.failed.take()
    }

    /// The stages used so far.
    pub fn into_stages(self) -> Vec<StageUse> {
        self.stages
    }
}
