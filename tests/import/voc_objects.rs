//! The objects of PASCAL VOC's annotations: taken as they are written, or refused with the names of file and object.

use std::fmt::Write;

use proptest::prelude::*;

use super::Place;
use super::sources;
use super::voc::{
    VOC_2007, annotated, boxed, folder, imported, object, put, refused, set, with_annotation, with_objects, xml,
};

#[test]
fn annotations_are_read_by_their_tags() {
    // Any order, unknown tags, an empty tag, comments, CDATA, a byte order mark, parts, and what is missing.
    let inside = "<!-- a --><object><bndbox><ymax>12</ymax><xmin> 3 </xmin><xmax>\n10</xmax><ymin>4</ymin></bndbox>\
        <part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>\
        <actions><jumping>1</jumping></actions><point><x>1</x><y>2</y></point><difficult/><occluded>1</occluded>\
        <name><![CDATA[ c]]>a<!-- b -->&#116;\n</name></object>";
    let text = format!("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotation>{inside}</annotation>\n");
    let found = set(&with_annotation(text.into_bytes()));
    let train = &found.splits["train"];
    let [object] = train.objects(0) else { panic!("{:?}", train.objects(0)) };
    assert_eq!((object.edges, &train.classes[object.category as usize]), ([2.0, 3.0, 10.0, 12.0], &"cat".to_string()));
    assert_eq!((object.difficult, object.truncated, object.occluded), (false, false, true));
    let flags = "<truncated>1</truncated><difficult>1</difficult><pose>Left</pose><occluded>Unspecified</occluded>";
    let marked = super::voc::object("cat", [1.0, 1.0, 9.0, 9.0]).replace("<name>", &format!("{flags}<name>"));
    let [object] = *set(&with_objects(&marked)).splits["train"].objects(0) else { panic!() };
    assert_eq!((object.difficult, object.truncated, object.occluded), (true, true, false));
    // Names are trimmed and keep their case and escapes.
    let named = set(&with_objects(&super::voc::object("\n A &lt;b&gt; &amp; \u{e9} ", [1.0, 1.0, 9.0, 9.0])));
    assert_eq!(*named.splits["train"].classes, ["A <b> & \u{e9}", "cat", "dog"]);
}

