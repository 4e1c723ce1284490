//! Runs the cells that have no completed record yet, one after another (each uses all cores), and records each. Several
//! processes may do so on one ledger: a cell that another one runs, or whose stage it computes, is left for later.

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::clock::Stopwatch;
use crate::harness::config::Origin;
use crate::harness::config::Resolved;
use crate::harness::estimate::Estimate;
use crate::harness::experiment::Cell;
use crate::harness::experiment::Experiment;
use crate::harness::experiment::Table;
use crate::harness::interrupt::Interrupt;
use crate::harness::lab::Lab;
use crate::harness::ledger::Claim;
use crate::harness::ledger::Ledger;
use crate::harness::ledger::Running;
use crate::harness::ledger::Watch;
use crate::harness::outcome::Curve;
use crate::harness::outcome::Outcome;
use crate::harness::progress::Progress;
use crate::harness::progress::duration;
use crate::harness::provenance;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Git;
use crate::harness::provenance::Host;
use crate::harness::record::Record;
use crate::harness::record::SCHEMA;
use crate::harness::record::Setting;
use crate::harness::record::Status;
use crate::harness::redact;
use chrono::SecondsFormat;
use chrono::Utc;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::time::Duration;
use std::time::Instant;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run every cell and compute every stage again, though results are there.
    pub force: bool,
    /// Start only what will be done within so many seconds by the estimate, one seed of everything before the second of
    /// anything.
    pub budget: Option<f64>,
    /// A folder of the repository whose commit is recorded.
    pub repo: PathBuf,
}

/// A table and the runs behind its cells.
#[derive(Clone, Debug, PartialEq)]
pub struct TableRun {
    pub table: Table,
    /// The id of each cell's run, in the order of the cells.
    pub runs: Vec<String>,
}

/// What came of a command's cells.
#[derive(Debug)]
pub struct Ran {
    /// Each table with the runs of its cells.
    pub tables: Vec<TableRun>,
    /// What is to be said of cells that [diverged](Kind::Diverged); the others ran all the same.
    pub diverged: Option<Error>,
}

impl Ran {
    /// The tables, where every cell went well.
    ///
    /// # Errors
    /// The first that diverged.
    pub fn whole(self) -> Result<Vec<TableRun>> {
        self.diverged.map_or(Ok(self.tables), Err)
    }
}

/// An experiment as its settings fill it: its table, and the cells to run.
pub struct Plan<'a, S> {
    /// The experiment.
    pub experiment: &'a dyn Experiment<S>,
    /// Its table.
    pub table: Table,
    /// Its cells, in the order in which they run.
    pub cells: Vec<Cell>,
}

/// Asks every experiment for its table and its cells.
pub fn plan<'a, S>(experiments: &[&'a dyn Experiment<S>], settings: &S) -> Result<Vec<Plan<'a, S>>> {
    let plan = |experiment: &&'a dyn Experiment<S>| {
        let cells = experiment.cells(settings).map_err(|error| error.context(experiment.id()))?;
        Ok(Plan { experiment: *experiment, table: experiment.table(settings)?, cells })
    };
    experiments.iter().map(plan).collect()
}

/// Runs what is missing of `plans` and returns the run behind every cell that has one: all, unless there is a budget, or
/// some diverge.
///
/// A failure or an interruption is recorded, then returned; what was computed before is kept. A cell that diverges is
/// recorded; only those that need the same stage are left out.
#[expect(clippy::too_many_arguments, reason = "each is one thing from outside, handed in once by the command line")]
pub fn run<S>(
    plans: Vec<Plan<'_, S>>,
    resolved: &Resolved<S>,
    profile: &str,
    compute: &Compute,
    ledger: &Ledger,
    cache: &Cache,
    options: &Options,
    progress: &Progress,
    interrupt: &Interrupt,
    args: &[String],
) -> Result<Ran> {
    ledger.bury_killed()?;
    let (records, _) = ledger.records().context("reading the ledger")?;
    let mut watch = ledger.watch(&records);
    if options.force {
        watch.forget();
    }
    let template = template(resolved, profile, compute, options, args);
    let mut estimate = Estimate::new(&records, profile, &template.host.cpu, cache, compute).again(options.force);
    let mut places: Vec<Place> = Vec::new();
    for (table, plan) in plans.iter().enumerate() {
        for (cell, of) in plan.cells.iter().enumerate() {
            let key = of.key(plan.experiment.id());
            let seconds = if watch.completed(&key).is_some() { 0.0 } else { estimate.count(of) };
            places.push(Place { table, cell, key, seconds });
        }
    }
    if options.budget.is_some() {
        places.sort_by_key(|place| plans[place.table].cells[place.cell].seed);
    }
    let mut bench = Bench {
        template,
        watch,
        estimate,
        budget: options.budget,
        start: Instant::now(),
        renewed: options.force.then(HashSet::new),
        total: places.len(),
        left: places.iter().map(|place| place.seconds).sum(),
        took: (0.0, 0.0),
        started: 0,
        reused: 0,
        diverged: Vec::new(),
        spoiled: HashSet::new(),
        ledger,
        cache,
        progress,
        interrupt,
    };
    bench.say_what_lies_ahead();
    let runs = bench.all(&plans, places)?;
    let tables = plans.into_iter().zip(runs);
    let tables = tables.map(|(plan, ids)| TableRun { table: plan.table, runs: ids.into_iter().flatten().collect() });
    Ok(Ran { tables: tables.collect(), diverged: bench.what_diverged() })
}

