//! A stage: one step of the work behind cells, as one value. What decides its files (name, inputs, code, what computes,
//! the stages before it) makes its key; what it costs, what it does and which of its files hold times are with it.

use crate::error::Result;
use crate::harness::canonical;
use crate::harness::code::Code;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::provenance::Compute;
use crate::harness::record::FileHash;
use crate::harness::scaling::Load;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Debug;
use std::fmt::Formatter;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

/// Everything about a stage but its work.
#[derive(Clone, Debug)]
pub struct Description {
    /// Such as `pretrain`: of lower-case letters, digits and `-`.
    pub name: &'static str,
    /// Everything else that determines its files: settings, seeds, hashes of data and of files from outside. The work
    /// depends on nothing that is not here or in the files of the stages before it, but for descriptions of data,
    /// which are recorded as they were.
    pub inputs: Value,
    /// The stages whose files the work reads.
    pub after: Vec<Arc<Stage>>,
    /// The code whose change may change its files.
    pub code: Code,
    /// What computes.
    pub compute: Compute,
    /// What it is predicted to take.
    pub cost: Cost,
    /// Files that hold times. All others are exact: whenever the stage is computed, they have the same bytes.
    pub timed: &'static [&'static str],
}

/// What computing a stage is predicted to take. Schedules and estimates depend on it, results never.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// Seconds on one thread of this machine; the harness sets them right by what earlier runs took.
    pub seconds: f64,
    /// Bytes of memory at the peak, besides the program.
    pub memory: u64,
    /// What shows how the work speeds up with threads.
    pub load: Option<Arc<Load>>,
}

/// Writes a stage's files into the folder of its site.
pub type Work = Box<dyn Fn(&Site<'_>) -> Result<()> + Send + Sync>;

/// One step of the work behind cells.
pub struct Stage {
    pub description: Description,
    key: String,
    work: Work,
}

/// Where a stage is computed.
pub struct Site<'a> {
    /// The folder for its files. After a failure, an interruption or a kill it has what was left there, and the work
    /// may go on from it.
    pub dir: &'a Path,
    /// Shows how far the work is.
    pub progress: &'a Progress,
    /// Asks for an end.
    pub interrupt: &'a Interrupt,
    stage: &'a Stage,
    done: &'a Done,
}

/// A stage that was computed. Its files do not change.
#[derive(Clone, Debug)]
pub struct Finished {
    pub dir: PathBuf,
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
    /// A stage and its work.
    ///
    /// Panics when the name has other characters than it may.
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

    /// Adds this stage to `all` behind those that it needs, each once.
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
    /// Panics when this stage does not name it.
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
    /// Panics when the cell does not have it.
    pub fn of(&self, stage: &Stage) -> &Finished {
        self.0.get(&stage.key).unwrap_or_else(|| panic!("stage {} is none of the cell's", stage.name()))
    }
}