#[test]
fn numbers_are_taken_as_they_are_written() {
    // The values of VOC2012's two files with fractions.
    let inside = object("cat", [2.0, 4.5, 40.0, 30.0]) + &object("cat", [45.700_000_762_939_45, 1.0, 281.7, 25.0]);
    let mut tree = with_objects(&inside);
    put(
        &mut tree,
        "VOCdevkit/VOC2007/Annotations/000005.xml",
        [b"<annotation>", inside.as_bytes(), b"</annotation>"].concat(),
    );
    put(&mut tree, "VOCdevkit/VOC2007/JPEGImages/000005.jpg", sources::jpeg(300, 30, 5));
    let found = set(&tree);
    let train = &found.splits["train"];
    assert_eq!(train.objects(0)[0].edges, [1.0, 3.5, 40.0, 30.0]);
    assert_eq!(train.objects(0)[1].edges, [44.7, 0.0, 281.7, 25.0]);
    // One pixel is a box; a box that leaves the image is cut; a box from 0 stays.
    let edges = |sides: [f64; 4]| {
        let imported = imported(&with_objects(&object("cat", sides)));
        let findings = imported.findings.join("\n");
        (annotated(imported).splits["train"].objects(0)[0].edges, findings)
    };
    assert_eq!(edges([7.0, 8.0, 7.0, 8.0]), ([6.0, 7.0, 7.0, 8.0], String::new()));
    let (cut, said) = edges([30.0, -4.0, 41.0, 100.0]);
    assert_eq!(cut, [29.0, 0.0, 40.0, 30.0]);
    insta::assert_snapshot!(said, @"
    1 object whose box begins at 0 or before, as if the set counted from 0; the import counts from 1, as VOC does
    1 object whose box leaves the image and is cut at its edge
    ");
    let (from_zero, said) = edges([0.0, 0.0, 39.0, 29.0]);
    assert_eq!(from_zero, [0.0, 0.0, 39.0, 29.0]);
    insta::assert_snapshot!(said, @"1 object whose box begins at 0 or before, as if the set counted from 0; the import counts from 1, as VOC does");
}

#[test]
fn boxes_that_cannot_be_are_refused_with_file_and_object() {
    let wrong = |object: &str| {
        let inside = super::voc::object("cat", [1.0, 1.0, 2.0, 2.0]) + object;
        let said = refused(&with_objects(&inside));
        let place = "VOCdevkit/VOC2007/Annotations/000005.xml: ";
        said.strip_prefix(place).unwrap_or_else(|| panic!("{said}")).to_owned()
    };
    let cat = |sides| object("cat", sides);
    let whole = boxed([1.0, 2.0, 3.0, 4.0]);
    let mut said = String::new();
    for object in [
        cat([9.0, 1.0, 5.0, 9.0]),
        cat([1.0, 9.0, 5.0, 2.0]),
        cat([5.0, 1.0, 4.0, 9.0]),
        cat([41.0, 1.0, 50.0, 9.0]),
        cat([-5.0, 1.0, -2.0, 9.0]),
        cat([1.0, 1.0, f64::NAN, 9.0]),
        cat([1.0, 1.0, f64::INFINITY, 9.0]),
        cat([1.0, 1.0, 1e300, 9.0]),
        cat([1.0, 1.0, 5.0, 9.0]).replace("<xmax>5", "<xmax>5,5"),
        cat([1.0, 1.0, 5.0, 9.0]).replace("<xmax>5", "<xmax>"),
        cat([1.0, 1.0, 5.0, 9.0]).replace("<xmax>5</xmax>", ""),
        cat([1.0, 1.0, 5.0, 9.0]).replace("<xmax>", "<xmax>4</xmax><xmax>"),
        cat([1.0, 1.0, 5.0, 9.0]).replace("<xmax>5", "<xmax><a>5</a>"),
        format!("<object><name>cat</name>{whole}{whole}</object>"),
        "<object><name>cat</name></object>".into(),
        format!("<object><name>cat</name><part><name>head</name>{whole}</part></object>"),
        format!("<object>{whole}</object>"),
        format!("<object><name> </name>{whole}</object>"),
        format!("<object><name>cat</name><name>dog</name>{whole}</object>"),
        format!("<object><name>c<b>a</b>t</name>{whole}</object>"),
        format!("<object><name>cat</name><difficult>yes</difficult>{whole}</object>"),
    ] {
        writeln!(said, "{}", wrong(&object)).unwrap();
    }
    insta::assert_snapshot!(said, @"
    object 2 (`cat`): its box is inverted: xmin 9, xmax 5
    object 2 (`cat`): its box is inverted: ymin 9, ymax 2
    object 2 (`cat`): its box is empty: xmin 5, xmax 4
    object 2 (`cat`): its box is outside of the image of 40x30 pixels: xmin 41, ymin 1, xmax 50, ymax 9
    object 2 (`cat`): its box is outside of the image of 40x30 pixels: xmin -5, ymin 1, xmax -2, ymax 9
    object 2 (`cat`): `<xmax>` is `NaN`, which is not a place in an image
    object 2 (`cat`): `<xmax>` is `inf`, which is not a place in an image
    object 2 (`cat`): `<xmax>` is `1000000000000000000000000000000000000000`, which is not a place in an image
    object 2 (`cat`): `<xmax>` is `5,5`, which is not a number
    object 2 (`cat`): `<xmax>` is ``, which is not a number
    object 2 (`cat`): its box has no `<xmax>`
    object 2 (`cat`): `<xmax>` is there twice
    object 2 (`cat`): `<a>` is in `<xmax>`, which holds only text
    object 2 (`cat`): it has two `<bndbox>`, and it cannot be known which is meant
    object 2 (`cat`): it has no `<bndbox>`
    object 2 (`cat`): it has no `<bndbox>`
    object 2: it has no `<name>`
    object 2: `<name>` is empty
    object 2 (`dog`): `<name>` is there twice
    object 2: `<b>` is in `<name>`, which holds only text
    object 2 (`cat`): `<difficult>` is `yes`, not 0 or 1
    ");
}

#[test]
fn an_image_of_another_size_is_refused() {
    let sized = |size: &str, image: Vec<u8>| {
        let object = object("cat", [1.0, 1.0, 9.0, 9.0]);
        let mut tree = with_annotation(format!("<annotation>{size}{object}</annotation>").into_bytes());
        put(&mut tree, "VOCdevkit/VOC2007/JPEGImages/000005.jpg", image);
        tree
    };
    let size = |width: &str, height: &str| format!("<size><height>{height}</height><width>{width}</width></size>");
    let plain = || sources::jpeg(40, 30, 1);
    insta::assert_snapshot!(refused(&sized(&size("41", "30"), plain())), @"VOCdevkit/VOC2007/Annotations/000005.xml: it is for an image of 41x30 pixels, but its image has 40x30");
    insta::assert_snapshot!(refused(&sized(&size("30", "40"), plain())), @"VOCdevkit/VOC2007/Annotations/000005.xml: it is for an image of 30x40 pixels, but its image has 40x30: width and height are swapped");
    insta::assert_snapshot!(refused(&sized("<size><width>0</width></size>", plain())), @"VOCdevkit/VOC2007/Annotations/000005.xml: it is for an image of 0x? pixels, but its image has 40x30");
    assert_eq!(set(&sized("<size><depth>1</depth></size>", plain())).splits["train"].size(0), (30, 40));
    // A gray image is one of three equal channels.
    let gray = image::GrayImage::from_pixel(40, 30, image::Luma([9]));
    let gray = set(&sized(&size("40", "30"), sources::encoded(gray, image::ImageFormat::Jpeg)));
    assert_eq!(gray.splits["train"].pixels(0).unwrap()[..3], [9; 3]);
    // An orientation tag is followed: 6 turns to the right.
    let turned = imported(&sized(&size("30", "40"), with_orientation(&plain(), 6)));
    insta::assert_snapshot!(turned.findings.join("\n"), @"1 image turned upright by an orientation tag; boxes are taken to be those of the upright image");
    let turned = annotated(turned);
    let train = &turned.splits["train"];
    assert_eq!(train.size(0), (40, 30));
    let upright = image::imageops::rotate90(&image::load_from_memory(&plain()).unwrap().to_rgb8()).into_raw();
    assert_eq!(*train.pixels(0).unwrap(), upright);
    insta::assert_snapshot!(refused(&sized(&size("40", "30"), with_orientation(&plain(), 6))), @"VOCdevkit/VOC2007/Annotations/000005.xml: it is for an image of 40x30 pixels, but its image has 30x40: an orientation tag in its file turns it");
    // Damage is found as in labelled images.
    let whole = plain();
    let said = refused(&sized("", whole[..whole.len() - 40].to_vec()));
    assert_eq!(said, "VOCdevkit/VOC2007/JPEGImages/000005.jpg: the JPEG is truncated");
}

/// A JPEG with an EXIF segment that has only an orientation.
fn with_orientation(jpeg: &[u8], orientation: u8) -> Vec<u8> {
    let mut body = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    body.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let length = (body.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, 0xe1], &length, &body, &jpeg[2..]].concat()
}

#[test]
fn categories_are_those_of_the_training_images() {
    // Sorted, whatever the order in the files. A category without training images is refused with those that have some.
    let mut tree = with_objects(&(object("zebra", [1.0, 1.0, 9.0, 9.0]) + &object("ant", [1.0, 1.0, 9.0, 9.0])));
    assert_eq!(*set(&tree).splits["test"].classes, ["ant", "cat", "dog", "zebra"].map(String::from));
    insta::assert_snapshot!(imported(&tree).findings.join("\n"), @"2 categories have no object in some split, such as `ant`: `test` has none");
    let unknown = object("cat", [1.0, 1.0, 9.0, 9.0]) + &object("unicorn", [1.0, 1.0, 9.0, 9.0]);
    put(&mut tree, "VOCdevkit/VOC2007/Annotations/000002.xml", xml(&unknown));
    insta::assert_snapshot!(refused(&tree), @"VOCdevkit/VOC2007/Annotations/000002.xml: object 2 (`unicorn`): no training image has its category; there are ant, cat, dog, zebra");
    let case = with_objects(&object("Cat", [1.0, 1.0, 9.0, 9.0]));
    assert_eq!(refused(&case), "categories `Cat` and `cat` differ only in case");
    // Without training images, those of the test images count.
    let only = folder(VOC_2007, &[("test", &["000001", "000002"])]);
    assert_eq!(*set(&only).splits["test"].classes, ["cat", "dog"].map(String::from));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any boxes come out as the definition says: minima lose 1, all sides are cut at the image's edges, and what is not
    /// left with a width and a height is refused.
    #[test]
    fn boxes_are_those_of_the_definition(boxes in prop::collection::vec(prop::array::uniform4(-20_i32..240), 1..6)) {
        let quarters = |sides: [i32; 4]| sides.map(|side| f64::from(side) / 4.0);
        let inside: String = boxes.iter().map(|sides| object("cat", quarters(*sides))).collect();
        let edges = boxes.iter().map(|sides| {
            let [xmin, ymin, xmax, ymax] = quarters(*sides);
            let cut = |value: f64, side: f64| value.clamp(0.0, side) as f32;
            [cut(xmin - 1.0, 40.0), cut(ymin - 1.0, 30.0), cut(xmax, 40.0), cut(ymax, 30.0)]
        });
        let expected: Option<Vec<[f32; 4]>> = edges.map(|edges| (edges[0] < edges[2] && edges[1] < edges[3]).then_some(edges)).collect();
        let place = Place::new();
        let result = place.import(&place.source(&sources::tar_bytes(&with_objects(&inside))), None);
        match (result, expected) {
            (Ok(imported), Some(expected)) => {
                let dataset = annotated(imported);
                let found: Vec<[f32; 4]> = dataset.splits["train"].objects(0).iter().map(|object| object.edges).collect();
                prop_assert_eq!(found, expected);
            }
            (Err(error), None) => prop_assert!(error.what().contains("000005.xml: object "), "{}", error),
            (result, expected) => prop_assert!(false, "{:?} and {:?}", result.map(|_| ()), expected),
        }
    }
}
