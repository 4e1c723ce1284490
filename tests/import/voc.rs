//! PASCAL VOC's layout in all forms in which people have it: lists, images and annotations in one source or several,
//! and what is missing or there twice.

use std::path::PathBuf;

use sempair::data::annotated::AnnotatedSet;
use sempair::data::image_set::Dataset;
use sempair::data::import::Imported;
use sempair::data::store;
use sempair::data::store::AnyDataset;

use super::Place;
use super::sources;
use super::sources::Tree;

/// An object with a category and the four sides of its box.
pub fn object(name: &str, sides: [f64; 4]) -> String {
    format!("<object><name>{name}</name>{}</object>", boxed(sides))
}

pub fn boxed([xmin, ymin, xmax, ymax]: [f64; 4]) -> String {
    format!("<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>")
}

/// An annotation with this inside, for an image of 40x30.
pub fn xml(inside: &str) -> Vec<u8> {
    let size = "<size><width>40</width><height>30</height><depth>3</depth></size>";
    format!("<annotation><folder>VOC2007</folder><filename>x.jpg</filename>{size}{inside}</annotation>").into_bytes()
}

pub fn put(tree: &mut Tree, path: &str, bytes: Vec<u8>) {
    tree.retain(|(other, _)| other != path);
    tree.push((path.into(), bytes));
}

/// A year's folder with lists, each of a name and ids. Every image of 40x30 has a cat, and every second one a dog.
pub fn folder(root: &str, lists: &[(&str, &[&str])]) -> Tree {
    let mut tree = Tree::new();
    for (list, ids) in lists {
        put(&mut tree, &format!("{root}/ImageSets/Main/{list}.txt"), ids.join("\n").into_bytes());
        for (at, id) in ids.iter().enumerate() {
            let dog = if at % 2 == 1 { object("dog", [1.0, 2.0, 40.0, 30.0]) } else { String::new() };
            let seed = id.bytes().fold(7, |seed, byte| seed * 31 % 1009 + u32::from(byte));
            put(&mut tree, &format!("{root}/JPEGImages/{id}.jpg"), sources::jpeg(40, 30, seed));
            let inside = object("cat", [3.0, 4.0, 10.0, 12.0]) + &dog;
            put(&mut tree, &format!("{root}/Annotations/{id}.xml"), xml(&inside));
        }
    }
    tree
}

pub const VOC_2007: &str = "VOCdevkit/VOC2007";

pub fn voc_2007() -> Tree {
    folder(VOC_2007, &[("trainval", &["000005", "000007"]), ("test", &["000001", "000002"])])
}

/// The set of an import of annotated images.
pub fn annotated(imported: Imported) -> Dataset<AnnotatedSet> {
    match imported.dataset {
        AnyDataset::Annotated(dataset) => dataset,
        AnyDataset::Labelled(_) => panic!("the images have labels"),
    }
}

pub fn imported(tree: &Tree) -> Imported {
    let place = Place::new();
    place.import(&place.source(&sources::tar_bytes(tree)), None).unwrap()
}

pub fn set(tree: &Tree) -> Dataset<AnnotatedSet> {
    annotated(imported(tree))
}

/// The error of importing these members, as tar and as zip, without the archive's name.
pub fn refused(tree: &Tree) -> String {
    let said = Place::new().refusal(&sources::tar_bytes(tree));
    assert_eq!(Place::new().refusal(&sources::zip_bytes(tree)), said);
    said.replace("source.bin: ", "")
}

/// The set with the annotation of the first training image replaced.
pub fn with_annotation(bytes: Vec<u8>) -> Tree {
    let mut tree = voc_2007();
    put(&mut tree, "VOCdevkit/VOC2007/Annotations/000005.xml", bytes);
    tree
}

/// The set in which the first training image has these objects.
pub fn with_objects(inside: &str) -> Tree {
    with_annotation(xml(inside))
}

