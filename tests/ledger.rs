//! Records, cache, locks, configuration layers: the guarantees of the harness when files are hostile, processes die and
//! settings are misspelt.

mod audit; // git, and the changes that an audit finds
mod cache;
mod clock; // start and end times of runs
mod energy; // what the machine's counters count while a run runs
mod failures; // runs that fail
mod history; // journals: what was removed, added or replaced
mod jobs; // cells side by side
mod rebuild; // programs of earlier commits
mod repetition; // runs and their repetitions
mod settings;
mod source; // the code of runs

use crate::sealed::resealed;
use proptest::prelude::Just;
use proptest::prelude::Strategy;
use proptest::prelude::any;
use proptest::prelude::prop;
use proptest::prelude::prop_oneof;
use sempair::error::Error;
use sempair::error::Result;
use sempair::harness::cache::Cache;
use sempair::harness::code::Code;
use sempair::harness::config::Layers;
use sempair::harness::config::Resolved;
use sempair::harness::energy::Meter;
use sempair::harness::estimate::Estimate;
use sempair::harness::experiment::Better;
use sempair::harness::experiment::Cell;
use sempair::harness::experiment::Column;
use sempair::harness::experiment::Experiment;
use sempair::harness::experiment::Measurement;
use sempair::harness::experiment::MetricInfo;
use sempair::harness::experiment::Table;
use sempair::harness::git::Tree;
use sempair::harness::interrupt::Interrupt;
use sempair::harness::ledger::Claimed;
use sempair::harness::ledger::Ledger;
use sempair::harness::outcome::Curve;
use sempair::harness::outcome::Outcome;
use sempair::harness::progress::Progress;
use sempair::harness::progress::duration;
use sempair::harness::provenance::Compute;
use sempair::harness::provenance::Host;
use sempair::harness::record::Record;
use sempair::harness::record::Status;
use sempair::harness::runner;
use sempair::harness::runner::RunContext;
use sempair::harness::runner::TableRun;
use sempair::harness::scaling::Scaling;
use sempair::harness::schedule::Step;
use sempair::harness::source::{DirtyTree, Policy};
use sempair::harness::stage::Cost;
use sempair::harness::stage::Description;
use sempair::harness::stage::Site;
use sempair::harness::stage::Stage;
use sempair::harness::stage_runner::StageRunner;
use serde::Deserialize;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Settings {
    seeds: u64,
    device: String,
    pretrain: Pretrain,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pretrain {
    epochs: u32,
    rate: f64,
    optimiser: Optimiser,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Optimiser {
    Sgd,
    AdamW,
}

const DEFAULTS: &str = "\
# Seeds per cell.
seeds = 3
# Where to compute:
# a name.
device = \"auto\"

[pretrain]
# Passes over the pairs.
epochs = 100
# The peak learning rate.
rate = 0.5
# The update rule.
optimiser = \"sgd\"
";

fn layers() -> Layers {
    Layers::new().embedded("defaults", DEFAULTS).embedded("profile quick", "seeds = 2\n\npretrain.epochs = 8\n")
}

fn resolve(layers: Layers) -> Result<Resolved<Settings>> {
    layers.resolve()
}

/// A project in a temporary folder with one experiment, whose cells count how often they run.
struct Project {
    folder: tempfile::TempDir,
    compute: Compute,
    interrupt: Interrupt,
    lines: Arc<Mutex<Vec<String>>>,
    count: Count,
}

#[derive(Default)]
struct Count {
    ran: Arc<Ran>,
    /// The predicted seconds of the stage; 0 for no prediction.
    predicted: f64,
}

/// How many cells and stages ran so far, and the next failure.
#[derive(Default)]
struct Ran {
    cells: AtomicUsize,
    stages: AtomicUsize,
    /// How the next cell or stage fails; `None` if it succeeds.
    trouble: Mutex<Option<&'static str>>,
}

impl Count {
    fn ran(&self) -> (usize, usize) {
        (self.ran.cells.load(Ordering::SeqCst), self.ran.stages.load(Ordering::SeqCst))
    }
}

/// A stage with these inputs.
fn stage(
    name: &'static str,
    inputs: &serde_json::Value,
    seconds: f64,
    work: impl Fn(&Site<'_>) -> Result<()> + Send + Sync + 'static,
) -> Arc<Stage> {
    let description = Description {
        name,
        inputs: inputs.clone(),
        after: Vec::new(),
        code: Code::default(),
        compute: Compute::default(),
        cost: Cost { seconds, ..Cost::default() },
        timed: &["time"],
    };
    Stage::new(description, work)
}

impl Project {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            compute: Compute { device: "cpu".into(), isa: "avx2".into(), precision: "f32".into() },
            interrupt: Interrupt::never(),
            lines: Arc::default(),
            count: Count::default(),
        }
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(self.folder.path().join("reports/ledger"), self.folder.path().join("locks"))
    }

    fn cache(&self) -> Cache {
        Cache::open(self.folder.path().join("cache"))
    }

    fn progress(&self) -> Progress {
        let lines = self.lines.clone();
        Progress::lines(move |line| lines.lock().unwrap().push(line.to_owned()))
    }

    fn lab_stage(
        &self,
        inputs: &serde_json::Value,
        work: impl Fn(&Path) -> Result<()> + Send + Sync + 'static,
    ) -> Result<String> {
        let (cache, progress) = (self.cache(), self.progress());
        let mut lab = StageRunner::new(&cache, &progress, &self.interrupt, "test");
        let made = stage("made", inputs, 0.0, move |site| work(site.dir));
        Ok(fs::read_to_string(lab.run(&made)?.dir.join("out")).unwrap())
    }

    fn run(&self, force: bool) -> Result<Vec<TableRun>> {
        self.run_experiment(&self.count, &self.options(force))
    }

    fn run_within(&self, force: bool, budget: Option<f64>) -> Result<Vec<TableRun>> {
        self.run_experiment(&self.count, &runner::Options { budget, ..self.options(force) })
    }

    fn options(&self, force: bool) -> runner::Options {
        let (root, source) = (self.folder.path(), Policy { dirty: DirtyTree::Record, keep_mib: 16 });
        let outputs = vec![root.join("reports"), root.join(".sempair")];
        runner::Options { force, budget: None, jobs: Some(1), repo: root.to_owned(), outputs, source }
    }

    fn run_experiment(
        &self,
        experiment: &dyn Experiment<Settings>,
        options: &runner::Options,
    ) -> Result<Vec<TableRun>> {
        let resolved = resolve(layers()).unwrap();
        runner::run(
            runner::plan(&[experiment], &resolved.settings)?,
            &resolved,
            "quick",
            RunContext {
                gpu: "",
                compute: &self.compute,
                ledger: &self.ledger(),
                cache: &self.cache(),
                scaling: &self.scaling(),
                energy: &Meter::open(&self.folder.path().join("powercap")),
                progress: &self.progress(),
                interrupt: &self.interrupt,
            },
            options,
            &["sempair".into(), "reproduce".into(), "--token=abc".into()],
        )?
        .whole()
    }

    /// The scaling of work on this machine, without any measurement.
    fn scaling(&self) -> Scaling {
        Scaling::open(&self.folder.path().join("cache"), &Host::default(), &self.compute)
    }

    fn records(&self) -> Vec<Record> {
        let (records, problems) = self.ledger().records().unwrap();
        assert_eq!(problems, []);
        records
    }

    fn statuses(&self) -> Vec<Status> {
        self.records().iter().map(|record| record.status).collect()
    }
}

impl Experiment<Settings> for Count {
    fn id(&self) -> &'static str {
        "count"
    }

    fn title(&self) -> &'static str {
        "Counting"
    }

    fn table(&self, _: &Settings) -> Result<Table> {
        let metric = MetricInfo {
            id: "top1".into(),
            title: "linear".into(),
            unit: "%".into(),
            better: Better::More,
            decimals: 1,
        };
        let column =
            Column { id: "c".into(), title: "C".into(), stands_for: None, substitute: true, metrics: Vec::new() };
        Ok(Table {
            id: "count".into(),
            title: "Counting".into(),
            in_paper: true,
            columns: vec![column],
            metrics: vec![metric],
            varies: "nothing".into(),
            ..Table::default()
        })
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        let row = vec![("method".to_owned(), "SimCLR".to_owned()), ("pairs".to_owned(), "SP".to_owned())];
        let ran = self.ran.clone();
        let shared = stage("shared", &json!({"rate": settings.pretrain.rate}), self.predicted, move |site| {
            ran.stages.fetch_add(1, Ordering::SeqCst);
            if ran.trouble.lock().unwrap().take_if(|trouble| *trouble == "stage").is_some() {
                return Err(Error::diverged("all are one").hint("lower the rate"));
            }
            fs::write(site.dir.join("out"), "shared").map_err(|error| Error::new(error.to_string()))
        });
        let cell = |seed| {
            let ran = self.ran.clone();
            let (stages, read) = (vec![shared.clone()], Arc::new(move |_: &_| outcome(&ran, seed)));
            Cell::new(
                row.clone(),
                "c",
                seed,
                Measurement { stages, beside: Vec::new(), timed: false, code: Code::default(), read },
            )
        };
        Ok((0..settings.seeds).map(cell).collect())
    }
}

