//! Code that the fuzz targets share. Each target gives arbitrary bytes to one parser of sempair. The parser may
//! refuse them with an error, but must not panic, hang, or accept what its own rules forbid.
//!
//! `fuzz/run.sh` runs them.

use std::fs;
use std::path::Path;

use sempair::data::annotated::AnnotatedSet;
use sempair::data::import::{Imported, Options, import};
use sempair::data::store::AnyDataset;
use sempair::error::Error;

/// Checks that an error has a message.
pub fn refused(error: &Error) {
    assert!(!error.what().is_empty());
}

/// Imports a source and checks what every import promises: either a set that has all its images and whose hashes
/// match, or an error and no file left behind.
pub fn imports(source: &Path, data: &Path) {
    let options = Options { name: Some("set".into()), size: None, licence: None, replace: true, cancelled: &|| false };
    match import(&[source], &options, data, &|_, _| ()) {
        Ok(imported) => holds(&imported, data),
        Err(error) => {
            refused(&error);
            assert_eq!(fs::read_dir(data).map_or(0, Iterator::count), 0, "files are left: {error}");
        }
    }
}

fn holds(imported: &Imported, data: &Path) {
    match &imported.dataset {
        AnyDataset::Labelled(dataset) => {
            assert!(!dataset.splits.is_empty());
            for set in dataset.splits.values() {
                assert_eq!(set.pixels().len(), set.len() * set.size * set.size * 3);
                assert!(set.labels.iter().all(|&label| (label as usize) < set.classes.len()));
                assert_eq!(set.names().map(|names| names.len()), Some(set.len()));
            }
        }
        AnyDataset::Annotated(dataset) => {
            assert!(!dataset.splits.is_empty());
            dataset.splits.values().for_each(annotated);
        }
    }
    assert!(sempair::data::store::verify(data, "set").is_ok_and(|report| report.holds()));
}

fn annotated(set: &AnnotatedSet) {
    assert_eq!(set.names().map(|names| names.len()), Some(set.len()));
    for image in 0..set.len() {
        let (height, width) = set.size(image);
        assert_eq!(set.pixels(image).map(|pixels| pixels.len()).ok(), Some(height * width * 3));
        for object in set.objects(image) {
            let [left, top, right, bottom] = object.edges;
            assert!(0.0 <= left && left < right && right <= width as f32, "{object:?}");
            assert!(0.0 <= top && top < bottom && bottom <= height as f32, "{object:?}");
        }
    }
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
