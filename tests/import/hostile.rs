//! Errors in a source are reported with the names of the source and the member, and no file is left behind.

use std::fs;

use super::Place;
use super::labelled;
use super::sources;
use super::sources::Tree;
use super::sources::tree;

fn tar_refusal(tree: &Tree) -> String {
    Place::new().refusal(&sources::tar_bytes(tree))
}

/// The refusal of both kinds of archive, which must be the same.
fn refusal(tree: &Tree) -> String {
    let said = tar_refusal(tree);
    assert_eq!(Place::new().refusal(&sources::zip_bytes(tree)), said);
    said
}

fn with(mut tree: Tree, path: &str, bytes: Vec<u8>) -> Tree {
    tree.retain(|(other, _)| !other.ends_with(path));
    tree.push((path.into(), bytes));
    tree
}

#[test]
fn no_such_path_empty_files_and_other_formats() {
    let place = Place::new();
    assert_eq!(place.refusal_of(&place.0.path().join("nothing")), "nothing: No such file or directory (os error 2)");
    assert_eq!(place.refusal(b""), "source.bin: the file is empty");
    let said = "source.bin: not a tar, gzipped tar or zip archive: it begins with the bytes fd 37 7a 58 5a 00";
    assert_eq!(place.refusal(b"\xfd7zXZ\0"), said);
    let said = "source.bin: gzipped, but what is inside is not a tar archive";
    assert_eq!(place.refusal(&sources::gzip(b"text")), said);
    assert_eq!(place.refusal(&[0; 1024]), "source.bin: there is no file in it");
    assert_eq!(place.refusal(&sources::zip_bytes(&Vec::new())), "source.bin: there is no file in it");
    let directory = place.0.path().join("empty");
    fs::create_dir(&directory).unwrap();
    assert_eq!(place.refusal_of(&directory), "empty: there is no file in it");
}

#[test]
fn an_unknown_layout_is_described_with_what_would_be_known() {
    let files = tree([("a.csv", vec![1]), ("b/c.dat", vec![2]), ("d", vec![3]), ("e", vec![4]), ("f", vec![5])]);
    assert_eq!(refusal(&files), "source.bin: no known layout: found 5 files (a.csv, b/c.dat, d, e, ..)");
    let bare = tree([("tiny-imagenet-200/wnids.txt", Vec::new())]);
    assert_eq!(refusal(&bare), "source.bin: it has the layout of Tiny-ImageNet, but no images"); // fuzz/targets/tiny_imagenet.rs
    let python = tree([("cifar-10-batches-py/batches.meta", vec![1]), ("cifar-10-batches-py/data_batch_1", vec![2])]);
    let said = "source.bin: no known layout: found 2 files (cifar-10-batches-py/batches.meta, \
                cifar-10-batches-py/data_batch_1); this looks like the Python version of CIFAR, of which only the \
                binary version is read";
    assert_eq!(refusal(&python), said);
    let detection = tree([("Annotations/1.json", vec![1]), ("images/1.jpg", sources::jpeg(8, 8, 1))]);
    assert!(refusal(&detection).ends_with("this looks like a detection set, which has no category per image"));
    let place = Place::new();
    let error = place.import(&place.source(&sources::tar_bytes(&detection)), None).unwrap_err();
    insta::assert_snapshot!(error.hint_text().unwrap(), @"`sempair data import PATH` reads CIFAR-10, CIFAR-100 and STL-10 (binary versions), Tiny-ImageNet, PASCAL VOC, and any folder with one directory of images per category (JPEG, PNG, BMP, GIF, WebP, TIFF or PPM; `sempair data import PATH --size 64`), each as a directory, .tar, .tar.gz or .zip");
}

