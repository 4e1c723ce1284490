//! The repository that a run is started in: its commit, and the differences from it.
//!
//! libgit2 is asked first, because it is always available. If it finds differences or fails, the `git` program is
//! asked, if it is installed: it reads every repository format that it writes, and applies what users set up there
//! (filters, sparse checkouts). If neither can tell, the state is unknown, never clean.

use std::collections::BTreeMap;
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;
use std::time::Duration;
use std::time::Instant;

use git2::DiffFormat;
use git2::DiffOptions;
use git2::ErrorCode;
use git2::Repository;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Error;
use crate::harness::redact;

/// Larger or slower differences are not hashed: recording must never delay a run.
const MAX_DIFF_BYTES: usize = 16 << 20;
const MAX_DIFF_TIME: Duration = Duration::from_secs(2);
const MAX_UNTRACKED: usize = 100;

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
    /// BLAKE3 of the difference of tracked files and of the list of untracked ones. `None` if the tree is clean or
    /// the difference is too large.
    pub diff_hash: Option<String>,
    /// Untracked files and folders, at most 100.
    pub untracked: Vec<String>,
    /// Why something above is unknown.
    pub note: Option<String>,
    /// What the ledger keeps of the code.
    #[serde(flatten)]
    pub kept: Kept,
}

/// What a ledger keeps to make the code of a run again: see `source`. Part of the record's format.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// The commit that was made of the files of the run, if they were not those of its commit. It is on no branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// BLAKE3 of the git bundle with the snapshot, or with a commit that is on no remote. It names the bundle in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bundle: Option<String>,
    /// The untracked files, at most 100.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub untracked_files: Vec<UntrackedFile>,
    /// What cannot be made again, and why.
    #[serde(skip_serializing_if = "Option::is_none", rename = "not_kept")]
    pub note: Option<String>,
}

/// A file that is neither tracked nor ignored by git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UntrackedFile {
    /// Its path, relative to the top of the repository.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content; `None` if it was not read, because it is large or not a plain file.
    pub hash: Option<String>,
    /// Whether the snapshot has it.
    pub kept: bool,
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

/// A path that differs from the commit, relative to the top of the repository.
pub(super) struct Change {
    pub path: PathBuf,
    pub untracked: bool,
}

