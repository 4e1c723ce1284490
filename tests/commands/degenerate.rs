//! Settings and data that no experiment needs: absurd sizes, values that are not numbers, the same picture twice,
//! names that are already in use, paths that are not plain files.

use super::*;

/// Asserts that a command fails with code 2, and that its error has the expected text and a hint.
fn refuses(place: &Place, arguments: &[&str], expected: &str) {
    let error = place.error(arguments);
    assert!(error.starts_with("error: ") && error.contains(expected), "{arguments:?}: {error}");
    assert!(error.contains("hint: ") || error.contains("--help"), "{arguments:?}: {error}");
}

#[test]
fn sizes_beyond_all_use_are_refused_before_anything_is_made_of_them() {
    let place = Place::new();
    for threads in ["0", "100000", "18446744073709551615"] {
        refuses(&place, &["config", "--threads", threads], "is not in 1..=4096");
    }
    for (set, expected) in [
        ("seeds=100000", "`seeds` has the value 100000; at most 1000 is possible"),
        ("methods.moco-v2.queue=10000000000", "`methods.moco-v2.queue` has the value 10000000000"),
        ("methods.dino.crops=65", "at most 64"),
        ("methods.swav.sinkhorn.iterations=4000000000", "at most 10000"),
        ("augment.first.blur.kernel=4000000001", "at most 255"),
        ("samples.values=[4000000000]", "`samples.values` has the value 4000000000"),
        ("tiny-imagenet.images=100000000000", "at most 1000000"),
        ("pairs.per_category=1000000", "at most 10000000 pairs"),
        ("pairs.categories=10001", "`pairs.categories` is 10001; the embedded world has"),
        ("tiny-imagenet.categories=20000", "`tiny-imagenet.categories` is 20000; the embedded world has"),
        ("pretrain.batch=1", "methods compare pairs"),
        ("small_crop_scale=[0.1,0.2,0.3]", "`small_crop_scale` has 3 values, but 2 are expected"),
        ("schedule.warmup=2", "`schedule.warmup` is 2; it must lie between 0 and 1"),
        ("schedule.floor=-1", "`schedule.floor` is -1"),
        ("optimizer.epsilon=-1", "`optimizer.epsilon` is -1"),
        ("checkpoint_seconds=-1", "`checkpoint_seconds` is -1"),
        ("probe.iterations=0", "`probe.iterations` is 0"),
        ("probe.neighbours=0", "`probe.neighbours` is 0"),
        ("probe.temperature=-1", "`probe.temperature` is -1"),
        ("probe.held_out=1", "`probe.held_out` is 1"),
        ("probe.penalties=[1,1]", "`probe.penalties` is [1.0, 1.0]"),
        ("evaluation.sets=[]", "`evaluation.sets` is empty"),
        ("samples.sets=[]", "`samples.sets` is empty"),
        ("transfer.methods=[]", "`transfer.methods` is empty"),
        ("paths.cache=", "`paths.cache` is empty"),
    ] {
        refuses(&place, &["config", "--set", set], expected);
    }
    for number in ["inf", "-inf", "nan"] {
        let expected = format!("is {}, but a number is expected", if number == "nan" { "NaN" } else { number });
        refuses(&place, &["config", "--set", &format!("methods.simclr.temperature={number}")], &expected);
    }
    refuses(&place, &["config", "--set", "transfer.methods=[\"SimCLR\"]"], "did you mean `simclr`?");
    refuses(&place, &["config", "--set", "seeds=-1"], "`seeds` is -1, but a whole number from 0 up is expected");
    refuses(&place, &["config", "--set", "methods.simclr.head=1.5"], "`methods.simclr.head` is ");
    for arguments in [
        &["bench", "step", "--pairs", "18446744073709551615"][..],
        &["bench", "step", "--steps", "0"],
        &["bench", "augment", "--rounds", "18446744073709551615"],
        &["bench", "augment", "--image", "100000"],
    ] {
        refuses(&place, arguments, "it must be a whole number from 1 to");
    }
    let pairs = |categories: &str, each: &str| {
        place.error(&["data", "pairs", "--from", "synth", "--categories", categories, "--per-category", each])
    };
    assert!(pairs("2", "4000000000").contains("at most 10000000 pairs"), "{}", pairs("2", "4000000000"));
    assert!(pairs("0", "5").contains("hint: set it to 1 or more: `--categories 1`"), "{}", pairs("0", "5"));
    assert!(pairs("10001", "5").contains("hint: `--categories 187`"), "{}", pairs("10001", "5"));
}

/// With a share that makes no pair false, a row of false pairs would not have any.
#[test]
fn a_share_of_no_pair_is_refused() {
    let place = Place::new();
    let small = ["--set", "pairs.categories=4", "--set", "pairs.per_category=8", "--set", "pretrain.batch=16"];
    let none = ["pretrain", "--quiet", "--epochs", "1", "--set", "pairs.false_share=0.01"];
    refuses(&place, &[&none[..], &small].concat(), "a share of 0.01 makes none of 32 pairs false");
}

