//! The code of a run, kept in the ledger where the repository alone may lose it: files that are not those of the commit,
//! and commits that are on no remote.
//!
//! Both are commits in git bundles, `source/<BLAKE3>.bundle` in the ledger. Files that are not committed become a commit of
//! their own, the snapshot, whose parent is the commit of the run. A bundle is thin: it has only what remotes, and earlier
//! bundles, do not have. It is kept only if it was proved to give every file back to a reader who has nothing but the
//! commits that it names as needed. It is written before the first run of a command begins.
//!
//! The `git` program does the work, because it knows filters, line ends, submodules and every format of repositories. It
//! works in a [`Workshop`], so nothing is written to the user's repository, except by [`DirtyTree::Snapshot`].
//! Secrets stay out: files that look like secrets are listed and not kept.

mod workshop;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;
use serde::Serialize;

use crate::console;
use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::git;
use crate::harness::git::Change;
use crate::harness::git::Git;
use crate::harness::git::Holder;
use crate::harness::git::Kept;
use crate::harness::git::Tree;
use crate::harness::git::UntrackedFile;
use crate::harness::ledger::Problem;
use crate::harness::provenance::Build;
use crate::harness::record::Record;
use crate::harness::redact;
use workshop::Bundled;
use workshop::Header;
use workshop::Workshop;
use workshop::bundles;
use workshop::content;
use workshop::is_name;
use workshop::path;
use workshop::said;
use workshop::short;

/// The largest untracked file that a snapshot has, and the most bytes of all of them. Code is smaller, data is larger.
const MAX_UNTRACKED_FILE: u64 = 64 << 10;
const MAX_UNTRACKED: u64 = 1 << 20;

/// The most untracked files that a record lists.
const MAX_LISTED: usize = 100;

/// What a command does if files are not those of the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirtyTree {
    /// It records that, and keeps the files in the ledger.
    #[default]
    Record,
    /// It runs nothing.
    Refuse,
    /// As `Record`, and the snapshot gets a reference in the repository. The branch and the index stay as they are.
    Snapshot,
}

/// How the code of runs is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What to do if files are not those of the commit.
    pub dirty: DirtyTree,
    /// The largest bundle that is kept, in MiB; 0 keeps none.
    pub keep_mib: u64,
}

/// The code of runs that start now: the state of the repository around `repo`, and the program. `outputs` as in
/// [`Git::read`]. If `any` runs start, the policy applies, and the code is kept in the ledger.
///
/// # Errors
/// When the policy refuses the state of the files, or a file cannot be written.
pub(super) fn of_runs(
    (repo, outputs): (&Path, &[PathBuf]),
    policy: Policy,
    ledger: &Path,
    any: bool,
) -> Result<(Git, Build)> {
    let (build, mut git) = (Build::beside_sources(repo), Git::read(repo, outputs));
    if let Some(note) = git.note.as_ref().filter(|_| git.is_unreadable()) {
        warn(&format!("it is unknown whether the files are those of the commit: {note}"));
    }
    if !any {
        return Ok((git, build));
    }
    if build.is_stale == Some(true) {
        warn("this program was not built from the sources that are here; `cargo build --release` builds it again");
    }
    match (policy.dirty, git.tree()) {
        (DirtyTree::Refuse, Tree::Dirty | Tree::Unknown) | (DirtyTree::Snapshot, Tree::Unknown) => {
            return Err(refused(&git, policy.dirty));
        }
        _ => {}
    }
    let Some(commit) = git.commit.clone() else { return Ok((git, build)) };
    git.remotes = git::remotes(repo);
    if let Holder::Remote(name) = git::holder(repo, &commit) {
        git.on_remote = Some(name);
    }
    let is_lost = git.tree() == Tree::Dirty || git.on_remote.is_none();
    if is_lost && (policy.keep_mib > 0 || policy.dirty == DirtyTree::Snapshot) {
        git.kept = keep((repo, outputs), &git, &commit, policy, ledger)?;
        if let Some(note) = &git.kept.note {
            warn(&format!("the ledger does not keep all of the code: {note}"));
        }
    }
    Ok((git, build))
}

/// A warning that `--quiet` does not hide: something will be lost.
fn warn(what: &str) {
    console::talk(format_args!("warning: {what}"));
}

fn refused(git: &Git, policy: DirtyTree) -> Error {
    let policy = if policy == DirtyTree::Refuse { "refuse" } else { "snapshot" };
    let start = git.commit.as_deref().map(short);
    let (what, hint) = match (start, &git.note, git.tree()) {
        (Some(commit), Some(note), Tree::Unknown) => (
            format!("it is unknown whether the files are those of commit {commit}: {note}"),
            "`git status` shows what is wrong",
        ),
        (Some(commit), ..) => {
            let hint = "`git status` shows them; commit them, or run with `--set source.dirty=snapshot`";
            (format!("files are not those of commit {commit}"), hint)
        }
        (None, note, _) => {
            let what = format!("no commit can be recorded: {}", note.as_deref().unwrap_or("it is unknown"));
            (what, "`--set source.dirty=record` runs without a commit")
        }
    };
    Error::new(format!("{what}, and `source.dirty` is `{policy}`")).hint(hint)
}

