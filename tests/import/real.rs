//! Imports of real photographs, if they are available.

use std::path::PathBuf;
use std::time::Instant;

use sempair::data::annotated::AnnotatedSet;
use sempair::data::pairs::PairKind;
use sempair::data::pairs::build;
use sempair::data::store;

use super::Place;
use super::voc::annotated;

fn archive(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.is_file() {
        println!("skipped: ../shared/data is not there");
        return None;
    }
    Some(path)
}

#[test]
fn real_tiny_imagenet_is_imported_and_gives_the_pairs() {
    let Some(path) = archive("tiny-imagenet-200.tar") else { return };
    let (place, start) = (Place::new(), Instant::now());
    let dataset = place.labelled(&path, None);
    println!("{}: {:.2} s", path.display(), start.elapsed().as_secs_f64());
    let (train, test) = (&dataset.splits["train"], &dataset.splits["test"]);
    assert_eq!((train.len(), test.len(), train.classes.len(), train.size), (20_000, 2_000, 200, 64));
    assert!(train.by_class().iter().all(|images| images.len() == 100));
    assert_eq!(train.classes[0], "Egyptian cat");
    let expected = "20,000 of Tiny-ImageNet's 100,000 training images, 2,000 of its 10,000 validation images";
    assert_eq!(dataset.description, expected);
    assert!(store::verify(&place.data(), "set").unwrap().holds());
    let list = build(train, 187, 50, 0, false).unwrap();
    assert_eq!(list.indices(PairKind::Semantic).len(), 9_350);
    assert!(build(train, 187, 157, 0, false).unwrap_err().what().contains("have 100 images, which allows 50"));
}

#[test]
fn real_cifar_10_is_imported() {
    let Some(path) = archive("cifar-10-binary.tar") else { return };
    let (place, start) = (Place::new(), Instant::now());
    let dataset = place.labelled(&path, None);
    println!("{}: {:.2} s", path.display(), start.elapsed().as_secs_f64());
    let (train, test) = (&dataset.splits["train"], &dataset.splits["test"]);
    assert_eq!((train.len(), test.len(), train.size), (10_000, 10_000, 32));
    assert_eq!(*train.classes, CIFAR_10.map(String::from));
    assert!(test.by_class().iter().all(|images| images.len() == 1_000));
    let expected = "10,000 of CIFAR-10's 50,000 training images, all of its 10,000 test images";
    assert_eq!(dataset.description, expected);
}

#[test]
fn real_mosaics_with_the_layout_of_voc_are_imported() {
    let Some(path) = archive("voc-layout.tar") else { return };
    let (place, start) = (Place::new(), Instant::now());
    let imported = place.import(&path, None).unwrap();
    println!("{}: {:.2} s", path.display(), start.elapsed().as_secs_f64());
    assert_eq!((imported.findings.len(), imported.left_out.len()), (0, 0));
    let dataset = annotated(imported);
    let (train, test) = (&dataset.splits["train"], &dataset.splits["test"]);
    assert_eq!((train.len(), test.len(), train.classes.len()), (600, 200, 20));
    assert_eq!((train.all_objects().len(), test.all_objects().len()), (1527, 509));
    assert!(train.all_objects().iter().chain(test.all_objects()).all(|object| !object.difficult));
    // The first annotation, as it is written: slug 2 77 64 114, egyptian_cat 77 2 128 57, chest 4 1 60 64.
    let first: Vec<_> = train
        .objects(0)
        .iter()
        .map(|object| (train.classes[object.category as usize].as_str(), object.edges))
        .collect();
    let expected = [
        ("slug", [1.0, 76.0, 64.0, 114.0]),
        ("egyptian_cat", [76.0, 1.0, 128.0, 57.0]),
        ("chest", [3.0, 0.0, 60.0, 64.0]),
    ];
    assert_eq!(first, expected);
    assert!((0..600).all(|image| train.size(image) == (128, 128)));
    assert_eq!(train.pixels(599).unwrap().len(), 128 * 128 * 3);
    // Some boxes have a single column or row.
    let is_narrow = |edges: [f32; 4]| edges[2] - edges[0] == 1.0 || edges[3] - edges[1] == 1.0;
    let narrow = |set: &AnnotatedSet| set.all_objects().iter().filter(|object| is_narrow(object.edges)).count();
    assert_eq!(narrow(train) + narrow(test), 10);
    assert!(store::verify(&place.data(), "set").unwrap().holds());
}

const CIFAR_10: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];
