//! Sets as they occur in practice: rearranged layouts, formats other than JPEG and PNG, files that are left out or
//! refused.

use image::ImageFormat;
use sempair::data::image_set::Dataset;

use super::Place;
use super::sources;
use super::sources::Tree;
use super::sources::png;
use super::sources::tree;

/// Members with one image each.
fn images(paths: &[&str]) -> Tree {
    paths.iter().enumerate().map(|(i, path)| ((*path).to_string(), png(i as u32))).collect()
}

/// Splits with the label of each of their images, in order.
fn labels(dataset: &Dataset) -> Vec<(&str, Vec<u32>)> {
    dataset.splits.iter().map(|(name, set)| (name.as_str(), set.labels.to_vec())).collect()
}

fn imported(tree: &Tree) -> Dataset {
    let place = Place::new();
    place.labelled(&place.source(&sources::zip_bytes(tree)), Some(8))
}

fn refused(tree: &Tree) -> String {
    Place::new().refusal(&sources::zip_bytes(tree))
}

#[test]
fn splits_are_known_by_their_usual_names_in_any_case() {
    for [train, test] in [["Train", "Test"], ["training", "testing"], ["TRAIN", "Validation"], ["train", "valid"]] {
        let paths = ["cat/1.png", "dog/1.png"].map(|image| [train, test].map(|split| format!("{split}/{image}")));
        let paths: Vec<&str> = paths.iter().flatten().map(String::as_str).collect();
        let expected = [("test", vec![0, 1]), ("train", vec![0, 1])];
        assert_eq!(labels(&imported(&images(&paths))), expected, "{train} and {test}");
    }
    let ilsvrc = images(&["ILSVRC2012_img_train/n01/a.png", "ILSVRC2012_img_val/n01/b.png"]);
    assert_eq!(labels(&imported(&ilsvrc)), [("test", vec![0]), ("train", vec![0])]);
}

#[test]
fn splits_may_be_within_the_categories() {
    let found = images(&["cat/train/1.png", "cat/test/2.png", "dog/train/deep/3.png", "dog/train/4.png"]);
    let dataset = imported(&found);
    assert_eq!(labels(&dataset), [("test", vec![0]), ("train", vec![0, 1, 1])]);
    assert_eq!(*dataset.splits["train"].classes, ["cat", "dog"]);
    let mixed = images(&["cat/train/1.png", "cat/2.png", "dog/train/3.png"]);
    assert!(
        refused(&mixed).ends_with("`train`, which names a split, and `2.png`, which does not, are at the same level")
    );
}

#[test]
fn a_split_never_becomes_a_category() {
    let flat = images(&["train/n01/a.png", "train/n02/a.png", "val/ILSVRC2012_val_1.png", "val/ILSVRC2012_val_2.png"]);
    let what = "source.bin: val: it names a split, but has 2 images outside of category directories";
    assert_eq!(refused(&flat), what);
    // The hint says how to import the labelled part alone.
    let place = Place::new();
    let directory = sources::write_directory(&place.0.path().join("imagenet"), &flat);
    let error = place.import(&directory, Some(8)).unwrap_err();
    assert!(error.hint_text().unwrap().ends_with("`sempair data import DIRECTORY/train`"), "{error}");
    assert_eq!(labels(&place.labelled(&directory.join("train"), Some(8))), [("train", vec![0, 1])]);

    assert!(refused(&images(&["train/1.png", "test/2.png"])).contains("it names a split"));
    assert!(refused(&images(&["set/train/a/1.png", "set/train/b/1.png", "set/test/3.png"])).contains("set/test: "));
    let unsorted = images(&["train/n01/images/a.png", "train/n02/images/a.png", "val/images/1.png"]);
    assert!(
        refused(&unsorted).ends_with(
            "the only directory of the split `val` is `images`, which is not one of the 2 training categories"
        )
    );
    let twice = images(&["train/a/1.png", "val/a/2.png", "valid/a/3.png"]);
    assert!(refused(&twice).ends_with("`val` and `valid` name the same split"));
    let case = images(&["train/Cat/1.png", "train/dog/1.png", "test/cat/2.png"]);
    assert!(refused(&case).ends_with("categories `Cat` and `cat` differ only in case"));
    let accents = images(&["caf\u{e9}/1.png", "cafe\u{301}/2.png", "tea/3.png"]);
    let said = r#"categories "cafe\u{301}" and "café" differ only in how accents are encoded"#;
    assert!(refused(&accents).ends_with(said), "{}", refused(&accents));
    // Splits with different categories are allowed: sets for few-shot learning have them.
    let few = images(&["train/a/1.png", "train/b/1.png", "test/c/1.png", "test/d/1.png"]);
    assert_eq!(labels(&imported(&few)), [("test", vec![2, 3]), ("train", vec![0, 1])]);
}

