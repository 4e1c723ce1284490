//! The store of annotated sets: what is written is read back, checked when it is used, and never taken for labelled
//! images.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use image::ImageFormat;
use image::RgbImage;
use proptest::prelude::*;
use sempair::data::annotated::AnnotatedSet;
use sempair::data::annotated::Object;
use sempair::data::catalog::Catalog;
use sempair::data::image_set::Dataset;
use sempair::data::store;
use sempair::data::store::AnyDataset;
use sempair::data::store::Facts;
use sempair::data::store::SplitPlan;
use sempair::data::world::World;

use super::Place;
use super::sources;

const TRAIN: &str = "train";
const TEST: &str = "test";

fn object(edges: [f32; 4], category: u32, difficult: bool) -> Object {
    Object { edges, category, difficult, truncated: category == 1, occluded: false }
}

/// Three images of different sizes with 2, 0 and 1 objects.
fn images() -> [(usize, usize, Vec<Object>); 3] {
    let first = vec![object([0.0, 0.0, 8.0, 6.0], 1, false), object([0.5, 1.0, 3.0, 2.0], 0, true)];
    [(6, 8, first), (4, 5, Vec::new()), (9, 3, vec![object([1.0, 2.0, 3.0, 9.0], 0, false)])]
}

fn picture(height: usize, width: usize) -> RgbImage {
    RgbImage::from_fn(width as u32, height as u32, |x, y| image::Rgb([x as u8, y as u8, 7]))
}

/// Writes the first two images as training images and the third as the test image of `set`.
fn write(data: &Path) -> Dataset<AnnotatedSet> {
    let facts = Facts {
        name: "set".into(),
        description: "three images".into(),
        licence: "free".into(),
        classes: vec!["cat".into(), "dog".into()],
        layout: "hand-made".into(),
        decoder: "none".into(),
        source: "nowhere".into(),
        source_blake3: None,
    };
    let files: Vec<Vec<u8>> =
        images().iter().map(|(h, w, _)| sources::encoded(picture(*h, *w), ImageFormat::Png)).collect();
    let split = |name: &str, range: std::ops::Range<usize>| SplitPlan {
        name: name.into(),
        names: range.clone().map(|i| format!("{i}.png")).collect(),
        bytes: files[range.clone()].iter().map(|file| file.len() as u64).collect(),
        objects: images()[range].iter().map(|(.., objects)| objects.len()).collect(),
    };
    let mut writer = store::AnnotatedWriter::create(data, facts, vec![split(TEST, 2..3), split(TRAIN, 0..2)]).unwrap();
    for (i, place) in [(1, (1, 1)), (2, (0, 0)), (0, (1, 0))] {
        let (height, width, objects) = images()[i].clone();
        writer.put(place, (height, width), objects, *blake3::hash(&files[i]).as_bytes(), &files[i]).unwrap();
    }
    writer.finish().unwrap();
    store::open_annotated(data, "set").unwrap()
}

