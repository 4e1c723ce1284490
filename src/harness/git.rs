//! The repository that a run is started in: its commit, and the differences from it.
//!
//! libgit2 is asked first, because it is always available. If it finds differences or fails, the `git` program is
//! asked, if it is installed: it reads every repository format that it writes, and applies what users set up there
//! (filters, sparse checkouts). If neither can tell, the state is unknown, never clean.

mod changes;

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use git2::DiffOptions;
use git2::ErrorCode;
use git2::Repository;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::harness::redact;
use changes::Change;
use changes::Outputs;
pub use changes::Untracked;

/// The note if the differences are known but not hashed.
const TOO_LARGE: &str = "the difference is too large to hash";

/// The note if there is no repository.
const NO_REPOSITORY: &str = "not a git repository";

/// The state of the working tree. Part of the record's format: fields are added, never renamed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Git {
    /// The full hash of the commit that is checked out; `None` if it is unknown, as without a repository.
    pub commit: Option<String>,
    /// The branch that is checked out, such as `main`; `None` if there is none or it is unknown.
    pub branch: Option<String>,
    /// The remote repositories: name and address, without credentials.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub remotes: BTreeMap<String, String>,
    /// A branch of a remote repository that has the commit, such as `origin/main`, as it was last fetched or pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_remote: Option<String>,
    /// Tracked files differ from the commit, or there are untracked files. False if that is not known: see
    /// [`Git::tree`].
    dirty: bool,
    /// BLAKE3 of the difference of tracked files and of the untracked ones. `None` if the tree is clean or the
    /// difference is too large.
    pub diff_hash: Option<String>,
    /// Untracked files and folders, at most 100.
    pub untracked: Vec<String>,
    /// The untracked files, also in these folders, at most 100. Empty if only the `git` program can read the repository.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untracked_files: Vec<Untracked>,
    /// Why something above is unknown.
    pub note: Option<String>,
    /// What the ledger keeps of the code, and the name of its commit if the files were committed for the run.
    #[serde(flatten)]
    pub kept: Kept,
}

/// What a ledger keeps to make the code of a run again: see `source`. Part of the record's format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// BLAKE3 of the patch from the commit to the files of the run, which names it in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// BLAKE3 of the git bundle with the commit, which names it in the ledger. Only if the commit is on no remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The commit that was made of the files of the run, on no branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Why patch or bundle are not kept, or not whole.
    #[serde(skip_serializing_if = "Option::is_none", rename = "not_kept")]
    pub note: Option<String>,
}

/// Whether the files are those of the commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tree {
    /// No tracked file differs from the commit, and no file is untracked.
    Clean,
    /// The state is not known; [`Git::note`] says why.
    Unknown,
    /// Tracked files differ from the commit, or there are untracked files.
    Dirty,
}

impl Tree {
    /// The state in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Unknown => "unknown",
            Self::Dirty => "dirty",
        }
    }

    /// The mark after a commit: a star if there are changes, a question mark if the state is unknown.
    pub fn mark(self) -> &'static str {
        match self {
            Self::Clean => "",
            Self::Unknown => "?",
            Self::Dirty => "*",
        }
    }
}

impl Git {
    /// Reads the state of the repository around `path`. Files in `outputs` do not count: a report or a cached file
    /// does not make the tree dirty. Never fails: a note says what is unknown.
    pub fn read(path: &Path, outputs: &[PathBuf]) -> Self {
        Self::read_with_patch(path, outputs).0
    }

    /// As [`Git::read`], with the patch that makes the differences from the commit; empty if there are none, or if they
    /// are not known.
    pub(super) fn read_with_patch(path: &Path, outputs: &[PathBuf]) -> (Self, Vec<u8>) {
        match with_library(path, outputs) {
            Ok((git, _)) if !git.dirty => (git, Vec::new()),
            // The `git` program knows better what counts as a difference.
            Ok(seen) => match with_program(path, outputs) {
                Ok(Seen { git, .. }) if !git.dirty => {
                    (Self { remotes: seen.0.remotes, on_remote: seen.0.on_remote, ..git }, Vec::new())
                }
                _ => seen,
            },
            Err(error) if error.code() == ErrorCode::NotFound && error.class() == git2::ErrorClass::Repository => {
                (Self { note: Some(NO_REPOSITORY.into()), ..Self::default() }, Vec::new())
            }
            Err(error) => with_program(path, outputs).map(Seen::with_patch).unwrap_or_else(|said| {
                let known = Repository::discover(path).and_then(|repository| head(&repository)).unwrap_or_default();
                (Self { note: Some(said.unwrap_or_else(|| words(&error))), ..known }, Vec::new())
            }),
        }
    }

