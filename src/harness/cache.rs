//! Folders of computed files, each named by the hash of everything that determines its content.
//!
//! A stage is computed in `<name>/<key>.partial/`, which survives a kill, so that the next attempt can resume from
//! it. When the stage is complete, its files are hashed into `manifest.json` and synced, and the folder is renamed to
//! `<name>/<key>/`.

use crate::error::Context;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::files;
use crate::harness::clock::Stopwatch;
use crate::harness::concurrent_runs::ConcurrentRuns;
use crate::harness::interrupt::Interrupt;
use crate::harness::progress::Progress;
use crate::harness::record::FileHash;
use crate::harness::record::StageUse;
use crate::harness::stage::Stage;
use serde::Deserialize;
use serde::Serialize;
use std::collections::HashSet;
use std::fs::File;
use std::fs::Metadata;
use std::fs::TryLockError;
use std::path::Component;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

/// The largest manifest that is read, in bytes.
const MAX_MANIFEST: u64 = 16 << 20;
/// The file with the seconds of earlier attempts at a stage that ended with an error or an interruption. It is
/// removed when the stage is finished. The time of a killed attempt is not known.
const SPENT: &str = ".spent.tmp";
const WAIT: Duration = Duration::from_millis(50);

/// The cache folder, such as `.sempair/cache`. Deleting it costs time, never results.
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
    /// The folders of the stages whose files were compared with their manifests: each stage is read once.
    seen: Arc<Mutex<HashSet<PathBuf>>>,
}

/// The content of a finished stage, and the run that computed it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub run: String,
    pub seconds: f64,
    /// The threads that it was computed on; 0 if that was not recorded.
    #[serde(default)]
    pub threads: usize,
    /// The largest number of other runs of the same command that were computed at the same time.
    #[serde(default)]
    pub beside: usize,
    pub files: Vec<FileHash>,
}

impl Manifest {
    fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).context("manifest")
    }
}

/// Whether a stage's files are those that a run recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "files")]
pub enum Held {
    /// Every recorded file is in the cache, with the recorded size and hash.
    Ok,
    /// Not in the cache. This says nothing against the run.
    Missing,
    /// A later run computed the stage again. The files are those that it recorded, and some, such as times, differ.
    Replaced,
    /// These files are missing or differ.
    Changed(Vec<String>),
}

/// A request for a stage.
pub(super) struct Request<'a> {
    pub stage: &'a Stage,
    pub run: &'a str,
    /// Compute the stage even if it is in the cache.
    pub fresh: bool,
    /// The runs that are computed at the same time.
    pub concurrent: &'a ConcurrentRuns,
    pub progress: &'a Progress,
    pub interrupt: &'a Interrupt,
}

impl Cache {
    /// The file in the folder of a stage that lists its files.
    pub(super) const MANIFEST: &str = "manifest.json";