/// A cell's place in the plans, its key, and the seconds that it is reckoned to take once those before it are done.
struct Place {
    table: usize,
    cell: usize,
    key: String,
    seconds: f64,
}

/// What came of a cell.
enum Attempt {
    /// This run has its result.
    Done(String),
    /// Another process is at it, or at a stage that it needs.
    Busy,
    /// It would not be done within the budget.
    Skipped,
    /// It diverged.
    Diverged,
    /// It needs a stage that diverged.
    Spoiled,
}

/// How long to wait for another process before asking again.
const WAIT: Duration = Duration::from_millis(200);

/// What all cells of one command share.
struct Bench<'a> {
    /// A record with everything that does not depend on the cell.
    template: Record,
    watch: Watch<'a>,
    estimate: Estimate<'a>,
    budget: Option<f64>,
    start: Instant,
    renewed: Option<HashSet<String>>,
    total: usize,
    /// Seconds that the cells not done yet are reckoned to take.
    left: f64,
    /// Seconds that the cells run here took, and what they were reckoned to take.
    took: (f64, f64),
    started: usize,
    reused: usize,
    diverged: Vec<Error>,
    /// Keys of the stages that diverged.
    spoiled: HashSet<String>,
    ledger: &'a Ledger,
    cache: &'a Cache,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
}