#[test]
fn tiny_imagenet_may_have_its_validation_images_sorted() {
    let sorted = |place: &str, list: bool| -> Tree {
        let mut tree = sources::tiny_imagenet();
        tree.retain(|(path, _)| list || !path.ends_with("val_annotations.txt"));
        tree.iter_mut()
            .filter(|(path, _)| path.ends_with("val_0.JPEG"))
            .for_each(|(path, _)| *path = place.to_string());
        tree
    };
    for place in ["tiny-imagenet-200/val/n02/val_0.JPEG", "tiny-imagenet-200/val/n02/images/val_0.JPEG"] {
        for list in [true, false] {
            let place = sorted(place, list);
            assert_eq!(labels(&imported(&place)), [("test", vec![0]), ("train", vec![1, 1, 0])]);
        }
    }
    let wrong = sorted("tiny-imagenet-200/val/n01/val_0.JPEG", true);
    assert!(refused(&wrong).ends_with("val_annotations.txt has another category than its directory"));
    let unknown = sorted("tiny-imagenet-200/val/n09/val_0.JPEG", false);
    assert!(refused(&unknown).ends_with("wnids.txt has no category `n09`"));
}

#[test]
fn other_formats_have_the_pixels_of_a_png() {
    let picture = image::load_from_memory(&png(3)).unwrap();
    let formats = [
        ("bmp", ImageFormat::Bmp),
        ("webp", ImageFormat::WebP),
        ("tif", ImageFormat::Tiff),
        ("tiff", ImageFormat::Tiff),
        ("ppm", ImageFormat::Pnm),
    ];
    for (ending, format) in formats {
        let path = format!("a/1.{ending}");
        let set = imported(&vec![(path, sources::encoded(picture.clone(), format))]);
        assert_eq!(set.splits["train"].image(0), picture.to_rgb8().as_raw().as_slice(), "{ending}");
    }
    // A GIF has 256 colours, so an image of one colour is exact.
    let plain = image::RgbImage::from_pixel(8, 8, image::Rgb([10, 20, 30]));
    let gif = sources::encoded(image::DynamicImage::from(plain.clone()).to_rgba8(), ImageFormat::Gif);
    assert_eq!(imported(&vec![("a/1.gif".into(), gif)]).splits["train"].image(0), plain.as_raw().as_slice());
    let jpeg = sources::jpeg(8, 8, 1);
    let named = |path: &str| imported(&vec![(path.into(), jpeg.clone())]).splits["train"].pixels().to_vec();
    assert_eq!(named("a/1.jfif"), named("a/1.jpg"));
    // The format is detected from the bytes, not from the name.
    assert_eq!(imported(&tree([("a/1.tif", png(3))])).splits["train"].image(0), picture.to_rgb8().as_raw().as_slice());
}

#[test]
fn what_is_not_decoded_is_refused_by_name() {
    let heic = tree([("a/1.png", png(1)), ("a/2.HEIC", vec![0; 9]), ("b/1.png", png(2)), ("b/3.avif", vec![0])]);
    assert_eq!(refused(&heic), "source.bin: a/2.HEIC: an image in a format that is not read, and 1 more");
    let mut moving = std::io::Cursor::new(Vec::new());
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut moving);
    for shade in [0, 200] {
        let frame = image::RgbaImage::from_pixel(4, 4, image::Rgba([shade, 0, 0, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    // The offset after a TIFF's directory points to the next page; here it points to the same page again.
    let mut pages = sources::encoded(image::RgbImage::new(4, 4), ImageFormat::Tiff);
    let first = u32::from_le_bytes(pages[4..8].try_into().unwrap()) as usize;
    let next = first + 2 + 12 * usize::from(pages[first]);
    assert_eq!(pages[next..next + 4], [0; 4]);
    pages[next] = 8;
    let said = "source.bin: a/1.tif: an image of several frames or pages; only single images are read";
    assert_eq!(refused(&vec![("a/1.tif".to_string(), pages)]), said);
    let moving = vec![("a/1.gif".to_string(), moving.into_inner())];
    assert_eq!(
        refused(&moving),
        "source.bin: a/1.gif: an image of several frames or pages; only single images are read"
    );
    let not_one = tree([("a/1.webp", b"RIFF".to_vec())]);
    assert_eq!(refused(&not_one), "source.bin: a/1.webp: not a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM image");
}

#[test]
fn what_is_left_out_is_counted_and_named() {
    let left_out = |tree: &Tree| -> Vec<String> {
        let place = Place::new();
        let directory = sources::write_directory(&place.0.path().join("directory"), tree);
        let of = |path| place.import(path, Some(8)).unwrap().left_out.into_iter().map(|left| left.what).collect();
        let expected: Vec<String> = of(&directory);
        let tar: Vec<String> = of(&place.source(&sources::tar_bytes(tree)));
        assert_eq!(tar, expected);
        expected
    };
    assert_eq!(left_out(&sources::folders()), ["1 other file (.txt)"]);
    assert_eq!(
        left_out(&sources::tiny_imagenet()),
        ["1 image of tiny-imagenet-200/test/, whose categories are not known", "1 other file (.txt)"]
    );
    let stray = [sources::cifar_10(), images(&["cifar-10-batches-bin/sample.png"])].concat();
    assert_eq!(
        left_out(&stray),
        ["1 image outside of the layout, such as cifar-10-batches-bin/sample.png", "1 other file (.html)"]
    );
    let hidden = tree([("a/1.png", png(1)), ("a/.2.png", png(2)), ("a/README", vec![1]), ("a/x.CSV", vec![1])]);
    assert_eq!(
        left_out(&hidden),
        ["2 other files (.csv, README)", "1 hidden (a name that begins with a dot, or __MACOSX)"]
    );
    assert!(left_out(&images(&["a/1.png"])).is_empty());
}
