//! `sempair data` on images with objects.

use std::fs;

use super::{Place, shared};

/// Writes a set of one training image and two test images with VOC's layout.
fn farm(place: &Place) {
    let root = place.path().join("farm/VOC2007");
    for folder in ["ImageSets/Main", "Annotations", "JPEGImages", "SegmentationClass"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("ImageSets/Main/trainval.txt"), "1\n").unwrap();
    fs::write(root.join("ImageSets/Main/test.txt"), "2\n3\n").unwrap();
    fs::write(root.join("SegmentationClass/1.txt"), "mask").unwrap();
    for id in 1..=3_u8 {
        let cow = "<object><name>cow</name><bndbox><xmin>2</xmin><ymin>2</ymin><xmax>6</xmax><ymax>5</ymax></bndbox>";
        let hen = "<object><name>hen</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>8</xmax>\
            <ymax>9</ymax></bndbox></object>";
        let xml = format!("<annotation>{cow}</object>{}</annotation>", if id == 2 { "" } else { hen });
        fs::write(root.join(format!("Annotations/{id}.xml")), xml).unwrap();
        let image = [b"P6 8 6 255\n".as_slice(), &[id * 60; 8 * 6 * 3]].concat();
        fs::write(root.join(format!("JPEGImages/{id}.ppm")), image).unwrap();
    }
}

#[test]
fn annotated_images_go_through_the_data_commands() {
    let place = Place::new();
    farm(&place);
    let without_hash = |text: &str| {
        let line = |line: &str| {
            line.rsplit_once(", ").filter(|(_, hash)| hash.len() == 64).map_or(line, |(head, _)| head).to_owned()
        };
        text.lines().map(line).collect::<Vec<_>>().join("\n")
    };
    let said = place.stdout(&["data", "import", "farm", "--licence", "own pictures"]);
    insta::assert_snapshot!(without_hash(&said), @"
    voc-2007: 1 training image with 2 objects, 2 test images with 3 objects, 2 categories (VOC2007) (PASCAL VOC)
      voc-2007/test: 2 images, 3 objects (1 difficult)
      voc-2007/train: 1 images, 2 objects (1 difficult)
      categories: cow, hen
      left out: 1 other file (.txt)
      note: 2 objects whose box leaves the image and is cut at its edge
      licence: own pictures
      in .sempair/data/voc-2007.safetensors
    ");
    insta::assert_snapshot!(without_hash(&place.stdout(&["data", "list"])), @"
    voc-2007: 1 training image with 2 objects, 2 test images with 3 objects, 2 categories (VOC2007)
      licence: own pictures
      test: 2 images, 3 objects (1 difficult)
      train: 1 images, 2 objects (1 difficult)
    embedded, always available: synth-10, synth-100, synth-stl; with objects synth-voc; pairs come from synth
    ");
    assert_eq!(place.stdout(&["data", "verify"]), "voc-2007: holds\n");
    let json = place.json(&["data", "import", "farm", "--name", "farm", "--json"]);
    assert_eq!(json["categories"], serde_json::json!(["cow", "hen"]));
    let test = &json["splits"][0];
    assert_eq!((&test["name"], &test["images"]), (&"farm/test".into(), &2.into()));
    assert_eq!((&test["objects"], &test["difficult"]), (&3.into(), &1.into()));
    assert_eq!(place.json(&["data", "list", "--json"])[0]["splits"][0], {
        let mut same = test.clone();
        same["name"] = "test".into();
        same
    });
    let said = place.stdout(&["data", "preview", "farm", "--rows", "2", "--file", "boxes.png"]);
    insta::assert_snapshot!(said, @"
    1 images of farm/train, with the boxes of their objects (dashed: difficult): boxes.png
      #ff0000 cow: 1
      #004aff hen: 1
    ");
    let sheet = image::open(place.path().join("boxes.png")).unwrap().to_rgb8();
    assert_eq!(sheet.dimensions(), (4 + 256 + 4, 4 + 256 + 4));
    assert!(sheet.pixels().any(|pixel| pixel.0 == [255, 0, 0]), "the cow's box");

    // Images with objects have no labels, so nothing that needs labels takes them.
    let evaluate = ["table", "transfer", "--quiet", "--set", "evaluation.sets=[\"farm\"]"];
    for arguments in [
        &["data", "pairs", "--from", "farm", "--categories", "1", "--per-category", "1"][..],
        &["pretrain", "--quiet", "--keep-going", "--set", "pairs.from=farm"],
        &evaluate,
    ] {
        let error = place.error(arguments);
        assert!(error.contains("the images of `farm` have objects for detection, but no label each"), "{error}");
        assert!(error.contains("hint: "), "{error}");
    }
    for (arguments, expected) in [
        (&["data", "import", "farm", "--name", "small", "--size", "64"][..], "annotated images keep their own sizes"),
        (&["data", "import"], "required"),
        (&["data", "preview", "barn"], "no dataset `barn`"),
        (&["data", "import", "farm"], "the dataset `voc-2007` already exists"),
    ] {
        let error = place.error(arguments);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn real_mosaics_go_through_the_data_commands() {
    let Some(archive) = shared("voc-layout.tar") else { return };
    let place = Place::new();
    let said = place.stdout(&["data", "import", "--quiet", "--name", "mosaics", archive.to_str().unwrap()]);
    assert!(said.contains("/train: 600 images, 1527 objects (0 difficult), "), "{said}");
    assert!(said.contains("/test: 200 images, 509 objects (0 difficult), "), "{said}");
    assert!(!said.contains("left out") && !said.contains("note"), "{said}");
    assert_eq!(place.stdout(&["data", "verify", "mosaics"]), "mosaics: holds\n");
    place.stdout(&["data", "preview", "mosaics"]);
}
