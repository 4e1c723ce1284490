//! An imported set's file with these bytes.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair::data::store::{self, AnyDataset};
use sempair_fuzz::refused;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary folder");
    fs::write(place.path().join("set.safetensors"), bytes).expect("a file");
    drop(store::list(place.path()).map_err(|error| refused(&error)));
    match store::verify(place.path(), "set") {
        Err(error) => refused(&error),
        Ok(report) => drop(report.holds()),
    }
    if let Ok(AnyDataset::Annotated(dataset)) = store::open_any(place.path(), "set") {
        let images = dataset.splits.values().flat_map(|set| (0..set.len()).map(|image| set.pixels(image)));
        images.for_each(|pixels| drop(pixels.map_err(|error| refused(&error))));
    }
});