    /// The state of the tree, without anything that names people or places.
    pub fn anonymous(&self) -> Self {
        let note = (self.tree() == Tree::Unknown).then(|| "withheld".to_owned());
        Self { dirty: self.dirty, note, ..Self::default() }
    }

    /// Whether there is a repository whose differences are not known.
    pub fn is_unreadable(&self) -> bool {
        self.tree() == Tree::Unknown && self.note.as_deref() != Some(NO_REPOSITORY)
    }

    /// Whether the files are those of the commit.
    pub fn tree(&self) -> Tree {
        match (self.dirty, &self.note) {
            (true, _) => Tree::Dirty,
            (false, None) => Tree::Clean,
            (false, Some(_)) => Tree::Unknown,
        }
    }
}

/// The commit that `rev` names in the repository around `path`: a branch, a tag, a hash or the start of one. `None`
/// if there is no such commit or no repository.
///
/// # Errors
/// When there is a repository that cannot be read.
pub fn resolve(path: &Path, rev: &str) -> Result<Option<String>, Error> {
    let found = Repository::discover(path)
        .and_then(|repository| repository.revparse_single(rev)?.peel_to_commit().map(|commit| commit.id().to_string()));
    let error = match found {
        Ok(commit) => return Ok(Some(commit)),
        Err(error) if error.code() == ErrorCode::NotFound && error.class() == git2::ErrorClass::Repository => {
            return Ok(None);
        }
        Err(error) => error,
    };
    let commit = format!("{rev}^{{commit}}");
    match run(path, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]) {
        Ok(text) => Ok(Some(String::from_utf8_lossy(&text).trim().to_owned())),
        // With `--quiet`, the program prints nothing if there is no such commit.
        Err(Some(said)) if !said.is_empty() => Err(unreadable(path, &said)),
        Err(None) if error.code() == ErrorCode::Owner => Err(unreadable(path, &words(&error))),
        Err(_) => Ok(None),
    }
}

/// The commits that one of two commits has and the other does not have, newest first, at most `most` of each: the start
/// of the hash, and the subject. `None` if the repository around `path` does not know both.
pub fn between(path: &Path, commits: [&str; 2], most: usize) -> Option<[Vec<String>; 2]> {
    let repository = Repository::discover(path).ok()?;
    let commit = |hash: &str| Some(repository.revparse_single(hash).ok()?.peel_to_commit().ok()?.id());
    let [first, second] = [commit(commits[0])?, commit(commits[1])?];
    let line = |id: git2::Oid| -> Option<String> {
        let commit = repository.find_commit(id).ok()?;
        let subject = String::from_utf8_lossy(commit.summary_bytes().unwrap_or_default()).into_owned();
        Some(format!("{} {subject}", id.to_string().get(..8)?))
    };
    let only = |of: git2::Oid, not_of: git2::Oid| -> Option<Vec<String>> {
        let mut walk = repository.revwalk().ok()?;
        walk.push(of).ok()?;
        walk.hide(not_of).ok()?;
        walk.take(most).map(|id| line(id.ok()?)).collect()
    };
    Some([only(first, second)?, only(second, first)?])
}

/// What holds a commit in a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state", content = "name")]
pub enum Holder {
    /// A branch or tag of a remote repository, as it was last fetched or pushed.
    Remote(String),
    /// A branch or tag of this repository only.
    Local(String),
    /// A bundle of the ledger, and no branch or tag.
    Bundle(String),
    /// No branch or tag: git will delete the commit some day.
    Nothing,
    /// The repository does not have the commit.
    Unknown,
    /// There is no repository, or it has only the newest commits.
    NotAsked,
}

/// The commits among these that the repository around `path` does not have; `None` if there is no repository, or it has
/// only the newest commits.
pub fn unknown<'a>(path: &Path, commits: &[&'a str]) -> Option<Vec<&'a str>> {
    let is_shallow = run(path, &["rev-parse", "--is-shallow-repository"]).ok()?;
    if is_shallow.trim_ascii() != b"false" {
        return None;
    }
    let is_hash = |commit: &&&str| commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hashes: Vec<&str> = commits.iter().filter(is_hash).copied().collect();
    let mut known = String::new();
    for some in hashes.chunks(500) {
        let arguments = [&["rev-list", "--no-walk", "--ignore-missing"], some].concat();
        known += &String::from_utf8_lossy(&run(path, &arguments).ok()?);
    }
    let known: HashSet<&str> = known.lines().collect();
    Some(commits.iter().filter(|commit| !known.contains(*commit)).copied().collect())
}