/// The outcome of a cell, or its failure if `trouble` is set.
fn outcome(ran: &Ran, seed: u64) -> Result<Outcome> {
    ran.cells.fetch_add(1, Ordering::SeqCst);
    let mut metrics = BTreeMap::from([("top1".to_owned(), 54.2), ("knn".to_owned(), seed as f64)]);
    let trouble = ran.trouble.lock().unwrap().take(); // the lock is released before any panic
    match trouble {
        Some("fail") => return Err(Error::new("no data at https://me:pw@host")),
        Some("interrupt") => return Err(Error::interrupted("stopped")),
        Some("panic") => panic!("shapes differ"),
        Some("nan") => drop(metrics.insert("top1".into(), f64::NAN)),
        _ => {}
    }
    let x: Vec<f64> = (0..1001).map(f64::from).collect();
    let curve = Curve { name: "loss".into(), x_title: "step".into(), y_title: "loss".into(), y: x.clone(), x };
    Ok(Outcome { metrics, curves: vec![curve], ..Outcome::default() })
}

#[test]
fn a_second_run_finds_every_cell_and_force_runs_all_again() {
    let project = Project::new();
    let first = project.run(false).unwrap();
    let second = project.run(false).unwrap();
    assert_eq!(first, second);
    assert_eq!(project.count.ran(), (2, 1));
    let mut lines = project.lines.lock().unwrap().clone();
    lines.iter_mut().for_each(|line| *line = line.split(" (").next().unwrap().to_owned());
    let cell = |i: u64| format!("[{}/2] count SimCLR SP c seed {i}: linear 54.2", i + 1);
    assert_eq!(lines, [cell(0), cell(1), "2 of 2 cells were in the ledger".to_owned()]);

    project.run(true).unwrap();
    assert_eq!(project.count.ran(), (4, 2), "the stage ran again, once for both cells");
    let records = project.records();
    assert_eq!(records[0].superseded_by.as_ref(), Some(&records[2].id));
    assert_eq!(records[2].superseded_by, None);
}

