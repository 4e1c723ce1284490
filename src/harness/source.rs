//! The code of a run, kept in the ledger where the repository alone may lose it: changes that are not committed, as a
//! patch, and commits that are on no remote, as a thin git bundle. From these files and the repository,
//! [`check_out`] makes the files of the run again.
//!
//! Both are named by the BLAKE3 of their content, in the folder `source` of the ledger. They are written before the first
//! run of a command begins, once for the same content, and a bundle is kept only if it was proved to give every file of
//! its commit. No file of a run is written to the repository, except by [`DirtyTree::Snapshot`].

mod bundle;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::path::Path;
use std::path::PathBuf;

use git2::Diff;
use git2::Oid;
use git2::Repository;
use git2::Signature;
use git2::build::CheckoutBuilder;
use serde::Deserialize;
use serde::Serialize;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;
use crate::files;
use crate::harness::git::Git;
use crate::harness::git::Kept;
use crate::harness::git::Tree;
use crate::harness::git::remote_branches;
use crate::harness::ledger::Problem;
use crate::harness::progress::Progress;
use crate::harness::provenance::Build;
use crate::harness::record::Record;
use bundle::Bundle;

/// The folder in the ledger.
const FOLDER: &str = "source";

/// The start of the name of a snapshot's reference; the hash of the commit follows.
const SNAPSHOTS: &str = "refs/sempair/";

/// What a command does if files are not those of the commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirtyTree {
    /// It records the differences, and keeps them as a patch.
    #[default]
    Record,
    /// It runs nothing.
    Refuse,
    /// It commits the files to a reference of its own; the branch and the index stay as they are.
    Snapshot,
}

/// How the code of runs is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What to do if files are not those of the commit.
    pub dirty: DirtyTree,
    /// The largest patch or bundle that is kept, in MiB.
    pub keep_mib: u64,
}

/// The code of runs that start now: the state of the repository around `repo`, and the program. `outputs` as in
/// [`Git::read`]. If `any` runs start, the policy applies, and the code is kept in the ledger.
///
/// # Errors
/// When the policy refuses the state of the tree, or a file cannot be written.
pub(super) fn of_runs(
    (repo, outputs): (&Path, &[PathBuf]),
    policy: Policy,
    ledger: &Path,
    any: bool,
    progress: &Progress,
) -> Result<(Git, Build)> {
    let build = Build::beside_sources(repo);
    let (mut git, patch) = Git::read_with_patch(repo, outputs);
    if let Some(note) = git.note.as_ref().filter(|_| git.is_unreadable()) {
        progress.line(&format!("warning: it is unknown whether the files are those of the commit: {note}"));
    }
    if !any {
        return Ok((git, build));
    }
    if build.is_stale == Some(true) {
        progress.line(
            "warning: this program was not built from the sources that are here; `cargo build --release` builds it again",
        );
    }
    match (policy.dirty, git.tree()) {
        (DirtyTree::Refuse, Tree::Dirty | Tree::Unknown) => return Err(refused(&git)),
        (DirtyTree::Snapshot, Tree::Dirty) => {
            git.kept.snapshot = Some(snapshot(repo, &git, &patch, policy)?.to_string())
        }
        _ => {}
    }
    keep_patch(&mut git, &patch, policy, ledger)?;
    match keep_bundle(&git, repo, policy, ledger)? {
        Ok(bundle) => git.kept.bundle = bundle,
        Err(why) => add_note(&mut git, &why),
    }
    if let Some(note) = &git.kept.note {
        progress.line(&format!("warning: the ledger cannot keep all of the code: {note}"));
    }
    Ok((git, build))
}

fn refused(git: &Git) -> Error {
    let Some(commit) = &git.commit else {
        let what = format!("no commit can be recorded: {}", git.note.as_deref().unwrap_or("it is unknown"));
        return Error::new(what).hint("`--set source.dirty=record` runs without a commit");
    };
    let commit = commit.get(..12).unwrap_or(commit);
    match (&git.note, git.tree()) {
        (Some(note), Tree::Unknown) => {
            Error::new(format!("it is unknown whether the files are those of commit {commit}: {note}"))
                .hint("`git status` shows what is wrong; `--set source.dirty=record` runs")
        }
        _ => Error::new(format!("files are not those of commit {commit}, and `source.dirty` is `refuse`"))
            .hint("`git status` shows them; commit them, or run with `--set source.dirty=snapshot`"),
    }
}

fn add_note(git: &mut Git, more: &str) {
    let before = git.kept.note.take().map(|note| note + "; ").unwrap_or_default();
    git.kept.note = Some(before + more);
}