/// Keeps the files of the run, or its commit, in the ledger. What cannot be kept is in the note.
fn keep((repo, outputs): (&Path, &[PathBuf]), git: &Git, commit: &str, policy: Policy, ledger: &Path) -> Result<Kept> {
    let (mut kept, mut notes) = (Kept::default(), Vec::new());
    let most = policy.keep_mib << 20;
    let made = Workshop::new(repo).and_then(|shop| {
        if git.tree() == Tree::Dirty {
            let changes = Changes::new(repo, outputs, most)?;
            kept.untracked_files = changes.listed;
            notes.extend(changes.notes);
            kept.snapshot = Some(shop.snapshot(commit, &changes.removed, &changes.paths)?);
        }
        let bundled = shop.bundle(kept.snapshot.as_deref().unwrap_or(commit), ledger, most)?;
        Ok((shop, bundled))
    });
    let wants_snapshot = policy.dirty == DirtyTree::Snapshot && git.tree() == Tree::Dirty;
    let no_snapshot = |why: String| {
        Error::new(format!("cannot make a snapshot of the files: {why}"))
            .hint("commit them, or run with `--set source.dirty=record`")
    };
    match made {
        Ok((shop, bundled)) => {
            let name = match bundled {
                Bundled::Before(name) => name,
                Bundled::New(bytes) => {
                    let name = blake3::hash(&bytes).to_hex().to_string();
                    files::write_whole(&path(ledger, &name), &bytes)?;
                    name
                }
            };
            if let Some(snapshot) = kept.snapshot.as_ref().filter(|_| wants_snapshot) {
                shop.publish(snapshot, &path(ledger, &name)).map_err(no_snapshot)?;
            }
            kept.bundle = Some(name);
        }
        Err(why) if wants_snapshot => return Err(no_snapshot(why)),
        Err(why) => {
            kept.snapshot = None;
            kept.untracked_files.iter_mut().for_each(|file| file.kept = false);
            notes = vec![why];
        }
    }
    kept.note = (!notes.is_empty()).then(|| notes.join("; "));
    Ok(kept)
}

/// The files that are not those of the commit.
struct Changes {
    /// The paths that a snapshot takes from the working tree.
    paths: Vec<PathBuf>,
    /// The paths of files that are not there any more.
    removed: Vec<PathBuf>,
    /// The untracked files, for the record.
    listed: Vec<UntrackedFile>,
    /// Files that a snapshot leaves as they are in the commit, and why.
    notes: Vec<String>,
}

impl Changes {
    fn new(repo: &Path, outputs: &[PathBuf], most: u64) -> Result<Self, String> {
        let (top, changes) = git::changes(repo, outputs).map_err(said)?;
        let (mut paths, mut listed, mut left_out) = (Vec::new(), Vec::new(), BTreeMap::<&str, Vec<String>>::new());
        let mut leave_out = |why, path: &Path| left_out.entry(why).or_default().push(path.display().to_string());
        let (mut untracked, mut removed) = (Vec::new(), Vec::new());
        for Change { path, untracked: is_untracked } in changes {
            match fs::symlink_metadata(top.join(&path)) {
                Err(_) => removed.push(path),
                Ok(facts) if facts.is_dir() && top.join(&path).join(".git").exists() => {
                    leave_out("a repository of its own", &path);
                }
                // A folder is where a file was.
                Ok(facts) if facts.is_dir() => removed.push(path),
                Ok(facts) if is_untracked => untracked.push((path, facts)),
                Ok(facts) if facts.len() > most => leave_out("larger than `source.keep_mib`", &path),
                Ok(_) if redact::is_secret_file(&path, &start(&top.join(&path)).unwrap_or_default()) => {
                    leave_out("may be a secret", &path);
                }
                Ok(_) => paths.push(path),
            }
        }
        // Text first: a folder of images must not take the place of code.
        let mut untracked: Vec<_> = untracked
            .into_iter()
            .map(|(path, facts)| {
                let content = if facts.is_file() { start(&top.join(&path)) } else { None };
                (content.as_ref().is_none_or(|content| content.contains(&0)), path, facts, content)
            })
            .collect();
        untracked.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut bytes = 0;
        for (_, path, facts, content) in untracked {
            let why = match &content {
                None if facts.is_symlink() => None,
                None => Some("cannot be read"),
                Some(content) if redact::is_secret_file(&path, content) => Some("may be a secret"),
                Some(_) if facts.len() > MAX_UNTRACKED_FILE || bytes + facts.len() > MAX_UNTRACKED => {
                    Some("untracked and large, or one of many")
                }
                Some(_) => None,
            };
            match why {
                Some(why) => leave_out(why, &path),
                None => {
                    bytes += facts.len();
                    paths.push(path.clone());
                }
            }
            if listed.len() < MAX_LISTED {
                let hash = (facts.is_file() && facts.len() <= 16 << 20).then(|| files::hash(&top.join(&path)).ok());
                let (path, bytes) = (path.to_string_lossy().into_owned(), facts.len());
                listed.push(UntrackedFile { path, bytes, hash: hash.flatten(), kept: why.is_none() });
            }
        }
        listed.sort_by(|a, b| a.path.cmp(&b.path));
        let notes = left_out.into_iter().map(|(why, paths)| {
            let more = if paths.len() > 3 { format!(" and {} more", paths.len() - 3) } else { String::new() };
            format!("{}{more}: {why}", paths[..paths.len().min(3)].join(", "))
        });
        Ok(Self { paths, removed, listed, notes: notes.collect() })
    }
}

