//! `sempair.toml` with these bytes, as a layer over the embedded defaults.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair::harness::config::Layers;
use sempair::study::settings::Settings;
use sempair_fuzz::refused;

const DEFAULTS: &str = include_str!("../../experiments/defaults.toml");

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = place.path().join("sempair.toml");
    fs::write(&file, bytes).expect("a file");
    match Layers::new().embedded("defaults", DEFAULTS).file(&file).resolve::<Settings>() {
        Ok(resolved) => drop(resolved.settings.validate()),
        Err(error) => refused(&error),
    }
    if let Ok(assignment) = std::str::from_utf8(bytes) {
        let layers = Layers::new().embedded("defaults", DEFAULTS).set(&[assignment.to_owned()]);
        drop(layers.resolve::<Settings>().map_err(|error| refused(&error)));
    }
});
