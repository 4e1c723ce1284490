//! A stage: one step of the work for cells. Its key is a hash of everything that decides its files (name, inputs,
//! code, what computes, the stages before it). A stage also has its cost, its work, and the names of its files with
//! times.

use crate::error::Result;
use crate::harness::canonical;
use crate::harness::code::Code;
use crate::harness::interrupt::Interrupt;
use crate::harness::load::Load;
use crate::harness::progress::Progress;
use crate::harness::provenance::Compute;
use crate::harness::record::FileHash;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Debug;
use std::fmt::Formatter;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything about a stage except its work.
#[derive(Clone, Debug)]
pub struct Description {
    /// Such as `pretrain`: lower-case letters, digits and `-`.
    pub name: &'static str,
    /// Everything else that determines its files: settings, seeds, hashes of data and of external files. The work
    /// depends only on what is here and on the files of the stages before it. Descriptions of data are an exception:
    /// they are recorded as they were.
    pub inputs: Value,
    /// The stages whose files the work reads.
    pub after: Vec<Arc<Stage>>,
    /// The code that can change its files.
    pub code: Code,
    /// What computes.
    pub compute: Compute,
    /// Its predicted cost.
    pub cost: Cost,
    /// Files that contain times. All others are exact: they have the same bytes whenever the stage is computed.
    pub timed: &'static [&'static str],
}

/// The predicted cost of computing a stage. Schedules and estimates depend on it, results never do.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Seconds on one thread of this machine, which the harness corrects by the times of earlier runs.
    pub seconds: f64,
    /// Peak memory in bytes, without the program itself.
    pub memory: u64,
    /// A sample of the work, to measure how it speeds up with threads.
    pub load: Option<Arc<Load>>,
}

/// Writes a stage's files into the folder of its site.
pub type Work = Box<dyn Fn(&Site<'_>) -> Result<()> + Send + Sync>;

/// One step of the work for cells.
pub struct Stage {
    /// Its name, inputs, code and cost, and the stages before it.
    pub description: Description,
    key: String,
    work: Work,
}

/// Where a stage is computed.
pub struct Site<'a> {
    /// The folder for its files. After a failure, an interruption or a kill, it has the files that were left there,
    /// and the work may resume from them.
    pub dir: &'a Path,
    /// Shows the progress of the work.
    pub progress: &'a Progress,
    /// Says when to stop.
    pub interrupt: &'a Interrupt,
    stage: &'a Stage,
    done: &'a Done,
}

/// A stage that was computed. Its files do not change.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The stage's folder in the cache.
    pub dir: PathBuf,
    /// All files in the folder except the cache's manifest, sorted by name.
    pub files: Vec<FileHash>,
}

/// The stages that a cell has computed or found.
#[derive(Debug, Default)]
pub struct Done(HashMap<String, Finished>);

impl Debug for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name(), self.key)
    }
}

impl Stage {
    /// Makes a stage from its description and its work.
    ///
    /// # Panics
    /// When the name has a character that is not allowed.
    pub fn new(description: Description, work: impl Fn(&Site<'_>) -> Result<()> + Send + Sync + 'static) -> Arc<Self> {
        let name = description.name;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(!name.is_empty() && name.chars().all(plain), "not a stage name: `{name}`");
        let after: Vec<&str> = description.after.iter().map(|stage| stage.key()).collect();
        let key = canonical::key(&serde_json::json!({
            "name": name, "inputs": description.inputs, "code": description.code.version,
            "compute": description.compute, "after": after,
        }));
        Arc::new(Self { description, key, work: Box::new(work) })
    }

    /// Such as `pretrain`.
    pub fn name(&self) -> &'static str {
        self.description.name
    }

    /// A hash of everything that determines its files.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Adds this stage to `all`, after the stages that it needs, each once.
    pub fn gather(self: &Arc<Self>, all: &mut Vec<Arc<Self>>) {
        if all.iter().all(|stage| stage.key != self.key) {
            self.description.after.iter().for_each(|before| before.gather(all));
            all.push(self.clone());
        }
    }

    /// Does the work in `dir`.
    pub(super) fn compute(&self, dir: &Path, done: &Done, progress: &Progress, interrupt: &Interrupt) -> Result<()> {
        (self.work)(&Site { dir, progress, interrupt, stage: self, done })
    }
}

impl Site<'_> {
    /// The files of a stage before this one.
    ///
    /// # Panics
    /// When this stage does not name it.
    pub fn of(&self, stage: &Stage) -> &Finished {
        let named = self.stage.description.after.iter().any(|before| before.key == stage.key);
        assert!(named, "stage {} reads {}, which it does not name", self.stage.name(), stage.name());
        self.done.of(stage)
    }
}

impl Finished {
    /// The hash of one of its files.
    pub fn hash_of(&self, name: &str) -> Option<String> {
        self.files.iter().find(|file| file.name == name).map(|file| file.hash.clone())
    }
}

impl Done {
    pub(super) fn add(&mut self, stage: &Stage, finished: Finished) {
        self.0.insert(stage.key.clone(), finished);
    }

    /// The files of a stage.
    ///
    /// # Panics
    /// When the cell does not have it.
    pub fn of(&self, stage: &Stage) -> &Finished {
        self.0.get(&stage.key).unwrap_or_else(|| panic!("stage {} does not belong to the cell", stage.name()))
    }
}