/// Keeps the patch of changes that are not committed.
fn keep_patch(git: &mut Git, patch: &[u8], policy: Policy, ledger: &Path) -> Result<()> {
    if git.tree() != Tree::Dirty {
        return Ok(());
    }
    if let Some(note) = git.note.clone() {
        add_note(git, &note);
    } else if patch.len() as u64 > policy.keep_mib << 20 {
        add_note(git, &format!("the patch has {} bytes, more than `source.keep_mib` allows", patch.len()));
    } else {
        git.kept.patch = Some(write(ledger, "patch", patch)?);
    }
    let left_out = git.untracked_files.iter().filter(|file| !file.kept).count();
    if left_out > 0 && git.kept.snapshot.is_none() {
        add_note(git, &format!("{left_out} untracked files are large, secret or unreadable"));
    }
    Ok(())
}

/// Keeps the commit of the run, or its snapshot, if no remote has it. The inner error says why it cannot be kept.
fn keep_bundle(
    git: &Git,
    repo: &Path,
    policy: Policy,
    ledger: &Path,
) -> Result<std::result::Result<Option<String>, String>> {
    let Some(commit) = git.kept.snapshot.as_ref().or(git.commit.as_ref()) else { return Ok(Ok(None)) };
    if git.on_remote.is_some() && git.kept.snapshot.is_none() {
        return Ok(Ok(None));
    }
    let kept = bundles(ledger);
    let held = |(_, bundle): &&(String, Bundle)| bundle.commit.to_string() == *commit;
    if let Some((name, _)) = kept.iter().find(held) {
        return Ok(Ok(Some(name.clone())));
    }
    let known: Vec<Oid> = kept.iter().map(|(_, bundle)| bundle.commit).collect();
    let bytes = match thin_bundle(repo, commit, known, policy) {
        Ok(bytes) => bytes,
        Err(error) => return Ok(Err(format!("commit {} is on no remote, and {}", short(commit), error.message()))),
    };
    write(ledger, "bundle", &bytes).map(|name| Ok(Some(name)))
}

/// A bundle of a commit without what remotes and the bundles of `kept` commits have, proved to give all files.
fn thin_bundle(repo: &Path, commit: &str, kept: Vec<Oid>, policy: Policy) -> Result<Vec<u8>, git2::Error> {
    let repository = Repository::discover(repo)?;
    let on_remotes = remote_branches(&repository)?.into_iter().map(|(_, tip)| tip);
    let known: Vec<Oid> = on_remotes.chain(kept).filter(|id| repository.find_commit(*id).is_ok()).collect();
    let most = policy.keep_mib << 20;
    let too_large = |bytes: u64| {
        let what = format!("its bundle has {} MiB, more than `source.keep_mib` allows", (bytes >> 20) + 1);
        Err(git2::Error::from_str(&what))
    };
    // The whole history is to be packed: that may take long, so its size is looked at first.
    let size = if known.is_empty() { folder_size(&repository.commondir().join("objects")) } else { 0 };
    if size > most {
        return too_large(size);
    }
    let bundle = Bundle::new(&repository, Oid::from_str(commit)?, &known)?;
    let bytes = bundle.to_bytes();
    if bytes.len() as u64 > most {
        return too_large(bytes.len() as u64);
    }
    let place = tempfile::tempdir().map_err(|error| git2::Error::from_str(&format!("no temporary folder: {error}")))?;
    match Bundle::parse(&bytes).is_some_and(|bundle| bundle.rebuilds(&repository, place.path()).unwrap_or(false)) {
        true => Ok(bytes),
        false => Err(git2::Error::from_str("a bundle of it does not give all its files")),
    }
}

fn folder_size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(facts) if facts.is_dir() => folder_size(&entry.path()),
        Ok(facts) => facts.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Commits the files of the working tree to a reference of its own. The same files on the same commit give the same
/// hash: the commit has the time of the one below it.
fn snapshot(repo: &Path, git: &Git, patch: &[u8], policy: Policy) -> Result<Oid> {
    let hint = "`git commit` commits the files; `--set source.dirty=record` runs without a snapshot";
    if let Some(note) = &git.note {
        return Err(Error::new(format!("cannot make a snapshot of the files: {note}")).hint(hint));
    }
    let left_out: Vec<&str> = git.untracked_files.iter().filter(|file| !file.kept).map(|file| &*file.path).collect();
    if !left_out.is_empty() {
        let what =
            format!("cannot make a snapshot: untracked files are large, secret or unreadable: {}", left_out.join(", "));
        return Err(Error::new(what).hint("list them in .gitignore, or commit them"));
    }
    if patch.len() as u64 > policy.keep_mib << 20 {
        return Err(
            Error::new("cannot make a snapshot: the changes are larger than `source.keep_mib` allows").hint(hint)
        );
    }
    commit_of(repo, git, patch)
        .map_err(|error| Error::new(format!("cannot make a snapshot of the files: {}", error.message())).hint(hint))
}

