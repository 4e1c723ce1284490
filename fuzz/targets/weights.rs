//! Weights from another program: a file with these bytes, for an encoder with two parameters.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair::nn::{Entry, ParamKind};
use sempair::study::foreign;
use sempair::tensor::Slot;
use sempair_fuzz::refused;

fuzz_target!(|bytes: &[u8]| {
    let entry = |name: &str, shape: &[usize]| Entry {
        name: name.into(),
        shape: shape.to_vec(),
        kind: ParamKind::Weight,
        slot: Slot { start: 0, len: shape.iter().product() },
    };
    let entries = [entry("conv1.weight", &[2, 1, 2, 2]), entry("bn1.bias", &[2])];
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = place.path().join("weights.safetensors");
    fs::write(&file, bytes).expect("a file");
    match foreign::read(&file, &entries) {
        Err(error) => refused(&error),
        Ok((values, _)) => {
            assert_eq!(values.iter().map(Vec::len).collect::<Vec<_>>(), [8, 2]);
            assert!(values.iter().flatten().all(|value| value.is_finite()));
        }
    }
});