/// What holds a commit, which the repository around `path` has.
pub fn holder(path: &Path, commit: &str) -> Holder {
    let named = |places: &str| {
        let arguments = ["for-each-ref", "--count=1", "--contains", commit, "--format=%(refname:short)", places];
        let name = run(path, &arguments).map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        name.ok().filter(|name| !name.is_empty())
    };
    let local = || named("refs/heads").or_else(|| named("refs/tags")).or_else(|| named("refs"));
    named("refs/remotes").map(Holder::Remote).or_else(|| local().map(Holder::Local)).unwrap_or(Holder::Nothing)
}

/// The bytes of a file at the top of a commit. `None` if the repository around `path` does not have it.
pub fn file_at(path: &Path, commit: &str, name: &str) -> Option<Vec<u8>> {
    let repository = Repository::discover(path).ok()?;
    let tree = repository.revparse_single(commit).ok()?.peel_to_tree().ok()?;
    let blob = tree.get_name(name)?.to_object(&repository).ok()?;
    Some(blob.as_blob()?.content().to_vec())
}

fn unreadable(path: &Path, what: &str) -> Error {
    let error = Error::new(format!("the repository around {} cannot be read: {what}", path.display()));
    match what.contains("owne") {
        true => error.hint("if you trust it: `git config --global --add safe.directory '*'`"),
        false => error.hint("`git status` shows what is wrong"),
    }
}

fn words(error: &git2::Error) -> String {
    match error.code() {
        ErrorCode::UnbornBranch => "no commit yet".to_owned(),
        ErrorCode::BareRepo => "a repository without a working tree".to_owned(),
        ErrorCode::Owner => "the repository has another owner than this process (see git's safe.directory)".to_owned(),
        _ => error.message().to_owned(),
    }
}

/// The commit and branch of the repository, and what its remotes have.
fn head(repository: &Repository) -> Result<Git, git2::Error> {
    let head = repository.head()?;
    let branch = head.is_branch().then(|| String::from_utf8_lossy(head.shorthand_bytes()).into_owned());
    let commit = head.peel_to_commit()?.id();
    let on_remote = on_remote(repository, commit)?;
    Ok(Git { branch, commit: Some(commit.to_string()), remotes: remotes(repository)?, on_remote, ..Git::default() })
}

fn remotes(repository: &Repository) -> Result<BTreeMap<String, String>, git2::Error> {
    let mut remotes = BTreeMap::new();
    for name in repository.remotes()?.iter().flatten().flatten() {
        let remote = repository.find_remote(name)?;
        remotes.insert(name.to_owned(), redact::text(&String::from_utf8_lossy(remote.url_bytes())));
    }
    Ok(remotes)
}

/// The branches of the remote repositories with their commits.
pub(super) fn remote_branches(repository: &Repository) -> Result<Vec<(String, git2::Oid)>, git2::Error> {
    let mut branches = Vec::new();
    for branch in repository.branches(Some(git2::BranchType::Remote))? {
        let reference = branch?.0.into_reference();
        // A name such as `origin/HEAD` stands for another one.
        if reference.kind() == Some(git2::ReferenceType::Direct)
            && let Ok(commit) = reference.peel_to_commit()
        {
            branches.push((String::from_utf8_lossy(reference.shorthand_bytes()).into_owned(), commit.id()));
        }
    }
    Ok(branches)
}

/// A remote branch that has the commit.
fn on_remote(repository: &Repository, commit: git2::Oid) -> Result<Option<String>, git2::Error> {
    let branches = remote_branches(repository)?;
    let mut missing = repository.revwalk()?;
    missing.push(commit)?;
    branches.iter().try_for_each(|(_, tip)| missing.hide(*tip))?;
    if missing.next().is_some() {
        return Ok(None);
    }
    let has = |tip: git2::Oid| tip == commit || repository.graph_descendant_of(tip, commit).unwrap_or(false);
    Ok(branches.into_iter().find(|(_, tip)| has(*tip)).map(|(name, _)| name))
}