fn commit_of(repo: &Path, git: &Git, patch: &[u8]) -> Result<Oid, git2::Error> {
    let repository = Repository::discover(repo)?;
    let parent = repository.find_commit(Oid::from_str(git.commit.as_deref().unwrap_or_default())?)?;
    let tree = repository.find_tree(patched(&repository, &parent.tree()?, patch)?)?;
    let who = Signature::new("sempair", "sempair@localhost", &parent.time())?;
    let message = format!("The files of a run at commit {}\n", short(&parent.id().to_string()));
    let commit = repository.commit(None, &who, &who, &message, &tree, &[&parent])?;
    repository.reference(&format!("{SNAPSHOTS}{commit}"), commit, true, "files of a run")?;
    Ok(commit)
}

/// The tree that a patch makes of another one.
fn patched(repository: &Repository, tree: &git2::Tree, patch: &[u8]) -> Result<Oid, git2::Error> {
    if patch.is_empty() {
        return Ok(tree.id());
    }
    repository.apply_to_tree(tree, &Diff::from_buffer(patch)?, None)?.write_tree_to(repository)
}

/// Whether [`check_out`] made all files of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedOut {
    /// They are those of the run.
    Whole,
    /// They are those of the commit, perhaps with a patch, and the run had other ones. Says why.
    Partly(String),
}

/// Writes the files of a run to the new folder `to`: those of its snapshot, or of its commit with its patch. They come
/// from the repository around `repo` and from the ledger.
///
/// # Errors
/// When neither has the commit, or the patch does not apply.
pub fn check_out(repo: &Path, ledger: &Path, git: &Git, to: &Path) -> Result<CheckedOut> {
    let commit = git.kept.snapshot.as_ref().or(git.commit.as_ref());
    let commit = commit.ok_or_else(|| Error::new("the run names no commit"))?;
    let missing = |error: git2::Error| {
        Error::new(format!(
            "neither the repository nor the ledger has the files of commit {commit}: {}",
            error.message()
        ))
        .hint("`git fetch --all --tags` fetches the commits of its remotes")
    };
    let failed = |error: git2::Error| Error::new(format!("commit {commit} cannot be checked out: {}", error.message()));
    let place = tempfile::tempdir().context("cannot make a folder for temporary files")?;
    // A repository of its own, which sees the objects of the other one: nothing is written to that.
    let made = Repository::init_bare(place.path()).map_err(failed)?;
    if let Ok(repository) = Repository::discover(repo) {
        let objects = repository.commondir().join("objects");
        made.odb().and_then(|odb| odb.add_disk_alternate(&objects.to_string_lossy())).map_err(failed)?;
    }
    let id = Oid::from_str(commit).map_err(missing)?;
    if made.find_commit(id).is_err() {
        bundles(ledger).iter().try_for_each(|(_, bundle)| bundle.unpack(&made)).map_err(missing)?;
    }
    let tree = made.find_commit(id).and_then(|commit| commit.tree()).map_err(missing)?;
    let (tree, checked_out) = match git.tree() {
        _ if git.kept.snapshot.is_some() => (tree.id(), CheckedOut::Whole),
        Tree::Clean => (tree.id(), CheckedOut::Whole),
        state => match git.kept.patch.as_ref().and_then(|name| content(&path(ledger, name, "patch"), name)) {
            Some(patch) => {
                let tree = patched(&made, &tree, &patch).map_err(|error| {
                    Error::new(format!("the patch of the run does not apply to commit {commit}: {}", error.message()))
                })?;
                (tree, git.kept.note.clone().map_or(CheckedOut::Whole, CheckedOut::Partly))
            }
            None => {
                (tree.id(), CheckedOut::Partly(format!("tree {}, and the ledger has no patch of it", state.name())))
            }
        },
    };
    std::fs::create_dir_all(to).context(to.display())?;
    let mut options = CheckoutBuilder::new();
    options.target_dir(to).force().update_index(false).recreate_missing(true);
    let tree = made.find_tree(tree).map_err(missing)?;
    made.checkout_tree(tree.as_object(), Some(&mut options)).map_err(missing)?;
    Ok(checked_out)
}