    /// Opens the cache. Nothing is written before the first stage.
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), seen: Arc::default() }
    }

    /// The folder of the cache, whether it exists or not.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a stage, whether it exists or not.
    pub fn folder(&self, name: &str, key: &str) -> PathBuf {
        self.root.join(name).join(key)
    }

    /// Whether the stage is in the cache and all its files have the right size. Their content is not read: reading a
    /// gigabyte at every start would cost as much as it saves.
    pub fn has(&self, name: &str, key: &str) -> bool {
        sound(&self.folder(name, key)).is_some()
    }

    /// Whether a process computes the stage now.
    pub fn is_busy(&self, name: &str, key: &str) -> bool {
        // Trying a shared lock is enough to detect an exclusive one.
        let Ok(lock) = File::open(self.folder(name, key).with_extension("lock")) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Compares every file of the stage with what the run recorded: its size, and if `deep`, its content. A record may
    /// come from anyone, so nothing outside of the cache is read, no link is followed, and only plain files of the
    /// recorded size are opened.
    pub fn check(&self, stage: &StageUse, deep: bool) -> Held {
        let is_one = |part: &str| Path::new(part).components().eq([Component::Normal(part.as_ref())]);
        if !is_one(&stage.name) || !is_one(&stage.key) {
            return Held::Changed(vec![format!("{}/{}, which is not the name of a stage", stage.name, stage.key)]);
        }
        let folder = self.folder(&stage.name, &stage.key);
        if !folder.is_dir() {
            return Held::Missing;
        }
        let differs = |file: &&FileHash| {
            let holds = plain(&folder, &file.name).is_some_and(|bytes| bytes == file.bytes)
                && (!deep || files::hash(&folder.join(&file.name)).is_ok_and(|hash| hash == file.hash));
            !holds
        };
        let changed: Vec<String> = stage.files.iter().filter(differs).map(|file| file.name.clone()).collect();
        if changed.is_empty() { Held::Ok } else { Held::Changed(changed) }
    }

    /// Whether the manifest of the stage is as it was written and agrees with one of these records of the stage, each
    /// given with its run, or is of a run in `unrecorded`, which recorded no stages or is no longer there.
    pub(super) fn has_manifest_of(&self, uses: &[(&str, &StageUse)], unrecorded: &HashSet<&str>) -> bool {
        let Some((_, StageUse { name, key, .. })) = uses.first() else { return false };
        let path = self.folder(name, key).join(Self::MANIFEST);
        let facts =
            std::fs::symlink_metadata(&path).ok().filter(|facts| facts.is_file() && facts.len() <= MAX_MANIFEST);
        let Some(text) = facts.and_then(|_| std::fs::read(&path).ok()) else { return false };
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&text) else { return false };
        let is_of = |(run, stage): &(&str, &StageUse)| {
            let made_by = if stage.computed { Some(*run) } else { stage.from.as_deref() };
            made_by == Some(manifest.run.as_str())
                && (stage.seconds, stage.threads, stage.beside) == (manifest.seconds, manifest.threads, manifest.beside)
                && stage.files == manifest.files
        };
        let is_known = uses.iter().any(is_of) || unrecorded.contains(manifest.run.as_str());
        is_known && manifest.text().is_ok_and(|written| written == text)
    }

    /// Returns the manifest of the stage, and whether this call computed it.
    pub(super) fn ensure(
        &self,
        request: &Request,
        compute: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<(Manifest, bool)> {
        let folder = self.folder(request.stage.name(), request.stage.key());
        if !request.fresh
            && let Some(manifest) = self.intact(&folder)
        {
            return Ok((manifest, false));
        }
        let lock_path = folder.with_extension("lock");
        let lock = self.lock(&lock_path, request)?;
        // Another process may have finished it while this one waited.
        if !request.fresh
            && let Some(manifest) = self.intact(&folder)
        {
            return Ok((manifest, false));
        }
        let manifest = self.compute(&folder, request, compute).map_err(|error| explain(error, request, &folder))?;
        drop(lock);
        Ok((manifest, true))
    }

    /// The manifest of a finished stage if its files match it, byte for byte.
    fn intact(&self, folder: &Path) -> Option<Manifest> {
        let manifest = sound(folder)?;
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let holds = |file: &FileHash| files::hash(&folder.join(&file.name)).is_ok_and(|hash| hash == file.hash);
        if !seen().contains(folder) {
            if !manifest.files.iter().all(holds) {
                return None;
            }
            seen().insert(folder.to_path_buf());
        }
        Some(manifest)
    }

    fn compute(&self, folder: &Path, request: &Request, compute: impl FnOnce(&Path) -> Result<()>) -> Result<Manifest> {
        let partial = folder.with_extension("partial");
        if request.fresh {
            remove(&partial)?;
        }
        files::create_folder(&partial).context(format!("cannot create {}", partial.display()))?;
        let (before, watch) = (spent(&partial), Stopwatch::start());
        request.concurrent.begin();
        compute(&partial).inspect_err(|_| {
            // The time of this attempt counts when the stage is complete. If it cannot be saved, the error of the
            // attempt is more important.
            files::write_whole(&partial.join(SPENT), (before + watch.seconds()).to_string().as_bytes()).ok();
        })?;
        let seconds = ((before + watch.seconds()) * 1e3).round() / 1e3;

        let mut files = Vec::new();
        seal(&partial, "", &mut files)?;
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let (threads, beside) = (rayon::current_num_threads(), request.concurrent.most());
        let manifest = Manifest { run: request.run.to_owned(), seconds, threads, beside, files };
        files::write_whole(&partial.join(Cache::MANIFEST), &manifest.text()?)?;
        if folder.exists() {
            say_what_changed(folder, &manifest, request);
            remove(folder)?;
        }
        let publish = || {
            std::fs::rename(&partial, folder)?;
            files::sync_folder(folder.parent().expect("a stage has a folder above it"))
        };
        publish().context(format!("cannot create {}", folder.display()))?;
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.to_path_buf());
        Ok(manifest)
    }

    /// Waits for the lock of the stage, and prints a line if it has to wait. The lock file stays: if it were deleted,
    /// two processes could each lock a file of that name.
    fn lock(&self, path: &Path, request: &Request) -> Result<File> {
        let open = || {
            files::create_folder(path.parent().expect("a stage has a folder above it"))?;
            File::options().create(true).append(true).open(path)
        };
        let file = open().context(format!("cannot lock {}", path.display()))?;
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(error).context(format!("cannot lock {}", path.display()));
                }
            }
            if !std::mem::replace(&mut said, true) {
                request
                    .progress
                    .line(&format!("waiting for another process that computes stage {}", request.stage.name()));
            }
            request.interrupt.check()?;
            std::thread::sleep(WAIT);
        }
    }
}