#[test]
fn members_that_leave_the_archive_are_refused() {
    for (name, what) in [
        ("../a/1.png", "a path that leaves the archive"),
        ("a/../../1.png", "a path that leaves the archive"),
        ("/etc/1.png", "an absolute path"),
        ("C:/a/1.png", "an absolute path"),
    ] {
        let said = tar_refusal(&tree([(name, sources::png(1))]));
        assert_eq!(said, format!("source.bin: {name}: {what}; such members are not imported"));
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    writer.start_file("xx/a/1.png", options).unwrap();
    std::io::Write::write_all(&mut writer, &sources::png(1)).unwrap();
    let mut zip = writer.finish().unwrap().into_inner();
    while let Some(at) = zip.windows(3).position(|three| three == b"xx/") {
        zip[at..at + 2].copy_from_slice(b"..");
    }
    let said = "source.bin: ../a/1.png: a path that leaves the archive; such members are not imported";
    assert_eq!(Place::new().refusal(&zip), said);
    let said = tar_refusal(&tree([("a/new\nline.png", sources::png(1))]));
    assert_eq!(said, "source.bin: a/new\\nline.png: named with a control character; such members are not imported");
}

#[test]
fn links_and_devices_are_refused() {
    for (kind, what) in [
        (tar::EntryType::Symlink, "a link"),
        (tar::EntryType::Link, "a link"),
        (tar::EntryType::Fifo, "neither a file nor a directory"),
    ] {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_path("a/1.png").unwrap();
        header.set_size(0);
        header.set_link_name("/etc/passwd").unwrap();
        header.set_cksum();
        builder.append(&header, [].as_slice()).unwrap();
        let said = Place::new().refusal(&builder.into_inner().unwrap());
        assert_eq!(said, format!("source.bin: a/1.png: {what}; such members are not imported"));
    }
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.add_symlink("a/1.png", "/etc/passwd", zip::write::SimpleFileOptions::default()).unwrap();
    let said = Place::new().refusal(&writer.finish().unwrap().into_inner());
    assert_eq!(said, "source.bin: a/1.png: a link; such members are not imported");
}

#[test]
fn duplicate_members_are_refused() {
    let twice = tree([("a/1.png", sources::png(1)), ("./a//1.png", sources::png(2))]);
    assert_eq!(refusal(&twice), "source.bin: a/1.png: the archive has this member twice");
    let mut zip = sources::zip_bytes(&tree([("a/1.png", sources::png(1)), ("a/2.png", sources::png(2))]));
    while let Some(at) = zip.windows(7).position(|seven| seven == b"a/2.png") {
        zip[at + 2] = b'1';
    }
    let said = "source.bin: the archive is truncated or damaged: two members have the same name: a/1.png";
    assert_eq!(Place::new().refusal(&zip), said);
}

#[test]
fn truncated_archives_are_refused_wherever_they_end() {
    let place = Place::new();
    let members = tree([("a/1.png", sources::png(1)), ("b/1.png", sources::png(2))]);
    let (tar, zip) = (sources::tar_bytes(&members), sources::zip_bytes(&members));
    // Two headers with one block of content each, then the two blocks that end an archive.
    assert_eq!(tar.len(), 6 * 512);
    for (length, what) in [
        (512 + 9, "it ends in or right after a/1.png"),
        (1024, "it ends in or right after a/1.png"),
        (1024 + 9, "it ends in or right after a/1.png"),
        (1536 + 9, "it ends in or right after b/1.png"),
        (2048, "it ends in or right after b/1.png"),
    ] {
        let said = place.refusal(&tar[..length]);
        assert_eq!(said, format!("source.bin: the archive is truncated or damaged: {what}"), "at {length}");
        place.refusal(&sources::gzip(&tar[..length]));
    }
    let gzip = sources::gzip(&tar);
    for length in (1..gzip.len()).step_by(11) {
        let said = place.refusal(&gzip[..length]);
        assert!(length < 2 || said.contains("truncated or damaged"), "at {length}: {said}");
    }
    for length in (4..zip.len()).step_by(11) {
        assert!(place.refusal(&zip[..length]).starts_with("source.bin: the archive is truncated or damaged"));
    }
}

#[test]
fn flipped_bytes_are_found_by_checksums_or_change_nothing_silently() {
    let place = Place::new();
    let members = tree([("a/1.png", sources::png(1)), ("b/1.png", sources::png(2))]);
    let expected = place.labelled(&place.source(&sources::zip_bytes(&members)), Some(8));
    let zip = sources::zip_bytes(&members);
    for at in 0..zip.len() {
        let mut bytes = zip.clone();
        bytes[at] ^= 0x10;
        if let Ok(imported) = place.import(&place.source(&bytes), Some(8)) {
            let (found, expected) = (&labelled(imported).splits["train"], &expected.splits["train"]);
            assert_eq!(found.pixels(), expected.pixels(), "byte {at}");
        }
    }
}

#[test]
fn binary_sets_of_a_wrong_size_or_label_are_refused() {
    let cut = with(sources::cifar_10(), "cifar-10-batches-bin/test_batch.bin", vec![0; 3074]);
    let said = "source.bin: cifar-10-batches-bin/test_batch.bin: 3074 bytes are not a whole number of records of \
                3073 bytes";
    assert_eq!(refusal(&cut), said);
    let label = with(sources::cifar_10(), "cifar-10-batches-bin/test_batch.bin", sources::cifar_records(&[&[0], &[3]]));
    let said = "source.bin: cifar-10-batches-bin/test_batch.bin: record 1: label 3, but there are 3 categories";
    assert_eq!(refusal(&label), said);
    let mut nameless = sources::cifar_10();
    nameless.retain(|(path, _)| !path.ends_with("meta.txt"));
    let said = "source.bin: cifar-10-batches-bin/batches.meta.txt: CIFAR-10 names its categories in this file, which \
                is missing";
    assert_eq!(refusal(&nameless), said);
    let label = with(sources::stl_10(), "stl10_binary/train_y.bin", vec![1, 0]);
    assert_eq!(refusal(&label), "source.bin: stl10_binary/train_y.bin: label 0 of image 1 is not in 1..=2");
    let short = with(sources::stl_10(), "stl10_binary/train_y.bin", vec![1]);
    assert_eq!(refusal(&short), "source.bin: stl10_binary/train_y.bin: 1 labels for 2 images");
}

#[test]
fn corrupt_images_are_named() {
    let whole = sources::jpeg(64, 64, 1);
    let truncated = whole[..whole.len() - 40].to_vec();
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", truncated));
    assert_eq!(said, "source.bin: pets/train/dog/1.jpeg: the JPEG is truncated");
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", b"no image".into()));
    assert_eq!(said, "source.bin: pets/train/dog/1.jpeg: not a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM image");
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", Vec::new()));
    assert_eq!(said, "source.bin: pets/train/dog/1.jpeg: not a JPEG, PNG, BMP, GIF, WebP, TIFF or PPM image");
    let mut png = sources::png(1);
    let middle = png.len() / 2;
    png[middle] ^= 1;
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", png));
    assert!(said.starts_with("source.bin: pets/train/dog/1.jpeg: Format error decoding Png"), "{said}");
    // A frame larger than its image is not allocated: this one would take 7 GB. (Found by fuzz/targets/folder.rs.)
    let mut frame = sources::encoded(image::RgbImage::new(1, 1), image::ImageFormat::Gif);
    let at = frame.iter().rposition(|&byte| byte == b',').unwrap();
    frame[at + 5..at + 9].fill(0xa9);
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", frame));
    assert!(said.starts_with("source.bin: pets/train/dog/1.jpeg: "), "{said}");
    // An image whose header states 60,000 x 60,000 pixels is refused.
    let mut huge = sources::jpeg(8, 8, 1);
    let frame = huge.windows(2).position(|two| two == [0xff, 0xc0]).unwrap();
    huge[frame + 5..frame + 9].copy_from_slice(&[0xea, 0x60, 0xea, 0x60]);
    let said = refusal(&with(sources::folders(), "pets/train/dog/1.jpeg", huge));
    let expected = "source.bin: pets/train/dog/1.jpeg: 60000x60000 pixels are more than the 67108864 that are read";
    assert_eq!(said, expected);
}

#[test]
fn categories_without_images_and_images_without_categories_are_refused() {
    let empty = with(sources::folders(), "pets/train/cow/notes.txt", b"no cow yet".into());
    assert_eq!(refusal(&empty), "source.bin: pets/train/cow: the category has no image");
    let empty = with(sources::folders(), "pets/train/cow/", Vec::new());
    assert_eq!(tar_refusal(&empty), "source.bin: pets/train/cow: the category has no image");
    let loose = tree([("a/1.png", sources::png(1)), ("2.png", sources::png(2))]);
    assert_eq!(refusal(&loose), "source.bin: 2.png: the image is not in the directory of a category");
    let mixed = with(sources::folders(), "pets/extra/cat/1.png", sources::png(1));
    let said = "pets/: `train`, which names a split, and `extra`, which does not, are at the same level";
    assert_eq!(refusal(&mixed), said);
    let mut missing = sources::tiny_imagenet();
    missing.retain(|(path, _)| !path.ends_with("n02_0.JPEG"));
    let said = "source.bin: tiny-imagenet-200/train/n02: the category (crane (n02)) has no image";
    assert_eq!(refusal(&missing), said);
    let unknown = with(sources::tiny_imagenet(), "tiny-imagenet-200/train/n09/images/1.JPEG", sources::jpeg(8, 8, 1));
    let said = "source.bin: tiny-imagenet-200/train/n09/images/1.JPEG: wnids.txt has no category `n09`";
    assert_eq!(refusal(&unknown), said);
    let said = "source.bin: tiny-imagenet-200/val/images/val_7.JPEG: val_annotations.txt does not name this image";
    let path = "tiny-imagenet-200/val/images/val_7.JPEG";
    assert_eq!(refusal(&with(sources::tiny_imagenet(), path, sources::jpeg(8, 8, 1))), said);
}

#[test]
fn sizes_names_and_targets_that_cannot_be_are_refused() {
    let place = Place::new();
    let source = place.source(&sources::tar_bytes(&sources::folders()));
    assert_eq!(place.import(&source, Some(0)).unwrap_err().what(), "size 0 is not in 1..=1024");
    let options = |name: &str| sempair::data::import::Options {
        name: Some(name.into()),
        size: None,
        licence: None,
        replace: false,
        cancelled: &|| false,
    };
    let import = |name| sempair::data::import::import(&[&source], &options(name), &place.data(), &|_, _| ());
    assert_eq!(import("../x").unwrap_err().what(), "`../x` cannot be the name of a dataset");
    fs::write(place.data(), "in the way").unwrap();
    let said = place.plain(import("x").unwrap_err().what());
    assert_eq!(said, "cannot write data/x.safetensors: File exists (os error 17)");
}
