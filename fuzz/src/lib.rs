//! Code that the fuzz targets share. Each target gives arbitrary bytes to one parser of sempair. The parser may
//! refuse them with an error, but must not panic, hang, or accept what its own rules forbid.
//!
//! `fuzz/run.sh` runs them.

use std::fs;
use std::path::Path;

use sempair::data::import::{Imported, Options, import};
use sempair::error::Error;

/// Checks that an error has a message.
pub fn refused(error: &Error) {
    assert!(!error.what().is_empty());
}

/// Imports a source and checks what every import promises: either a set that has all its images and whose hashes
/// match, or an error and no file left behind.
pub fn imports(source: &Path, data: &Path) {
    let options = Options { name: Some("set".into()), size: None, licence: None, replace: true, cancelled: &|| false };
    match import(source, &options, data, &|_, _| ()) {
        Ok(imported) => holds(&imported, data),
        Err(error) => {
            refused(&error);
            assert_eq!(fs::read_dir(data).map_or(0, Iterator::count), 0, "files are left: {error}");
        }
    }
}

fn holds(imported: &Imported, data: &Path) {
    assert!(!imported.dataset.splits.is_empty());
    for set in imported.dataset.splits.values() {
        assert_eq!(set.pixels().len(), set.len() * set.size * set.size * 3);
        assert!(set.labels.iter().all(|&label| (label as usize) < set.classes.len()));
        assert_eq!(set.names().map(|names| names.len()), Some(set.len()));
    }
    assert!(sempair::data::store::verify(data, "set").is_ok_and(|report| report.holds()));
}

/// Imports a folder of these files. The bytes are cut at `====`, and each piece is the content of the next file;
/// files without a piece are missing.
pub fn imports_files(names: &[&str], bytes: &[u8]) {
    let place = tempfile::tempdir().expect("a temporary folder");
    let source = place.path().join("source");
    for (name, content) in names.iter().zip(pieces(bytes)) {
        let path = source.join(name);
        fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder");
        fs::write(path, content).expect("a file");
    }
    imports(&source, &place.path().join("data"));
}

fn pieces(mut bytes: &[u8]) -> Vec<&[u8]> {
    const CUT: &[u8] = b"====";
    let mut pieces = Vec::new();
    while let Some(at) = bytes.windows(CUT.len()).position(|window| window == CUT) {
        pieces.push(&bytes[..at]);
        bytes = &bytes[at + CUT.len()..];
    }
    pieces.push(bytes);
    pieces
}
