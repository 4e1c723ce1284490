//! Tables run by commands: shared encoders, cells that a budget leaves out, several processes at once.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;

use serde_json::Value;

use super::{Place, TINY, program};

#[test]
fn tables_share_the_encoders_that_they_have_in_common() {
    let place = Place::new();
    let tables = ["epochs", "tiny-imagenet", "transforms", "samples", "invariance", "positives"];
    let chosen: Vec<&str> = tables.iter().flat_map(|table| ["--table", *table]).collect();
    let settings = [
        "epochs.values=[6,12]",
        "samples.values=[8,16]",
        "samples.sets=[\"synth-10\"]",
        "transforms.sets=[\"synth-10\"]",
        "tiny-imagenet.sets=[\"synth-10\"]",
        "tiny-imagenet.categories=5",
        "tiny-imagenet.images=33",
        "positives.sets=[\"synth-10\"]",
        "positives.values=[0.5]",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    let summary = place.stdout(&[&["reproduce", "--quiet"], TINY, &chosen, &settings].concat());
    assert!(summary.contains("tiny-imagenet: Few pairs beat more single images"), "{summary}");
    let report = fs::read_to_string(place.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("| 170 images | unpaired |"), "{report}");

    // 4 of `epochs` and 1 more of `tiny-imagenet`, which keep intermediate encoders; 8 of `transforms`, 2 more of
    // `samples`, 2 more of `positives`.
    let stages = fs::read_dir(place.path().join(".sempair/cache/pretrain")).unwrap();
    let trained = stages.filter(|stage| stage.as_ref().unwrap().path().join("encoder.safetensors").exists());
    assert_eq!(trained.count(), 17);

    let read = || fs::read_to_string(place.path().join("reports/quick/results.json")).unwrap();
    let text = read();
    let results: Value = serde_json::from_str(&text).unwrap();
    let ids: Vec<&Value> = results["tables"].as_array().unwrap().iter().map(|table| &table["id"]).collect();
    assert_eq!(ids, tables);
    let seconds = |cell: &&Value| cell["metric"] == "seconds";
    let cells = |table: usize| results["tables"][table]["cells"].as_array().unwrap();
    let times = |column: &str| -> Vec<f64> {
        cells(1)
            .iter()
            .filter(seconds)
            .filter(|cell| cell["column"] == column)
            .filter_map(|cell| cell["mean"].as_f64())
            .collect()
    };
    let (whole, equal) = (times("training"), times("equal"));
    assert!(whole.len() == 2 && equal.len() == 2 && equal.iter().all(|seconds| *seconds > 0.0), "{whole:?} {equal:?}");
    assert!(equal.iter().zip(&whole).all(|(part, whole)| part <= whole), "{equal:?} of {whole:?}");
    assert_eq!(cells(0).iter().filter(seconds).count(), 0);
    let runs = place.json(&[&["runs", "--json"], TINY].concat());
    // `epochs` measures the accuracy during each training, up to its end.
    let followed = runs.as_array().unwrap().iter().filter(|run| run["experiment"] == "epochs");
    let followed: Vec<&Value> = followed.filter(|run| run["checkpoint"].is_string()).collect();
    assert_eq!(followed.len(), 4);
    for run in followed {
        let curves = run["curves"].as_array().unwrap();
        let curve = curves.iter().find(|curve| curve["name"] == "linear accuracy on synth-10, %").unwrap();
        assert_eq!(curve["y"].as_array().unwrap().last().unwrap(), &run["metrics"]["top1"]);
        assert_eq!(curve["x"].as_array().unwrap().len(), 6, "points in a training of 6 or 12 epochs");
    }
    let of_columns = |column: &str| -> Vec<&Value> {
        let runs = runs.as_array().unwrap().iter().filter(|run| run["experiment"] == "tiny-imagenet");
        runs.filter(|run| run["column"] == column && run["checkpoint"].is_string()).collect()
    };
    // The accuracy to reach is the lowest final accuracy of the table.
    let ends = of_columns("synth-10").into_iter().map(|run| run["metrics"]["top1"].as_f64().unwrap());
    let least = ends.fold(f64::INFINITY, f64::min);
    let goals: Vec<Value> =
        of_columns("equal").into_iter().map(|run| run["facts"]["equal accuracy on synth-10, %"].clone()).collect();
    assert_eq!(goals, [least, least]);
    let claims = |table: usize| results["tables"][table]["claims"].as_array().unwrap();
    assert_eq!(
        (claims(2)[0]["plus"].as_array().unwrap().len(), claims(2)[2]["expected"]["within"].as_f64()),
        (2, Some(2.0))
    );
    let contrast = &claims(3)[2];
    let value = |row: &Value| {
        let cell = cells(3).iter().find(|cell| cell["row"] == *row && cell["metric"] == "top1");
        cell.unwrap()["mean"].as_f64().unwrap()
    };
    let sum = |side: &str| contrast[side].as_array().unwrap().iter().map(value).sum::<f64>();
    let difference = contrast["difference"].as_f64().unwrap();
    assert!((sum("plus") - sum("minus") - difference).abs() < 1e-9, "{contrast}");

    // The share of exact pairs that each row of `positives` was trained on.
    let exact = |made: &str| {
        let cell = cells(5).iter().find(|cell| cell["row"]["made"] == made && cell["metric"] == "exact");
        cell.unwrap()["mean"].as_f64().unwrap()
    };
    assert_eq!((exact("by category"), exact("50 % false")), (1.0, 0.5));
    let nearest = exact("nearest by the AP encoder");
    assert!(nearest > 0.2 && nearest < 1.0, "with 4 categories, a quarter would be right by chance: {nearest}");

    // Each factor changes the features, but not completely; the accuracy on unchanged images is that of the set.
    let cosines: Vec<f64> =
        cells(4).iter().filter(|cell| cell["metric"] == "cosine").map(|cell| cell["mean"].as_f64().unwrap()).collect();
    assert_eq!(cosines.len(), 4 * 4);
    assert!(cosines.iter().all(|cosine| *cosine > 0.0 && *cosine < 0.999), "{cosines:?}");
    let of = |table: usize, column: &str| {
        let cell = cells(table).iter().find(|cell| {
            cell["row"]["method"] == "random initialisation" && cell["column"] == column && cell["metric"] == "top1"
        });
        cell.unwrap()["mean"].clone()
    };
    assert_eq!(of(4, "synth-10"), of(0, "synth-10"));
    assert_ne!(of(4, "occlusion"), of(4, "synth-10"));

    // The ledger alone, without the arguments of the run, gives the same report.
    place.stdout(&["report"]);
    assert_eq!(read(), text);

    // Runs that differ only in a key of another table are shown together with the earlier runs.
    let other = ["--set", "samples.values=[8]", "--set", "tiny-imagenet.images=35", "--seeds", "2"];
    place.stdout(&[&["table", "samples", "--quiet"], &TINY[..TINY.len() - 2], &settings, &other].concat());
    let seeds = |arguments: &[&'static str], label: &str| {
        place.stdout(&[&["report"], arguments].concat());
        let results: Value = serde_json::from_str(&read()).unwrap();
        let samples = results["tables"].as_array().unwrap().iter().find(|table| table["id"] == "samples").unwrap();
        let cells = samples["cells"].as_array().unwrap();
        cells.iter().find(|cell| cell["row"]["per category"] == label).map(|cell| cell["seeds"].clone())
    };
    assert_eq!(seeds(&[], "8 each"), Some(serde_json::json!([0, 1])));
    assert_eq!(seeds(&[], "16 each"), Some(serde_json::json!([0])), "the rows of an earlier run stay");
    let only = ["--set", "samples.values=[16]"];
    assert_eq!((seeds(&only, "8 each"), seeds(&only, "16 each")), (None, Some(serde_json::json!([0]))));
}

#[test]
fn a_budget_and_a_list_say_what_is_missing_and_what_it_takes() {
    let place = Place::new();
    let arguments = |first: &[&'static str]| [first, &TINY[..TINY.len() - 1], &["2"]].concat();
    let list = || {
        let tables = place.json(&arguments(&["list", "--json"]));
        let table = tables.as_array().unwrap().iter().find(|table| table["id"] == "transfer").unwrap().clone();
        (table["missing"].as_u64().unwrap(), table["seconds"].as_f64().unwrap(), table["peak_memory"].as_u64())
    };
    let (missing, seconds, memory) = list();
    assert_eq!((missing, memory), (9, None));
    assert!(seconds > 0.5 && seconds < 60.0, "{seconds}");

    let none = place.run(&arguments(&["table", "transfer", "--budget", "0.001s"]));
    let said = String::from_utf8(none.stderr).unwrap();
    assert!(none.status.success() && said.contains("9 of 9 cells did not fit into the budget"), "{said}");
    let report = fs::read_to_string(place.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("SimCLR (SP), synth-10: no completed run."), "{report}");

    let all = place.run(&arguments(&["table", "transfer", "--budget", "1h", "--jobs", "1"]));
    let said = String::from_utf8(all.stderr).unwrap();
    let seeds: Vec<&str> = said.lines().filter_map(|line| line.split_once(" seed ")?.1.split(':').next()).collect();
    assert_eq!(seeds, ["0", "0", "0", "0", "0", "1", "1", "1", "1"], "{said}");
    let (missing, seconds, memory) = list();
    assert!(missing == 0 && seconds == 0.0 && memory > Some(1 << 20), "{missing} {seconds} {memory:?}");

    // The cache finds the stages of the cells by their keys, so they cost nothing even without records.
    fs::remove_dir_all(place.path().join("reports")).unwrap();
    let (missing, seconds, _) = list();
    assert_eq!((missing, seconds), (9, 0.0));
    assert!(
        place.error(&["reproduce", "--budget", "soon"]).contains("`soon` is not a time; write it as 90s, 30m or 1.5h")
    );
}

#[test]
fn cells_side_by_side_measure_the_same_and_say_so() {
    let run = |jobs: &'static str| {
        let place = Place::new();
        let output = place.run(&[&["table", "transfer", "--threads", "2", "--jobs", jobs], TINY].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (place, said)
    };
    let ((one, alone), (both, said)) = (run("1"), run("1000"));
    assert_eq!(one.checkpoints(), both.checkpoints());
    let figures = |place: &Place| {
        let runs = place.json(&["runs", "--json"]);
        let of = |run: &Value| (run["row"].to_string(), run["metrics"].to_string());
        runs.as_array().unwrap().iter().map(of).collect::<std::collections::BTreeMap<_, _>>()
    };
    assert_eq!(figures(&one), figures(&both));
    assert!(!alone.contains("side by side"), "{alone}");
    assert!(alone.contains("timed a step on 1 to 2 threads"), "its forecast needs the speed-up, too: {alone}");
    let most = |place: &Place, key: &str| {
        let runs = place.json(&["runs", "--json"]);
        runs.as_array().unwrap().iter().map(|run| run[key].as_u64().unwrap()).max().unwrap()
    };
    assert_eq!((most(&one, "threads"), most(&one, "beside")), (2, 0));
    if std::thread::available_parallelism().unwrap().get() > 1 {
        assert!(said.contains("up to 2 cells side by side (1000 were asked for; there are 2 threads)"), "{said}");
        assert!(said.contains("timed a step on 1 to 2 threads"), "{said}");
        assert_eq!(most(&both, "beside"), 1);
        // The last cell may have both threads, if the measured speed-up says so.
        let runs = both.json(&["runs", "--json"]);
        assert!(runs.as_array().unwrap().iter().any(|run| run["threads"] == 1 && run["beside"] == 1), "{runs}");
    }
    assert!(one.error(&["reproduce", "--jobs", "0"]).contains("`0` is not a number of jobs; write auto, or 1 or more"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_stage_that_needs_more_memory_than_is_free_is_announced() {
    let place = Place::new();
    let table = |settings: &str| {
        let limited = format!(
            "ulimit -v 1000000 && {} table transfer --seeds 1 --budget 0.001s --threads 1 {settings}",
            env!("CARGO_BIN_EXE_sempair")
        );
        let output = program("sh").args(["-c", &limited]).current_dir(place.path()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    let said = table("--set model.encoder=resnet50 --set model.stem=imagenet --set pretrain.batch=2048");
    let needed = said.split_once("predicted to take ").and_then(|(_, rest)| rest.split_once(" MiB of memory, and "));
    let needed: u64 = needed.unwrap_or_else(|| panic!("{said}")).0.parse().unwrap();
    assert!(needed > 1000 && said.contains(" MiB are free. If memory runs out"), "{said}");
    assert!(!table("").contains("predicted to take"), "quick fits");
}

#[test]
fn a_list_says_what_other_machines_would_take() {
    let text = Place::new().stdout(&["list", "--cores", "1,4,64"]);
    let lines: Vec<&str> = text.lines().skip_while(|line| !line.contains("longest cell")).collect();
    let cores: Vec<&str> = lines[1..].iter().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(cores, ["1", "4", "64"], "{text}");
    let time = |line: &str| line.split("  ").map(str::trim).filter(|part| !part.is_empty()).nth(1).unwrap().to_owned();
    assert_ne!(time(lines[1]), time(lines[2]), "{text}");
}

#[test]
fn two_processes_share_the_work() {
    let place = Place::new();
    let arguments = [&["table", "transfer"], TINY].concat();
    let start = || place.command(&arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    for process in [start(), start()] {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let runs = place.json(&[&["runs", "--json"], TINY].concat());
    let completed = runs.as_array().unwrap().iter().filter(|run| run["status"] == "completed").count();
    assert_eq!((completed, runs.as_array().unwrap().len()), (5, 5));
}

#[test]
fn a_missing_set_is_left_out_and_a_damaged_one_is_an_error() {
    let place = Place::new();
    let sets = ["--data", "sets", "--set", "evaluation.sets=[\"synth-10\", \"cifar-10\"]"];
    let cells = |place: &Place| place.json(&[&["list", "--json"], TINY, &sets].concat())[0].clone();
    assert_eq!(cells(&place)["cells"], 5);
    fs::create_dir(place.path().join("sets")).unwrap();
    fs::write(place.path().join("sets/cifar-10.safetensors"), [255; 40]).unwrap();
    let error = cells(&place)["error"].to_string();
    assert!(error.contains("cifar-10.safetensors: the file is truncated or damaged"), "{error}");
    let error = place.error(&[&["reproduce", "--table", "transfer", "--quiet"], TINY, &sets].concat());
    assert!(error.contains("truncated or damaged") && error.contains("hint: "), "{error}");
    let only_missing = ["--data", "none", "--set", "evaluation.sets=[\"cifar-10\"]"];
    let error = place.error(&[&["reproduce", "--table", "transfer", "--quiet"], TINY, &only_missing].concat());
    assert!(error.contains("no dataset `cifar-10`"), "{error}");
}

#[test]
fn a_training_that_diverges_costs_no_other() {
    let place = Place::new();
    let settings = ["--methods", "vicreg,simclr", "--seeds", "1", "--set", "methods.vicreg.recipe.learning_rate=1000"];
    let sets = ["--set", "evaluation.sets=[\"synth-10\", \"synth-stl\"]"];
    let arguments = [&["reproduce", "--table", "transfer"], &TINY[..TINY.len() - 4], &settings, &sets].concat();
    let error = place.error(&arguments);
    assert!(error.contains("2 runs diverged; the first: transfer synth-10 seed 0 (run "), "{error}");
    assert!(error.contains("2 of 14 cells need a stage that diverged") && error.contains("hint: "), "{error}");
    let runs = place.json(&["runs", "--json"]);
    let of = |status: &str| runs.as_array().unwrap().iter().filter(|run| run["status"] == status).count();
    assert_eq!((of("failed"), of("completed")), (2, 10));
    let report = fs::read_to_string(place.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("| SimCLR | AP |") && report.contains("seed 0 failed: "), "{report}");
}

#[test]
fn second_images_of_augmented_pairs_are_made_once_and_kept() {
    let place = Place::new();
    place.reproduce(&[]);
    let live = place.checkpoints();
    place.reproduce(&["--set", "pairs.augmented=stored"]);
    let both = place.checkpoints();
    // Semantic pairs and training with labels stay the same; augmented pairs are trained again.
    let trained = |runs: &[(String, String)], pairs: &str| -> BTreeSet<String> {
        runs.iter().filter(|(row, _)| row.contains(pairs)).map(|(_, checkpoint)| checkpoint.clone()).collect()
    };
    assert_eq!(trained(&both, "\"SP\""), trained(&live, "\"SP\""));
    assert_eq!((trained(&live, "\"AP\"").len(), trained(&both, "\"AP\"").len()), (1, 2));
    let made = place.path().join(".sempair/cache/augmented");
    let folders = fs::read_dir(&made).unwrap().flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
    let [folder] = &folders.collect::<Vec<_>>()[..] else { panic!("one set of images") };
    let images = sempair::data::store::open(folder, "augmented").unwrap().splits.remove("train").unwrap();
    assert_eq!((images.len(), images.size, images.classes.len()), (64, 32, 4));
    assert!(sempair::data::store::verify(folder, "augmented").unwrap().holds());
    assert!(fs::read(folder.join("preview.png")).unwrap().starts_with(b"\x89PNG"));
    let runs = place.json(&["runs", "--json"]);
    let described = runs.to_string();
    assert!(described.contains("the first image of each semantic pair, and an image made of it before training"));
    // Other augmentation strengths give other images.
    place.reproduce(&["--set", "pairs.augmented=stored", "--set", "pairs.stored.rotation.degrees=45"]);
    assert_eq!(trained(&place.checkpoints(), "\"AP\"").len(), 3);
    let said = place.stdout(&["data", "preview", "synth", "--rows", "2", "--set", "pairs.augmented=stored"]);
    assert!(
        said.starts_with("2 pairs of synth/pretrain: a stored second image, then each image with 3 views"),
        "{said}"
    );
    let report = fs::read_to_string(place.path().join("reports/quick/report.md")).unwrap();
    assert!(report.contains("| Second view of AP | made by crop, rotation, flip and colour jitter"), "{report}");
}

#[test]
fn a_table_without_rows_is_left_out_and_an_error_where_it_is_asked_for() {
    let place = Place::new();
    let error = place.error(&[&["table", "legibility"], TINY].concat());
    assert!(error.contains("the table `legibility` has no rows with these settings"), "{error}");
    assert!(error.contains("hint: `sempair config legibility`"), "{error}");
    let error = place.error(&["config", "--set", "legibility.values=[0.5,2.0]"]);
    assert!(error.contains("`legibility.values` is [0.5, 2.0]; it needs different numbers from 0 to 1"), "{error}");
    let error = place.error(&["config", "--set", "transfer.methods=[\"supervised\"]"]);
    assert!(error.contains("`transfer.methods` has `supervised`, which has no pairs to compare"), "{error}");
    let error = place.error(&["config", "--set", "methods.byol.recipe.epochs=0"]);
    assert!(error.contains("`methods.byol.recipe.epochs` is 0"), "{error}");
}

#[test]
fn no_row_column_or_table_is_asked_for_twice() {
    let place = Place::new();
    let refused = |arguments: &[&str]| {
        let output = place.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = refused(&["table", "transfer", "--methods", "simclr,byol,simclr"]);
    assert!(said.starts_with("error: `transfer.methods` has \"simclr\" twice, in `--methods`\n"), "{said}");
    let said = refused(&["list", "--set", "evaluation.sets=[\"synth-10\",\"synth-10\"]"]);
    assert!(said.starts_with("error: `evaluation.sets` has \"synth-10\" twice"), "{said}");
    fs::write(place.path().join("sempair.toml"), "[pairing]\nsets = [\"synth-10\", \"synth-stl\", \"synth-10\"]\n")
        .unwrap();
    let said = refused(&["config"]);
    assert!(said.starts_with("error: `pairing.sets` has \"synth-10\" twice, in `sempair.toml:2`\n"), "{said}");
    fs::remove_file(place.path().join("sempair.toml")).unwrap();
    let said = refused(&["reproduce", "--table", "vit", "--table", "transfer", "--table", "vit"]);
    assert!(said.starts_with("error: the table `vit` is asked for twice\n"), "{said}");
    // Numbers may be written in two ways.
    let said = refused(&["list", "--set", "legibility.values=[1,1.0]"]);
    assert!(said.contains("`legibility.values`"), "{said}");
    // A list that does not give rows may hold a value twice.
    place.stdout(&["config", "--set", "methods.deepcluster-v2.clusters=[64,64,64]"]);
}
