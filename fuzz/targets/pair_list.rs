//! A list of pairs with these bytes, for a set of three categories.

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use sempair::data::image_set::ImageSet;
use sempair::data::pairs::{PairKind, read_manifest};
use sempair_fuzz::refused;

fuzz_target!(|bytes: &[u8]| {
    let classes = ["c0", "c1", "c2"].map(str::to_owned).to_vec();
    let set = ImageSet::new("toy/train", 1, classes, (0..12).map(|i| i % 3).collect(), (0..36).collect());
    let place = tempfile::tempdir().expect("a temporary folder");
    let file = place.path().join("pairs.tsv");
    fs::write(&file, bytes).expect("a file");
    match read_manifest(&file, &set) {
        Err(error) => refused(&error),
        Ok(list) => {
            assert!(!list.pairs.is_empty());
            for (first, second) in list.indices(PairKind::Semantic) {
                assert_ne!(first, second);
                assert_eq!(set.labels[first as usize], set.labels[second as usize]);
            }
        }
    }
});
