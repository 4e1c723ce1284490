//! The store: a written set is read back, and a damaged file is an error, never a panic.

use std::fs;

use proptest::prelude::*;
use sempair::data::catalog::Catalog;
use sempair::data::store;
use sempair::data::world::World;

use super::Place;
use super::sources;

fn imported() -> Place {
    let place = Place::new();
    place.import(&place.source(&sources::zip_bytes(&sources::folders())), Some(8)).unwrap();
    place
}

#[test]
fn the_file_is_safetensors_with_the_facts_of_the_import() {
    let place = imported();
    let bytes = fs::read(place.data().join("set.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("train.pixels").unwrap().shape(), [3, 8, 8, 3]);
    assert_eq!(tensors.tensor("train.labels").unwrap().data(), [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    let hashes = tensors.tensor("train.file_hashes").unwrap();
    assert_eq!(hashes.data()[..32], *blake3::hash(&sources::png(1)).as_bytes());
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let facts = header.metadata().clone().unwrap();
    assert_eq!(facts["schema"], "sempair.images/1");
    assert_eq!(facts["classes"], r#"["cat","dog"]"#);
    assert_eq!(facts["source"], "source.bin");
    let zip = sources::zip_bytes(&sources::folders());
    assert_eq!(facts["source_blake3"], blake3::hash(&zip).to_hex().as_str());
    // The decoder's versions are constants in the source, since no build provides them. They must match the lock file.
    let lock = include_str!("../../Cargo.lock");
    let crates = [
        ("image", "0.25.10"),
        ("zune-jpeg", "0.5.15"),
        ("png", "0.18.1"),
        ("gif", "0.14.2"),
        ("image-webp", "0.2.4"),
        ("tiff", "0.11.3"),
        ("fast_image_resize", "6.1.0"),
    ];
    for (name, version) in crates {
        assert!(lock.contains(&format!("name = \"{name}\"\nversion = \"{version}\"")), "{name} {version}");
        assert!(facts["decoder"].contains(&format!("{name} {version}")), "{}", facts["decoder"]);
    }
}

#[test]
fn recorded_hashes_are_those_of_the_content() {
    let dataset = store::open(&imported().data(), "set").unwrap();
    for (name, set) in &dataset.splits {
        let copy = sempair::data::image_set::ImageSet::new(
            "copy",
            set.size,
            set.classes.to_vec(),
            set.labels.to_vec(),
            set.pixels().to_vec(),
        );
        assert_eq!(set.hash, copy.hash);
        assert_eq!(set.name, format!("set/{name}"));
    }
}

#[test]
fn list_tells_what_is_there_even_beside_a_damaged_file() {
    let place = imported();
    fs::write(place.data().join("bad.safetensors"), [255; 40]).unwrap();
    fs::write(place.data().join("notes.txt"), "mine").unwrap();
    let list = store::list(&place.data()).unwrap();
    assert_eq!(list.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), ["bad", "set"]);
    let said = place.plain(list[0].damaged.as_deref().unwrap());
    assert_eq!(said, "data/bad.safetensors: the file is truncated or damaged: header too large");
    let set = serde_json::to_value(&list[1]).unwrap();
    assert_eq!((&set["size"], &set["classes"]), (&8.into(), &2.into()));
    assert_eq!((&set["splits"][1]["name"], &set["splits"][1]["images"]), (&"train".into(), &3.into()));
    assert_eq!(store::list(&place.0.path().join("none")).unwrap().len(), 0);
}

#[test]
fn an_import_removes_what_a_killed_one_left_and_nothing_else() {
    let place = Place::new();
    fs::create_dir(place.data()).unwrap();
    let file = |name: &str| place.data().join(name);
    for name in [".import-killed.part", ".import-lives.part", ".import-notes", "mine.part"] {
        fs::write(file(name), "half").unwrap();
    }
    let lives = fs::File::open(file(".import-lives.part")).unwrap();
    lives.lock().unwrap(); // like a process that is still writing it
    place.import(&place.source(&sources::zip_bytes(&sources::folders())), Some(8)).unwrap();
    let mut left: Vec<_> = fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, [".import-lives.part", ".import-notes", "mine.part", "set.safetensors"]);
    drop(lives);
}

#[test]
fn a_missing_set_is_answered_with_those_there_are() {
    let place = imported();
    let error = store::open(&place.data(), "sett").unwrap_err();
    let said = format!("no dataset `sett` in {}: there are set; did you mean `set`?", place.data().display());
    assert_eq!(error.what(), said);
    let hint =
        "`sempair data import PATH --name sett` imports one under this name, `sempair data list` lists all datasets";
    assert_eq!(error.hint_text(), Some(hint));
    let error = store::open(&place.0.path().join("none"), "cifar-10").unwrap_err();
    assert!(error.what().ends_with(": there is none"), "{error}");
}

#[test]
fn verify_finds_changed_bytes_anywhere() {
    let place = imported();
    let path = place.data().join("set.safetensors");
    let written = fs::read(&path).unwrap();
    for at in (0..written.len()).step_by(7) {
        let mut bytes = written.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(&path, bytes).unwrap();
        let verified = store::verify(&place.data(), "set");
        assert!(verified.is_err() || verified.is_ok_and(|report| !report.holds()), "byte {at} of {}", written.len());
    }
    fs::write(&path, &written).unwrap();
    assert_eq!(store::verify(&place.data(), "set").unwrap().whole, Some(true));
}

#[test]
fn verify_names_the_images_that_changed() {
    let place = imported();
    assert!(store::verify(&place.data(), "set").unwrap().holds());
    let path = place.data().join("set.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    // The last pixels are those of the last test image.
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = store::verify(&place.data(), "set").unwrap();
    assert!(!report.holds());
    let [test, train] = report.splits.as_slice() else { panic!("{report:?}") };
    assert_eq!(train.changed, []);
    assert_eq!(test.changed, [(1, "val/dog/deep/er/1.png".to_string())]);
    assert_ne!(test.computed, test.recorded);
    // The set is not used for training or evaluation, not even its other split.
    let set = Catalog::new(World::STANDARD, place.data()).set("set").unwrap();
    let error = set.split("train").unwrap_err();
    assert_eq!(error.what(), "the images of `set/test` do not have the hash that was recorded when they were imported");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics(at in 0_usize..2_000, value: u8, cut in 0_usize..9_000) {
        use std::sync::OnceLock;
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let whole = WHOLE.get_or_init(|| fs::read(imported().data().join("set.safetensors")).unwrap());
        let place = Place::new();
        fs::create_dir(place.data()).unwrap();
        let mut bytes = whole.clone();
        let at = at % bytes.len();
        bytes[at] = value;
        bytes.truncate(cut.max(at));
        fs::write(place.data().join("broken.safetensors"), &bytes).unwrap();
        let opened = store::verify(&place.data(), "broken");
        prop_assert!(bytes.len() == whole.len() || opened.is_err());
        prop_assert_eq!(store::list(&place.data()).unwrap().len(), 1);
    }
}