/// The first bytes of a file, as many as an untracked file may have.
fn start(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    files::plain(path).ok()?;
    File::open(path).ok()?.take(MAX_UNTRACKED_FILE).read_to_end(&mut content).ok()?;
    Some(content)
}

/// The files of a run, as [`check_out`] made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedOut {
    /// The hash of the tree.
    pub tree: String,
    /// Why the run may have had other files.
    pub not_whole: Option<String>,
}

/// Whether code that only the ledger has may be used. It is what who wrote the ledger says, and building it runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Only code from the repository.
    Repository,
    /// Code from the ledger, too.
    Ledger,
}

/// Writes the files of a run to the new folder `to`: those of its snapshot, or of its commit.
///
/// # Errors
/// When neither the repository around `repo` nor the ledger has them, or only the ledger and that is not trusted.
pub fn check_out((repo, ledger): (&Path, &Path), git: &Git, trust: Trust, to: &Path) -> Result<CheckedOut> {
    let (shop, commit) = shop_with((repo, ledger), git, trust)?;
    let failed = |why: String| Error::new(format!("the files of commit {commit} cannot be written: {why}"));
    fs::create_dir_all(to).context(to.display())?;
    let (index, to) = (shop.folder.path().join("index"), std::path::absolute(to).context(to.display())?);
    let git_dir = shop.git_dir();
    let variables =
        [("GIT_INDEX_FILE", index.as_os_str()), ("GIT_DIR", git_dir.as_os_str()), ("GIT_WORK_TREE", to.as_os_str())];
    // The same files whatever the user has set.
    let settings = ["-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.symlinks=true"];
    let run =
        |arguments: &[&str]| git::run_with(&to, &[&settings[..], arguments].concat(), &variables, None).map_err(said);
    run(&["read-tree", &commit]).and_then(|_| run(&["checkout-index", "-a", "-q"])).map_err(failed)?;
    let entries = shop.git(&["ls-tree", "-r", "--full-tree", &commit]).map_err(failed)?;
    let submodules =
        entries.lines().filter(|line| line.starts_with("160000 ")).filter_map(|line| line.split('\t').nth(1));
    let mut lost: Vec<String> = submodules.map(|path| format!("the submodule {path} is not there")).collect();
    if git.tree() != Tree::Clean && git.kept.snapshot.is_none() {
        lost.push(format!(
            "the files were not those of the commit (tree {}), and no snapshot was kept",
            git.tree().name()
        ));
    }
    lost.extend(git.kept.note.clone());
    let tree = shop.tree_of(&commit).map_err(failed)?;
    Ok(CheckedOut { tree, not_whole: (!lost.is_empty()).then(|| lost.join("; ")) })
}

