//! The differences of a working tree from its commit: their list, without this program's outputs, and a patch that makes
//! them again.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

use git2::Delta;
use git2::Diff;
use git2::DiffDelta;
use git2::DiffFormat;
use git2::DiffOptions;
use git2::Repository;
use git2::Tree;
use serde::Deserialize;
use serde::Serialize;

use crate::harness::redact;

/// Larger or slower differences are not read: recording must never delay a run.
pub(super) const MAX_BYTES: usize = 16 << 20;
const MAX_TIME: Duration = Duration::from_secs(2);

/// The most untracked files that are listed.
pub(super) const MAX_UNTRACKED: usize = 100;

/// The largest untracked file that a patch has, and the most bytes of all of them. Code is smaller, data is larger.
const MAX_KEPT_FILE: u64 = 64 << 10;
const MAX_KEPT: u64 = 1 << 20;

/// A path that differs from the commit, relative to the top of the repository.
pub(super) struct Change {
    pub path: PathBuf,
    pub untracked: bool,
}

/// A file that is neither tracked nor ignored by git.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Untracked {
    /// Its path, relative to the top of the repository.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// BLAKE3 of its content; `None` if it was not read, because it is too large, a link, or cannot be read.
    pub hash: Option<String>,
    /// Whether the patch has it.
    pub kept: bool,
}

/// The changes in a difference.
pub(super) fn of_diff(diff: &Diff) -> Vec<Change> {
    diff.deltas().map(|delta| Change { path: path_of(&delta), untracked: delta.status() == Delta::Untracked }).collect()
}

fn path_of(delta: &DiffDelta) -> PathBuf {
    let path = delta.new_file().path_bytes().or_else(|| delta.old_file().path_bytes());
    as_path(path.unwrap_or_default())
}

/// The entries of `git status --porcelain=v1 -z --no-renames`: two letters, a space, a path, a zero byte.
pub(super) fn of_status(text: &[u8]) -> Vec<Change> {
    let entries = text.split(|&byte| byte == 0).filter(|entry| entry.len() > 3);
    entries.map(|entry| Change { path: as_path(&entry[3..]), untracked: entry.starts_with(b"??") }).collect()
}

#[cfg(unix)]
fn as_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

/// The untracked files among the changes and in their folders, at most [`MAX_UNTRACKED`], in the order of their paths.
pub(super) fn untracked(repository: &Repository, top: &Path, changes: &[Change], outputs: &Outputs) -> Vec<Untracked> {
    let (start, mut files, mut kept) = (Instant::now(), Vec::new(), 0);
    let mut open: Vec<PathBuf> =
        changes.iter().rev().filter(|change| change.untracked).map(|change| change.path.clone()).collect();
    while let Some(path) = open.pop() {
        if files.len() == MAX_UNTRACKED || start.elapsed() > MAX_TIME {
            break;
        }
        let Ok(facts) = std::fs::symlink_metadata(top.join(&path)) else { continue };
        if outputs.have(&path) || repository.is_path_ignored(&path).unwrap_or(true) {
            continue;
        }
        if facts.is_dir() {
            let inside = std::fs::read_dir(top.join(&path)).into_iter().flatten().flatten();
            let mut inside: Vec<PathBuf> = inside.map(|entry| path.join(entry.file_name())).collect();
            inside.sort_unstable_by(|a, b| b.cmp(a));
            open.extend(inside);
            continue;
        }
        let content = if facts.is_file() && facts.len() <= MAX_BYTES as u64 { read(&top.join(&path)) } else { None };
        let is_kept = content.as_ref().is_some_and(|content| {
            let bytes = content.len() as u64;
            bytes <= MAX_KEPT_FILE && kept + bytes <= MAX_KEPT && !redact::is_secret_file(&path, content)
        });
        kept += if is_kept { facts.len() } else { 0 };
        files.push(Untracked {
            path: path.to_string_lossy().into_owned(),
            bytes: facts.len(),
            hash: content.map(|content| blake3::hash(&content).to_hex().to_string()),
            kept: is_kept && path.to_str().is_some(),
        });
    }
    files
}

/// The content of a file that may grow meanwhile; `None` if it cannot be read or has more than [`MAX_BYTES`].
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path).ok()?.take(MAX_BYTES as u64 + 1).read_to_end(&mut content).ok()?;
    (content.len() <= MAX_BYTES).then_some(content)
}

/// The patch of the changes of tracked files and of the untracked files that it keeps, as `git apply` reads it. `None` if
/// it is too large or takes too long.
pub(super) fn patch(
    repository: &Repository,
    tree: &Tree,
    changes: &[Change],
    untracked: &[Untracked],
) -> Result<Option<Vec<u8>>, git2::Error> {
    let mut options = DiffOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).show_untracked_content(true);
    options.show_binary(true).id_abbrev(40).ignore_submodules(false).disable_pathspec_match(true);
    let tracked = changes.iter().filter(|change| !change.untracked).map(|change| change.path.clone());
    let kept = untracked.iter().filter(|file| file.kept).map(|file| PathBuf::from(&file.path));
    let mut is_empty = true;
    for path in tracked.chain(kept) {
        is_empty = false;
        options.pathspec(path);
    }
    let mut text = Vec::new();
    if is_empty {
        return Ok(Some(text));
    }
    let diff = repository.diff_tree_to_workdir_with_index(Some(tree), Some(&mut options))?;
    let start = Instant::now();
    let printed = diff.print(DiffFormat::Patch, |_, _, line| {
        if matches!(line.origin(), '+' | '-' | ' ') {
            text.push(line.origin() as u8);
        }
        text.extend_from_slice(line.content());
        text.len() <= MAX_BYTES && start.elapsed() <= MAX_TIME
    });
    match printed {
        Ok(()) => Ok(Some(text)),
        Err(error) if error.code() == git2::ErrorCode::User => Ok(None),
        Err(error) => Err(error),
    }
}

/// BLAKE3 of a patch and of what it does not have: the untracked files.
pub(super) fn hash(patch: &[u8], changes: &[Change], untracked: &[Untracked]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(patch);
    for change in changes.iter().filter(|change| change.untracked) {
        hasher.update(b"?").update(change.path.as_os_str().as_encoded_bytes()).update(b"\n");
    }
    for Untracked { path, bytes, hash, kept: _ } in untracked.iter().filter(|file| !file.kept) {
        hasher.update(format!("{path} {bytes} {}\n", hash.as_deref().unwrap_or_default()).as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// The paths of outputs, relative to the top of the repository. Paths outside of the repository are left out, and so
/// is the top itself.
pub(super) struct Outputs(Vec<PathBuf>);

impl Outputs {
    pub fn new(top: &Path, outputs: &[PathBuf]) -> Self {
        let top = resolved(top);
        let inside = |path: &PathBuf| resolved(path).strip_prefix(&top).ok().map(Path::to_path_buf);
        Self(outputs.iter().filter_map(inside).filter(|path| !path.as_os_str().is_empty()).collect())
    }

    /// Whether a path is an output or in a folder of outputs.
    fn have(&self, path: &Path) -> bool {
        self.0.iter().any(|output| path.starts_with(output))
    }

    /// The changes that are not outputs. `inside` lists the changes in an untracked folder that has outputs deep
    /// inside.
    pub fn leave_out<E>(
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
        changes.retain(|change| !self.have(&change.path));
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