impl Bench<'_> {
    fn say_what_lies_ahead(&self) {
        if self.left > 0.0 {
            let within =
                self.budget.map_or_else(String::new, |budget| format!(", of which {} may be used", duration(budget)));
            self.progress.line(&format!("about {} to go{within}", duration(self.left)));
        }
    }

    /// The run of each cell of each plan. Cells that another process is at are asked for again, until there are none.
    fn all<S>(&mut self, plans: &[Plan<'_, S>], mut places: Vec<Place>) -> Result<Vec<Vec<Option<String>>>> {
        let mut ids: Vec<Vec<Option<String>>> = plans.iter().map(|plan| vec![None; plan.cells.len()]).collect();
        let (mut skipped, mut spoiled) = (0, 0);
        loop {
            let mut busy = Vec::new();
            for place in places {
                match self.attempt(&plans[place.table], &place)? {
                    Attempt::Done(id) => ids[place.table][place.cell] = Some(id),
                    Attempt::Busy => busy.push(place),
                    Attempt::Skipped => skipped += 1,
                    Attempt::Spoiled => spoiled += 1,
                    Attempt::Diverged => {}
                }
            }
            if busy.is_empty() {
                break;
            }
            self.interrupt.check()?;
            std::thread::sleep(WAIT);
            places = busy;
        }
        if self.reused > 0 {
            self.progress.line(&format!("{} of {} cells were in the ledger", self.reused, self.total));
        }
        if skipped > 0 {
            self.progress.line(&format!("{skipped} of {} cells did not fit into the budget", self.total));
        }
        if spoiled > 0 {
            self.progress.line(&format!("{spoiled} of {} cells need what came to nothing", self.total));
        }
        Ok(ids)
    }

    /// One error for all runs that diverged.
    fn what_diverged(&mut self) -> Option<Error> {
        let more = self.diverged.len().checked_sub(1)?;
        let first = self.diverged.swap_remove(0);
        Some(if more == 0 { first } else { first.context(format!("{} runs came to nothing; the first", more + 1)) })
    }

    /// Seconds of the budget that are left.
    fn unspent(&self) -> Option<f64> {
        self.budget.map(|budget| budget - self.start.elapsed().as_secs_f64())
    }

    /// What cells took here over what they were reckoned to take, once that is more than a few seconds.
    fn slowness(&self) -> f64 {
        let (took, reckoned) = self.took;
        if reckoned > 5.0 { took / reckoned } else { 1.0 }
    }

    /// Runs the cell, or finds its result.
    fn attempt<S>(&mut self, plan: &Plan<'_, S>, place: &Place) -> Result<Attempt> {
        let cell = &plan.cells[place.cell];
        if let Some(id) = self.watch.completed(&place.key) {
            (self.reused, self.started) = (self.reused + 1, self.started + 1);
            return Ok(Attempt::Done(id.to_owned()));
        }
        self.interrupt.check()?;
        if cell.stages().any(|stage| self.spoiled.contains(stage.key())) {
            (self.started, self.left) = (self.started + 1, self.left - place.seconds);
            return Ok(Attempt::Spoiled);
        }
        if self.unspent().is_some_and(|left| left <= 0.0 || self.slowness() * self.estimate.seconds(cell) > left) {
            return Ok(Attempt::Skipped);
        }
        if cell.stages().any(|stage| self.cache.is_busy(stage.name(), stage.key())) {
            return Ok(Attempt::Busy);
        }
        let record = self.fresh(plan.experiment, cell, place.key.clone());
        let running = match self.watch.claim(&record)? {
            Claim::Mine(running) => running,
            Claim::Busy => return Ok(Attempt::Busy),
            Claim::Done(id) => {
                (self.reused, self.started) = (self.reused + 1, self.started + 1);
                self.left -= place.seconds;
                return Ok(Attempt::Done(id));
            }
        };
        self.started += 1;
        let record = match self.run(cell, record, running) {
            Ok(record) => record,
            Err(error) if error.kind() == Kind::Diverged => {
                self.progress.line(&format!("[{}/{}] {}", self.started, self.total, error.what()));
                self.left -= place.seconds;
                self.diverged.push(error);
                return Ok(Attempt::Diverged);
            }
            Err(error) => return Err(error),
        };
        self.left -= place.seconds;
        self.took = (self.took.0 + record.seconds, self.took.1 + place.seconds);
        let labels: Vec<&str> = cell.row.iter().map(|(_, label)| label.as_str()).collect();
        let left = self.slowness() * self.left;
        let left = self.unspent().map_or(left, |unspent| unspent.min(left));
        let to_go = if left > 1.0 { format!("; about {} to go", duration(left)) } else { String::new() };
        self.progress.line(&format!(
            "[{}/{}] {} {} {} seed {}: {} ({}{to_go})",
            self.started,
            self.total,
            plan.experiment.id(),
            labels.join(" "),
            cell.column,
            cell.seed,
            headline(&plan.table, &cell.column, &record.metrics),
            duration(record.seconds),
        ));
        Ok(Attempt::Done(record.id))
    }

    /// The record of a run of the cell that starts now.
    fn fresh<S>(&self, experiment: &dyn Experiment<S>, cell: &Cell, key: String) -> Record {
        Record {
            id: new_id(),
            experiment: experiment.id().to_owned(),
            title: Some(experiment.title().to_owned()),
            key,
            started: now(),
            row: cell.row.clone(),
            column: cell.column.clone(),
            seed: cell.seed,
            inputs: redact::value("inputs", &cell.inputs()).into(),
            code: cell.code().into(),
            ..self.template.clone()
        }
    }

    /// Runs the cell and writes its record, whatever the end.
    fn run(&mut self, cell: &Cell, mut record: Record, running: Running) -> Result<Record> {
        let watch = Stopwatch::start();
        let mut lab = Lab::new(self.cache, self.progress, self.interrupt, &record.id).renewing(self.renewed.as_mut());
        let ended = catch_unwind(AssertUnwindSafe(|| {
            cell.stages().try_for_each(|stage| lab.run(stage).map(|_| ()))?;
            cell.read(lab.done())
        }));
        let failed_stage = lab.failed();
        record.stages = lab.into_stages();
        record.peak_memory = provenance::peak_memory();
        record.seconds = (watch.seconds() * 1e3).round() / 1e3;
        record.ended = Some(now());
        let failed = match ended {
            Ok(outcome) => outcome.and_then(finite).map(|outcome| complete(&mut record, outcome)).err(),
            Err(panic) => {
                fail(&mut record, Status::Failed, &format!("panic: {}", panic_text(&*panic)));
                self.ledger.finish(running, &record)?;
                resume_unwind(panic);
            }
        };
        if let Some(error) = &failed {
            let interrupted = error.kind() == Kind::Interrupted;
            fail(&mut record, if interrupted { Status::Interrupted } else { Status::Failed }, error.what());
        }
        self.ledger.finish(running, &record)?;
        match failed {
            None => Ok(record),
            Some(error) => {
                let place =
                    format!("{} {} seed {} (run {})", record.experiment, record.column, cell.seed, record.short());
                let error = error.context(place);
                Err(if error.kind() == Kind::Diverged {
                    self.spoiled.extend(failed_stage);
                    error.hint(format!("`sempair show {}` has its settings", record.short()))
                } else {
                    error.hint("run the same command to go on")
                })
            }
        }
    }
}

