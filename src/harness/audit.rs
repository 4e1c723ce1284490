//! Checks what a ledger keeps of a commit, of one run, or of everything: whether records and cached files are as they
//! were written, whether a record was removed, added or replaced, and whether the commits are still there.

use crate::error::Error;
use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::cache::Held;
use crate::harness::experiment::Row;
use crate::harness::git;
use crate::harness::git::Holder;
use crate::harness::git::Tree;
use crate::harness::journal_check;
use crate::harness::journal_check::History;
use crate::harness::ledger::Checked;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Problem;
use crate::harness::record::Record;
use crate::harness::record::Seal;
use crate::harness::record::StageUse;
use crate::harness::record::Status;
use crate::harness::source;
use rayon::iter::IntoParallelIterator;
use rayon::iter::IntoParallelRefIterator;
use rayon::iter::ParallelIterator;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::path::Path;

/// What to audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject<'a> {
    /// The runs that were recorded at a commit (a branch, a tag, a hash or the start of one), or one run.
    Named(&'a str),
    /// All runs.
    Everything,
}

/// The runs that were asked for, and what is wrong with them and with the ledger.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The full hash of the commit that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The runs that were asked for, oldest first; empty if there are none.
    pub runs: Vec<AuditRun>,
    /// The commits of these runs, and of the runs that name no commit or one that the repository does not have.
    pub commits: Vec<AuditCommit>,
    /// The history of the ledger by its journals.
    pub history: History,
    /// Whether the contents of cached files were read. If not, only their sizes were compared.
    pub deep: bool,
    /// Everything that was found, by file. Findings about other runs of the ledger are among them if they may concern
    /// what was asked for.
    pub problems: Vec<Problem>,
}

/// The runs of one commit.
#[derive(Clone, Debug, Serialize)]
pub struct AuditCommit {
    /// The full hash; `None` for runs that name no commit.
    pub commit: Option<String>,
    /// The number of runs in the ledger.
    pub runs: usize,
    /// Their ids, unless a branch or tag holds the commit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// What holds it in the repository.
    #[serde(flatten)]
    pub holder: Holder,
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
    /// What of its code cannot be made again from the repository and the ledger, and why; `None` if all of it can.
    pub not_kept: Option<String>,
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
    /// Whether nothing was found.
    pub fn holds(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Audits a ledger. `repo` is a folder of the repository. If `deep`, the contents of the cached files are read. Without a
/// repository, the start of a recorded commit is enough.
///
/// # Errors
/// When the ledger or the repository cannot be read, or there is no such commit or run.
pub fn audit(ledger: &Ledger, cache: &Cache, repo: &Path, subject: Subject, deep: bool) -> Result<Audit> {
    let (mut records, mut problems, mut history) = read(ledger)?;
    if !history.problems.is_empty() {
        // A run may have ended between the reading of its record and that of its journal.
        (records, problems, history) = read(ledger)?;
    }
    problems.extend(records.iter().filter_map(|(record, seal)| ledger.unsealed(record, *seal)));
    problems.extend(history.problems.iter().cloned());
    let (commit, run) = match subject {
        Subject::Named(name) => match resolve(&records, repo, name) {
            Ok(commit) => (Some(commit), None),
            Err(error) => (None, Some(find(ledger, &history, name, error)?)),
        },
        Subject::Everything => (None, None),
    };
    let bundled = source::bundled(ledger.dir());
    let bundle_of = |commit: &str| bundled.contains(commit).then(|| source::bundle_of(repo, ledger.dir(), commit))?;
    let commits = commits(&records, repo, &bundle_of, &|of| match (&commit, &run) {
        (Some(commit), _) => of == Some(commit),
        (None, Some(run)) => of == run.git.commit.as_deref(),
        (None, None) => true,
    });
    let is_asked = |(record, _): &(Record, Seal)| match (&commit, &run) {
        (Some(commit), _) => record.git.commit.as_ref() == Some(commit),
        (None, Some(run)) => record.id == run.id,
        (None, None) => true,
    };
    let held = check_stages(&records, &is_asked, &history, cache, deep);
    if let Some(run) = &run {
        problems.retain(|problem| {
            let file = problem.file.file_stem().and_then(|stem| stem.to_str());
            file == Some(&run.id) || file.is_some() && file == run.journal.as_deref()
        });
    }
    problems.extend(commits.iter().filter_map(|commit| commit.problem(ledger)));
    problems.extend(source::problems(ledger.dir(), records.iter().filter(|of| is_asked(of)).map(|(record, _)| record)));
    problems.extend(held.problems);
    problems.sort_by(|a, b| (&a.file, &a.what).cmp(&(&b.file, &b.what)));
    problems.dedup();
    let runs = records.into_iter().filter(is_asked).map(|(record, seal)| check(record, seal, &held.states)).collect();
    Ok(Audit { commit, runs, commits, history, deep, problems })
}

/// The records, what is wrong with them, and the history.
fn read(ledger: &Ledger) -> Result<(Checked, Vec<Problem>, History)> {
    let locked = ledger.locked();
    let (records, problems) = ledger.all()?;
    let history = journal_check::history(ledger, &records, &locked)?;
    Ok((records, problems, history))
}

impl AuditCommit {
    /// A commit that cannot be checked out is a problem of the ledger.
    fn problem(&self, ledger: &Ledger) -> Option<Problem> {
        let commit = self.commit.as_ref()?;
        let runs = if self.runs == 1 { "1 run names".to_owned() } else { format!("{} runs name", self.runs) };
        let what = match self.holder {
            Holder::Unknown => format!("{runs} the commit {commit}, which this repository does not have"),
            Holder::Nothing => {
                format!("{runs} the commit {commit}, which no branch or tag holds: git may delete it")
            }
            Holder::Remote(_) | Holder::Local(_) | Holder::Bundle(_) | Holder::NotAsked => return None,
        };
        Some(Problem { file: ledger.dir().to_path_buf(), what })
    }
}

/// The run with this id. `no_commit` is the error for what names neither a run nor a commit.
fn find(ledger: &Ledger, history: &History, name: &str, no_commit: Error) -> Result<Record> {
    let found = ledger.look_up(name).map(|(record, _)| record);
    found.map_err(|error| match (history.told(name), error.what().starts_with("no run ")) {
        (Some(told), _) => Error::new(told),
        (None, true) => no_commit,
        (None, false) => error,
    })
}

fn resolve(records: &Checked, repo: &Path, rev: &str) -> Result<String> {
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
            Error::new(format!("no commit `{rev}`, neither in the repository nor in a record, and no run of this id"))
                .hint("`sempair runs` lists the runs with their commits; `sempair audit .` checks all")
        })),
        many => Err(Error::new(format!("`{rev}` is the start of {} commits", many.len()))
            .hint(format!("give more of the hash: {}", many.join(", ")))),
    }
}