#[test]
fn a_record_says_what_was_run() {
    let project = Project::new();
    let id = project.run(false).unwrap()[0].runs[1].clone();
    let record = project.ledger().find(&id[28..]).unwrap();
    assert_eq!(record.id, id);
    assert_eq!((record.status, record.seed, record.column.as_str()), (Status::Completed, 1, "c"));
    assert_eq!(record.args, ["sempair", "reproduce", "--token=[redacted]"]);
    assert_eq!(record.git.note.as_deref(), Some("not a git repository"));
    assert_eq!(record.build.code.len(), 64);
    assert!(record.build.binary_hash.is_some());
    assert!(record.build.rustc.starts_with("rustc 1."));
    assert_eq!((record.curves[0].x.len(), record.curves[0].x[0], record.curves[0].y[199]), (200, 0.0, 1000.0));
    let origins: Vec<&str> = record.settings.iter().map(|setting| setting.origin.as_str()).collect();
    assert_eq!(origins[..2], ["profiles/quick.toml:1", "defaults.toml:5"]);
    let stage = &record.stages[0];
    assert_eq!((stage.name.as_str(), stage.computed, stage.files[0].bytes), ("shared", false, 6));
    assert_eq!(stage.from.as_ref(), Some(&project.records()[0].id));
}

#[test]
fn of_two_who_want_a_run_one_begins_it() {
    let project = Project::new();
    project.run(false).unwrap();
    let ledger = project.ledger();
    let (mut one, mut other) = (ledger.watch(&project.records()), ledger.watch(&project.records()));
    let record = |id: &str, key: &str| Record {
        id: id.to_owned(),
        key: key.to_owned(),
        status: Status::Running,
        ..project.records().remove(0)
    };
    let Claimed::Mine(running) = one.claim(&mut record("f198", "k")).unwrap() else { panic!("no other claim exists") };
    assert!(matches!(other.claim(&mut record("f199", "k")).unwrap(), Claimed::Busy));
    ledger.finish(running, &Record { status: Status::Completed, ..record("f198", "k") }).unwrap();
    assert!(matches!(other.claim(&mut record("f199", "k")).unwrap(), Claimed::Done(id) if id == "f198"));
    assert_eq!(other.completed("k"), Some("f198"));

    // Any process may claim a run that a killed process has begun.
    let Claimed::Mine(running) = one.claim(&mut record("f19a", "l")).unwrap() else { panic!("a new key") };
    drop(running);
    assert!(matches!(other.claim(&mut record("f19b", "l")).unwrap(), Claimed::Mine(_)));
}

