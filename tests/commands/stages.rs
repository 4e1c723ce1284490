//! The stages that tables declare: exactly these stages run, they give the same files when they run again, and each
//! setting changes the keys that its role says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use sempair::harness::config::{Role, Roles};
use sempair::study::settings::PrecisionChoice;
use sempair::tensor::Precision;
use serde_json::{Value, json};

use super::{Place, TINY, program, wait_for_checkpoint};

/// Settings that give every table its shortest trainings.
const TINIEST: &[&str] = &[
    "pairs.categories=4",
    "pairs.per_category=16",
    "pretrain.epochs=1",
    "pretrain.batch=16",
    "probe.iterations=5",
    "evaluation.sets=[\"synth-10\"]",
    "epochs.values=[1,2]",
    "tiny-imagenet.sets=[\"synth-10\"]",
    "tiny-imagenet.categories=5",
    "tiny-imagenet.images=33",
    "transforms.sets=[\"synth-10\"]",
    "pairing.sets=[\"synth-10\"]",
    "legibility.values=[0.0,1.0]",
    "legibility.sets=[\"synth-10\"]",
    "detection.recipe.steps=2",
    "detection.recipe.precise_moments=1",
    "detection.resizing.short=[64]",
    "samples.values=[8,16]",
    "samples.sets=[\"synth-10\"]",
    "positives.values=[0.5,1.0]",
    "positives.sets=[\"synth-10\"]",
];

fn tiniest<'a>(first: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let sets = TINIEST.iter().flat_map(|set| ["--set", *set]);
    first.iter().copied().chain(sets).chain(more.iter().copied()).collect()
}

/// The keys of the stages that each table declares.
fn declared(place: &Place, arguments: &[&str]) -> BTreeMap<String, BTreeSet<String>> {
    let tables = place.json(arguments);
    let key = |stage: &Value| stage["key"].as_str().unwrap().to_owned();
    let keys =
        |table: &Value| table["stages"].as_array().unwrap_or_else(|| panic!("{table}")).iter().map(key).collect();
    let tables = tables.as_array().unwrap().iter();
    tables.map(|table| (table["id"].as_str().unwrap().to_owned(), keys(table))).collect()
}

#[test]
fn the_stages_that_run_are_those_that_are_declared_and_come_out_the_same_again() {
    let place = Place::new();
    let one = ["--seeds", "1", "--methods", "simclr,byol"];
    place.stdout(&tiniest(&["reproduce", "--quiet", "--keep-going"], &one));
    let declared = declared(&place, &tiniest(&["list", "--json"], &one));
    assert_eq!(declared.len(), 11);
    let runs = place.json(&["runs", "--json"]);
    for (table, declared) in &declared {
        let of_table = runs.as_array().unwrap().iter().filter(|run| run["experiment"] == *table);
        let stages = of_table.flat_map(|run| run["stages"].as_array().unwrap());
        let ran: BTreeSet<String> = stages.map(|stage| stage["key"].as_str().unwrap().to_owned()).collect();
        assert_eq!(&ran, declared, "{table}");
    }
    // When it is computed again, every stage has the same files, except for files that hold times.
    let forced = place.run(&tiniest(&["reproduce", "--force", "--keep-going"], &one));
    let said = String::from_utf8(forced.stderr).unwrap();
    assert!(forced.status.success() && said.contains("] positives SimCLR neighbours"), "{said}");
    assert!(!said.contains("came out different"), "{said}");

    // A forced run notices a file that differs from the recorded one.
    let probes = declared["epochs"].iter().map(|key| place.path().join(".sempair/cache/probe").join(key));
    let probe = probes.into_iter().find(|path| path.join("probe.json").exists()).unwrap();
    let manifest = fs::read_to_string(probe.join("manifest.json")).unwrap();
    let at = manifest.find("\"hash\": \"").unwrap() + 9;
    fs::write(probe.join("manifest.json"), format!("{}0000{}", &manifest[..at], &manifest[at + 4..])).unwrap();
    let forced = place.run(&tiniest(&["reproduce", "--table", "transfer", "--table", "epochs", "--force"], &one));
    let said = String::from_utf8(forced.stderr).unwrap();
    assert_eq!(said.matches("stage probe came out different from before: ").count(), 1, "{said}");
}

