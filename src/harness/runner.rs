//! Runs the cells that have no completed record yet, one after another (each uses all cores), and records each.

use crate::error::Context;
use crate::error::Error;
use crate::error::Kind;
use crate::error::Result;
use crate::harness::cache::Cache;
use crate::harness::canonical;
use crate::harness::config::Origin;
use crate::harness::config::Resolved;
use crate::harness::experiment::Cell;
use crate::harness::experiment::Curve;
use crate::harness::experiment::Experiment;
use crate::harness::experiment::Outcome;
use crate::harness::experiment::Table;
use crate::harness::interrupt::Interrupt;
use crate::harness::lab::Lab;
use crate::harness::ledger::Ledger;
use crate::harness::progress::Progress;
use crate::harness::progress::duration;
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
use serde::Serialize;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::time::Instant;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Run every cell and compute every stage anew, though results are there.
    pub force: bool,
    /// A folder of the repository whose commit is recorded.
    pub repo: PathBuf,
}

/// A table and the runs behind its cells.
#[derive(Clone, Debug, Serialize)]
pub struct TableRun {
    pub table: Table,
    /// Each cell with its run's id.
    pub cells: Vec<(Cell, String)>,
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
        Ok(Plan { experiment: *experiment, table: experiment.table(settings), cells })
    };
    experiments.iter().map(plan).collect()
}

/// Runs what is missing of `plans` and returns the run behind every cell.
///
/// A failure or an interruption is recorded, then returned; what was computed before is kept.
#[expect(clippy::too_many_arguments, reason = "each is one thing from outside, handed in once by the command line")]
pub fn run<S: Serialize + Sync>(
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
) -> Result<Vec<TableRun>> {
    ledger.bury_killed()?;
    let mut bench = Bench {
        template: template(resolved, profile, compute, options, args),
        done: if options.force { HashMap::new() } else { completed(ledger)? },
        renewed: options.force.then(HashSet::new),
        total: plans.iter().map(|plan| plan.cells.len()).sum(),
        started: 0,
        reused: 0,
        settings: &resolved.settings,
        ledger,
        cache,
        progress,
        interrupt,
    };
    let mut tables = Vec::new();
    for Plan { experiment, table, cells } in plans {
        let mut runs = Vec::new();
        for cell in cells {
            let id = bench.cell(experiment, &table, &cell)?;
            runs.push((cell, id));
        }
        tables.push(TableRun { table, cells: runs });
    }
    if bench.reused > 0 {
        progress.line(&format!("{} of {} cells were in the ledger", bench.reused, bench.total));
    }
    Ok(tables)
}

/// The key of a cell's result: a hash of everything that determines it.
pub fn cell_key(experiment: &str, cell: &Cell, compute: &Compute) -> String {
    canonical::key(&serde_json::json!({
        "experiment": experiment, "row": cell.row, "column": cell.column, "seed": cell.seed,
        "inputs": cell.inputs, "code": env!("BUILD_CODE"), "compute": compute,
    }))
}

/// What all cells of one command share.
struct Bench<'a, S> {
    /// A record with everything that does not depend on the cell.
    template: Record,
    /// The completed run of each key.
    done: HashMap<String, String>,
    renewed: Option<HashSet<String>>,
    total: usize,
    started: usize,
    reused: usize,
    settings: &'a S,
    ledger: &'a Ledger,
    cache: &'a Cache,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
}

impl<S: Serialize + Sync> Bench<'_, S> {
    /// The id of the run that has the cell's result, run now or found.
    fn cell(&mut self, experiment: &dyn Experiment<S>, table: &Table, cell: &Cell) -> Result<String> {
        self.started += 1;
        let key = cell_key(experiment.id(), cell, &self.template.compute);
        if let Some(id) = self.done.get(&key) {
            self.reused += 1;
            return Ok(id.clone());
        }
        self.interrupt.check()?;
        let record = self.run(experiment, cell, key.clone())?;
        let labels: Vec<&str> = cell.row.iter().map(|(_, label)| label.as_str()).collect();
        self.progress.line(&format!(
            "[{}/{}] {} {} {} seed {}: {} ({})",
            self.started,
            self.total,
            experiment.id(),
            labels.join(" "),
            cell.column,
            cell.seed,
            headline(table, &record.metrics),
            duration(record.seconds),
        ));
        self.done.insert(key, record.id.clone());
        Ok(record.id)
    }

    /// Runs the cell and writes its record, whatever the end.
    fn run(&mut self, experiment: &dyn Experiment<S>, cell: &Cell, key: String) -> Result<Record> {
        let mut record = Record {
            id: new_id(),
            experiment: experiment.id().to_owned(),
            title: Some(experiment.title().to_owned()),
            key,
            started: now(),
            row: cell.row.clone(),
            column: cell.column.clone(),
            seed: cell.seed,
            inputs: redact::value("inputs", &cell.inputs),
            ..self.template.clone()
        };
        let running = self.ledger.begin(&record)?;
        let start = Instant::now();
        let mut lab = Lab::new(self.cache, &record.compute, self.progress, self.interrupt, &record.id)
            .renewing(self.renewed.as_mut());
        let ended = catch_unwind(AssertUnwindSafe(|| experiment.run(cell, self.settings, &mut lab)));
        record.stages = lab.into_stages();
        record.seconds = (start.elapsed().as_secs_f64() * 1e3).round() / 1e3;
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
                Err(error.context(place).hint("run the same command to go on"))
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
    record.facts = outcome.facts;
}

fn fail(record: &mut Record, status: Status, why: &str) {
    record.status = status;
    record.error = Some(redact::text(why));
}

/// JSON has no infinities, and a figure that is not a number is a failed run, not a result.
fn finite(outcome: Outcome) -> Result<Outcome> {
    if let Some((name, value)) = outcome.metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::new(format!("metric `{name}` came out as {value}")));
    }
    for curve in &outcome.curves {
        if curve.x.len() != curve.y.len() || curve.x.iter().chain(&curve.y).any(|value| !value.is_finite()) {
            return Err(Error::new(format!("curve `{}` has a point that is not finite or not a pair", curve.name)));
        }
    }
    Ok(outcome)
}

/// The newest completed run of each key.
fn completed(ledger: &Ledger) -> Result<HashMap<String, String>> {
    let (records, _) = ledger.records().context("reading the ledger")?;
    let completed = records.into_iter().filter(|record| record.status == Status::Completed);
    Ok(completed.map(|record| (record.key, record.id)).collect())
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
        inputs: serde_json::Value::Null,
        data: Vec::new(),
        metrics: BTreeMap::new(),
        curves: Vec::new(),
        checkpoint: None,
        predictions: None,
        facts: BTreeMap::new(),
        stages: Vec::new(),
        superseded_by: None,
        hash: String::new(),
    }
}

/// The table's first metric that the cell has.
fn headline(table: &Table, metrics: &BTreeMap<String, f64>) -> String {
    let value = table.metrics.iter().find_map(|metric| metrics.get(&metric.id));
    value.or_else(|| metrics.values().next()).map_or_else(|| "done".to_owned(), |value| format!("{value:.1}"))
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
