//! Runs one cell: its stages, its outcome, and the record of its run, however it ends.

use crate::error;
use crate::error::Error;
use crate::error::ErrorKind;
use crate::error::Result;
use crate::harness::clock;
use crate::harness::clock::Stopwatch;
use crate::harness::concurrent_runs::ConcurrentRuns;
use crate::harness::config::Origin;
use crate::harness::config::Resolved;
use crate::harness::config::Value;
use crate::harness::energy;
use crate::harness::experiment::Cell;
use crate::harness::git::Git;
use crate::harness::interrupt::Interrupt;
use crate::harness::ledger::Running;
use crate::harness::outcome::Curve;
use crate::harness::outcome::Outcome;
use crate::harness::progress::Progress;
use crate::harness::provenance;
use crate::harness::provenance::Build;
use crate::harness::provenance::Compute;
use crate::harness::provenance::Host;
use crate::harness::record;
use crate::harness::record::Record;
use crate::harness::record::SCHEMA;
use crate::harness::record::Setting;
use crate::harness::record::Shadowed;
use crate::harness::record::Status;
use crate::harness::redact;
use crate::harness::runner::RunContext;
use crate::harness::stage_runner::StageRunner;
use crate::threads;
use std::any::Any;
use std::collections::BTreeMap;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::Mutex;

/// A cell whose run has begun.
pub(super) struct Job<'a> {
    pub cell: &'a Cell,
    pub record: Record,
    pub running: Running,
    pub threads: usize,
    pub concurrent: Arc<ConcurrentRuns>,
    pub renewed: Option<&'a Mutex<HashSet<String>>>,
    pub site: RunContext<'a>,
    pub progress: Progress,
    pub interrupt: Interrupt,
}

/// How a job ended.
pub(super) enum End {
    Completed(Box<Record>),
    /// The error, with the key of the stage that failed, if one did.
    Failed(Error, Option<String>),
    /// The cell panicked. The panic is recorded, and continues in the command's thread.
    Panicked(Box<dyn Any + Send>),
}

impl Job<'_> {
    /// Runs the cell and writes its record. `is_there` is called with the key of each stage as soon as the stage is
    /// available.
    pub fn run(self, is_there: impl Fn(&str) + Sync) -> End {
        let Self { cell, mut record, running, threads, concurrent, renewed, site, progress, interrupt } = self;
        let (watch, energy) = (Stopwatch::start(), site.energy.joules());
        let mut stages = StageRunner::new(site.cache, &progress, &interrupt, &record.id)
            .renewing(renewed)
            .beside(concurrent, site.scaling);
        let ended = catch_unwind(AssertUnwindSafe(|| {
            error::caught(|| {
                threads::share(threads, || {
                    cell.stages().try_for_each(|stage| stages.run(stage).map(|_| is_there(stage.key())))?;
                    cell.read(stages.done())
                })
            })
        }));
        let failed_stage = stages.failed();
        record.stages = stages.into_stages();
        record.threads = threads;
        record.beside = record.stages.iter().map(|stage| stage.beside).max().unwrap_or(0);
        record.peak_memory = provenance::peak_memory();
        record.energy_joules = energy.zip(site.energy.joules()).map(|(before, after)| {
            let threads = (record.threads, record.host.threads);
            energy::of_run(after - before, record.beside, threads)
        });
        record.seconds = (watch.seconds() * 1e3).round() / 1e3;
        record.ended = Some(clock::end(&record.started, record.seconds));
        let (failed, panic) = match ended {
            Ok(outcome) => (outcome.and_then(finite).map(|outcome| complete(&mut record, outcome)).err(), None),
            Err(panic) => {
                fail(&mut record, Status::Failed, &format!("panic: {}", panic_text(&*panic)));
                (None, Some(panic))
            }
        };
        if let Some(error) = &failed {
            let interrupted = error.kind() == ErrorKind::Interrupted;
            fail(&mut record, if interrupted { Status::Interrupted } else { Status::Failed }, error.what());
        }
        if let Err(error) = site.ledger.finish(running, &record) {
            return End::Failed(error, None);
        }
        match (failed, panic) {
            (_, Some(panic)) => End::Panicked(panic),
            (None, None) => End::Completed(Box::new(record)),
            (Some(error), None) => End::Failed(explain(error, &record), failed_stage),
        }
    }
}

