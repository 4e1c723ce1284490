//! Temporary files that killed processes left next to the files that they were writing.

use std::fs;
use std::path::Path;

use chrono::DateTime;
use chrono::TimeDelta;
use chrono::Utc;

use crate::harness::clock;

/// A file is written in seconds: one that was begun longer ago than this belongs to no living process.
const OLD: TimeDelta = TimeDelta::hours(1);

/// Removes the files that [`crate::files::write_whole`] began in this folder more than an hour ago and never finished.
/// Files that cannot be removed stay: they do no harm.
pub fn remove_from(folder: &Path) {
    let (Ok(now), Ok(entries)) = (clock::utc(), fs::read_dir(folder)) else { return };
    let is_old = |path: &Path| {
        let facts = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file);
        let begun = facts.and_then(|facts| facts.modified().ok()).map(DateTime::<Utc>::from);
        begun.is_some_and(|begun| now.signed_duration_since(begun) > OLD)
    };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(is_unfinished) && is_old(&entry.path()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a name is that of a file that `write_whole` has not finished, such as `.a1B2c3.tmp`.
fn is_unfinished(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    random.is_some_and(|random| random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_old_unfinished_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let age = |name: &str, hours: u64| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            let begun = fs::metadata(&path).unwrap().modified().unwrap() - Duration::from_secs(3600 * hours);
            fs::File::options().write(true).open(&path).unwrap().set_modified(begun).unwrap();
        };
        // What `write_whole` really makes.
        let made = crate::files::temporary(folder.path(), ".", ".tmp").unwrap();
        assert!(is_unfinished(made.path().file_name().unwrap().to_str().unwrap()));
        for (name, hours) in [
            (".aB3dE6.tmp", 2),
            (".aB3dE7.tmp", 0),
            (".notes.tmp", 2),
            (".aB3d-6.tmp", 2),
            ("aB3dE6.tmp", 2),
            (".aB3dE6.json", 2),
            ("a.json", 2),
        ] {
            age(name, hours);
        }
        fs::create_dir(folder.path().join(".folder.tmp")).unwrap();
        let before = fs::read_dir(folder.path()).unwrap().count();
        remove_from(folder.path());
        assert!(!folder.path().join(".aB3dE6.tmp").exists() && made.path().exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before - 1);
        remove_from(&folder.path().join("nowhere"));
    }
}