/// Another valid value of a setting. Texts and numbers with a narrow range are listed by key.
fn other(key: &str, value: &Value) -> Value {
    // On a processor that multiplies bf16, the default is bf16.
    let precision = if PrecisionChoice::Auto.resolve() == Precision::Bf16 { "f32" } else { "bf16" };
    let known = [
        ("precision", json!(precision)),
        ("method", json!("byol")),
        ("tiny-imagenet.images", json!(37)), // 33 are rounded up
        ("device", json!("cpu")),
        ("how_chosen", json!("By chance.")),
        ("paths.data", json!("elsewhere")),
        ("paths.reports", json!("elsewhere")),
        ("paths.cache", json!("elsewhere")),
        ("pairs.from", json!("synth-100")),
        ("pairs.list", json!("pairs.tsv")),
        ("paths.cuda", json!("nvidia")),
        ("tiny-imagenet.from", json!("synth-100")),
        ("tiny-imagenet.set", json!("synth-stl")),
        ("invariance.set", json!("synth-stl")),
        ("detection.set", json!("voc")), // not there, so the table is empty
        ("detection.recipe.learns", json!("head")),
        ("model.encoder", json!("resnet18")),
        ("model.stem", json!("small")),
        ("model.image", json!(32)),
        ("vit.encoder", json!("vit-s8")),
        ("vit.stem", json!("patch4")),
        ("pairs.augmented", json!("live")),
        ("source.dirty", json!("refuse")),
        ("pairs.stored.blur.kernel", json!(3)),
        ("augment.first.blur.kernel", json!(3)),
        ("augment.second.blur.kernel", json!(3)),
    ];
    if let Some((_, other)) = known.iter().find(|(of, _)| *of == key) {
        return other.clone();
    }
    match value {
        Value::Bool(value) => (!value).into(),
        Value::Number(number) if number.is_u64() => (number.as_u64().unwrap() + 1).into(),
        Value::Number(number) if number.as_f64() == Some(0.0) => json!(0.1),
        Value::Number(number) => (0.9 * number.as_f64().unwrap()).into(),
        Value::String(text) if text == "small" => json!("paper"),
        Value::String(text) if text == "sgd" => json!("lars"),
        Value::String(text) if text == "adamw" => json!("sgd"),
        Value::String(text) if text == "sinkhorn" => json!("mean"),
        Value::Array(items) => {
            let (last, rest) = items.split_last().unwrap();
            let of_names = last.is_string();
            rest.iter().cloned().chain((!of_names).then(|| other(key, last))).collect()
        }
        value => panic!("no other value of `{key}` than {value} is known"),
    }
}

