//! Every layout from every kind of source gives the same set.

use std::fs;

use sempair::data::image_set::Dataset;
use sempair::data::store;

use super::Place;
use super::labelled;
use super::sources;
use super::sources::Tree;
use super::sources::tree;

fn hashes(dataset: &Dataset) -> Vec<(String, String)> {
    dataset.splits.iter().map(|(name, set)| (name.clone(), set.hash.clone())).collect()
}

/// Imports the members as directory, tar, gzipped tar and zip, with other orders in the archives, and compares the
/// sets.
fn same_from_all(tree: &Tree) -> Dataset {
    let place = Place::new();
    let directory = sources::write_directory(&place.0.path().join("directory"), tree);
    let expected = place.labelled(&directory, None);
    let mut backwards = tree.clone();
    backwards.reverse();
    let mut rotated = tree.clone();
    rotated.rotate_left(tree.len() / 2);
    let tar = sources::tar_bytes(&backwards);
    for bytes in [sources::gzip(&tar), tar, sources::zip_bytes(&rotated)] {
        let dataset = place.labelled(&place.source(&bytes), None);
        assert_eq!(hashes(&dataset), hashes(&expected));
        assert_eq!(dataset.description, expected.description);
        for (name, set) in &dataset.splits {
            assert_eq!(set.names(), expected.splits[name].names());
        }
    }
    expected
}

#[test]
fn cifar_10_keeps_the_order_of_its_records_and_names() {
    let dataset = same_from_all(&sources::cifar_10());
    let train = &dataset.splits["train"];
    assert_eq!(*train.classes, ["airplane", "automobile", "bird"]);
    assert_eq!(*train.labels, [2, 0, 1]);
    assert_eq!((train.size, train.image(1)), (32, [1; 3072].as_slice()));
    assert_eq!(train.names().unwrap(), ["data_batch_1.bin#0", "data_batch_1.bin#1", "data_batch_2.bin#0"]);
    assert_eq!(*dataset.splits["test"].labels, [1, 1, 0]);
    assert_eq!(dataset.description, "3 of CIFAR-10's 50,000 training images, 3 of its 10,000 test images");
}

#[test]
fn cifar_planes_become_channels_last() {
    let place = Place::new();
    let planes: Vec<u8> = [[1_u8; 1024], [2; 1024], [3; 1024]].concat();
    let members = tree([("batches.meta.txt", b"a\n".into()), ("test_batch.bin", [vec![0], planes].concat())]);
    let dataset = place.labelled(&place.source(&sources::tar_bytes(&members)), None);
    assert_eq!(dataset.splits["test"].image(0), [1, 2, 3].repeat(1024));
    assert_eq!(dataset.description, "none of CIFAR-10's 50,000 training images, 1 of its 10,000 test images");
}

#[test]
fn cifar_100_has_its_fine_labels() {
    let dataset = same_from_all(&sources::cifar_100());
    assert_eq!(*dataset.splits["train"].classes, ["apple", "aquarium_fish", "bear"]);
    assert_eq!(*dataset.splits["train"].labels, [0, 1]);
    assert_eq!(*dataset.splits["test"].labels, [2]);
}

#[test]
fn stl_10_is_turned_to_rows_and_has_an_unlabelled_split() {
    let dataset = same_from_all(&sources::stl_10());
    let train = &dataset.splits["train"];
    assert_eq!((train.size, &*train.labels), (96, [1, 0].as_slice()));
    // Row 0 holds columns 0, 1, ..; the red value is the column.
    assert_eq!(train.image(0)[..9], [0, 100, 200, 1, 101, 201, 2, 102, 202]);
    assert_eq!(train.image(0)[96 * 3..][..3], [0, 100, 200]);
    let unlabeled = &dataset.splits["unlabeled"];
    assert_eq!((&*unlabeled.labels, unlabeled.classes[0].as_str()), ([0].as_slice(), "unlabeled"));
}

#[test]
fn tiny_imagenet_takes_order_and_names_from_its_lists() {
    let dataset = same_from_all(&sources::tiny_imagenet());
    let train = &dataset.splits["train"];
    assert_eq!(*train.classes, ["crane (n02)", "crane (n01)"]);
    assert_eq!((train.size, &*train.labels), (64, [1, 1, 0].as_slice()));
    assert_eq!(train.names().unwrap()[2], "train/n02/images/n02_0.JPEG");
    assert_eq!(*dataset.splits["test"].labels, [0]);
    let expected = "3 of Tiny-ImageNet's 100,000 training images, 1 of its 10,000 validation images";
    assert_eq!(dataset.description, expected);
}

#[test]
fn folders_are_categories_and_images_become_squares() {
    let dataset = same_from_all(&sources::folders());
    let (train, test) = (&dataset.splits["train"], &dataset.splits["test"]);
    assert_eq!((train.size, train.len(), test.len()), (64, 3, 2));
    assert_eq!(*train.classes, ["cat", "dog"]);
    assert_eq!((&*train.labels, &*test.labels), ([0, 0, 1].as_slice(), [0, 1].as_slice()));
    assert_eq!(dataset.description, "5 images of 2 categories (3 train, 2 test)");
}

