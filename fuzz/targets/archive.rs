//! Archives. The first byte chooses the name of the file; the other bytes are its content.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair_fuzz::imports;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, content)) = bytes.split_first() else { return };
    let place = tempfile::tempdir().expect("a temporary folder");
    let name = ["set.tar", "set.tar.gz", "set.zip", "set"][usize::from(*kind) % 4];
    let file = place.path().join(name);
    fs::write(&file, content).expect("a file");
    imports(&file, &place.path().join("data"));
});