/// The difference between the commit of a run and its files, as `git diff` prints it; empty if there is none.
///
/// # Errors
/// As [`check_out`].
pub fn difference(repo: &Path, ledger: &Path, git: &Git) -> Result<String> {
    let (shop, snapshot) = shop_with((repo, ledger), git, Trust::Ledger)?;
    let Some(commit) = git.commit.as_ref().filter(|commit| **commit != snapshot) else { return Ok(String::new()) };
    let arguments = ["diff", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"];
    let text = shop.git(&[&arguments[..], &[commit, &snapshot]].concat());
    text.map_err(|why| Error::new(format!("commits {commit} and {snapshot} cannot be compared: {why}")))
}

/// A workshop that has the snapshot or the commit of a run, and the hash of that.
fn shop_with((repo, ledger): (&Path, &Path), git: &Git, trust: Trust) -> Result<(Workshop, String)> {
    let commit = git.kept.snapshot.as_ref().or(git.commit.as_ref());
    let commit = commit.ok_or_else(|| Error::new("the run names no commit"))?;
    if !git::is_full_hash(commit) {
        return Err(Error::new(format!("`{commit}` is not the full hash of a commit")));
    }
    let format = if commit.len() == 64 { "sha256" } else { "sha1" };
    let failed = |why: String| {
        Error::new(format!("neither the repository nor the ledger has the files of commit {commit}: {why}"))
            .hint("`git fetch --all --tags` fetches the commits of its remotes")
    };
    let shop = Workshop::new(repo).or_else(|_| Workshop::empty(format)).map_err(failed)?;
    if !shop.has(commit) {
        let is_there = git.kept.bundle.as_ref().is_some_and(|name| path(ledger, name).exists());
        if trust == Trust::Repository && is_there {
            return Err(Error::new(format!(
                "only the ledger has the files of commit {commit}, and building them runs what its author wrote"
            ))
            .hint("`sempair show RUN --changes` shows them; `--trust-ledger` builds them"));
        }
        shop.get(commit, ledger).map_err(failed)?;
    }
    Ok((shop, commit.clone()))
}

/// The bundles that these runs name and that are not there as they were written.
pub(super) fn problems<'a>(ledger: &Path, runs: impl Iterator<Item = &'a Record>) -> Vec<Problem> {
    let named = runs.filter_map(|run| Some((run.git.kept.bundle.as_deref()?, run.short())));
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    named.for_each(|(name, run)| _ = first.entry(name).or_insert(run));
    let problem = |(name, run): (&str, &str)| {
        let file = path(ledger, name);
        let what = match (is_name(name), file.exists()) {
            (false, _) => format!("run {run} names `{name}`, which is not the name of a bundle"),
            (true, false) => format!("missing; run {run} names it as the bundle of its code"),
            (true, true) if content(&file, name).is_none() => {
                format!("changed since it was written; run {run} names it as the bundle of its code")
            }
            (true, true) => return None,
        };
        Some(Problem { file, what })
    };
    first.into_iter().filter_map(problem).collect()
}

/// The commits for which a ledger has bundles.
pub(super) fn bundled(ledger: &Path) -> BTreeSet<String> {
    bundles(ledger).into_iter().map(|(_, header)| header.commit).collect()
}

/// The file name of a bundle of the ledger that gives all files of this commit.
pub(super) fn bundle_of(repo: &Path, ledger: &Path, commit: &str) -> Option<String> {
    let shop = Workshop::new(repo).or_else(|_| Workshop::empty("sha1")).ok()?;
    let bundles = bundles(ledger);
    let own: Vec<_> = bundles.iter().filter(|(_, header)| header.commit == commit).collect();
    // What it needs may be in other bundles.
    let missing = own.iter().flat_map(|(_, header)| header.needs()).filter(|id| !shop.has(id));
    missing.for_each(|id| _ = shop.get(id, ledger));
    let gives = |(name, header): &&&(String, Header)| {
        let file = path(ledger, name);
        let tree = Workshop::new(repo).or_else(|_| Workshop::empty("sha1"));
        let tree = tree.and_then(|reader| {
            reader.get(commit, ledger)?;
            reader.tree_of(commit)
        });
        tree.is_ok_and(|tree| shop.proves(&file, header, &tree).is_ok())
    };
    own.iter().find(gives).map(|(name, _)| format!("{name}.bundle"))
}

/// The bundles that these runs name, and those that they need, as far as they are there as they were written: the names of
/// the files and their contents.
pub fn kept<'a>(ledger: &Path, runs: impl Iterator<Item = &'a Record>) -> BTreeMap<String, Vec<u8>> {
    let mut open: Vec<String> = runs.filter_map(|run| run.git.kept.bundle.clone()).collect();
    let (all, mut kept) = (bundles(ledger), BTreeMap::new());
    while let Some(name) = open.pop() {
        let file = format!("{name}.bundle");
        if kept.contains_key(&file) {
            continue;
        }
        let Some(bytes) = content(&path(ledger, &name), &name) else { continue };
        let needs = Header::read(&bytes).map(|header| header.needs).unwrap_or_default();
        open.extend(all.iter().filter(|(_, header)| needs.contains(&header.commit)).map(|(name, _)| name.clone()));
        kept.insert(file, bytes);
    }
    kept
}

/// Whether a file of this name may have this content.
pub fn is_named_by_content(name: &str, content: &[u8]) -> bool {
    name.strip_suffix(".bundle").is_some_and(|stem| blake3::hash(content).to_hex().as_str() == stem)
}