/// The sources in files with names of their own.
fn files(place: &Place, trees: &[(&str, Tree)]) -> Vec<PathBuf> {
    let write = |(name, tree): &(&str, Tree)| {
        let path = place.0.path().join(name);
        std::fs::write(&path, sources::tar_bytes(tree)).unwrap();
        path
    };
    trees.iter().map(write).collect()
}

fn hashes(dataset: &Dataset<AnnotatedSet>) -> Vec<(&str, &str)> {
    dataset.splits.iter().map(|(split, set)| (split.as_str(), set.hash.as_str())).collect()
}

#[test]
fn every_kind_of_source_gives_the_same_set() {
    let mut tree = voc_2007();
    put(&mut tree, "VOCdevkit/VOC2007/ImageSets/Main/cat_trainval.txt", b"000005 1\n000007 -1\n".into());
    put(&mut tree, "VOCdevkit/VOC2007/SegmentationClass/000005.png", sources::png(1));
    put(&mut tree, "VOCdevkit/VOC2007/JPEGImages/000009.jpg", sources::jpeg(9, 9, 9));
    put(&mut tree, "VOCdevkit/VOC2007/Annotations/000009.xml", b"never read".into());
    let place = Place::new();
    let directory = sources::write_directory(&place.0.path().join("devkit"), &tree);
    let expected = place.import(&directory, None).unwrap();
    let left_out: Vec<String> = expected.left_out.iter().map(|left| left.what.clone()).collect();
    insta::assert_snapshot!(left_out.join("\n"), @"
    1 image that no list names
    1 annotation that no list names
    1 image outside of the layout, such as VOCdevkit/VOC2007/SegmentationClass/000005.png
    1 other file (.txt)
    ");
    assert_eq!((expected.findings.len(), expected.layout), (0, "PASCAL VOC"));
    let expected = annotated(expected);
    insta::assert_snapshot!(expected.description, @"2 training images with 3 objects, 2 test images with 3 objects, 2 categories (VOC2007)");
    let (train, test) = (&expected.splits["train"], &expected.splits["test"]);
    assert_eq!(*train.classes, ["cat", "dog"]);
    assert_eq!(test.names().unwrap(), ["VOC2007/JPEGImages/000001.jpg", "VOC2007/JPEGImages/000002.jpg"]);
    // Columns and rows are counted from 1, and the last ones are in the box.
    let boxes: Vec<_> = train.objects(1).iter().map(|object| (object.category, object.edges)).collect();
    assert_eq!(boxes, [(0, [2.0, 3.0, 10.0, 12.0]), (1, [0.0, 1.0, 40.0, 30.0])]);
    assert_eq!((train.size(0), train.objects(0).len()), ((30, 40), 1));
    let seed = "000005".bytes().fold(7, |seed, byte| seed * 31 % 1009 + u32::from(byte));
    let decoded = image::load_from_memory(&sources::jpeg(40, 30, seed)).unwrap().to_rgb8().into_raw();
    assert_eq!(*train.pixels(0).unwrap(), decoded);

    tree.reverse();
    let tar = sources::tar_bytes(&tree);
    for bytes in [sources::gzip(&tar), tar, sources::zip_bytes(&tree)] {
        let dataset = annotated(place.import(&place.source(&bytes), None).unwrap());
        assert_eq!((hashes(&dataset), &dataset.description), (hashes(&expected), &expected.description));
        assert_eq!(dataset.splits["train"].names(), train.names());
    }
    // The folder may be given itself, be the top of an archive, or lie deeper.
    let inner = annotated(place.import(&directory.join(VOC_2007), None).unwrap());
    assert_eq!((hashes(&inner), inner.splits["train"].names()), (hashes(&expected), train.names()));
    for root in ["", "a/b/TrainVal/VOCdevkit/VOC2007/"] {
        let moved =
            tree.iter().map(|(path, bytes)| (path.replace("VOCdevkit/VOC2007/", root), bytes.clone())).collect();
        assert_eq!(hashes(&set(&moved)), hashes(&expected), "{root}");
    }
    assert!(store::verify(&place.data(), "set").unwrap().holds());
}

#[test]
fn sources_are_merged_in_any_order() {
    let place = Place::new();
    let whole = set(&voc_2007());
    let part = |keep: fn(&str) -> bool| voc_2007().into_iter().filter(|(path, _)| keep(path)).collect::<Tree>();
    // As VOC publishes it: images and annotations of both splits are unpacked into one folder.
    let of_test = |path: &str| {
        path.contains("00000") && (path.contains("000001") || path.contains("000002")) || path.ends_with("/test.txt")
    };
    let trainval = part(|path| !path.contains("000001") && !path.contains("000002") && !path.ends_with("/test.txt"));
    let test: Tree = voc_2007().into_iter().filter(|(path, _)| of_test(path)).collect();
    let mut paths = files(&place, &[("trainval.tar", trainval), ("test.tar", test)]);
    for _ in 0..2 {
        let merged = place.import_all(&paths, None).unwrap();
        assert_eq!(
            (merged.path.file_name().unwrap().to_str().unwrap(), merged.findings.len()),
            ("voc-2007.safetensors", 0)
        );
        assert_eq!(hashes(&annotated(merged)), hashes(&whole));
        paths.reverse();
    }
    let bytes = std::fs::read(place.data().join("voc-2007.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let facts = header.metadata().clone().unwrap();
    assert_eq!((facts["schema"].as_str(), facts["source"].as_str()), ("sempair.annotated/1", "test.tar, trainval.tar"));
    let hash = |path: &PathBuf| blake3::hash(&std::fs::read(path).unwrap()).to_hex().to_string();
    assert_eq!(facts["source_blake3"], format!("{}, {}", hash(&paths[1]), hash(&paths[0])));

    // The annotations may come on their own, and what is there twice must be the same.
    let annotations = part(|path| path.contains("/Annotations/"));
    let images = part(|path| !path.contains("/Annotations/"));
    let again = part(|path| path.contains("000005") || path.ends_with("trainval.txt"));
    let parts = [("annotations.tar", annotations), ("images.tar", images), ("again.tar", again)];
    assert_eq!(hashes(&annotated(place.import_all(&files(&place, &parts), Some("set")).unwrap())), hashes(&whole));

    // The lists of two years are joined.
    let later = folder("VOCdevkit/VOC2012", &[("trainval", &["2008_000002", "2009_000001", "2011_000003"])]);
    let mut paths = files(&place, &[("2012.tar", later), ("2007.tar", voc_2007())]);
    let both = annotated(place.import_all(&paths, None).unwrap());
    paths.reverse();
    assert_eq!(hashes(&annotated(place.import_all(&paths, None).unwrap())), hashes(&both));
    assert_eq!(both.name, "voc-2007-2012");
    insta::assert_snapshot!(both.description, @"5 training images with 7 objects, 2 test images with 3 objects, 2 categories (VOC2007, VOC2012)");
    let names = both.splits["train"].names().unwrap();
    assert_eq!((names[1], names[2]), ("VOC2007/JPEGImages/000007.jpg", "VOC2012/JPEGImages/2008_000002.jpg"));
}

#[test]
fn what_is_there_twice_and_differs_is_refused() {
    let place = Place::new();
    let with = |path: &str, bytes: Vec<u8>| {
        let other = vec![(path.to_string(), bytes)];
        let error =
            place.import_all(&files(&place, &[("a.tar", voc_2007()), ("b.tar", other)]), Some("set")).unwrap_err();
        assert!(error.hint_text().unwrap().contains("rename the images of one"), "{error}");
        place.plain(error.what())
    };
    let image = "VOCdevkit/VOC2007/JPEGImages/000005.jpg";
    let same = "have the same name, but different content";
    let said = format!("a.tar: {image} and b.tar: {image} {same}");
    assert_eq!(with(image, sources::jpeg(40, 30, 1)), said);
    // An image of the same size in bytes is found when it is read.
    let own = voc_2007().into_iter().find(|(path, _)| path == image).unwrap().1;
    let mut changed = own.clone();
    let at = changed.len() - 20;
    changed[at] ^= 1;
    assert_eq!(with(image, changed), said);
    let annotation = "old/VOC2007/Annotations/000007.xml";
    let said = format!("a.tar: VOCdevkit/VOC2007/Annotations/000007.xml and b.tar: {annotation} {same}");
    assert_eq!(with(annotation, xml(&object("cat", [1.0, 1.0, 2.0, 2.0]))), said);
    let list = "VOC2007/ImageSets/Main/trainval.txt";
    assert_eq!(with(list, b"000005\n".into()), format!("a.tar: VOCdevkit/{list} and b.tar: {list} {same}"));
    // One id with two endings is not one image.
    let mut tree = voc_2007();
    put(&mut tree, "VOCdevkit/VOC2007/JPEGImages/000005.png", sources::png(1));
    assert!(refused(&tree).ends_with(same));
    assert_eq!(std::fs::read_dir(place.data()).map_or(0, Iterator::count), 0);
}

#[test]
fn lists_are_read_as_people_write_them() {
    let lists = |lists: &[(&str, &str)]| {
        let mut tree = voc_2007();
        tree.retain(|(path, _)| !path.ends_with(".txt"));
        for (name, text) in lists {
            put(&mut tree, &format!("{VOC_2007}/ImageSets/Main/{name}.txt"), text.as_bytes().to_vec());
        }
        tree
    };
    let names = |tree: &Tree, split: &str| -> Vec<String> {
        let set = set(tree);
        let names = set.splits[split].names().unwrap();
        names
            .iter()
            .map(|name| name.trim_start_matches("VOC2007/JPEGImages/").trim_end_matches(".jpg").into())
            .collect()
    };
    let test = ("test", "000001\n");
    assert_eq!(
        names(&lists(&[("trainval", "\u{feff}000007\r\n\r\n  000005 \r\n"), test]), "train"),
        ["000007", "000005"]
    );
    assert_eq!(names(&lists(&[("train", "000007"), ("val", "000005"), test]), "train"), ["000007", "000005"]);
    assert_eq!(names(&lists(&[("train", "000007"), ("trainval", "000005"), test]), "train"), ["000005"]);
    // A list of one category has a number for each image.
    let of_category = lists(&[("trainval", "000007 -1\n000005  1\n000002  0\n"), test]);
    assert_eq!(names(&of_category, "train"), ["000007", "000005", "000002"]);
    let findings = imported(&of_category).findings;
    insta::assert_snapshot!(findings.join("\n"), @"
    VOCdevkit/VOC2007/ImageSets/Main/trainval.txt: it is the list of one category; all its images are taken, whatever the number says
    1 category has no object in some split, such as `dog`: `test` has none
    ");
    // Ids may have blanks in them, even if they end like the lines of such a list.
    let mut blanks = lists(&[("trainval", "my photo 1\nmy photo 0\n"), test]);
    for id in ["my photo 0", "my photo 1"] {
        put(&mut blanks, &format!("{VOC_2007}/JPEGImages/{id}.jpg"), sources::jpeg(40, 30, id.len() as u32));
        put(&mut blanks, &format!("{VOC_2007}/Annotations/{id}.xml"), xml(&object("cat", [1.0, 1.0, 9.0, 9.0])));
    }
    assert_eq!(names(&blanks, "train"), ["my photo 1", "my photo 0"]);
    // An id that is listed twice is one image; one of both splits is told.
    let twice = imported(&lists(&[("trainval", "000005\n000007\n000005"), ("test", "000007")]));
    insta::assert_snapshot!(twice.findings.join("\n"), @"
    1 id of `train` listed again; each image is taken once
    1 picture in more than one split: figures on them say nothing about new images
    ");
    assert_eq!(annotated(twice).splits["train"].len(), 2);
}

#[test]
fn what_the_lists_name_and_nobody_has_is_refused() {
    let without = |path: &str| -> Tree { voc_2007().into_iter().filter(|(other, _)| !other.contains(path)).collect() };
    let hint = |tree: &Tree| {
        let place = Place::new();
        place.import(&place.source(&sources::tar_bytes(tree)), None).unwrap_err().hint_text().unwrap().to_owned()
    };
    insta::assert_snapshot!(refused(&without("JPEGImages/000005")), @"VOCdevkit/VOC2007/ImageSets/Main/trainval.txt: it lists `000005`, but JPEGImages/000005.jpg is missing");
    insta::assert_snapshot!(refused(&without("JPEGImages/00000")), @"VOCdevkit/VOC2007/ImageSets/Main/test.txt: it lists `000001`, but JPEGImages/000001.jpg is missing, and so are the files of 1 other id");
    insta::assert_snapshot!(refused(&without("Annotations/000002")), @"VOCdevkit/VOC2007/ImageSets/Main/test.txt: it lists `000002`, but Annotations/000002.xml is missing");
    insta::assert_snapshot!(hint(&without("Annotations/000002")), @"if it is in another source, give both: `sempair data import PATH PATH`; VOC2007's `test` is in VOCtest_06-Nov-2007.tar; or correct the list");
    let mut ending = without("trainval.txt");
    put(&mut ending, "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt", b"000005.jpg".into());
    insta::assert_snapshot!(refused(&ending), @"VOCdevkit/VOC2007/ImageSets/Main/trainval.txt: it lists `000005.jpg`, but JPEGImages/000005.jpg.jpg is missing; an id has no ending");
    insta::assert_snapshot!(refused(&without("ImageSets")), @"annotations as in PASCAL VOC, but no list of their images: ImageSets/Main/trainval.txt or test.txt");
    let empty = folder(VOC_2007, &[("trainval", &[])]);
    assert_eq!(refused(&empty), "it has the layout of PASCAL VOC, but no images");
    // The test images of VOC2012 have no annotations.
    let mut later = folder("VOC2012", &[("trainval", &["2008_000002"]), ("test", &["2008_000001", "2008_000009"])]);
    later.retain(|(path, _)| !path.ends_with("1.xml") && !path.ends_with("9.xml"));
    insta::assert_snapshot!(refused(&later), @"VOC2012/ImageSets/Main/test.txt: it lists `2008_000001`, but Annotations/2008_000001.xml is missing, and so are the files of 1 other id");
    insta::assert_snapshot!(hint(&later), @"if it is in another source, give both: `sempair data import PATH PATH`; VOC2012's test annotations are not published, so papers test on VOC2007's; or correct the list");
    // Other layouts do not come in several sources.
    let place = Place::new();
    let two = files(&place, &[("a.tar", sources::folders()), ("b.tar", sources::folders())]);
    let said = place.plain(place.import_all(&two, None).unwrap_err().what());
    assert_eq!(said, "a.tar, b.tar: only sources with PASCAL VOC's layout are imported together");
    let source = place.source(&sources::tar_bytes(&voc_2007()));
    let said = "annotated images keep their own sizes, so they cannot be imported at 64x64";
    assert_eq!(place.import(&source, Some(64)).unwrap_err().what(), said);
}

#[test]
fn a_missing_split_is_told_with_its_archive() {
    let findings = |root: &str, lists: &[(&str, &[&str])]| {
        let imported = imported(&folder(root, lists));
        assert_eq!(annotated(imported).splits.len(), 1);
        self::imported(&folder(root, lists)).findings.join("\n")
    };
    insta::assert_snapshot!(findings(VOC_2007, &[("trainval", &["000005"])]), @"there is no split `test`, because no source has ImageSets/Main/test.txt with an id in it; VOC2007's `test` is in VOCtest_06-Nov-2007.tar");
    insta::assert_snapshot!(findings(VOC_2007, &[("test", &["000001"])]), @"there is no split `train`, because no source has ImageSets/Main/trainval.txt with an id in it; VOC2007's `train` is in VOCtrainval_06-Nov-2007.tar");
    insta::assert_snapshot!(findings("VOC2012", &[("trainval", &["2008_000002"])]), @"
    there is no split `test`, because no source has ImageSets/Main/test.txt with an id in it; VOC2012's test annotations are not published, so papers test on VOC2007's
    1 annotation listed in VOC2012 with `<folder>VOC2007</folder>`, another year
    ");
    let empty = findings(VOC_2007, &[("trainval", &["000005"]), ("test", &[])]);
    assert_eq!(empty, findings(VOC_2007, &[("trainval", &["000005"])]));
    insta::assert_snapshot!(findings("pets", &[("train", &["1"])]), @"there is no split `test`, because no source has ImageSets/Main/test.txt with an id in it");
    let place = Place::new();
    let own = place.import_all(&files(&place, &[("a.tar", folder("x/My Pets", &[("train", &["1"])]))]), None).unwrap();
    assert_eq!(own.path.file_name().unwrap().to_str(), Some("my-pets.safetensors"));
}

#[test]
fn images_without_objects_are_tested_and_not_trained_on() {
    let mut tree = voc_2007();
    for id in ["000005", "000001"] {
        put(&mut tree, &format!("{VOC_2007}/Annotations/{id}.xml"), xml(""));
    }
    let imported = imported(&tree);
    assert_eq!(imported.left_out[0].what, "1 training image without objects");
    let dataset = annotated(imported);
    assert_eq!((dataset.splits["train"].len(), dataset.splits["test"].len()), (1, 2));
    assert_eq!(dataset.splits["test"].objects(0), []);
    assert_eq!((dataset.splits["train"].objects(0).len(), dataset.splits["test"].objects(1).len()), (2, 2));
}

#[test]
fn another_year_is_told() {
    // Somebody renamed the folder so that the archives do not unpack into each other.
    let renamed = folder("VOC2008", &[("trainval", &["000005"]), ("test", &["000001"])]);
    let place = Place::new();
    let imported = place.import_all(&files(&place, &[("a.tar", renamed)]), Some("voc-2007")).unwrap();
    insta::assert_snapshot!(imported.findings.join("\n"), @"
    2 annotations listed in VOC2008 with `<folder>VOC2007</folder>`, another year
    the set is named `voc-2007`, but its images are of VOC2008
    ");
    let named = place.import_all(&files(&place, &[("a.tar", voc_2007())]), Some("voc-0712")).unwrap();
    assert_eq!(named.findings, [""; 0]);
}

#[test]
fn progress_ends_at_all_images_and_stopping_leaves_nothing() {
    let place = Place::new();
    let source = place.source(&sources::tar_bytes(&voc_2007()));
    let last = std::cell::Cell::new((0, 0));
    let import = |cancelled: &dyn Fn() -> bool| {
        let options =
            sempair::data::import::Options { name: None, size: None, licence: None, replace: true, cancelled };
        sempair::data::import::import(&[&source], &options, &place.data(), &|done, all| last.set((done, all)))
    };
    let asked = std::cell::Cell::new(0);
    import(&|| {
        asked.set(asked.get() + 1);
        false
    })
    .unwrap();
    assert_eq!(last.get(), (4, 4));
    std::fs::remove_dir_all(place.data()).unwrap();
    for stop in 1..=asked.get() {
        let count = std::cell::Cell::new(0);
        let error = import(&|| {
            count.set(count.get() + 1);
            count.get() >= stop
        })
        .unwrap_err();
        assert_eq!(error.kind(), sempair::error::ErrorKind::Interrupted);
        assert_eq!(std::fs::read_dir(place.data()).map_or(0, Iterator::count), 0);
    }
}