/// The manifest of a finished stage if all its files exist with the right size. This is enough to find what is
/// missing. Before a stage is used, its files are read, see `intact`.
fn sound(folder: &Path) -> Option<Manifest> {
    let text = std::fs::read_to_string(folder.join(Cache::MANIFEST)).ok()?;
    let manifest: Manifest = serde_json::from_str(&text).ok()?;
    let holds = |file: &FileHash| plain(folder, &file.name) == Some(file.bytes);
    manifest.files.iter().all(holds).then_some(manifest)
}

/// The size of a plain file below the folder, in bytes. No part of its path may be a link.
fn plain(folder: &Path, name: &str) -> Option<u64> {
    let (mut path, mut found) = (folder.to_path_buf(), None);
    for part in Path::new(name).components() {
        let Component::Normal(part) = part else { return None };
        if found.is_some_and(|facts: Metadata| !facts.is_dir()) {
            return None;
        }
        path.push(part);
        found = Some(std::fs::symlink_metadata(&path).ok()?);
    }
    found.filter(Metadata::is_file).map(|facts| facts.len())
}

/// Seconds of earlier attempts at an unfinished stage.
fn spent(partial: &Path) -> f64 {
    let text = std::fs::read_to_string(partial.join(SPENT)).ok();
    text.and_then(|text| text.parse().ok())
        .filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0)
        .unwrap_or(0.0)
}

/// Reports why a stage in the cache was computed again. If it was only asked for, reports whether its files differ
/// from before.
fn say_what_changed(folder: &Path, new: &Manifest, request: &Request) {
    let name = request.stage.name();
    let Some(old) = sound(folder).filter(|_| request.fresh) else {
        return request.progress.line(&format!("stage {name} was damaged and is computed again"));
    };
    let is_exact = |file: &&FileHash| !request.stage.description.timed.contains(&file.name.as_str());
    let exact = |manifest: &Manifest| manifest.files.iter().filter(is_exact).cloned().collect::<Vec<_>>();
    let (old, new) = (exact(&old), exact(new));
    let differing: Vec<&str> = new.iter().filter(|file| !old.contains(file)).map(|file| file.name.as_str()).collect();
    if !differing.is_empty() || old.len() != new.len() {
        let files = differing.join(", ");
        request
            .progress
            .line(&format!("stage {name} came out different from before: {files} ({})", request.stage.key()));
    }
}

/// Hashes and syncs every file below `folder`. Hidden temporary files of an interrupted write are removed.
fn seal(folder: &Path, prefix: &str, files: &mut Vec<FileHash>) -> Result<()> {
    let place = || format!("cannot read {}", folder.display());
    for entry in std::fs::read_dir(folder).context(place())? {
        let entry = entry.context(place())?;
        let kind = entry.file_type().context(place())?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::new(format!("{} is not UTF-8", entry.path().display())));
        };
        let path = format!("{prefix}{name}");
        if kind.is_dir() {
            seal(&entry.path(), &format!("{path}/"), files)?;
        } else if name.starts_with('.') && name.ends_with(".tmp") {
            std::fs::remove_file(entry.path()).context(place())?;
        } else if !kind.is_file() {
            return Err(Error::new(format!("{} is neither a file nor a folder", entry.path().display())));
        } else if path != Cache::MANIFEST {
            let file = File::open(entry.path()).context(place())?;
            file.sync_all().context(format!("cannot sync {}", entry.path().display()))?;
            let bytes = file.metadata().context(place())?.len();
            files.push(FileHash { name: path, bytes, hash: files::hash(&entry.path())? });
        }
    }
    files::sync_folder(folder).context(place())
}

fn remove(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Adds a hint with the folder if the disk is full, because the user can solve that.
fn explain(error: Error, request: &Request, folder: &Path) -> Error {
    let is_full = error.kind() == ErrorKind::Failure && error.is_disk_full();
    let error = error.context(format!("stage {}", request.stage.name()));
    if is_full {
        return error.hint(format!(
            "free space on the disk of {}, then run the same command to go on",
            folder.parent().unwrap_or(folder).display()
        ));
    }
    error
}
