//! `sempair detect`, and the table `detection`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::{Place, TINY, wait_for_checkpoint};

const SHORT: &[&str] = &["--set", "detection.recipe.steps=3", "--set", "detection.recipe.precise_moments=1"];

/// The id of the encoder that `pretrain` trains.
fn encoder(place: &Place) -> String {
    let tiny = ["--set", "pairs.categories=4", "--set", "pairs.per_category=16", "--set", "pretrain.batch=16"];
    place.stdout(&[&["pretrain", "--quiet", "--epochs", "1"], &tiny[..]].concat());
    place.json(&["runs", "--json"])[0]["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_detector_is_trained_on_an_encoder_and_finds_objects_in_pictures() {
    let place = Place::new();
    let run = encoder(&place);
    let said = place.stdout(&[&["detect", &run, "--quiet"], SHORT].concat());
    assert!(said.contains("ap50") && said.contains("synth-voc"), "{said}");
    let runs = place.json(&["runs", "--json"]);
    let of = |name: &str| runs.as_array().unwrap().iter().filter(|run| run["experiment"] == *name).count();
    assert_eq!((of("pretrain"), of("detect")), (1, 1));
    // The second time, it is found and not trained.
    place.stdout(&[&["detect", &run, "--quiet"], SHORT].concat());
    let detect = place.json(&["runs", "--json"]);
    let detect = detect.as_array().unwrap().iter().find(|run| run["experiment"] == "detect").unwrap();
    assert_eq!(place.json(&["runs", "--json"]).as_array().unwrap().len(), 2);
    let values = detect["by_category"]["ap50"].as_array().unwrap();
    assert_eq!((values.len(), &values[0]["name"]), (10, &"shape-12000".into()));
    assert!(values.iter().all(|of| of["items"].as_u64().unwrap() > 0), "{values:?}");
    let mean = values.iter().map(|of| of["value"].as_f64().unwrap()).sum::<f64>() / 10.0;
    assert!((mean - detect["metrics"]["ap50"].as_f64().unwrap()).abs() < 1e-9);

    // The cache may be removed: pictures need the detector, so it is trained again.
    fs::create_dir(place.path().join("pictures")).unwrap();
    let picture = image::RgbImage::from_fn(80, 48, |x, y| image::Rgb([(3 * x) as u8, (5 * y) as u8, 90]));
    picture.save(place.path().join("pictures/a.png")).unwrap();
    fs::remove_dir_all(place.path().join(".sempair/cache/detector")).unwrap();
    let pictures = ["--images", "pictures", "--draw", "drawn"];
    let said = place.stdout(&[&["detect", &run, "--quiet"], SHORT, &pictures].concat());
    assert!(said.contains("\na.png: ") && said.contains(" object"), "{said}");
    assert_eq!(image::open(place.path().join("drawn/a.png.png")).unwrap().width(), 512);
}

/// The hash of each file of the cached detectors and detections, but for those that hold times.
fn detectors(place: &Place) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for stage in ["detector", "detections"] {
        let entries = fs::read_dir(place.path().join(".sempair/cache").join(stage)).unwrap();
        for manifest in entries.map(|entry| entry.unwrap().path().join("manifest.json")).filter(|path| path.exists()) {
            let listed = fs::read_to_string(manifest).unwrap();
            let manifest: serde_json::Value = serde_json::from_str(&listed).unwrap();
            for file in manifest["files"].as_array().unwrap().iter().filter(|file| file["name"] != "losses.json") {
                let name = format!("{stage}/{}", file["name"].as_str().unwrap());
                files.insert(name, file["hash"].as_str().unwrap().to_owned());
            }
        }
    }
    files
}

#[test]
fn a_detector_whose_command_is_killed_again_and_again_has_the_same_bits() {
    let steps = ["--set", "detection.recipe.steps=10", "--set", "detection.recipe.precise_moments=2"];
    let whole = Place::new();
    let run = encoder(&whole);
    whole.stdout(&[&["detect", &run, "--quiet", "--threads", "1"], &steps[..]].concat());

    let killed = Place::new();
    let run = encoder(&killed);
    let often = [&["detect", &run, "--quiet", "--threads", "2", "--set", "checkpoint_seconds=0"], &steps[..]].concat();
    let mut kills = 0;
    for patience in [0, 50, 150] {
        let mut child = killed.command(&often).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if wait_for_checkpoint(&killed.path().join(".sempair/cache/detector"), &mut child) {
            std::thread::sleep(Duration::from_millis(patience));
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "no command was killed while it trained a detector");
    killed.stdout(&often);
    let expected = detectors(&whole);
    assert!(expected.keys().any(|file| file.ends_with("detector.safetensors")), "{expected:?}");
    assert_eq!(detectors(&killed), expected);
    assert!(killed.stdout(&["runs"]).contains("killed"));
}

#[test]
fn what_a_detector_cannot_use_is_refused() {
    let place = Place::new();
    let run = encoder(&place);
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::create_dir(place.path().join("words")).unwrap();
    fs::write(place.path().join("words/notes.txt"), "no picture").unwrap();
    let detect = |more: &[&str]| place.error(&[&["detect", &run, "--quiet"], SHORT, more].concat());
    for (arguments, expected) in [
        (&["--on", "synth-10"][..], "the images of `synth-10` have a label each, but no objects for detection"),
        (&["--on", "voc"], "no dataset `voc`"),
        (&["--images", "empty"], "empty has no pictures"),
        (&["--images", "nowhere"], "cannot read the folder nowhere"),
        (&["--images", "words"], "notes.txt: not a JPEG"),
        (&["--set", "detection.recipe.batch=0"], "`detection.recipe.batch` is 0"),
        (&["--set", "detection.protocol.anchor_sizes=[]"], "`detection.protocol.anchor_sizes` is []"),
        (
            &["--set", "detection.protocol.anchor_ratios=[0.5,-1.0]"],
            "`detection.protocol.anchor_ratios` is [0.5, -1.0]",
        ),
        (&["--set", "detection.recipe.learning_rate=-1"], "`detection.recipe.learning_rate` is -1"),
        (&["--set", "detection.methods=[]"], "`detection.methods` needs one or more"),
        (&["--set", "detection.recipe.lernas=1"], "lernas"),
    ] {
        let said = detect(arguments);
        assert!(said.contains(expected) && said.contains("hint:"), "{arguments:?}: {said}");
    }
    let sets = ["--set", "evaluation.sets=[\"synth-voc\"]"];
    let said = place.error(&[&["table", "transfer", "--quiet"], TINY, &sets].concat());
    assert!(said.contains("the images of `synth-voc` have objects"), "{said}");
    let transformer = ["pretrain", "--quiet", "--encoder", "vit-mini", "--epochs", "1", "--set", "pairs.categories=4"];
    place.stdout(&[&transformer[..], &["--set", "pairs.per_category=16", "--set", "pretrain.batch=16"]].concat());
    let runs = place.json(&["runs", "--json"]);
    let vit = runs.as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).find(|id| *id != run).unwrap();
    let said = place.error(&[&["detect", vit, "--quiet"], SHORT].concat());
    assert!(said.contains("a detector needs the stages of a ResNet"), "{said}");
}