impl Git {
    /// Reads the state of the repository around `path`. Files in `outputs` do not count: a report or a cached file
    /// does not make the tree dirty. Never fails: a note says what is unknown.
    pub fn read(path: &Path, outputs: &[PathBuf]) -> Self {
        match with_library(path, outputs) {
            Ok(git) if !git.dirty => git,
            // The `git` program knows better what counts as a difference.
            Ok(git) => match with_program(path, outputs) {
                Ok(seen) if !seen.git.dirty => seen.git,
                _ => git,
            },
            Err(error) if error.code() == ErrorCode::NotFound && error.class() == git2::ErrorClass::Repository => {
                Self { note: Some(NO_REPOSITORY.into()), ..Self::default() }
            }
            Err(error) => with_program(path, outputs).map(Seen::hashed).unwrap_or_else(|said| {
                let known = Repository::discover(path).and_then(|repository| head(&repository)).unwrap_or_default();
                Self { note: Some(said.unwrap_or_else(|| words(&error))), ..known }
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

    /// What cannot be made again of the files, if they were not those of the commit.
    pub fn not_kept(&self) -> Option<String> {
        let is_lost = self.tree() == Tree::Dirty && self.kept.snapshot.is_none();
        self.kept.note.clone().or_else(|| is_lost.then(|| "the changes since the commit".to_owned()))
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
    let hashes: Vec<&str> = commits.iter().filter(|commit| is_full_hash(commit)).copied().collect();
    let mut known = String::new();
    for some in hashes.chunks(500) {
        let arguments = [&["rev-list", "--no-walk", "--ignore-missing"], some].concat();
        known += &String::from_utf8_lossy(&run(path, &arguments).ok()?);
    }
    let known: HashSet<&str> = known.lines().collect();
    Some(commits.iter().filter(|commit| !known.contains(*commit)).copied().collect())
}

/// Whether a text can be the hash of a commit.
pub(super) fn is_full_hash(text: &str) -> bool {
    [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The remote repositories of that around `path`: name and address, without credentials.
pub(super) fn remotes(path: &Path) -> BTreeMap<String, String> {
    let listed = run(path, &["config", "--get-regexp", r"^remote\..*\.url$"]).unwrap_or_default();
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let remote = |line: &str| {
        let (key, address) = line.split_once(' ')?;
        let name = key.strip_prefix("remote.")?.strip_suffix(".url")?;
        // What follows a question mark may be a token.
        Some((name.to_owned(), redact::text(address.split('?').next().unwrap_or_default())))
    };
    listed.lines().filter_map(remote).collect()
}

/// The top of the working tree around `path`, and what differs from the commit, as the `git` program sees it. A folder that
/// is a repository of its own is one path.
pub(super) fn changes(path: &Path, outputs: &[PathBuf]) -> Result<(PathBuf, Vec<Change>), Option<String>> {
    let top = run(path, &["rev-parse", "--show-toplevel"])?;
    let top = PathBuf::from(String::from_utf8_lossy(&top).trim_end_matches('\n'));
    let text = run(&top, &["status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all"])?;
    let changes = Outputs::new(&top, outputs).leave_out(statuses(&text), |_| Ok::<_, Option<String>>(Vec::new()))?;
    Ok((top, changes))
}

/// What holds a commit, which the repository around `path` has.
pub fn holder(path: &Path, commit: &str) -> Holder {
    let named = |places: &str| {
        // A name such as `origin/HEAD` stands for another one.
        let format = "--format=%(if)%(symref)%(then)%(else)%(refname:short)%(end)";
        let text = run(path, &["for-each-ref", "--contains", commit, format, places]).ok()?;
        String::from_utf8_lossy(&text).lines().find(|name| !name.is_empty()).map(str::to_owned)
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

/// The commit and branch of the repository.
fn head(repository: &Repository) -> Result<Git, git2::Error> {
    let head = repository.head()?;
    let branch = head.is_branch().then(|| String::from_utf8_lossy(head.shorthand_bytes()).into_owned());
    Ok(Git { branch, commit: Some(head.peel_to_commit()?.id().to_string()), ..Git::default() })
}

fn with_library(path: &Path, outputs: &[PathBuf]) -> Result<Git, git2::Error> {
    let repository = Repository::discover(path)?;
    let mut git = head(&repository)?;
    let Some(top) = repository.workdir() else {
        git.note = Some("a repository without a working tree".to_owned());
        return Ok(git);
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
    let whole = diff(false, &[])?;
    let changes = outputs.leave_out(changes_of(&whole), |folders| diff(true, folders).map(|diff| changes_of(&diff)))?;
    git.fill(&changes);
    if git.dirty {
        match hash(&whole, &changes) {
            Ok(hash) => git.diff_hash = Some(hash),
            Err(error) if error.code() == ErrorCode::User => {
                git.note = Some(TOO_LARGE.to_owned());
            }
            Err(error) => return Err(error),
        }
    }
    Ok(git)
}

fn changes_of(diff: &git2::Diff) -> Vec<Change> {
    let change =
        |delta: git2::DiffDelta| Change { path: path_of(&delta), untracked: delta.status() == git2::Delta::Untracked };
    diff.deltas().map(change).collect()
}

fn path_of(delta: &git2::DiffDelta) -> PathBuf {
    let path = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes());
    as_path(path.unwrap_or_default())
}

/// The hash of the parts of a difference that belong to these changes.
fn hash(diff: &git2::Diff, changes: &[Change]) -> Result<String, git2::Error> {
    let mut hasher = blake3::Hasher::new();
    let (mut bytes, start) = (0, Instant::now());
    diff.print(DiffFormat::Patch, |delta, _, line| {
        let path = path_of(&delta);
        if changes.iter().any(|change| !change.untracked && change.path == path) {
            bytes += line.content().len();
            hasher.update(&[line.origin() as u8]).update(line.content());
        }
        bytes <= MAX_DIFF_BYTES && start.elapsed() <= MAX_DIFF_TIME
    })?;
    add_untracked(&mut hasher, changes);
    Ok(hasher.finalize().to_hex().to_string())
}

fn add_untracked(hasher: &mut blake3::Hasher, changes: &[Change]) {
    for change in changes.iter().filter(|change| change.untracked) {
        hasher.update(b"?").update(change.path.as_os_str().as_encoded_bytes()).update(b"\n");
    }
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
        run(&top, &arguments).map(|text| statuses(&text))
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
    /// Adds the hash of the difference, if it can be computed.
    fn hashed(self) -> Git {
        let Self { mut git, top, changes } = self;
        if !git.dirty {
            return git;
        }
        // Binary files appear in it as hashes of their content.
        let arguments = [
            "--literal-pathspecs",
            "diff",
            "--no-ext-diff",
            "--no-textconv",
            "--no-color",
            "--no-renames",
            "--full-index",
            "HEAD",
            "--",
        ];
        let tracked: Vec<&Change> = changes.iter().filter(|change| !change.untracked).collect();
        let paths = tracked.iter().map(|change| change.path.as_os_str());
        let arguments: Vec<&OsStr> = arguments.map(OsStr::new).into_iter().chain(paths).collect();
        match if tracked.is_empty() { Ok(Vec::new()) } else { run(&top, &arguments) } {
            Ok(difference) if difference.len() <= MAX_DIFF_BYTES => {
                let mut hasher = blake3::Hasher::new();
                hasher.update(&difference);
                add_untracked(&mut hasher, &changes);
                git.diff_hash = Some(hasher.finalize().to_hex().to_string());
            }
            _ => git.note = Some(TOO_LARGE.to_owned()),
        }
        git
    }
}

/// The entries of `git status --porcelain=v1 -z --no-renames`: two letters, a space, a path, a zero byte.
fn statuses(text: &[u8]) -> Vec<Change> {
    let entries = text.split(|&byte| byte == 0).filter(|entry| entry.len() > 3);
    entries.map(|entry| Change { path: as_path(&entry[3..]), untracked: entry.starts_with(b"??") }).collect()
}

#[cfg(unix)]
fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// Runs the `git` program in a folder and returns its output. The error is what it complained about, or `None` if it
/// is not installed.
pub(super) fn run<S: AsRef<OsStr>>(folder: &Path, arguments: &[S]) -> Result<Vec<u8>, Option<String>> {
    run_with(folder, arguments, &[], None)
}

/// As [`run`], with further variables and with this file as standard input.
#[expect(clippy::disallowed_methods, reason = "git's own answer about the repository; no result depends on it")]
pub(super) fn run_with<S: AsRef<OsStr>>(
    folder: &Path,
    arguments: &[S],
    variables: &[(&str, &OsStr)],
    input: Option<File>,
) -> Result<Vec<u8>, Option<String>> {
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").args(["-c", "core.fsmonitor=false", "-C"]).arg(folder).args(arguments);
    // The repository is that of the folder, whatever variables a hook has set that runs this program. Nothing is
    // fetched.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C").envs(variables.iter().copied());
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
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
        let untracked = changes.iter().filter(|change| change.untracked).take(MAX_UNTRACKED);
        self.untracked = untracked.map(|change| change.path.to_string_lossy().into_owned()).collect();
        self.dirty = !changes.is_empty();
    }
}

/// The paths of outputs, relative to the top of the repository. Paths outside of the repository are left out, and so
/// is the top itself.
struct Outputs(Vec<PathBuf>);

impl Outputs {
    fn new(top: &Path, outputs: &[PathBuf]) -> Self {
        let top = resolved(top);
        let inside = |path: &PathBuf| resolved(path).strip_prefix(&top).ok().map(Path::to_path_buf);
        Self(outputs.iter().filter_map(inside).filter(|path| !path.as_os_str().is_empty()).collect())
    }

    /// The changes that are not outputs. `inside` lists the changes in an untracked folder that has outputs deep
    /// inside.
    fn leave_out<E>(
        &self,
        mut changes: Vec<Change>,
        inside: impl Fn(&[PathBuf]) -> Result<Vec<Change>, E>,
    ) -> Result<Vec<Change>, E> {
        let around = |change: &Change| change.untracked && self.0.iter().any(|output| output.starts_with(&change.path));
        let holders: Vec<PathBuf> =
            changes.iter().filter(|change| around(change)).map(|change| change.path.clone()).collect();
        if !holders.is_empty() {
            changes.retain(|change| !around(change));
            changes.extend(inside(&holders)?);
        }
        changes.retain(|change| !self.0.iter().any(|output| change.path.starts_with(output)));
        Ok(changes)
    }
}

/// Returns the absolute path, with links resolved as far as the path exists.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let there = path.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    match there {
        Some((ancestor, real)) => match path.strip_prefix(ancestor) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            Ok(rest) => real.join(rest),
            Err(_) => path.clone(),
        },
        None => path.clone(),
    }
}
