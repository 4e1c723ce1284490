//! Cells side by side have the same results and records as cells one after another, even if one of them fails.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sempair::error::{Error, ErrorKind, Result};
use sempair::harness::code::Code;
use sempair::harness::experiment::{Cell, Experiment, Measurement, Table};
use sempair::harness::outcome::Outcome;
use sempair::harness::record::{Record, Status};
use sempair::harness::runner::Options;
use sempair::harness::source::{DirtyTree, Policy};
use serde_json::json;

use super::{Project, Settings, stage};

/// Cells that each have their own stage, which takes a moment.
#[derive(Default)]
struct Many {
    cells: u64,
    /// The seed of the cell that measures times.
    timed: Option<u64>,
    /// How the cell of seed 0 fails.
    trouble: Option<&'static str>,
    /// How many stages are computed now.
    now: Arc<AtomicUsize>,
    /// The largest value of `now` so far.
    most: Arc<AtomicUsize>,
    computed: Arc<AtomicUsize>,
}

impl Many {
    fn of(cells: u64) -> Self {
        Self { cells, ..Self::default() }
    }
}

impl Experiment<Settings> for Many {
    fn id(&self) -> &'static str {
        "many"
    }

    fn title(&self) -> &'static str {
        "Many"
    }

    fn table(&self, _: &Settings) -> Result<Table> {
        Ok(Table { id: "many".into(), ..Table::default() })
    }

    fn cells(&self, _: &Settings) -> Result<Vec<Cell>> {
        let cell = |seed: u64| {
            let (now, most, computed) = (self.now.clone(), self.most.clone(), self.computed.clone());
            let trouble = self.trouble.filter(|_| seed == 0);
            let own = stage("own", &json!({ "seed": seed }), 10.0, move |site| {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // The failure happens while the other cells are still running.
                for _ in 0..if trouble.is_some() { 4 } else { 20 } {
                    std::thread::sleep(Duration::from_millis(5));
                    site.interrupt.check().inspect_err(|_| {
                        now.fetch_sub(1, Ordering::SeqCst);
                    })?;
                }
                now.fetch_sub(1, Ordering::SeqCst);
                computed.fetch_add(1, Ordering::SeqCst);
                match trouble {
                    Some("panic") => panic!("shapes differ"),
                    Some("diverge") => return Err(Error::diverged("all are one")),
                    Some(_) => return Err(Error::new("no data")),
                    None => {}
                }
                fs::write(site.dir.join("out"), seed.to_string()).map_err(|error| Error::new(error.to_string()))
            });
            let of = own.clone();
            let read = move |done: &sempair::harness::stage::Done| {
                let text = fs::read_to_string(done.of(&of).dir.join("out")).unwrap();
                let metrics = BTreeMap::from([("top1".to_owned(), text.parse().unwrap())]);
                Ok(Outcome { metrics, ..Outcome::default() })
            };
            let timed = self.timed == Some(seed);
            let (stages, beside, code, read) = (vec![own], Vec::new(), Code::default(), Arc::new(read));
            Cell::new(Vec::new(), "c", seed, Measurement { stages, beside, timed, code, read })
        };
        Ok((0..self.cells).map(cell).collect())
    }
}

fn options(project: &Project, jobs: Option<usize>) -> Options {
    Options {
        force: false,
        budget: None,
        jobs,
        repo: project.folder.path().to_owned(),
        outputs: Vec::new(),
        source: Policy { dirty: DirtyTree::Record, keep_mib: 0 },
    }
}

/// How many cells run side by side by default: the number of threads, but at most the number of cores.
fn most() -> usize {
    rayon::current_num_threads().min(std::thread::available_parallelism().unwrap().get())
}

fn by_seed(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| record.seed);
    records
}

