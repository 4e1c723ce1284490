//! Tiny image sets made in memory, and every kind of source made from them.

use std::fs;
use std::io::Cursor;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use image::ImageFormat;
use image::RgbImage;
use zip::write::SimpleFileOptions;

/// Members by path.
pub type Tree = Vec<(String, Vec<u8>)>;

pub fn tree<const N: usize>(members: [(&str, Vec<u8>); N]) -> Tree {
    members.map(|(path, bytes)| (path.to_string(), bytes)).into()
}

/// Smooth pixels that differ with `seed`.
fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let [red, green] = [x * 5 + seed * 40, y * 3 + seed * 17].map(|value| (value % 200) as u8);
        image::Rgb([red, green, (seed * 60 % 256) as u8])
    })
}

pub fn encoded(image: impl Into<image::DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn png(seed: u32) -> Vec<u8> {
    encoded(picture(8, 8, seed), ImageFormat::Png)
}

pub fn jpeg(width: u32, height: u32, seed: u32) -> Vec<u8> {
    encoded(picture(width, height, seed), ImageFormat::Jpeg)
}

/// Records of a header and one 32x32 image each. All bytes of an image are the record's number.
pub fn cifar_records(headers: &[&[u8]]) -> Vec<u8> {
    headers.iter().enumerate().flat_map(|(i, header)| [header, [i as u8; 3072].as_slice()].concat()).collect()
}

pub fn cifar_10() -> Tree {
    tree([
        ("cifar-10-batches-bin/batches.meta.txt", b"airplane\nautomobile\nbird\n\n".into()),
        ("cifar-10-batches-bin/data_batch_1.bin", cifar_records(&[&[2], &[0]])),
        ("cifar-10-batches-bin/data_batch_2.bin", cifar_records(&[&[1]])),
        ("cifar-10-batches-bin/readme.html", b"<html>".into()),
        ("cifar-10-batches-bin/test_batch.bin", cifar_records(&[&[1], &[1], &[0]])),
    ])
}

pub fn cifar_100() -> Tree {
    tree([
        ("cifar-100-binary/coarse_label_names.txt", b"fish\nfruit\n".into()),
        ("cifar-100-binary/fine_label_names.txt", b"apple\naquarium_fish\nbear\n".into()),
        ("cifar-100-binary/test.bin", cifar_records(&[&[0, 2]])),
        ("cifar-100-binary/train.bin", cifar_records(&[&[1, 0], &[0, 1]])),
    ])
}

/// The red plane of every image holds its column numbers, since STL-10 stores images column by column.
pub fn stl_10() -> Tree {
    let image: Vec<u8> = (0..3).flat_map(|channel| (0..96 * 96).map(move |i| (channel * 100 + i / 96) as u8)).collect();
    tree([
        ("stl10_binary/class_names.txt", b"airplane\nbird\n".into()),
        ("stl10_binary/test_X.bin", image.clone()),
        ("stl10_binary/test_y.bin", vec![2]),
        ("stl10_binary/train_X.bin", image.repeat(2)),
        ("stl10_binary/train_y.bin", vec![2, 1]),
        ("stl10_binary/unlabeled_X.bin", image),
    ])
}

pub fn tiny_imagenet() -> Tree {
    tree([
        ("tiny-imagenet-200/test/images/test_0.JPEG", jpeg(64, 64, 9)),
        ("tiny-imagenet-200/train/n01/images/n01_0.JPEG", jpeg(64, 64, 0)),
        ("tiny-imagenet-200/train/n01/images/n01_1.JPEG", jpeg(64, 64, 1)),
        ("tiny-imagenet-200/train/n01/n01_boxes.txt", b"n01_0.JPEG\t0\t0\t9\t9\n".into()),
        ("tiny-imagenet-200/train/n02/images/n02_0.JPEG", jpeg(64, 64, 2)),
        ("tiny-imagenet-200/val/images/val_0.JPEG", jpeg(64, 64, 3)),
        (
            "tiny-imagenet-200/val/val_annotations.txt",
            b"val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t1\t1\n".into(),
        ),
        ("tiny-imagenet-200/wnids.txt", b"n02\nn01\n".into()),
        ("tiny-imagenet-200/words.txt", b"n01\tcrane\nn02\tcrane\nn03\tgoldfish, Carassius auratus\n".into()),
    ])
}

pub fn folders() -> Tree {
    tree([
        ("pets/train/cat/1.png", png(1)),
        ("pets/train/cat/2.jpg", jpeg(90, 60, 2)),
        ("pets/train/cat/notes.txt", b"two cats".into()),
        ("pets/train/dog/1.jpeg", jpeg(30, 70, 3)),
        ("pets/val/cat/1.png", png(4)),
        ("pets/val/dog/deep/er/1.png", png(5)),
    ])
}

pub fn write_directory(root: &Path, tree: &Tree) -> PathBuf {
    for (path, bytes) in tree {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    root.into()
}

pub fn tar_bytes(tree: &Tree) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, bytes) in tree {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        // Some tests need names that `set_path` refuses.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let kind = if path.ends_with('/') { tar::EntryType::Directory } else { tar::EntryType::Regular };
        header.set_entry_type(kind);
        header.set_cksum();
        builder.append(&header, bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zip_bytes(tree: &Tree) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, bytes) in tree {
        writer.start_file(path.as_str(), SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An 8x8 JPEG of four components (cyan, magenta, yellow, black; stored inverted, as Adobe does), each constant: full
/// magenta, no other ink. One DC and one AC code per component, written out by hand.
pub fn cmyk_jpeg() -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8];
    let mut segment = |marker: u8, body: &[u8]| {
        jpeg.extend([0xff, marker]);
        jpeg.extend((body.len() as u16 + 2).to_be_bytes());
        jpeg.extend(body);
    };
    segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    segment(0xdb, &[&[0_u8][..], &[8; 64]].concat());
    let components: Vec<u8> = (1..=4).flat_map(|id| [id, 0x11, 0]).collect();
    segment(0xc0, &[&[8, 0, 8, 0, 8, 4][..], &components].concat());
    // DC: 00 means 7 bits follow, 01 means 8. AC: 0 ends the block.
    segment(0xc4, &[&[0x00, 0, 2][..], &[0; 14], &[7, 8]].concat());
    segment(0xc4, &[&[0x10, 1][..], &[0; 15], &[0]].concat());
    segment(0xda, &[4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    // 127 * 8 / 8 + 128 = 255 (no ink), -128 * 8 / 8 + 128 = 0 (full ink).
    let (none, full) = ("0011111110", "01011111110");
    let bits = [none, full, none, none].concat();
    for byte in bits.as_bytes().chunks(8) {
        let padded = (0..8).fold(0, |value, i| value << 1 | u8::from(byte.get(i) != Some(&b'0')));
        jpeg.push(padded);
        if padded == 0xff {
            jpeg.push(0);
        }
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}