fn complete(record: &mut Record, outcome: Outcome) {
    record.status = Status::Completed;
    record.data = outcome.data;
    record.metrics = outcome.metrics;
    record.curves = outcome.curves.into_iter().map(Curve::thinned).collect();
    record.checkpoint = outcome.checkpoint;
    record.predictions = outcome.predictions;
    record.hits = outcome.hits;
    record.facts = outcome.facts;
}

fn fail(record: &mut Record, status: Status, why: &str) {
    record.status = status;
    record.error = Some(redact::text(why));
}

/// JSON has no infinities, and a figure that is not a number is a failed run, not a result.
fn finite(outcome: Outcome) -> Result<Outcome> {
    if let Some((name, value)) = outcome.metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::diverged(format!("metric `{name}` came out as {value}")));
    }
    for curve in &outcome.curves {
        if curve.x.len() != curve.y.len() {
            return Err(Error::new(format!("curve `{}` has a point that is no pair", curve.name)));
        }
        if curve.x.iter().chain(&curve.y).any(|value| !value.is_finite()) {
            return Err(Error::diverged(format!("curve `{}` has a point that is not finite", curve.name)));
        }
    }
    Ok(outcome)
}

fn template<S>(resolved: &Resolved<S>, profile: &str, compute: &Compute, options: &Options, args: &[String]) -> Record {
    let origin = |origin: &Origin| origin.place.clone().unwrap_or_else(|| origin.layer.clone());
    let setting = |value: &crate::harness::config::Value| Setting {
        key: value.key.clone(),
        value: redact::value(&value.key, &value.value),
        origin: origin(&value.origin),
    };
    Record {
        schema: SCHEMA.to_owned(),
        status: Status::Running,
        profile: profile.to_owned(),
        settings: resolved.values.iter().map(setting).collect(),
        git: Git::read(&options.repo),
        build: Build::current(),
        host: Host::current(rayon::current_num_threads()),
        compute: compute.clone(),
        args: redact::arguments(args),
        id: String::new(),
        experiment: String::new(),
        key: String::new(),
        started: String::new(),
        ended: None,
        seconds: 0.0,
        error: None,
        title: None,
        row: Vec::new(),
        column: String::new(),
        seed: 0,
        inputs: serde_json::Value::Null.into(),
        code: BTreeMap::new().into(),
        peak_memory: None,
        data: Vec::new(),
        metrics: BTreeMap::new(),
        curves: Vec::new(),
        checkpoint: None,
        predictions: None,
        hits: BTreeMap::new(),
        facts: BTreeMap::new(),
        stages: Vec::new(),
        superseded_by: None,
        hash: String::new(),
    }
}

/// The first metric of the column that the cell has.
fn headline(table: &Table, column: &str, metrics: &BTreeMap<String, f64>) -> String {
    let column = table.columns.iter().find(|other| other.id == column);
    let shown = table.metrics.iter().filter(|metric| column.is_none_or(|column| column.has(&metric.id)));
    let shown =
        shown.into_iter().find_map(|metric| Some((metric.title.as_str(), metric.decimals, metrics.get(&metric.id)?)));
    let any = || metrics.iter().next().map(|(id, value)| (id.as_str(), 1, value));
    shown
        .or_else(any)
        .map_or_else(|| "done".to_owned(), |(title, decimals, value)| format!("{title} {value:.decimals$}"))
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause")
}

#[expect(clippy::disallowed_methods, reason = "a record says when its run was")]
fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[expect(clippy::disallowed_methods, reason = "a run's id is ordered by time and unique across machines")]
fn new_id() -> String {
    uuid::Uuid::now_v7().to_string()
}