#[test]
fn what_is_no_plain_file_is_neither_read_nor_replaced() {
    let place = Place::new();
    let pipe = place.path().join("pipe");
    assert!(program("mkfifo").arg(&pipe).status().unwrap().success());
    refuses(&place, &["data", "preview", "synth", "--rows", "1", "--file", "pipe"], "not a plain file");
    refuses(&place, &["import-weights", "pipe"], "cannot read pipe: it is not a plain file");
    let list = ["pretrain", "--quiet", "--epochs", "1", "--set", "pairs.list=pipe"];
    refuses(&place, &list, "cannot read pipe: it is not a plain file");
    let file_type = fs::symlink_metadata(&pipe).unwrap().file_type();
    assert!(!file_type.is_file(), "the pipe was replaced");
    // A link stays a link, and its target is replaced.
    fs::write(place.path().join("target.png"), "old").unwrap();
    std::os::unix::fs::symlink("target.png", place.path().join("link.png")).unwrap();
    place.stdout(&["data", "preview", "synth", "--rows", "1", "--file", "link.png"]);
    assert!(fs::read(place.path().join("target.png")).unwrap().starts_with(b"\x89PNG"));
    assert!(place.path().join("link.png").is_symlink());
    fs::rename(&pipe, place.path().join("sempair.toml")).unwrap();
    refuses(&place, &["config"], "cannot read sempair.toml: it is not a plain file");
    fs::remove_file(place.path().join("sempair.toml")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path().join("sempair.toml")).unwrap();
    refuses(&place, &["config"], "cannot read sempair.toml: No such file or directory");
}

/// Writes small pictures as PPM, each of a single colour.
pub(super) fn pictures(place: &Place, folder: &str, files: &[(&str, u8)]) {
    for (file, colour) in files {
        let path = place.path().join(folder).join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, [b"P6 8 8 255\n".as_slice(), &[*colour; 192]].concat()).unwrap();
    }
}

#[test]
fn an_import_says_what_may_mislead() {
    let place = Place::new();
    let files = [
        ("train/cat/1.ppm", 1),
        ("train/cat/2.ppm", 1),
        ("train/cat/3.ppm", 3),
        ("train/dog/1.ppm", 4),
        ("train/dog/2.ppm", 5),
        ("train/cow/1.ppm", 3),
        ("train/cow/2.ppm", 6),
        ("test/cat/1.ppm", 7),
        ("test/dog/1.ppm", 5),
    ];
    pictures(&place, "farm", &files);
    let said = place.stdout(&["data", "import", "farm", "--size", "8"]);
    let notes: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("  note: ")).collect();
    insta::assert_snapshot!(notes.join("\n"), @"
    1 picture that a category of a split has more than once: a pair of them shows the same picture twice
    1 picture in more than one category
    1 picture in more than one split: accuracies on them say nothing about new images
    1 category is not in every split, such as `cow`: `test` has no image of it
    ");
    let json = place.json(&["data", "import", "farm", "--size", "8", "--replace", "--json"]);
    assert_eq!(json["findings"].as_array().unwrap().len(), 4);

    // Two files of the same picture are not a semantic pair. The list and the record of a training say so.
    pictures(&place, "same", &[("cat/1.ppm", 1), ("cat/2.ppm", 1), ("dog/1.ppm", 2), ("dog/2.ppm", 3)]);
    place.stdout(&["data", "import", "same", "--size", "8"]);
    let pairs = place.stdout(&["data", "pairs", "--from", "same", "--categories", "2", "--per-category", "1"]);
    assert!(pairs.contains("note: in 1 of them both images are the same picture"), "{pairs}");
    let train = ["pretrain", "--epochs", "1", "--pairs", "sp", "--set", "pairs.from=same", "--keep-going", "--quiet"];
    let few = ["--set", "pairs.categories=2", "--set", "pairs.per_category=1", "--set", "pretrain.batch=2"];
    place.stdout(&[&train[..], &few].concat());
    let runs = place.stdout(&["runs", "--json"]);
    assert!(runs.contains("but in 1 of the pairs both show the same picture"), "{runs}");

    // A set with the name of an embedded set would never be used.
    for name in ["synth", "synth-10"] {
        refuses(&place, &["data", "import", "same", "--name", name], "is the name of an embedded set");
    }
    // An error that is known before a training is reported before it.
    let table = ["table", "transfer", "--quiet", "--set", "evaluation.sets=[\"farm\"]"];
    refuses(&place, &table, "`farm` has 7 training images; k-NN with 20 neighbours needs at least 20");
}

#[test]
fn a_list_that_an_editor_changed_is_read_or_refused_clearly() {
    let place = Place::new();
    place.stdout(&["data", "pairs", "--from", "synth", "--categories", "2", "--per-category", "4"]);
    let folder = place.path().join(".sempair/data/pairs");
    let path = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let list = fs::read_to_string(path).unwrap();
    let checked = |text: String| {
        fs::write(place.path().join("list.tsv"), text).unwrap();
        let train = ["pretrain", "--epochs", "1", "--quiet", "--set", "pairs.list=list.tsv", "--keep-going"];
        place.run(&[&train[..], &["--set", "pretrain.batch=4"]].concat())
    };
    for same in
        [format!("\u{feff}{list}"), list.replace('\n', "\r\n"), list.replacen('\n', "  \n", 1), format!("{list}\n \n")]
    {
        let output = checked(same);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let output = checked(list.replacen("\tsecond\t", "\tfirst\t", 1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && error.contains("two columns have the same name"), "{error}");
}
