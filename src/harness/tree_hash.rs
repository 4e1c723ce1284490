//! The hash of the files that this program is built from. The build script uses this file, too: it computes the hash that
//! is built in, and a run compares it with the files that are there now.

use std::fs;
use std::io;
use std::path::Path;
use std::path::PathBuf;

/// The files and folders of the library, below the folder of `Cargo.toml`. The tables in `experiments` are not among them:
/// the library would be compiled again with each change of a table.
pub const SOURCES: [&str; 5] = ["src", "build", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml"];

/// BLAKE3 of the paths and contents of all [`SOURCES`] below `root`, in hexadecimal digits.
///
/// # Errors
/// When a file cannot be read.
pub fn hash(root: &Path) -> io::Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(root, Path::new(source), &mut files)?;
    }
    files.sort_unstable();
    let mut hasher = blake3::Hasher::new();
    for file in files {
        let content = fs::read(root.join(&file))?;
        // The same hash on every system.
        let name = file.to_string_lossy().replace('\\', "/");
        hasher.update(name.as_bytes()).update(&[0]).update(&(content.len() as u64).to_le_bytes()).update(&content);
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn collect(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !root.join(path).is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(root.join(path))? {
        let entry = entry?;
        // Editors put hidden files and links next to the sources.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && !entry.file_type()?.is_symlink() {
            collect(root, &path.join(entry.file_name()), files)?;
        }
    }
    Ok(())
}