#[test]
fn the_layout_is_found_without_splits_and_without_a_common_directory() {
    let place = Place::new();
    let import = |tree: &Tree| place.labelled(&place.source(&sources::zip_bytes(tree)), Some(8));
    let flat = import(&tree([("b/1.png", sources::png(1)), ("a/1.png", sources::png(2)), (".DS_Store", vec![0])]));
    assert_eq!(*flat.splits["train"].classes, ["a", "b"]);
    let one = import(&tree([("top/only/1.png", sources::png(1)), ("top/only/2.png", sources::png(2))]));
    assert_eq!((&*one.splits["train"].classes, one.splits.len()), (["only".to_string()].as_slice(), 1));
    // `train` can also be a category (a vehicle).
    let vehicles = import(&tree([("car/1.png", sources::png(1)), ("train/1.png", sources::png(2))]));
    assert_eq!(*vehicles.splits["train"].classes, ["car", "train"]);
    let alone = import(&tree([("x/val/a/1.png", sources::png(1)), ("x/val/b/1.png", sources::png(2))]));
    assert_eq!(alone.splits.keys().collect::<Vec<_>>(), ["test"]);
}

#[test]
fn gray_transparent_and_cmyk_images_become_rgb() {
    let place = Place::new();
    let gray = image::GrayImage::from_pixel(8, 8, image::Luma([7]));
    let clear = image::RgbaImage::from_pixel(8, 8, image::Rgba([1, 2, 3, 0]));
    let members = tree([
        ("a/clear.png", sources::encoded(clear, image::ImageFormat::Png)),
        ("a/cmyk.jpg", sources::cmyk_jpeg()),
        ("a/gray.png", sources::encoded(gray, image::ImageFormat::Png)),
    ]);
    let dataset = place.labelled(&place.source(&sources::tar_bytes(&members)), Some(8));
    let train = &dataset.splits["train"];
    assert_eq!(train.image(0)[..3], [1, 2, 3]);
    assert_eq!(train.image(1)[..3], [255, 0, 255]);
    assert_eq!(train.image(2)[..3], [7, 7, 7]);
}

/// A checkerboard finer than the target must come out gray: without antialiasing it comes out black or white. The
/// left and right thirds, which the centre square leaves out, are red: they may touch the outermost columns only.
#[test]
fn resizing_averages_and_keeps_the_centre() {
    let place = Place::new();
    let board = image::RgbImage::from_fn(192, 64, |x, y| match x {
        64..128 => image::Rgb([((x + y) % 2 * 255) as u8; 3]),
        _ => image::Rgb([255, 0, 0]),
    });
    let members = tree([("a/1.png", sources::encoded(board, image::ImageFormat::Png))]);
    let dataset = place.labelled(&place.source(&sources::tar_bytes(&members)), Some(8));
    for row in dataset.splits["train"].pixels().chunks(8 * 3) {
        assert!(row[3..7 * 3].iter().all(|value| (126..=129).contains(value)), "{row:?}");
        assert!(row[0].abs_diff(row[7 * 3]) <= 1 && row[0] < 160, "{row:?}");
    }
}

#[test]
fn a_set_is_not_replaced_unasked_and_its_default_name_is_its_own() {
    let place = Place::new();
    let source = place.source(&sources::zip_bytes(&sources::folders()));
    let import = |replace, licence: Option<&str>| {
        let licence = licence.map(String::from);
        let options = sempair::data::import::Options { name: None, size: None, licence, replace, cancelled: &|| false };
        sempair::data::import::import(&[&source], &options, &place.data(), &|_, _| ())
    };
    assert_eq!(import(false, None).unwrap().path, place.data().join("pets.safetensors"));
    let error = import(false, None).unwrap_err();
    assert_eq!(place.plain(error.what()), "the dataset `pets` already exists: data/pets.safetensors");
    import(true, Some(" CC BY 4.0, photographs by their takers\n")).unwrap();
    assert_eq!(fs::read_dir(place.data()).unwrap().count(), 1);
    // A stated licence is kept with the set. Without a stated licence, the set has none.
    assert_eq!(store::open(&place.data(), "pets").unwrap().licence, "CC BY 4.0, photographs by their takers");
    assert_eq!(labelled(import(true, None).unwrap()).licence, "");
}

#[test]
fn progress_ends_at_all_images_and_stopping_leaves_nothing() {
    let place = Place::new();
    let source = place.source(&sources::tar_bytes(&sources::folders()));
    let last = std::cell::Cell::new((0, 0));
    let import = |cancelled: &dyn Fn() -> bool| {
        let options =
            sempair::data::import::Options { name: None, size: None, licence: None, replace: true, cancelled };
        sempair::data::import::import(&[&source], &options, &place.data(), &|done, all| last.set((done, all)))
    };
    // `cancelled` is called first while the source is listed, and last just before the set is written.
    let asked = std::cell::Cell::new(0);
    import(&|| {
        asked.set(asked.get() + 1);
        false
    })
    .unwrap();
    assert_eq!(last.get(), (5, 5));
    fs::remove_dir_all(place.data()).unwrap();
    for stop in 1..=asked.get() {
        let count = std::cell::Cell::new(0);
        let error = import(&|| {
            count.set(count.get() + 1);
            count.get() >= stop
        })
        .unwrap_err();
        assert_eq!(error.kind(), sempair::error::ErrorKind::Interrupted);
        assert_eq!(fs::read_dir(place.data()).map_or(0, Iterator::count), 0);
    }
}
