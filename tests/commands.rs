//! Whole commands as a user types them: what they print, write and refuse.

mod annotated; // images with objects: import, list, verify, preview
mod audit; // what was changed is found, and its file named
mod bench; // what the benchmarks print
mod bundle; // one zip file with a report and its records, verified elsewhere
mod compare; // what differs between runs, and why cells run again
mod croissant; // the description of pairs for machines
mod degenerate; // settings and data that make no sense
mod detect; // detectors on encoders, outside of tables
mod evaluations; // how often a test split was used
mod explain; // one setting: its meaning, its origin, what depends on it
mod kills; // commands that are killed at any moment, and started again
mod plan; // what was frozen before the runs
mod power_loss; // losses of power and full disks
mod provenance; // what a record says of program, sources, environment and settings
mod stages; // the stages that tables declare, and which settings change their keys
mod surroundings; // unwritable streams, ignored signals, unreadable repositories
mod tables;
mod verify; // runs are repeated, and their figures come out again

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Arguments for a pretraining that takes seconds.
const TINY: &[&str] = &[
    "--set",
    "pairs.categories=4",
    "--set",
    "pairs.per_category=16",
    "--set",
    "pretrain.epochs=6",
    "--set",
    "pretrain.batch=16",
    "--set",
    "evaluation.sets=[\"synth-10\"]",
    "--set",
    "probe.iterations=20",
    "--methods",
    "simclr",
    "--seeds",
    "1",
];

/// Arguments for trainings and evaluations that take less than a second each: on the images of [`Place::import_noise`].
const SMALL: &[&str] = &[
    "--set",
    "pairs.categories=2",
    "--set",
    "pairs.per_category=8",
    "--set",
    "pretrain.epochs=2",
    "--set",
    "pretrain.batch=8",
    "--set",
    "evaluation.sets=[\"noise\"]",
    "--set",
    "probe.iterations=5",
    "--set",
    "probe.neighbours=4",
    "--methods",
    "simclr",
];

#[expect(clippy::disallowed_methods, reason = "signals and repositories are made by other programs")]
pub fn program(name: &str) -> Command {
    Command::new(name)
}

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    #[expect(clippy::disallowed_methods, reason = "these tests are about the program")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sempair"));
        // The tests state what the processor computes, also on a machine with a GPU.
        command.args(arguments).current_dir(self.path()).stdin(Stdio::null()).env("SEMPAIR_DEVICE", "cpu");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.stdout(arguments)).unwrap()
    }

    /// Standard error of a command that must end with code 2.
    fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).unwrap()
    }

    /// Writes images of noise, two categories of six for training and as many for the test.
    fn draw_noise(&self) {
        let mut bytes = blake3::Hasher::new().update(b"noise").finalize_xof();
        for folder in ["train/cat", "train/dog", "test/cat", "test/dog"] {
            let folder = self.path().join("noise").join(folder);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..6 {
                let mut pixels = vec![0; 3 * 32 * 32];
                bytes.fill(&mut pixels);
                let image = image::RgbImage::from_raw(32, 32, pixels).unwrap();
                image.save(folder.join(format!("{index}.png"))).unwrap();
            }
        }
    }

    /// Imports these images as `noise`.
    fn import_noise(&self) {
        self.draw_noise();
        self.stdout(&["data", "import", "noise", "--size", "32", "--replace", "--quiet"]);
    }

    /// Runs some cells of the table `transfer` with [`SMALL`].
    fn run_cells(&self, rows: &[(&str, &str)], seeds: u64, more: &[&str]) -> String {
        let cell = |(method, pairs): &(&str, &str), seed| serde_json::json!({ "row": [["method", method], ["pairs", pairs]], "column": "noise", "seed": seed });
        let cells: Vec<Value> = (0..seeds).flat_map(|seed| rows.iter().map(move |row| cell(row, seed))).collect();
        fs::write(self.path().join("cells.json"), serde_json::to_vec(&cells).unwrap()).unwrap();
        let seeds = seeds.to_string();
        let table = ["table", "transfer", "--quiet", "--cells", "cells.json", "--seeds", &seeds];
        self.stdout(&[&table, SMALL, more].concat())
    }

    fn reproduce(&self, more: &[&str]) -> String {
        self.stdout(&[&["reproduce", "--table", "transfer", "--quiet"], TINY, more].concat())
    }

    /// Names and hashes of all encoder files of trainings.
    fn encoders(&self) -> BTreeSet<(String, String)> {
        let runs = self.json(&["runs", "--json"]);
        let stages = runs.as_array().unwrap().iter().flat_map(|run| run["stages"].as_array().unwrap());
        let files =
            stages.filter(|stage| stage["name"] == "pretrain").flat_map(|stage| stage["files"].as_array().unwrap());
        let named = files.map(|file| ["name", "hash"].map(|key| file[key].as_str().unwrap().to_string()));
        named.filter(|[name, _]| name.starts_with("encoder")).map(|[name, hash]| (name, hash)).collect()
    }

    /// The checkpoint hash of each completed cell of `transfer` that has one, by row.
    fn checkpoints(&self) -> Vec<(String, String)> {
        let runs = self.json(&["runs", "--json"]);
        let mut found: Vec<(String, String)> = runs
            .as_array()
            .unwrap()
            .iter()
            .filter(|run| run["status"] == "completed" && run["experiment"] == "transfer")
            .filter_map(|run| Some((run["row"].to_string(), run["checkpoint"].as_str()?.to_string())))
            .collect();
        found.sort();
        found
    }
}