#[test]
fn two_at_once_run_each_cell_once() {
    for _ in 0..10 {
        let project = Project::new();
        let ids = |tables: Vec<TableRun>| tables[0].runs.clone();
        let [one, other] = std::thread::scope(|scope| {
            let runs = [0, 1].map(|_| scope.spawn(|| ids(project.run(false).unwrap())));
            runs.map(|run| run.join().unwrap())
        });
        assert_eq!(one, other);
        assert_eq!(project.count.ran(), (2, 1));
        assert_eq!(project.found(), Vec::<String>::new(), "the journals of both have every line");
    }
}

#[test]
fn a_budget_starts_only_what_fits() {
    let mut project = Project::new();
    project.count.predicted = 1000.0;
    assert_eq!(project.run_within(false, Some(60.0)).unwrap()[0].runs, Vec::<String>::new());
    let lines = std::mem::take(&mut *project.lines.lock().unwrap());
    let scaling = project.scaling();
    let threads = rayon::current_num_threads();
    let predicted = Step { seconds: 1000.0, serial: scaling.serial(None), memory: 0 }.on(threads);
    let ahead = format!("about {} to go, with a budget of 1 min 00 s", duration(predicted));
    assert_eq!(lines, [ahead.as_str(), "2 of 2 cells did not fit into the budget"]);
    project.run_within(false, Some(2000.0)).unwrap();
    assert_eq!(project.statuses(), [Status::Completed; 2]);
    let stage = &project.records()[0].stages[0];
    assert_eq!((stage.predicted, stage.computed), (predicted, true));
    // It took far less time than predicted, and the next estimate uses the measured time. The stage is counted once.
    let (cache, records) = (Cache::open(project.folder.path().join("none")), project.records());
    let cells = project.count.cells(&resolve(layers()).unwrap().settings).unwrap();
    let host = &records[0].host;
    let estimate = Estimate::new(&records, "quick", host, &project.compute, &scaling);
    let missing = estimate.missing(cells.iter().map(Some), &cache, false);
    assert!((missing.total(threads) - stage.seconds).abs() < 1e-9 && missing.work.steps.len() == 1, "{missing:?}");
    let elsewhere = Host { cpu: "another processor".into(), ..host.clone() };
    let elsewhere = Estimate::new(&records, "quick", &elsewhere, &project.compute, &scaling);
    assert_eq!(elsewhere.missing(cells.iter().map(Some), &cache, false).total(threads), predicted);
    assert_eq!(elsewhere.missing(cells.iter().map(Some), &project.cache(), false).total(threads), 0.0, "it is cached");
    assert_eq!(
        elsewhere.missing(cells.iter().map(Some), &project.cache(), true).total(threads),
        predicted,
        "a forced run computes it again"
    );
}

#[test]
fn a_run_whose_lock_is_free_was_killed() {
    let project = Project::new();
    project.run(false).unwrap();
    let mut record = project.records().remove(0);
    record.id = "0197".to_owned();
    record.status = Status::Running;
    let running = project.ledger().begin(&record).unwrap();
    assert_eq!(project.ledger().find("0197").unwrap().status, Status::Running);
    assert_eq!(project.ledger().bury_killed().unwrap(), 0);
    drop(running); // as the system does when the process dies
    assert_eq!(project.ledger().find("0197").unwrap().status, Status::Killed);
    let stored = project.ledger().dir().join("0197.json");
    assert!(fs::read_to_string(&stored).unwrap().contains("\"status\": \"running\""));
    assert_eq!(project.ledger().bury_killed().unwrap(), 1);
    assert!(fs::read_to_string(&stored).unwrap().contains("\"status\": \"killed\""));
    assert!(project.ledger().look_up("0197").unwrap().1);
}