/// The commits of the runs that were asked for, and those that nobody can ask for: no commit, and commits that neither the
/// repository nor a bundle of the ledger has.
fn commits(
    records: &Checked,
    repo: &Path,
    bundle_of: &dyn Fn(&str) -> Option<String>,
    is_asked: &dyn Fn(Option<&str>) -> bool,
) -> Vec<AuditCommit> {
    let mut ids: BTreeMap<Option<&str>, Vec<&str>> = BTreeMap::new();
    records.iter().for_each(|(record, _)| ids.entry(record.git.commit.as_deref()).or_default().push(&record.id));
    let named: Vec<&str> = ids.keys().copied().flatten().collect();
    let unknown = git::unknown(repo, &named).map(|unknown| unknown.into_iter().collect::<HashSet<_>>());
    let commit = |(commit, ids): (Option<&str>, Vec<&str>)| {
        let holder = match (commit, &unknown) {
            (None, _) | (_, None) => Holder::NotAsked,
            (Some(commit), Some(unknown)) if unknown.contains(commit) => Holder::Unknown,
            (Some(commit), Some(_)) if is_asked(Some(commit)) => git::holder(repo, commit),
            (Some(_), Some(_)) => return None,
        };
        let is_lost = matches!(holder, Holder::Unknown | Holder::Nothing | Holder::NotAsked);
        let holder = commit.filter(|_| is_lost).and_then(bundle_of).map_or(holder, Holder::Bundle);
        let is_shown = commit.is_none() || holder == Holder::Unknown || is_asked(commit);
        let runs = ids.len();
        let is_held = commit.is_some() && !matches!(holder, Holder::Unknown | Holder::Nothing);
        let ids = if is_held { Vec::new() } else { ids.into_iter().map(str::to_owned).collect() };
        is_shown.then(|| AuditCommit { commit: commit.map(str::to_owned), runs, ids, holder })
    };
    ids.into_iter().filter_map(commit).collect()
}

/// A stage as records state it: its name, its key, and its files with their hashes.
type Stated = (String, String, String);

