//! Finds the runs of a commit, and checks that their records and files have not changed.

use crate::error::Error;
use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::cache::Held;
use crate::harness::experiment::Row;
use crate::harness::git;
use crate::harness::git::Tree;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Problem;
use crate::harness::record::Record;
use crate::harness::record::StageUse;
use crate::harness::record::Status;
use rayon::iter::IntoParallelIterator;
use rayon::iter::ParallelIterator;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// The runs of one commit.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The revision that was asked for.
    pub rev: String,
    /// The full hash of the commit that `rev` names.
    pub commit: String,
    /// The runs that were recorded at this commit, oldest first; empty if there are none.
    pub runs: Vec<AuditRun>,
    /// Files in the ledger that are not readable records.
    pub problems: Vec<Problem>,
}

/// One run, with the results of the checks.
#[derive(Clone, Debug, Serialize)]
pub struct AuditRun {
    /// The run's id, a UUID of version 7.
    pub id: String,
    /// The id of the run's table, such as `transfer`.
    pub experiment: String,
    /// The labels of the run's row in its table.
    pub row: Row,
    /// The id of the run's column, such as `synth-10`.
    pub column: String,
    /// The run's seed, counted from 0.
    pub seed: u64,
    /// How the run ended, or that it still runs.
    pub status: Status,
    /// Whether the files were those of the commit.
    pub tree: Tree,
    /// BLAKE3 of the differences from the commit; `None` if there were none, or they were not hashed.
    pub diff_hash: Option<String>,
    /// Whether the hash of the record matches.
    pub intact: bool,
    /// The stages that the run used, in the order of its record.
    pub stages: Vec<AuditStage>,
}

/// A stage that the run used.
#[derive(Clone, Debug, Serialize)]
pub struct AuditStage {
    /// The stage's name, such as `pretrain`.
    pub name: String,
    /// The stage's key, which names its folder in the cache.
    pub key: String,
    /// Whether the stage's files in the cache are those that the run recorded.
    #[serde(flatten)]
    pub held: Held,
}

impl Audit {
    /// Whether no record was edited, no cached file has changed, and no file of the ledger is unreadable.
    pub fn holds(&self) -> bool {
        let sound = |run: &AuditRun| run.intact && !run.stages.iter().any(|s| matches!(s.held, Held::Changed(_)));
        self.problems.is_empty() && self.runs.iter().all(sound)
    }
}

/// Checks every run that was recorded at `rev`: a branch, a tag, a hash or the start of one. Without a repository at
/// `repo`, the start of a recorded commit is enough.
pub fn audit(ledger: &Ledger, cache: &Cache, repo: &Path, rev: &str) -> Result<Audit> {
    let (records, problems) = ledger.all()?;
    let commit = resolve(&records, repo, rev)?;
    let records: Vec<_> = records.into_iter().filter(|(r, _)| r.git.commit.as_ref() == Some(&commit)).collect();
    let held = check_stages(&records, cache);
    let runs = records.into_iter().map(|(record, intact)| check(record, intact, &held)).collect();
    Ok(Audit { rev: rev.to_owned(), commit, runs, problems })
}

fn resolve(records: &[(Record, bool)], repo: &Path, rev: &str) -> Result<String> {
    let unreadable = match git::resolve(repo, rev) {
        Ok(Some(commit)) => return Ok(commit),
        Ok(None) => None,
        Err(error) => Some(error),
    };
    // In a shallow clone, or without the repository, commits can still be found in the records.
    let named = records.iter().filter_map(|(record, _)| record.git.commit.as_deref());
    let mut found: Vec<&str> = named.filter(|commit| rev.len() >= 4 && commit.starts_with(rev)).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [commit] => Ok((*commit).to_owned()),
        [] => Err(unreadable.unwrap_or_else(|| {
            Error::new(format!("no commit `{rev}`, neither in the repository nor in a record"))
                .hint("`sempair runs` shows the commit of each run")
        })),
        many => Err(Error::new(format!("`{rev}` is the start of {} commits", many.len()))
            .hint(format!("give more of the hash: {}", many.join(", ")))),
    }
}

type Distinct<'a> = HashMap<(&'a str, &'a str, String), &'a StageUse>;

/// Checks the stages of all runs. A stage that many runs share is read once. Stages with the same key for which runs
/// recorded different files are checked separately.
fn check_stages(records: &[(Record, bool)], cache: &Cache) -> HashMap<(String, String), Held> {
    let stages = records.iter().flat_map(|(record, _)| &record.stages);
    let distinct: Distinct = stages.map(|s| ((s.name.as_str(), s.key.as_str(), files_of(s)), s)).collect();
    let checked = distinct.into_par_iter();
    checked.map(|((_, key, files), stage)| ((key.to_owned(), files), cache.check(stage))).collect()
}

fn files_of(stage: &StageUse) -> String {
    stage.files.iter().map(|file| format!("{} {}\n", file.hash, file.name)).collect()
}

fn check(record: Record, intact: bool, held: &HashMap<(String, String), Held>) -> AuditRun {
    let stage = |stage: &StageUse| AuditStage {
        name: stage.name.clone(),
        key: stage.key.clone(),
        held: held[&(stage.key.clone(), files_of(stage))].clone(),
    };
    AuditRun {
        intact,
        stages: record.stages.iter().map(stage).collect(),
        id: record.id,
        experiment: record.experiment,
        row: record.row,
        column: record.column,
        seed: record.seed,
        status: record.status,
        tree: record.git.tree(),
        diff_hash: record.git.diff_hash,
    }
}