fn with_library(path: &Path, outputs: &[PathBuf]) -> Result<(Git, Vec<u8>), git2::Error> {
    let repository = Repository::discover(path)?;
    let mut git = head(&repository)?;
    let Some(top) = repository.workdir() else {
        git.note = Some("a repository without a working tree".to_owned());
        return Ok((git, Vec::new()));
    };
    let outputs = Outputs::new(top, outputs);
    let tree = repository.head()?.peel_to_tree()?;
    let diff = |recurse: bool, only: &[PathBuf]| {
        let mut options = DiffOptions::new();
        // Untracked folders are listed by name alone: walking into a folder of images could take minutes.
        options.include_untracked(true).recurse_untracked_dirs(recurse).ignore_submodules(false);
        options.disable_pathspec_match(true);
        for path in only {
            options.pathspec(path);
        }
        repository.diff_tree_to_workdir_with_index(Some(&tree), Some(&mut options))
    };
    let inside = |folders: &[PathBuf]| diff(true, folders).map(|diff| changes::of_diff(&diff));
    let changes = outputs.leave_out(changes::of_diff(&diff(false, &[])?), inside)?;
    git.fill(&changes);
    if !git.dirty {
        return Ok((git, Vec::new()));
    }
    git.untracked_files = changes::untracked(&repository, top, &changes, &outputs);
    let patch = changes::patch(&repository, &tree, &changes, &git.untracked_files)?;
    git.describe(patch.as_deref(), &changes);
    Ok((git, patch.unwrap_or_default()))
}

/// The state as the `git` program sees it. The error is what the program printed, or `None` if it is not installed.
fn with_program(path: &Path, outputs: &[PathBuf]) -> Result<Seen, Option<String>> {
    let line = |text: Vec<u8>| String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned();
    let top = PathBuf::from(line(run(path, &["rev-parse", "--show-toplevel"])?));
    let commit =
        run(path, &["rev-parse", "--verify", "--quiet", "HEAD"]).map_err(|_| Some("no commit yet".to_owned()))?;
    let branch = run(path, &["symbolic-ref", "--quiet", "--short", "HEAD"]).ok().map(line);
    let mut git = Git { commit: Some(line(commit)), branch, ..Git::default() };
    let outputs = Outputs::new(&top, outputs);
    let status = |untracked: &str, only: &[PathBuf]| {
        let mut arguments: Vec<&OsStr> =
            ["--literal-pathspecs", "status", "--porcelain=v1", "-z", "--no-renames", untracked, "--"]
                .map(OsStr::new)
                .into();
        arguments.extend(only.iter().map(|path| path.as_os_str()));
        run(&top, &arguments).map(|text| changes::of_status(&text))
    };
    let changes =
        outputs.leave_out(status("--untracked-files=normal", &[])?, |only| status("--untracked-files=all", only))?;
    git.fill(&changes);
    Ok(Seen { git, top, changes })
}

/// What the `git` program sees, before the difference is read.
struct Seen {
    git: Git,
    top: PathBuf,
    changes: Vec<Change>,
}

impl Seen {
    /// Adds the difference, if it is not too large.
    fn with_patch(self) -> (Git, Vec<u8>) {
        let Self { mut git, top, changes } = self;
        let arguments = [
            "--literal-pathspecs",
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-renames",
            "--binary",
            "HEAD",
            "--",
        ];
        let tracked: Vec<&Change> = changes.iter().filter(|change| !change.untracked).collect();
        let paths = tracked.iter().map(|change| change.path.as_os_str());
        let arguments: Vec<&OsStr> = arguments.map(OsStr::new).into_iter().chain(paths).collect();
        let patch = if tracked.is_empty() { Ok(Vec::new()) } else { run(&top, &arguments) };
        let patch = patch.ok().filter(|patch| patch.len() <= changes::MAX_BYTES);
        if git.dirty {
            git.describe(patch.as_deref(), &changes);
        }
        (git, patch.unwrap_or_default())
    }
}

/// Runs the `git` program in a folder and returns its output. The error is what it complained about, or `None` if it
/// is not installed.
#[expect(clippy::disallowed_methods, reason = "git's own answer about the repository; no result depends on it")]
fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Result<Vec<u8>, Option<String>> {
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").args(["-c", "core.fsmonitor=false", "-C"]).arg(folder).args(arguments);
    // The repository is that of the folder, whatever variables a hook has set that runs this program. Nothing is
    // fetched.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().map_err(|_| None)?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().next().unwrap_or_default();
            Err(Some(line.trim_start_matches("fatal: ").trim_start_matches("error: ").to_owned()))
        }
    }
}

impl Git {
    fn fill(&mut self, changes: &[Change]) {
        let untracked = changes.iter().filter(|change| change.untracked).take(changes::MAX_UNTRACKED);
        self.untracked = untracked.map(|change| change.path.to_string_lossy().into_owned()).collect();
        self.dirty = !changes.is_empty();
    }

    /// Adds the hash of the difference, or that it is too large.
    fn describe(&mut self, patch: Option<&[u8]>, changes: &[Change]) {
        match patch {
            Some(patch) => self.diff_hash = Some(changes::hash(patch, changes, &self.untracked_files)),
            None => self.note = Some(TOO_LARGE.to_owned()),
        }
    }
}