/// The states of stages in the cache.
struct HeldStages {
    states: HashMap<Stated, Held>,
    problems: Vec<Problem>,
}

fn stated(stage: &StageUse) -> Stated {
    let files = stage.files.iter().map(|file| format!("{} {}\n", file.hash, file.name)).collect();
    (stage.name.clone(), stage.key.clone(), files)
}

/// Checks the stages of the runs that were asked for. A stage that many runs share is read once. If runs recorded
/// different files for one key, the files must be those of one of them: a later run has computed it again.
fn check_stages(
    records: &Checked,
    is_asked: &dyn Fn(&(Record, Seal)) -> bool,
    history: &History,
    cache: &Cache,
    deep: bool,
) -> HeldStages {
    let unfinished = records.iter().filter(|(record, _)| record.status != Status::Completed);
    let unrecorded = unfinished.map(|(record, _)| record.id.as_str()).chain(history.deleted.iter().map(String::as_str));
    let unrecorded: HashSet<&str> = unrecorded.collect();
    let asked: HashSet<(&str, &str)> = records
        .iter()
        .filter(|record| is_asked(record))
        .flat_map(|(record, _)| record.stages.iter().map(|stage| (stage.name.as_str(), stage.key.as_str())))
        .collect();
    let mut by_key: BTreeMap<(&str, &str), Vec<(&str, &StageUse)>> = BTreeMap::new();
    for (record, _) in records {
        for stage in record.stages.iter().filter(|stage| asked.contains(&(stage.name.as_str(), stage.key.as_str()))) {
            by_key.entry((&stage.name, &stage.key)).or_default().push((&record.id, stage));
        }
    }
    let by_key: Vec<Vec<(&str, &StageUse)>> = by_key.into_values().collect();
    let checked: Vec<_> = by_key.par_iter().map(|uses| check_stage(uses, &unrecorded, cache, deep)).collect();
    let (mut states, mut problems) = (HashMap::new(), Vec::new());
    for (of_key, of_files) in checked {
        states.extend(of_key);
        problems.extend(of_files);
    }
    HeldStages { states, problems }
}

/// Checks one stage of the cache, which these runs have used.
fn check_stage(
    uses: &[(&str, &StageUse)],
    unrecorded: &HashSet<&str>,
    cache: &Cache,
    deep: bool,
) -> (Vec<(Stated, Held)>, Vec<Problem>) {
    let distinct: BTreeMap<Stated, &(&str, &StageUse)> = uses.iter().map(|of| (stated(of.1), of)).collect();
    let mut states: Vec<(Stated, Held)> =
        distinct.into_par_iter().map(|(stated, (_, stage))| (stated, cache.check(stage, deep))).collect();
    if states.iter().any(|(_, held)| *held == Held::Ok) {
        let replaced = states.iter_mut().filter(|(_, held)| matches!(held, Held::Changed(_)));
        replaced.for_each(|(_, held)| *held = Held::Replaced);
    }
    let Some((run, StageUse { name, key, .. })) = uses.last() else { return Default::default() };
    let folder = cache.folder(name, key);
    let changed =
        states.iter().filter_map(|(_, held)| if let Held::Changed(files) = held { Some(files) } else { None });
    let mut problems: Vec<Problem> = changed
        .flatten()
        .map(|file| Problem { file: folder.join(file), what: format!("not the file that run {run} recorded") })
        .collect();
    let is_there = states.iter().any(|(_, held)| *held != Held::Missing);
    if deep && is_there && problems.is_empty() && !cache.has_manifest_of(uses, unrecorded) {
        problems
            .push(Problem { file: folder.join(Cache::MANIFEST), what: "not as any run recorded the stage".to_owned() });
    }
    (states, problems)
}

fn check(record: Record, seal: Seal, held: &HashMap<Stated, Held>) -> AuditRun {
    let stage = |stage: &StageUse| AuditStage {
        name: stage.name.clone(),
        key: stage.key.clone(),
        held: held.get(&stated(stage)).cloned().unwrap_or(Held::Missing),
    };
    AuditRun {
        intact: seal != Seal::Broken,
        stages: record.stages.iter().map(stage).collect(),
        id: record.id,
        experiment: record.experiment,
        row: record.row,
        column: record.column,
        seed: record.seed,
        status: record.status,
        tree: record.git.tree(),
        not_kept: record.git.not_kept(),
        diff_hash: record.git.diff_hash,
    }
}
