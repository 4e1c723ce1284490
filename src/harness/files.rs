//! Files that are whole or absent, and hashes of files.

use crate::error::Context;
use crate::error::Result;
use std::fs::File;
use std::io::Write;
use std::path::Path;

/// Writes `bytes` so that after a crash `path` holds either its old content or all of the new.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().expect("a file has a folder");
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new().prefix(".").suffix(".tmp").tempfile_in(folder)?;
        file.write_all(bytes)?;
        make_readable(file.as_file())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        sync_folder(folder)
    };
    write().context(format!("cannot write {}", path.display()))
}

/// Makes renames and new names within `folder` survive a loss of power.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    // Only Unix can open a folder to sync it; elsewhere the file system does it on its own.
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// BLAKE3 of a file's bytes, in hexadecimal digits.
pub fn hash(path: &Path) -> Result<String> {
    let read = || -> std::io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    read().context(format!("cannot read {}", path.display()))
}

/// Temporary files start readable by their owner alone; a record is meant to be committed and shared.
#[cfg(unix)]
fn make_readable(file: &File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &File) -> std::io::Result<()> {
    Ok(())
}
