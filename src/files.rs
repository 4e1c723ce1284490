//! Atomic writes of files, reading of texts and JSON, and hashes of files.

pub mod sha256;

use std::fs::File;
use std::io;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tempfile::NamedTempFile;

use crate::error::Context;
use crate::error::Error;
use crate::error::Result;

/// The largest text file that is read, in bytes; a list of a million pairs has about 200 MB.
const TEXT_LIMIT: u64 = 1 << 30;

/// Writes `bytes` to `path` atomically, and creates missing folders above it: after a crash, `path` has either its
/// old content or all of the new. The bytes are first written to a hidden file in the same folder, whose name ends in
/// `.tmp`.
///
/// # Errors
/// When the file cannot be written; names the file and the error of the system.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let write = || -> io::Result<()> {
        let path = replaceable(path)?;
        let folder = folder(&path);
        create_folder(folder)?;
        let mut file = temporary(folder, ".", ".tmp")?;
        file.write_all(bytes)?;
        publish(file, &path)
    };
    write().map_err(|error| not_written(path, &error))
}

/// Returns the path of the file to replace. A link stays, and its target is replaced. A device or a pipe is refused.
fn replaceable(path: &Path) -> io::Result<PathBuf> {
    match std::fs::symlink_metadata(path) {
        Ok(facts) if facts.is_symlink() => replaceable(&std::fs::canonicalize(path)?),
        Ok(facts) if !facts.is_file() => Err(io::Error::other("what is there is not a plain file")),
        _ => Ok(path.into()),
    }
}

/// The size of a plain file, in bytes. Reading anything else, such as a pipe, might never end.
///
/// # Errors
/// When there is no file, or it is not a plain file.
pub fn plain(path: &Path) -> io::Result<u64> {
    let facts = std::fs::metadata(path)?;
    if facts.is_file() { Ok(facts.len()) } else { Err(io::Error::other("it is not a plain file")) }
}

/// Reads a text file that a person wrote. Pipes and devices are refused, because reading them might never end.
///
/// # Errors
/// When the file cannot be read; names the file.
pub fn read_text(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        let bytes = plain(path)?;
        if bytes > TEXT_LIMIT {
            return Err(io::Error::other(format!("{bytes} bytes are more than the {TEXT_LIMIT} that are read")));
        }
        std::fs::read_to_string(path)
    };
    let read = read().context(format!("cannot read {}", path.display()));
    let mut text = read.map_err(|error| error.hint("give the name of a plain file in UTF-8"))?;
    // Some editors write a byte order mark before the text.
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// Writes a value as JSON, as [`write_whole`] does.
///
/// # Errors
/// As [`write_whole`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let bytes = serde_json::to_vec(value).context(path.display())?;
    write_whole(path, &bytes)
}

/// Reads a value from JSON.
///
/// # Errors
/// When the file cannot be read or does not contain such a value; names the file and the problem.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).context(format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&bytes).context(path.display())
}

/// Creates a file in `folder` that is removed when it is dropped, with the permissions of any new file.
pub fn temporary(folder: &Path, prefix: &str, suffix: &str) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(suffix);
    // By default only the owner can read a temporary file; the files written here are meant to be shared.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Syncs a finished temporary file and renames it to `path`, which is in the same folder.
pub fn publish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_folder(folder(path))
}

/// Returns the error for a file that could not be written.
pub fn not_written(path: &Path, error: &io::Error) -> Error {
    let what = Error::new(format!("cannot write {}: {error}", path.display())).caused_by(io::Error::from(error.kind()));
    match what.is_disk_full() {
        true => {
            what.hint(format!("free space on the disk of {}, then run the same command again", folder(path).display()))
        }
        false => what.hint("choose another place, with `--out DIR`, `--data DIR` or `--set paths.cache=DIR`"),
    }
}

/// Syncs a folder, so that renamed and new files in it survive a loss of power.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    // Only Unix can open a folder to sync it; elsewhere the file system does it on its own.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// Creates a folder and those above it that are missing. They survive a loss of power.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = folder(path);
    if above != Path::new(".") {
        create_folder(above)?;
    }
    match std::fs::create_dir(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(above),
    }
}

/// BLAKE3 of a file's bytes, in hexadecimal digits.
pub fn hash(path: &Path) -> Result<String> {
    let read = || -> io::Result<String> {
        plain(path)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    read().context(format!("cannot read {}", path.display()))
}

/// The folder of a file; `.` for a bare name.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a/b.json");
        write_whole(&path, b"old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        let error = write_whole(&path.join("c"), b"").unwrap_err();
        assert!(error.what().starts_with(&format!("cannot write {}: ", path.join("c").display())), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("another place")));
        assert_eq!(folder(Path::new("c")), Path::new("."));
    }

    #[test]
    fn a_full_disk_has_a_hint() {
        let error = not_written(Path::new("a/b"), &io::ErrorKind::StorageFull.into());
        let hint = "free space on the disk of a, then run the same command again";
        assert_eq!((error.what(), error.hint_text()), ("cannot write a/b: no storage space", Some(hint)));
    }
}