#[test]
fn hostile_files_never_hide_the_other_records() {
    let project = Project::new();
    assert!(project.records().is_empty());
    project.run(false).unwrap();
    let dir = project.ledger().dir().to_owned();
    let ids: Vec<String> = project.records().into_iter().map(|record| record.id).collect();
    fs::write(dir.join("a-half.json"), "{\"schema\": \"sempair.run/1\", \"id\":").unwrap();
    fs::write(dir.join("b-empty.json"), "").unwrap();
    fs::write(dir.join("c-foreign.json"), "{\"name\": \"package\"}").unwrap();
    fs::write(dir.join("d-future.json"), "{\"schema\": \"sempair.run/9\"}").unwrap();
    fs::write(dir.join("e-bytes.json"), [0xff, 0x00]).unwrap();
    fs::write(dir.join("f-fields.json"), "{\"schema\": \"sempair.run/1\", \"id\": \"f-fields\"}").unwrap();
    fs::write(dir.join("g-deep.json"), "[".repeat(100_000)).unwrap();
    fs::create_dir(dir.join("h-folder.json")).unwrap();
    fs::copy(dir.join(format!("{}.json", ids[0])), dir.join("i-copy.json")).unwrap();
    fs::write(dir.join(".j.tmp"), "half a write").unwrap();
    let (records, problems) = project.ledger().records().unwrap();
    assert_eq!(records.iter().map(|record| record.id.clone()).collect::<Vec<_>>(), ids);
    let shown: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}: {}", problem.file.file_name().unwrap().display(), problem.what))
        .collect();
    let shown = shown.join("\n").replace(&ids[0], "ID");
    insta::assert_snapshot!(shown, @r"
    a-half.json: not JSON: EOF while parsing a value at line 1 column 33
    b-empty.json: not JSON: EOF while parsing a value at line 1 column 0
    c-foreign.json: not a run record: it has no schema
    d-future.json: of schema `sempair.run/9`, which this version cannot read
    e-bytes.json: cannot read it: stream did not contain valid UTF-8
    f-fields.json: damaged: missing field `experiment`
    g-deep.json: not JSON: recursion limit exceeded at line 1 column 128
    h-folder.json: not a plain file of a record's size
    i-copy.json: a copy: the record inside is `ID`
    ");
}

#[test]
fn a_part_of_an_id_names_one_run_or_the_candidates() {
    let project = Project::new();
    project.run(false).unwrap();
    let ids: Vec<String> = project.records().into_iter().map(|record| record.id).collect();
    let error = |part: &str| project.ledger().find(part).unwrap_err().to_string();
    let both = format!("2 runs match `{}`\n\nhint: give more of the id: `{}`, `{}`", &ids[0][..6], ids[0], ids[1]);
    assert_eq!(error(&ids[0][..6]), both);
    let place = project.ledger().dir().display().to_string();
    assert_eq!(error("nope"), format!("no run `nope` in {place}\n\nhint: `sempair runs` lists all"));
    assert!(error("").starts_with("no run ``"));
    assert_eq!(project.ledger().find(project.records()[1].short()).unwrap().id, ids[1]);
}

// A record as version 1 wrote it, with a field of a later version. It must stay readable: never change this text.
const VERSION_1: &str = r#"{"schema": "sempair.run/1", "id": "01936a2b", "experiment": "transfer", "key": "k",
"status": "completed", "started": "2026-11-23T12:00:00.000Z", "ended": "2026-11-23T12:00:12.000Z", "seconds": 12.5,
"row": [["method", "SimCLR"], ["pairs", "AP"]], "column": "synth-10", "seed": 4, "metrics": {"top1": 54.25},
"settings": [{"key": "seeds", "value": 3, "origin": "defaults.toml:2"}], "inputs": {"epochs": 8},
"git": {"commit": "abc", "branch": "main", "dirty": true, "diff_hash": "d", "untracked": ["x"], "note": null},
"host": {"hostname": "h", "os": "Linux", "cpu": "c", "cores": 2, "memory_gib": 7.5, "threads": 2},
"compute": {"device": "cpu", "isa": "avx512", "precision": "f32"}, "later": {"field": 1},
"curves": [{"name": "loss", "x_title": "step", "y_title": "loss", "x": [0.0], "y": [5.5]}],
"stages": [{"name": "world", "key": "w", "computed": false, "from": "r", "seconds": 1.0,
"files": [{"name": "a", "bytes": 3, "hash": "f"}]}]}"#;