/// What the ledger keeps of the code of these runs, as far as it is there as it was written: the names of the files and
/// their contents.
pub fn kept<'a>(ledger: &Path, runs: impl Iterator<Item = &'a Record>) -> BTreeMap<String, Vec<u8>> {
    let named = runs.flat_map(|run| [(&run.git.kept.patch, "patch"), (&run.git.kept.bundle, "bundle")]);
    let named: BTreeSet<(&String, &str)> = named.filter_map(|(name, end)| Some((name.as_ref()?, end))).collect();
    let read = |(name, end): (&String, &str)| Some((format!("{name}.{end}"), content(&path(ledger, name, end), name)?));
    named.into_iter().filter_map(read).collect()
}

/// Whether a file of this name may have this content.
pub fn is_named_by_content(name: &str, content: &[u8]) -> bool {
    let (stem, end) = name.split_once('.').unwrap_or((name, ""));
    ["patch", "bundle"].contains(&end) && blake3::hash(content).to_hex().as_str() == stem
}

/// The kept files that these runs name and that are not there as they were written.
pub(super) fn problems<'a>(ledger: &Path, runs: impl Iterator<Item = &'a Record>) -> Vec<Problem> {
    let named = runs.flat_map(|run| {
        let Kept { patch, bundle, .. } = &run.git.kept;
        let files = [(patch, "patch"), (bundle, "bundle")];
        files.into_iter().filter_map(|(name, extension)| Some((name.as_deref()?, extension, run.short())))
    });
    let mut first: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    named.for_each(|(name, extension, run)| _ = first.entry((name, extension)).or_insert(run));
    let problem = |((name, extension), run): ((&str, &str), &str)| {
        let file = path(ledger, name, extension);
        let what = match (is_hash(name), file.exists()) {
            (false, _) => format!("run {run} names `{name}`, which is not the name of a kept file"),
            (true, false) => format!("missing; run {run} names it as the {extension} of its code"),
            (true, true) if content(&file, name).is_none() => {
                format!("changed since it was written; run {run} names it as the {extension} of its code")
            }
            (true, true) => return None,
        };
        Some(Problem { file, what })
    };
    first.into_iter().filter_map(problem).collect()
}

/// The commits that the bundles of a ledger give back, each with the name of its bundle, if the commits that these need are
/// in the repository around `repo` or in other bundles.
pub(super) fn bundled(repo: &Path, ledger: &Path) -> BTreeMap<String, String> {
    let (repository, mut open) = (Repository::discover(repo).ok(), bundles(ledger));
    let mut found = BTreeMap::new();
    loop {
        let is_there = |id: &Oid| {
            let in_repository = repository.as_ref().is_some_and(|repository| repository.find_commit(*id).is_ok());
            in_repository || found.contains_key(&id.to_string())
        };
        let (whole, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|(_, bundle)| bundle.needs.iter().all(is_there));
        if whole.is_empty() {
            return found;
        }
        found.extend(whole.into_iter().map(|(name, bundle)| (bundle.commit.to_string(), format!("{name}.bundle"))));
        open = rest;
    }
}

fn is_hash(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn write(ledger: &Path, extension: &str, bytes: &[u8]) -> Result<String> {
    let name = blake3::hash(bytes).to_hex().to_string();
    let path = path(ledger, &name, extension);
    if !files::hash(&path).is_ok_and(|hash| hash == name) {
        files::write_whole(&path, bytes)?;
    }
    Ok(name)
}

fn path(ledger: &Path, name: &str, extension: &str) -> PathBuf {
    ledger.join(FOLDER).join(format!("{name}.{extension}"))
}

/// The bundles of a ledger by name. Files that are not what their name says are left out.
fn bundles(ledger: &Path) -> Vec<(String, Bundle)> {
    let entries = std::fs::read_dir(ledger.join(FOLDER)).into_iter().flatten().flatten();
    let read = |path: PathBuf| {
        let name = path.file_name()?.to_str()?.strip_suffix(".bundle")?.to_owned();
        Some((name.clone(), Bundle::parse(&content(&path, &name)?)?))
    };
    let mut bundles: Vec<(String, Bundle)> = entries.filter_map(|entry| read(entry.path())).collect();
    bundles.sort_by(|(a, _), (b, _)| a.cmp(b));
    bundles
}

/// The content of a kept file; `None` if it is not there or not as it was written.
fn content(path: &Path, name: &str) -> Option<Vec<u8>> {
    if !is_hash(name) {
        return None;
    }
    files::plain(path).ok()?;
    std::fs::read(path).ok().filter(|bytes| blake3::hash(bytes).to_hex().as_str() == name)
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