#[test]
fn every_setting_moves_what_its_role_says() {
    let place = Place::new();
    let list = |set: &str| {
        let more = ["--seeds", "1", "--methods", "all", "--set", "evaluation.sets=[\"synth-10\",\"synth-stl\"]"];
        let more = if set.starts_with("seeds=") { &more[2..] } else { &more[..] };
        // With these values, every setting has an effect.
        let all = ["--set", "pretrain.epochs=0", "--set", "pairs.augmented=stored"];
        declared(&place, &tiniest(&["list", "--json"], &[more, &all, &["--set", set]].concat()))
    };
    let pairs =
        place.json(&["data", "pairs", "--from", "synth", "--categories", "4", "--per-category", "16", "--json"]);
    fs::copy(place.path().join(pairs["file"].as_str().unwrap()), place.path().join("pairs.tsv")).unwrap();
    let defaults = include_str!("../../experiments/defaults.toml");
    let roles = Roles::of_defaults(defaults);
    let all = |tables: &BTreeMap<String, BTreeSet<String>>| -> BTreeSet<String> {
        tables.values().flatten().cloned().collect()
    };
    let before = list("how_chosen=''");
    let values = place.json(&tiniest(&["config", "--json"], &[]));
    let mut wrong = Vec::new();
    for setting in values.as_array().unwrap() {
        let key = setting["key"].as_str().unwrap();
        let set = match key {
            // One row or column less.
            _ if roles.of(key) == Role::Rows => {
                let items = setting["value"].as_array().unwrap();
                format!("{key}={}", json!(&items[..items.len().max(2) - 1]))
            }
            "seeds" => "seeds=2".into(),
            _ => format!("{key}={}", other(key, &setting["value"])),
        };
        let after = list(&set);
        let (old, new) = (all(&before), all(&after));
        let right = match roles.of(key) {
            // `method` is the method of `sempair pretrain`; tables have their own lists of methods.
            Role::Results if key == "method" => old == new,
            Role::Results => old != new,
            Role::Rows => new.is_subset(&old),
            Role::Place => old == new,
            // More seeds only add runs.
            Role::Nothing => old.is_subset(&new) && (key == "seeds" || old == new),
        };
        if !right {
            wrong.push(format!(
                "{set}: {:?}, {} keys of {} stay",
                roles.of(key),
                new.intersection(&old).count(),
                old.len()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_a_list_of_pairs_holds_is_in_caption_and_cost() {
    let place = Place::new();
    let list = ["data", "pairs", "--from", "synth-100", "--categories", "4", "--per-category", "16", "--json"];
    let file = place.json(&list)["file"].as_str().unwrap().to_owned();
    let shown = |from: &str| fs::read_to_string(place.path().join(from)).unwrap();
    let by = |list: &str| {
        let set = format!("pairs.list={list:?}");
        let sets = ["--set", "pairs.from=synth-100", "--set", &set];
        let listed = place.json(&[&["list", "--json"], TINY, &["--set", "pairs.per_category=999"], &sets].concat());
        let stages = listed[0]["stages"].as_array().unwrap().iter();
        stages.filter(|stage| stage["name"] == "pretrain").map(|stage| stage["seconds"].as_f64().unwrap()).sum::<f64>()
    };
    let whole = by(&file);
    // Half of the rows of a list cost half as much.
    let text = shown(&file);
    let rows: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    let facts: Vec<&str> = text.lines().filter(|line| line.starts_with("# set") || line.contains("sempair")).collect();
    fs::write(place.path().join("half.tsv"), [&facts[..], &rows[..33]].concat().join("\n")).unwrap();
    let half = by("half.tsv");
    assert!((whole / half - 2.0).abs() < 0.01, "{whole} {half}");

    // Which pairs of the list are made false is drawn with the seed.
    let positives = |seed: &str| {
        let sets = ["--set", "pairs.from=synth-100", "--set", "pairs.list=\"half.tsv\"", "--set", seed];
        declared(&place, &[&["list", "--json"], TINY, &sets].concat())["positives"].clone()
    };
    let (one, other) = (positives("pairs.seed=0"), positives("pairs.seed=1"));
    assert!(one != other && !one.is_disjoint(&other), "only stages with false pairs differ");

    let sets = ["--set", "pairs.from=synth-100", "--set", "pairs.list=\"half.tsv\"", "--set", "pairs.per_category=999"];
    place.stdout(&[&["table", "transfer", "--quiet"], TINY, &sets].concat());
    let (report, results) = (shown("reports/quick/report.md"), shown("reports/quick/results.json"));
    assert!(report.contains("6 epochs on the pairs of the list half.tsv from synth-100"), "{report}");
    assert!(report.contains("32 pairs of synth-100/train"), "{report}");
    // Drawn pairs are not the paper's pairs, even if they come from a list.
    let claims: Value = serde_json::from_str(&results).unwrap();
    assert_eq!(claims["tables"][0]["claims"][0]["substitute"], true);
    // The records alone, without the list, give the same results.
    fs::remove_file(place.path().join("half.tsv")).unwrap();
    place.stdout(&["report"]);
    assert_eq!(shown("reports/quick/results.json"), results);
    let gone = place.error(&[&["table", "transfer"], TINY, &["--set", "pairs.list=\"half.tsv\""]].concat());
    assert!(gone.contains("cannot read half.tsv"), "{gone}");
    fs::write(place.path().join("none.tsv"), facts.join("\n")).unwrap();
    let none = place.error(&[&["table", "transfer"], TINY, &["--set", "pairs.list=\"none.tsv\""]].concat());
    assert!(none.contains("none.tsv: the list has no pair"), "{none}");
}

#[test]
#[cfg(unix)]
fn a_paused_run_does_not_count_its_pause() {
    let place = Place::new();
    let slow: &[&str] = &["--set", "pretrain.epochs=400", "--set", "checkpoint_seconds=0"];
    let arguments = [&["pretrain", "--quiet"], &TINY[..TINY.len() - 4], slow].concat();
    let start = Instant::now();
    let mut child = place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    assert!(wait_for_checkpoint(&place.path().join(".sempair/cache/pretrain"), &mut child));
    let signal = |signal: &str| program("kill").args([signal, &child.id().to_string()]).status().unwrap().success();
    assert!(signal("-STOP"));
    let pause = Instant::now();
    std::thread::sleep(Duration::from_secs(6));
    let paused = pause.elapsed().as_secs_f64();
    assert!(signal("-CONT"));
    assert!(child.wait().unwrap().success());
    let at_work = start.elapsed().as_secs_f64() - paused;
    let run = &place.json(&["runs", "--json"])[0];
    let training = run["facts"]["training seconds"].as_f64().unwrap();
    let stages = run["stages"].as_array().unwrap();
    let stage = stages.iter().find(|stage| stage["name"] == "pretrain").unwrap()["seconds"].as_f64().unwrap();
    for seconds in [training, stage, run["seconds"].as_f64().unwrap()] {
        assert!(seconds > 0.0 && seconds < at_work + 0.5, "{seconds} of {at_work}, after a pause of {paused}");
    }
}