#[test]
fn a_record_of_version_1_is_read() {
    let record = Record::parse(VERSION_1).unwrap();
    assert_eq!((record.seed, record.metrics["top1"], record.host.memory_gib), (4, 54.25, 7.5));
    assert_eq!(
        (record.git.tree(), record.compute.isa.as_str(), record.stages[0].files[0].bytes),
        (Tree::Dirty, "avx512", 3)
    );
}

fn any_record() -> impl Strategy<Value = Record> {
    let finite = any::<f64>().prop_filter("JSON has no infinities", |value| value.is_finite());
    let metrics = prop::collection::btree_map(".*", finite.clone(), 0..4);
    let status = prop_oneof![Just(Status::Completed), Just(Status::Failed), Just(Status::Killed)];
    let parts = (metrics, status, any::<u64>(), ".*", prop::collection::vec((".*", ".*"), 0..3), finite);
    parts.prop_map(|(metrics, status, seed, text, row, number)| Record {
        metrics,
        status,
        seed,
        row,
        error: Some(text.clone()),
        inputs: json!({ "text": text, "number": number, "none": null }).into(),
        ..Record::parse(VERSION_1).unwrap()
    })
}

#[test]
fn lines_of_a_record_are_its_own_and_there_once() {
    let project = Project::new();
    project.run(false).unwrap();
    let record = project.records().remove(0);
    let text = fs::read_to_string(project.ledger().dir().join(format!("{}.json", record.id))).unwrap();
    assert_eq!(Record::parse(&text).unwrap(), record);
    let line = text.lines().find(|line| line.starts_with("\"inputs\": ")).unwrap();
    let twice = text.replace(line, &format!("\"inputs\": 1,\n{line}"));
    assert_eq!(Record::parse(&twice).unwrap(), record, "the last one counts, as in every reader of JSON");
    // A line of another object, which begins on the line before.
    let nested = text.replace(line, "\"later\": {\"a\": 1,\n\"inputs\": 1,\n\"b\": 2},");
    assert!(Record::parse(&nested).unwrap().inputs.is_null());
    let no_comma = text.replace(line, &line[..line.len() - 1]);
    assert!(Record::parse(&no_comma).unwrap_err().to_string().contains("not JSON"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn a_record_comes_back_as_it_was_written(record in any_record()) {
        let project = Project::new();
        let running = project.ledger().begin(&record).unwrap();
        project.ledger().finish(running, &record).unwrap();
        let mut read = project.records().remove(0);
        proptest::prop_assert!(project.ledger().look_up(&record.id).unwrap().1);
        read.hash = record.hash.clone();
        proptest::prop_assert_eq!(&read, &record);
        // A record is read with any line breaks.
        for text in [serde_json::to_string(&record).unwrap(), serde_json::to_string_pretty(&record).unwrap()] {
            proptest::prop_assert_eq!(&Record::parse(&text).unwrap(), &record);
        }
    }
}

#[test]
fn ten_thousand_records_load_in_under_a_second() {
    let project = Project::new();
    project.run(false).unwrap();
    let dir = project.ledger().dir().to_owned();
    let id = project.records()[0].id.clone();
    let text = fs::read_to_string(dir.join(format!("{id}.json"))).unwrap();
    for i in 0..10_000 {
        let other = format!("{i:08}{}", &id[8..]);
        fs::write(dir.join(format!("{other}.json")), resealed(&text.replace(&id, &other))).unwrap();
    }
    let start = Instant::now();
    assert_eq!(project.records().len(), 10_002);
    println!("10,002 records of {} bytes: {:?}", text.len(), start.elapsed());
    // The machine may be shared, so this limit is generous. It fails only if loading becomes much slower.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}