#[test]
fn reproduce_writes_a_whole_report_and_the_second_time_runs_nothing() {
    let place = Place::new();
    let first = place.reproduce(&[]);
    assert!(first.contains("reports/quick/report.html"), "{first}");
    let report = place.path().join("reports/quick");
    for file in ["report.html", "report.md", "results.json", "tables/transfer.tex", "tables/transfer.csv"] {
        assert!(fs::metadata(report.join(file)).unwrap().len() > 0, "{file}");
    }
    let figures = fs::read_dir(report.join("figures")).unwrap().count();
    assert!(figures >= 2, "{figures} figures");

    let results: Value = serde_json::from_slice(&fs::read(report.join("results.json")).unwrap()).unwrap();
    assert_eq!(results["schema"], "sempair.results/1");
    let cells = results["tables"][0]["cells"].as_array().unwrap();
    let measured = cells.iter().filter(|cell| cell["metric"] == "top1" && !cell["runs"].as_array().unwrap().is_empty());
    assert_eq!(measured.count(), 5, "pixels, random, supervised, AP and SP");
    let sp = cells.iter().find(|cell| cell["row"]["pairs"] == "SP" && cell["metric"] == "top1").unwrap();
    assert_eq!((&sp["paper"], &sp["paper_column"]), (&Value::from(83.6), &Value::from("cifar-10")));
    let html = fs::read_to_string(report.join("report.html")).unwrap();
    assert!(html.contains("do not agree") && html.contains("<svg"));
    assert!(html.contains("licence MIT OR Apache-2.0."), "the licence of the embedded sets");
    assert_eq!(html.matches("<script").count(), 1, "only its own script, which nothing depends on");
    for needs_network in ["<link", "src=", "@import", "url("] {
        assert!(!html.contains(needs_network), "{needs_network}");
    }

    let before = place.json(&["runs", "--json"]).as_array().unwrap().len();
    assert_eq!(before, 5);
    let bytes = |name: &str| fs::read(report.join(name)).unwrap();
    let old = bytes("report.html");
    place.reproduce(&[]);
    assert_eq!(place.json(&["runs", "--json"]).as_array().unwrap().len(), before);
    assert_eq!(bytes("report.html"), old, "the same ledger gives the same bytes");
    // With one seed every claim stays open, which is a failure only with --strict.
    let strict = place.run(&[&["reproduce", "--table", "transfer", "--quiet", "--strict"], TINY].concat());
    assert_eq!(strict.status.code(), Some(1), "{}", String::from_utf8_lossy(&strict.stderr));
    let said = String::from_utf8(strict.stdout).unwrap();
    assert!(said.contains("open: one seed decides nothing"), "{said}");
    place.stdout(&["report"]);
    let again: Value = serde_json::from_slice(&bytes("results.json")).unwrap();
    assert_eq!(again["tables"][0]["cells"], results["tables"][0]["cells"]);
    let list = place.json(&[&["list", "--json"], TINY].concat());
    assert_eq!((&list[0]["cells"], &list[0]["missing"]), (&Value::from(5), &Value::from(0)));

    // The command that the page gives finds every cell.
    let markdown = fs::read_to_string(report.join("report.md")).unwrap();
    let rerun = markdown.lines().find(|line| line.contains("cargo run --release -- table transfer")).unwrap();
    let rerun = rerun.replace("cargo run --release -- table", &format!("'{}' table", env!("CARGO_BIN_EXE_sempair")));
    let rerun = program("sh").args(["-c", &rerun]).current_dir(place.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&rerun.stderr).contains("5 of 5 cells were in the ledger"), "{rerun:?}");

    // The report names a broken file of the ledger, and the anonymised report has its own folder.
    let old = bytes("report.html");
    fs::write(place.path().join("reports/ledger/broken.json"), "{").unwrap();
    place.stdout(&["report", "--anonymous"]);
    assert_eq!(bytes("report.html"), old, "the named report is left alone");
    let page = fs::read_to_string(place.path().join("reports/quick-anonymous/report.html")).unwrap();
    assert!(page.contains("Anonymised") && !page.contains("broken.json"), "a file's name may identify a person");
    for rendering in [&["report"][..], &[&["table", "transfer", "--quiet"], TINY].concat()] {
        fs::remove_file(report.join("report.html")).unwrap();
        place.stdout(rendering);
        assert!(
            String::from_utf8(bytes("report.html")).unwrap().contains("reports/ledger/broken.json"),
            "{rendering:?}"
        );
    }
    // After a run of another table, the report keeps the first table, and the terminal shows only the requested table.
    let epochs = ["table", "epochs", "--quiet", "--set", "epochs.values=[6]"];
    let said = place.stdout(&[&epochs[..], &TINY[..TINY.len() - 4], &["--methods", "byol", "--seeds", "1"]].concat());
    assert!(said.starts_with("epochs, profile quick.") && !said.contains("transfer"), "{said}");
    let both: Value = serde_json::from_slice(&bytes("results.json")).unwrap();
    let ids: Vec<&str> = both["tables"].as_array().unwrap().iter().map(|table| table["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &both["tables"][0]["cells"]), (vec!["transfer", "epochs"], &results["tables"][0]["cells"]));
    let before_force = place.json(&["runs", "--json"]).as_array().unwrap().len();
    place.reproduce(&["--force"]);
    assert_eq!(place.json(&["runs", "--json"]).as_array().unwrap().len(), before_force + before);
    let checkpoints = place.checkpoints();
    assert_eq!(checkpoints.len(), 6);
    let twice: Vec<&(String, String)> = checkpoints.iter().step_by(2).collect();
    assert!(checkpoints.iter().skip(1).step_by(2).eq(twice.iter().copied()), "forced runs give the same bits");
    assert_ne!(twice[0].1, twice[1].1, "AP, SP and labels differ");
    assert_ne!(twice[1].1, twice[2].1, "AP, SP and labels differ");
}

#[test]
fn threads_and_kills_do_not_change_a_bit() {
    let whole = Place::new();
    whole.reproduce(&["--threads", "1", "--set", "pretrain.snapshots=true"]);
    let expected = whole.encoders();
    assert_eq!(expected.len(), 3 * (6 + 1), "for AP, SP and labels: one after each epoch and one at the end");

    let killed = Place::new();
    let mut kills = 0;
    let often: &[&str] = &["--threads", "2", "--set", "checkpoint_seconds=0", "--set", "pretrain.snapshots=true"];
    // Each round runs a little longer before it is killed, at an arbitrary step.
    for patience in [0, 10, 40, 90] {
        let mut child = killed
            .command(&[&["reproduce", "--table", "transfer", "--quiet"], TINY, often].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        if wait_for_checkpoint(&killed.path().join(".sempair/cache/pretrain"), &mut child) {
            std::thread::sleep(Duration::from_millis(patience));
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
    }
    assert!(kills > 0, "no run was killed during its pretraining");
    killed.reproduce(often);
    assert_eq!(killed.encoders(), expected);
    let statuses = killed.stdout(&["runs"]);
    assert!(statuses.contains("killed"), "{statuses}");
}

/// Waits until a training has written its checkpoint. Returns false if the process ended before.
fn wait_for_checkpoint(dir: &Path, child: &mut Child) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        let there = fs::read_dir(dir).into_iter().flatten().flatten();
        if there.map(|entry| entry.path().join("checkpoint.safetensors")).any(|path| path.exists()) {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("no checkpoint after a minute");
}

/// Whether this process ignores SIGINT, as far as the system tells.
fn ignores_sigint() -> bool {
    const SIGINT: u64 = 1 << 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & SIGINT != 0)
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_says_how_to_go_on() {
    let place = Place::new();
    let slow: &[&str] = &["--set", "pretrain.epochs=100000", "--set", "checkpoint_seconds=0"];
    let mut child = place
        .command(&[&["reproduce", "--table", "transfer"], TINY, slow].concat())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    assert!(wait_for_checkpoint(&place.path().join(".sempair/cache/pretrain"), &mut child));
    // A program that is started in the background of a script ignores SIGINT, and so do the programs that it starts.
    let signal = if ignores_sigint() { "-TERM" } else { "-INT" };
    assert!(program("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("hint: run the same command to go on"), "{text}");
    assert!(place.stdout(&["runs"]).contains("interrupted"));
}

#[test]
#[cfg(unix)]
fn a_terminated_run_keeps_its_checkpoint_and_goes_on_to_the_same_bits() {
    let longer: &[&str] = &["--set", "pretrain.epochs=30", "--set", "checkpoint_seconds=0"];
    // DeepCluster v2 has the most state of all methods, and part of it exists before the first step.
    let clusters: &[&str] = &["--set", "methods.deepcluster-v2.clusters=[4,4]"];
    let tiny: Vec<&str> = TINY.iter().map(|&word| if word == "simclr" { "deepcluster-v2" } else { word }).collect();
    let reproduce = [&["reproduce", "--table", "transfer", "--quiet"], &tiny[..], longer, clusters].concat();
    let whole = Place::new();
    whole.stdout(&reproduce);

    let place = Place::new();
    let mut child = place.command(&reproduce).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let stages = place.path().join(".sempair/cache/pretrain");
    assert!(wait_for_checkpoint(&stages, &mut child));
    assert!(program("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(place.stdout(&["runs"]).contains("interrupted"));
    let kept =
        fs::read_dir(&stages).unwrap().flatten().any(|stage| stage.path().join("checkpoint.safetensors").exists());
    assert!(kept, "no checkpoint");
    place.stdout(&reproduce);
    assert_eq!(place.checkpoints(), whole.checkpoints());
    assert_eq!(whole.checkpoints().len(), 3);
}

#[test]
fn one_encoder_is_trained_probed_exported_and_imported() {
    let place = Place::new();
    let tiny: Vec<&str> =
        TINY.iter().copied().filter(|word| !["--methods", "simclr", "--seeds", "1"].contains(word)).collect();
    let trained = place.stdout(&[&["pretrain", "--quiet", "--method", "byol", "--pairs", "ap"], &tiny[..]].concat());
    assert!(trained.contains("completed") && trained.contains("BYOL AP synth seed 0"), "{trained}");
    let run = trained.split_whitespace().next().unwrap().to_owned();
    let record = place.json(&["show", &run, "--json"]);
    assert_eq!(record["args"][0], "sempair", "the program's path would reveal the machine");
    for curve in ["pretraining loss", "effective rank of features", "k-NN on semantic pairs, %"] {
        assert!(record["curves"].as_array().unwrap().iter().any(|c| c["name"] == curve), "{curve}");
    }

    let probed = place.stdout(&["probe", &run, "--on", "synth-10", "--quiet", "--set", "probe.iterations=20"]);
    assert!(probed.contains("completed") && probed.contains("BYOL AP synth-10"), "{probed}");
    let exported = place.stdout(&["export", &run, "--to", "out"]);
    assert_eq!(exported, "out/encoder.safetensors\nout/card.json\n");
    let card: Value = serde_json::from_slice(&fs::read(place.path().join("out/card.json")).unwrap()).unwrap();
    assert_eq!((&card["features"], &card["names"]), (&Value::from(128), &Value::from("torchvision")));

    // The exported weights give the same accuracy after they are imported again.
    let imported = place.stdout(&["import-weights", "out/encoder.safetensors", "--quiet"]);
    let imported = imported.split_whitespace().next().unwrap().to_owned();
    place.stdout(&["probe", &imported, "--on", "synth-10", "--quiet", "--set", "probe.iterations=20"]);
    let top1 = |of: &str| {
        let runs = place.json(&["runs", "--json"]);
        let probes: Vec<Value> =
            runs.as_array().unwrap().iter().filter(|run| run["experiment"] == "probe").cloned().collect();
        probes.iter().find(|run| run["row"].to_string().contains(of)).unwrap()["metrics"]["top1"].clone()
    };
    assert_eq!(top1("BYOL"), top1("weights of encoder.safetensors"));

    let error = place.error(&["export", "nonsense", "--to", "out"]);
    assert!(error.contains("nonsense") && error.contains("hint:"), "{error}");
    let error = place.error(&["pretrain", "--method", "byool", "--quiet"]);
    assert!(error.contains("byool"), "{error}");
    let error = place.error(&["probe", &run, "--on", "synth-10", "--data", "synth-100"]);
    assert!(error.contains("`--data synth-100` is not a folder") && error.contains("hint: "), "{error}");
}

#[test]
fn a_collapse_stops_a_training_unless_it_shall_go_on() {
    let place = Place::new();
    // If all images are equal, all projections are equal.
    let image = image::RgbImage::from_pixel(32, 32, image::Rgb([200, 120, 40]));
    for category in ["cat", "dog"] {
        let folder = place.path().join("same").join(category);
        fs::create_dir_all(&folder).unwrap();
        (0..8).for_each(|index| image.save(folder.join(format!("{index}.png"))).unwrap());
    }
    place.stdout(&["data", "import", "same", "--quiet"]);
    // A folder of images is not a folder of imported datasets.
    let error = place.error(&["pretrain", "--data", "same"]);
    assert!(error.contains("hint: a dataset is named with `--on same`"), "{error}");
    let arguments = "pretrain --quiet --method vicreg --on same --epochs 4 --set pairs.categories=2 \
                     --set pairs.per_category=4 --set pretrain.batch=4";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let error = place.error(&arguments);
    assert!(error.contains("the representation of VICReg has collapsed by epoch 1"), "{error}");
    assert!(error.contains("hint: ") && error.contains("--keep-going"), "{error}");
    assert_eq!(place.json(&["runs", "--json"])[0]["status"], "failed");

    let trained = place.stdout(&[&arguments[..], &["--keep-going"]].concat());
    assert!(trained.contains("completed") && trained.contains("VICReg SP same seed 0"), "{trained}");

    // A transformer gets its stem without a setting for it.
    let arguments = "pretrain --quiet --encoder vit-mini --epochs 1 --set pairs.categories=2 --set pairs.per_category=4 \
                     --set pretrain.batch=4 --keep-going";
    place.stdout(&arguments.split_whitespace().collect::<Vec<_>>());
    let runs = place.json(&["runs", "--last", "1", "--json"]);
    let stem = runs[0]["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "model.stem").unwrap();
    assert_eq!(stem["value"], "patch8");
}

#[test]
fn audit_tells_kept_from_changed() {
    let place = Place::new();
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"];
        let status = program("git").args(identity).args(arguments).current_dir(place.path()).output().unwrap();
        assert!(status.status.success(), "{status:?}");
    };
    git(&["init", "-q"]);
    fs::write(place.path().join(".gitignore"), ".sempair\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "-q", "-m", "start"]);
    place.reproduce(&[]);
    let audit = place.json(&["audit", "HEAD", "--json"]);
    let runs = audit["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 5);
    assert!(runs.iter().all(|run| run["intact"] == true && run["tree"] == "clean"), "{audit}");
    assert!(place.stdout(&["audit", "HEAD"]).contains("5 runs recorded at commit"));

    let id = runs[0]["id"].as_str().unwrap();
    let record = place.path().join(format!("reports/ledger/{id}.json"));
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, text.replacen("\"seed\": 0", "\"seed\": 1", 1)).unwrap();
    let found = place.run(&["audit", "HEAD"]);
    let text = String::from_utf8(found.stdout).unwrap();
    assert!(text.contains(": its hash does not match: it was changed after it was written"), "{text}");
    assert_eq!(found.status.code(), Some(1));
    assert!(place.error(&["audit", "nowhere"]).starts_with("error: "));
}

#[test]
fn settings_say_where_they_come_from_and_mistakes_what_is_near() {
    let place = Place::new();
    fs::write(place.path().join("sempair.toml"), "# mine\n[pretrain]\nepochs = 7\n").unwrap();
    let line = |text: &str, key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_string();
    let text = place.stdout(&["config", "--profile", "standard", "--set", "seeds=4"]);
    assert!(line(&text, "pretrain.epochs").ends_with("sempair.toml:3"), "{}", line(&text, "pretrain.epochs"));
    assert!(line(&text, "pretrain.batch").contains("profiles/standard.toml:"), "{text}");
    assert!(line(&text, "seeds = 4").contains("--set"), "{text}");
    // The paper profile must not inherit the changes that the small profiles make to a method.
    let text = place.stdout(&["config", "--profile", "paper"]);
    assert!(text.contains("\nmethods.simsiam.predictor_rate_factor = 1.0 "), "{text}");
    let mistakes = [
        (["config", "--set", "methods.simsiam.predictor_rate_factor=0"], "is 0; it must be above 0"),
        (["config", "--set", "pretrain.epoch=3"], "did you mean `pretrain.epochs`?"),
        (["config", "--set", "pretrain.epochs=many"], "`pretrain.epochs`"),
        (["config", "--set", "model.encoder=resnet19"], "did you mean `resnet18`?"),
        (["config", "--profile", "fast"], "there are quick, thorough, standard, paper"),
        (["config", "--device", "gpu"], "`gpu` is no device: auto, cpu, cuda or cuda:1"),
        (["config", "--set", "model.image=48"], "sizes are 16, 32, 64 and 96"),
        (["config", "--set", "model.stem=patch8"], "`--set model.stem=half`"),
        (["config", "--set", "vit.stem=half"], "`--set vit.stem=patch8`"),
        (["table", "transfer", "--set=pretrain.batch=4000"], "SP gives 2048 pairs"),
        (["table", "transfer", "--set=pairs.from=synth/train"], "`synth` has no splits"),
        (["table", "transfer", "--set=evaluation.sets=[\"synth\"]"], "no training and test images to evaluate on"),
        (["config", "--set", "epochs.values=3"], "`epochs.values` is"),
        (["config", "--set", "epochs.value=[3]"], "did you mean `epochs.values`?"),
        (["config", "--set", "vit.encoder=vit"], "`vit.encoder` is `vit`"),
        (["config", "--set", "samples.values=[0]"], "different numbers above 0"),
        (["lint", "nowhere.tex", "--quiet"], "cannot read nowhere.tex"),
        (["table", "tranfer", "--quiet"], "there is no table `tranfer`; there are transfer"),
        (["config", "--threads", "0"], "is not in 1..=4096"),
        (["data", "verify", "cifar-10"], "cifar-10"),
    ];
    for (arguments, expected) in mistakes {
        let error = place.error(&arguments);
        assert!(error.starts_with("error: ") && error.contains(expected) && error.contains("hint: "), "{error}");
    }
    let output = place.command(&["config"]).env("SEMPAIR_ISA", "mmx").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let output = place.command(&["config"]).env("SEMPAIR_PRETRAIN__EPOCS", "1").output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("pretrain.epochs"));
}

#[test]
fn every_default_has_a_comment_and_a_reader() {
    let defaults = include_str!("../experiments/defaults.toml");
    let complaints = sempair::harness::config::complaints::<sempair::study::settings::Settings>(defaults).unwrap();
    assert!(complaints.is_empty(), "{complaints:?}");
    // Keys without a field in `Settings` belong to a table, and a table refuses unknown keys.
    let resolved = sempair::harness::config::Layers::new().embedded("defaults", defaults);
    let settings = resolved.resolve::<sempair::study::settings::Settings>().unwrap().settings;
    let tables = Place::new().json(&["list", "--json"]);
    let is_table = |group: &&String| tables.as_array().unwrap().iter().any(|table| table["id"] == **group);
    let others: Vec<&String> = settings.tables.keys().filter(|group| !is_table(group)).collect();
    assert!(others.is_empty(), "{others:?}");
    for profile in ["quick", "thorough", "standard", "paper"] {
        Place::new().stdout(&["config", "--profile", profile]);
    }
}

#[test]
fn pairs_and_previews_of_the_embedded_world() {
    let place = Place::new();
    let pairs = place.json(&["data", "pairs", "--from", "synth", "--categories", "5", "--per-category", "3", "--json"]);
    assert_eq!((&pairs["pairs"], &pairs["categories"]), (&Value::from(15), &Value::from(5)));
    let list = pairs["file"].as_str().unwrap();
    assert_eq!(
        fs::read_to_string(place.path().join(list)).unwrap().lines().filter(|l| !l.starts_with('#')).count(),
        16
    );
    place.stdout(&["data", "preview", "synth", "--rows", "2", "--file", "out/world.png"]);
    let png = fs::read(place.path().join("out/world.png")).unwrap();
    assert_eq!(&png[1..4], b"PNG");
    assert!(place.stdout(&["data", "list"]).contains("no imported datasets"));
}

/// The path of a real archive, or `None` if it is missing.
fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if !path.exists() {
        println!("skipped: ../shared/data/{name} is not there");
    }
    path.exists().then_some(path)
}

#[test]
fn real_photographs_go_through_the_same_commands() {
    let (Some(tiny), Some(cifar)) = (shared("tiny-imagenet-200.tar"), shared("cifar-10-binary.tar")) else { return };
    let place = Place::new();
    for archive in [&tiny, &cifar] {
        place.stdout(&["data", "import", "--quiet", "--licence", "for research", archive.to_str().unwrap()]);
    }
    assert_eq!(place.stdout(&["data", "list"]).matches("  licence: for research\n").count(), 2);
    let verified = place.stdout(&["data", "verify"]);
    assert_eq!(verified, "cifar-10: holds\ntiny-imagenet: holds\n");
    let settings: Vec<&str> = [
        "model.encoder=resnet-small",
        "model.image=32",
        "pairs.categories=10",
        "pairs.per_category=5",
        "pretrain.epochs=1",
        "pretrain.batch=25",
        "probe.iterations=5",
        "probe.penalties=[0.1]",
    ]
    .iter()
    .flat_map(|set| ["--set", set])
    .collect();
    let base = ["reproduce", "--profile", "standard", "--table", "transfer", "--methods", "simclr", "--seeds", "1"];
    let output = place.run(&[&base[..], &settings[..]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("`stl-10` is not imported"), "{said}");
    let html = fs::read_to_string(place.path().join("reports/standard/report.html")).unwrap();
    assert!(html.contains("hand-made set of pairs"), "the caption says what the pairs are");
    assert!(html.contains("licence for research."), "each set's licence, as it was stated");
}