/// Adds to the error of a run its place and a hint.
fn explain(error: Error, record: &Record) -> Error {
    let place = format!("{} {} seed {} (run {})", record.experiment, record.column, record.seed, record.short());
    let hint = match error.kind() {
        ErrorKind::Diverged => format!("`sempair show {}` shows its settings", record.short()),
        ErrorKind::Failure | ErrorKind::Interrupted => "run the same command to go on".to_owned(),
    };
    error.context(place).hint(hint)
}

fn complete(record: &mut Record, outcome: Outcome) {
    record.status = Status::Completed;
    record.data = outcome.data;
    record.metrics = outcome.metrics;
    record.curves = outcome.curves.into_iter().map(Curve::thinned).collect();
    record.checkpoint = outcome.checkpoint;
    record.predictions = outcome.predictions;
    record.hits = outcome.hits;
    record.by_category = outcome.by_category;
    record.scenes = outcome.scenes;
    record.facts = outcome.facts;
}

fn fail(record: &mut Record, status: Status, why: &str) {
    record.status = status;
    record.error = Some(redact::text(why));
}

/// Refuses values that are not finite: JSON has no infinities, and a figure that is not a number means a failed run,
/// not a result.
fn finite(outcome: Outcome) -> Result<Outcome> {
    if let Some((name, value)) = outcome.metrics.iter().find(|(_, value)| !value.is_finite()) {
        return Err(Error::diverged(format!("metric `{name}` came out as {value}")));
    }
    for curve in &outcome.curves {
        if curve.x.len() != curve.y.len() {
            return Err(Error::new(format!("curve `{}` has different numbers of x and y values", curve.name)));
        }
        if curve.x.iter().chain(&curve.y).any(|value| !value.is_finite()) {
            return Err(Error::diverged(format!("curve `{}` has a point that is not finite", curve.name)));
        }
    }
    Ok(outcome)
}

/// Makes the record of a run of the cell that starts now. The `template` has what all runs of a command have in
/// common.
///
/// # Errors
/// When the clock shows an impossible time.
pub(super) fn fresh(template: &Record, (experiment, title): (&str, &str), cell: &Cell, key: String) -> Result<Record> {
    let now = clock::utc()?;
    Ok(Record {
        id: record::id_at(now),
        experiment: experiment.to_owned(),
        title: Some(title.to_owned()),
        key,
        started: clock::text(now),
        row: cell.row.clone(),
        column: cell.column.clone(),
        seed: cell.seed,
        inputs: redact::value("inputs", &cell.inputs()).into(),
        code: cell.code().into(),
        ..template.clone()
    })
}

/// Makes a record with everything that does not depend on the cell.
pub(super) fn template<S>(
    resolved: &Resolved<S>,
    profile: &str,
    compute: &Compute,
    (git, build): (Git, Build),
    args: &[String],
) -> Record {
    let origin = |origin: &Origin| origin.place.clone().unwrap_or_else(|| origin.layer.clone());
    let setting = |of: &Value| {
        let shown = |value: &serde_json::Value| redact::value(&of.key, value);
        let shadowed = of.shadowed.iter();
        let shadowed = shadowed.map(|it| Shadowed { value: shown(&it.value), origin: origin(&it.origin) }).collect();
        Setting { key: of.key.clone(), value: shown(&of.value), origin: origin(&of.origin), shadowed }
    };
    Record {
        schema: SCHEMA.to_owned(),
        status: Status::Running,
        profile: profile.to_owned(),
        settings: resolved.values.iter().map(setting).collect(),
        git,
        build,
        host: Host::current(rayon::current_num_threads()),
        compute: compute.clone(),
        args: redact::arguments(args),
        environment: provenance::environment(),
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
        threads: 0,
        beside: 0,
        energy_joules: None,
        data: Vec::new(),
        metrics: BTreeMap::new(),
        curves: Vec::new(),
        checkpoint: None,
        predictions: None,
        hits: BTreeMap::new(),
        by_category: BTreeMap::new(),
        scenes: Vec::new(),
        facts: BTreeMap::new(),
        stages: Vec::new(),
        journal: None,
        superseded_by: None,
        hash: String::new(),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of unknown cause")
}
