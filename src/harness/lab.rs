//! What a cell runs in: stages that are computed once and kept, progress, and the question whether to stop.

use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::cache::Request;
use crate::harness::canonical;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::provenance::Compute;
use crate::harness::record::FileHash;
use crate::harness::record::StageUse;
use std::collections::HashSet;
use std::path::Path;
use std::path::PathBuf;

/// The surroundings of one run.
pub struct Lab<'a> {
    cache: &'a Cache,
    compute: &'a Compute,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    /// The id of the run that the stages are computed for.
    run: String,
    /// With `--force`: the stages that this command has computed anew, each once.
    renewed: Option<&'a mut HashSet<String>>,
    stages: Vec<StageUse>,
    /// The key of the last stage that did not end well.
    failed: Option<String>,
}

/// A finished stage. Its files do not change.
#[derive(Clone, Debug)]
pub struct Stage {
    pub dir: PathBuf,
    pub key: String,
    pub files: Vec<FileHash>,
}

/// The key of a stage: a hash of everything that determines its files.
pub fn stage_key(name: &str, inputs: &serde_json::Value, compute: &Compute) -> String {
    canonical::key(&serde_json::json!({
        "name": name, "code": env!("BUILD_CODE"), "compute": compute, "inputs": inputs,
    }))
}

impl<'a> Lab<'a> {
    /// A lab outside of any recorded run, such as for preparing data; `run` names its stages' origin.
    pub fn new(
        cache: &'a Cache,
        compute: &'a Compute,
        progress: &'a Progress,
        interrupt: &'a Interrupt,
        run: &str,
    ) -> Self {
        Self {
            cache,
            compute,
            progress,
            interrupt,
            run: run.to_owned(),
            renewed: None,
            stages: Vec::new(),
            failed: None,
        }
    }

    /// Computes every stage anew that is not in `renewed`, and adds it there.
    pub(super) fn renewing(mut self, renewed: Option<&'a mut HashSet<String>>) -> Self {
        self.renewed = renewed;
        self
    }

    /// The files that `compute` writes into the folder it is given, computed once for each (name, code, compute,
    /// inputs). `inputs` must hold everything else that determines them: settings, seeds, hashes of data.
    ///
    /// After a failure, an interruption or a kill, `compute` is given the same folder with what it left there, and may
    /// go on from it. Of two processes that ask for one stage, the second waits.
    ///
    /// Panics when `name` is not of lower-case letters, digits and `-`.
    pub fn stage(
        &mut self,
        name: &str,
        inputs: &serde_json::Value,
        compute: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Stage> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(!name.is_empty() && name.chars().all(plain), "not a stage name: `{name}`");
        let key = stage_key(name, inputs, self.compute);
        let fresh = self.renewed.as_ref().is_some_and(|renewed| !renewed.contains(&key));
        let request =
            Request { name, key: &key, run: &self.run, fresh, progress: self.progress, interrupt: self.interrupt };
        let (manifest, computed) =
            self.cache.ensure(&request, compute).inspect_err(|_| self.failed = Some(key.clone()))?;
        if let Some(renewed) = &mut self.renewed {
            renewed.insert(key.clone());
        }
        self.stages.push(StageUse {
            name: name.to_owned(),
            key: key.clone(),
            computed,
            reckoned: 0.0,
            from: (!computed).then_some(manifest.run),
            seconds: manifest.seconds,
            files: manifest.files.clone(),
        });
        Ok(Stage { dir: self.cache.folder(name, &key), key, files: manifest.files })
    }

    /// Outlives the borrow of the lab, so that a stage can show its progress.
    pub fn progress(&self) -> &'a Progress {
        self.progress
    }

    /// Outlives the borrow of the lab, so that a stage can ask whether to stop.
    pub fn interrupt(&self) -> &'a Interrupt {
        self.interrupt
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