#[test]
fn images_and_objects_are_read_back() {
    let place = Place::new();
    let dataset = write(&place.data());
    assert_eq!((dataset.description.as_str(), dataset.licence.as_str()), ("three images", "free"));
    let (train, test) = (&dataset.splits[TRAIN], &dataset.splits[TEST]);
    assert_eq!((train.len(), test.len(), train.all_objects().len()), (2, 1, 2));
    for (set, at, image) in [(train, 0, 0), (train, 1, 1), (test, 0, 2)] {
        let (height, width, objects) = images()[image].clone();
        assert_eq!((set.size(at), set.objects(at)), ((height, width), &objects[..]));
        assert_eq!(*set.pixels(at).unwrap(), picture(height, width).into_raw());
        assert_eq!(set.names().unwrap()[at], format!("{image}.png"));
    }
    assert_eq!(dataset.changed(), [""; 0]);
    // Every other program reads the file, too: its numbers are aligned.
    let bytes = fs::read(place.data().join("set.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(tensors.tensor("train.edges").unwrap().shape(), [2, 4]);
    for (name, bytes) in [("train.object_ends", 8), ("test.file_ends", 8), ("train.sizes", 4), ("test.edges", 4)] {
        let data = tensors.tensor(name).unwrap().data().as_ptr() as usize;
        let start = tensors.tensor("test.object_ends").unwrap().data().as_ptr() as usize;
        assert_eq!((data - start) % bytes, 0, "{name}");
    }
}

#[test]
fn labelled_and_annotated_sets_are_not_taken_for_each_other() {
    let place = Place::new();
    write(&place.data());
    let catalog = Catalog::new(World::STANDARD, place.data());
    let said = "the images of `set` have objects for detection, but no label each";
    for error in [catalog.set("set").unwrap_err(), catalog.evaluation_set("set").unwrap_err()] {
        assert_eq!(error.what(), said);
        assert!(error.hint_text().unwrap().contains("`sempair data list`"), "{error}");
    }
    assert!(catalog.contains("set").unwrap() && catalog.is_annotated("set").unwrap());
    let set = catalog.annotated("set").unwrap();
    assert_eq!((set.extent.classes, set.extent.train, set.extent.test), (2, 2, 1));
    assert_eq!((set.made_by(), set.is_embedded()), ("data::store::annotated", false));
    assert_eq!(set.identity["splits"][TRAIN], set.split(TRAIN).unwrap().hash);
    let error = set.split("val").unwrap_err();
    assert_eq!(error.what(), "`set` has no split `val`, only test, train");

    place.import(&place.source(&sources::zip_bytes(&sources::folders())), Some(8)).unwrap();
    let catalog = Catalog::new(World::STANDARD, place.data());
    for name in ["set", "synth-10"] {
        let error = catalog.annotated(name).unwrap_err();
        assert_eq!(error.what(), format!("the images of `{name}` have a label each, but no objects for detection"));
        assert!(!catalog.is_annotated(name).unwrap());
    }
    assert!(matches!(store::open_any(&place.data(), "set").unwrap(), AnyDataset::Labelled(_)));
    assert!(catalog.annotated("none").unwrap_err().what().contains("no dataset `none`"));
}

#[test]
fn list_and_verify_know_objects_and_files() {
    let place = Place::new();
    write(&place.data());
    let list = serde_json::to_value(store::list(&place.data()).unwrap()).unwrap();
    assert_eq!((&list[0]["size"], &list[0]["classes"]), (&serde_json::Value::Null, &2.into()));
    let train = &list[0]["splits"][1];
    assert_eq!((&train["images"], &train["objects"], &train["difficult"]), (&2.into(), &2.into(), &1.into()));
    assert!(store::verify(&place.data(), "set").unwrap().holds());
    // The last bytes are those of the last training image.
    let path = place.data().join("set.safetensors");
    let whole = fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, &bytes).unwrap();
    let report = store::verify(&place.data(), "set").unwrap();
    assert_eq!(report.splits[1].changed, [(1, "1.png".to_string())]);
    assert!(!report.holds() && report.splits[0].changed.is_empty());
    let set = Catalog::new(World::STANDARD, place.data()).annotated("set").unwrap();
    let said = "the images of `set/train` do not have the hash that was recorded when they were imported";
    assert_eq!(set.split(TEST).unwrap_err().what(), said);
    // A box that moved is found by the hash of the whole, although no image changed.
    let mut bytes = whole;
    let edge = bytes.windows(4).position(|four| four == 0.5_f32.to_le_bytes()).unwrap();
    bytes[edge..edge + 4].copy_from_slice(&0.25_f32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let report = store::verify(&place.data(), "set").unwrap();
    assert!(!report.holds() && report.splits.iter().all(|split| split.changed.is_empty()));
}

#[test]
fn a_file_that_leads_beyond_itself_is_damaged() {
    let place = Place::new();
    write(&place.data());
    let path = place.data().join("set.safetensors");
    let whole = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&whole).unwrap();
    let at = |name: &str| tensors.tensor(name).unwrap().data().as_ptr() as usize - whole.as_ptr() as usize;
    let long = |number: u64| number.to_le_bytes().to_vec();
    let files = tensors.tensor("train.files").unwrap().data().len();
    for (name, value, what) in [
        ("train.categories", vec![2, 0, 0, 0], "train: category 2 of 2".to_owned()),
        ("train.flags", vec![2], "train: a flag is not 0 or 1".into()),
        ("train.edges", f32::NAN.to_le_bytes().to_vec(), "train: a box is not in its image".into()),
        ("train.edges", 8.0_f32.to_le_bytes().to_vec(), "train: a box is not in its image".into()),
        ("train.object_ends", long(9), "train: `object_ends` does not ascend to 2".into()),
        ("train.object_ends", [long(1), long(1)].concat(), "train: `object_ends` ends at 1, not 2".into()),
        ("train.file_ends", long(u64::MAX), format!("train: `file_ends` does not ascend to {files}")),
        ("train.names", b"\n".to_vec(), "`train.names` does not name its 2 images".into()),
    ] {
        let mut bytes = whole.clone();
        bytes[at(name)..at(name) + value.len()].copy_from_slice(&value);
        fs::write(&path, &bytes).unwrap();
        let error = store::open_annotated(&place.data(), "set").unwrap_err();
        let said = format!("data/set.safetensors: the file is truncated or damaged: {what}");
        assert_eq!(place.plain(error.what()), said, "{name}");
        assert!(store::list(&place.data()).unwrap()[0].damaged.is_some());
    }
}

#[test]
fn a_file_that_does_not_decode_to_its_size_is_an_error_when_it_is_used() {
    let place = Place::new();
    write(&place.data());
    let path = place.data().join("set.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let at = tensors.tensor("test.sizes").unwrap().data().as_ptr() as usize - bytes.as_ptr() as usize;
    bytes[at] = 10;
    fs::write(&path, &bytes).unwrap();
    let dataset = store::open_annotated(&place.data(), "set").unwrap();
    assert_eq!(dataset.changed(), [TEST]);
    let error = dataset.splits[TEST].pixels(0).unwrap_err();
    assert_eq!(error.what(), "image 0 of set/test cannot be decoded: it has 3x9 pixels, not 3x10");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_damaged_file_never_panics(at in 0_usize..3_000, value: u8, cut in 0_usize..6_000) {
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let whole = WHOLE.get_or_init(|| {
            let place = Place::new();
            write(&place.data());
            fs::read(place.data().join("set.safetensors")).unwrap()
        });
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
        if let Ok(dataset) = store::open_annotated(&place.data(), "broken") {
            dataset.splits.values().for_each(|set| (0..set.len()).for_each(|image| drop(set.pixels(image))));
        }
    }
}