#[test]
fn side_by_side_they_measure_what_they_do_one_after_another() {
    let of = |jobs| {
        let (project, many) = (Project::new(), Many::of(6));
        let tables = project.run_experiment(&many, &options(&project, jobs)).unwrap();
        let records = by_seed(project.records());
        let ids: Vec<String> = records.iter().map(|record| record.id.clone()).collect();
        assert_eq!(tables[0].runs, ids, "in the order of the cells");
        assert_eq!(many.computed.load(Ordering::SeqCst), 6);
        let figures: Vec<_> = records.iter().map(|record| record.metrics.clone()).collect();
        let files: Vec<_> = records.iter().map(|record| record.stages[0].files.clone()).collect();
        (figures, files, many.most.load(Ordering::SeqCst), records)
    };
    let (figures, files, side_by_side, records) = of(Some(1));
    assert_eq!(side_by_side, 1);
    assert!(records.iter().all(|record| record.stages[0].beside == 0));
    for jobs in [None, Some(2), Some(1000)] {
        let (others, other_files, side_by_side, records) = of(jobs);
        assert_eq!((&others, &other_files), (&figures, &files));
        assert_eq!(side_by_side, jobs.unwrap_or(1000).min(most()));
        let stages = || records.iter().map(|record| &record.stages[0]);
        assert_eq!(stages().map(|stage| stage.beside + 1).max(), Some(side_by_side));
        assert!(stages().all(|stage| (1..=most()).contains(&stage.threads)));
    }
}

#[test]
fn what_is_timed_has_nobody_beside_it() {
    let (project, many) = (Project::new(), Many { timed: Some(3), ..Many::of(5) });
    project.run_experiment(&many, &options(&project, None)).unwrap();
    let stage = &by_seed(project.records())[3].stages[0];
    assert_eq!((stage.beside, stage.threads), (0, most()));
}

#[test]
fn a_failure_ends_the_others_at_a_safe_point() {
    for (trouble, status) in [("fail", Status::Interrupted), ("diverge", Status::Completed)] {
        let (project, many) = (Project::new(), Many { trouble: Some(trouble), ..Many::of(6) });
        let error = project.run_experiment(&many, &options(&project, None)).expect_err(trouble);
        let records = by_seed(project.records());
        assert_eq!(records[0].status, Status::Failed);
        if most() > 1 && trouble == "fail" {
            assert_eq!((error.kind(), records[1].status), (ErrorKind::Failure, status));
            assert_eq!(records.len(), most(), "no further cell is started");
        }
        if trouble == "diverge" {
            assert_eq!((error.kind(), records.len()), (ErrorKind::Diverged, 6));
            assert!(records[1..].iter().all(|record| record.status == status), "the others continue");
        }
        // The same command continues.
        let whole = Many::of(6);
        project.run_experiment(&whole, &options(&project, None)).unwrap();
        let completed = |seed| project.records().iter().any(|r| r.seed == seed && r.status == Status::Completed);
        assert!((0..6).all(completed));
    }
}

#[test]
fn a_panic_goes_on_in_the_command_once_all_are_recorded() {
    let (project, many) = (Project::new(), Many { trouble: Some("panic"), ..Many::of(4) });
    let run = || project.run_experiment(&many, &options(&project, None));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    let records = by_seed(project.records());
    assert_eq!(records[0].error.as_deref(), Some("panic: shapes differ"));
    assert!(records.iter().all(|record| record.status != Status::Running && record.status != Status::Killed));
}

#[test]
fn who_asks_to_stop_stops_all() {
    let (project, many) = (Project::new(), Many::of(6));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while many.now.load(Ordering::SeqCst) < most() {
                std::thread::sleep(Duration::from_millis(1));
            }
            project.interrupt.request();
        });
        let error = project.run_experiment(&many, &options(&project, None)).expect_err("asked to stop");
        assert_eq!(error.kind(), ErrorKind::Interrupted);
    });
    assert_eq!(project.statuses(), vec![Status::Interrupted; most()]);
}

#[test]
fn two_commands_with_several_jobs_each_run_no_cell_twice() {
    let (project, many) = (Project::new(), Many::of(8));
    let run = || project.run_experiment(&many, &options(&project, None)).unwrap().remove(0).runs;
    let (one, other) = std::thread::scope(|scope| {
        let other = scope.spawn(run);
        (run(), other.join().unwrap())
    });
    assert_eq!(one, other);
    assert_eq!((many.computed.load(Ordering::SeqCst), project.records().len()), (8, 8));
}
