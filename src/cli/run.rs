//! `reproduce`, `table`, `list` and `report`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use crate::data::catalog::Catalog;
use crate::error::{Error, Result};
use crate::files;
use crate::harness::energy::{Meter, POWERCAP};
use crate::harness::estimate::Estimate;
use crate::harness::evaluations::evaluations;
use crate::harness::experiment::{Cell, Experiment, Row};
use crate::harness::interrupt::Interrupt;
use crate::harness::leftovers;
use crate::harness::plan_store;
use crate::harness::progress::{Progress, duration};
use crate::harness::provenance::Host;
use crate::harness::record::{Record, Status};
use crate::harness::runner::{self, Options, Plan, RunContext, TableRun};
use crate::harness::schedule::{Forecast, Resources};
use crate::harness::stage::{Description, Stage};
use crate::report::stats::Verdict;
use crate::report::{self, Input, render};
use crate::study::settings::Settings;

use super::comparable_runs::{ComparableRuns, beside, comparable_runs, ids, not_run};
use super::{App, ConfigArgs, Ending, Jobs, Profile, RunArgs, setup};

/// Runs the missing cells of the chosen tables (all, if none is named) and renders the report.
pub(super) fn reproduce(app: &App, args: &ConfigArgs, tables: &[String], how: RunArgs, quiet: bool) -> Result<Ending> {
    let mut args = args.clone();
    if how.keep_going {
        args.sets.push("keep_going=true".into());
    }
    let args = &args;
    let resolved = setup::resolve(app, args)?;
    let experiments = chosen(app, tables)?;
    let settings = &resolved.settings;
    let (ledger, cache) = (setup::ledger(settings), setup::cache(settings));
    let (compute, gpu) = (setup::compute(settings)?, setup::gpu(settings)?);
    let progress = Progress::stderr(quiet);
    let interrupt = Interrupt::install()?;
    let mut plans = with_rows(runner::plan(&experiments, settings)?, tables)?;
    if let Some(file) = &how.cells {
        let listed: Vec<Place> = files::read_json(file)?;
        plans.iter_mut().for_each(|plan| plan.cells.retain(|cell| listed.iter().any(|place| place.is_of(cell))));
    }
    say_what_is_missing(&plans, &settings.catalog(), &progress);
    let ran = runner::run(
        plans,
        &resolved,
        &args.profile,
        RunContext {
            compute: &compute,
            gpu: &gpu,
            ledger: &ledger,
            cache: &cache,
            scaling: &setup::scaling(settings, &compute),
            energy: &Meter::open(Path::new(POWERCAP)),
            progress: &progress,
            interrupt: &interrupt,
        },
        &Options {
            force: how.force,
            budget: how.budget,
            jobs: how.jobs.on(&compute),
            repo: PathBuf::from("."),
            outputs: setup::outputs(settings, &args.profile),
            source: settings.source,
        },
        &setup::command_line(),
    )?;
    let (records, mut problems) = ledger.records()?;
    let plans = plan_store::read(&ledger)?;
    problems.extend(plans.problems);
    let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
    let of_command = |run: TableRun| {
        let wanted: HashSet<&str> = run.runs.iter().map(String::as_str).collect();
        let of_table = records.iter().filter(|record| wanted.contains(record.id.as_str())).cloned().collect();
        (run.table, of_table)
    };
    let own: ComparableRuns = ran.tables.into_iter().map(of_command).collect();
    let (tables, excluded) = beside(app, args, settings, &records, &problems, own);
    let asked_for = experiments.iter().map(|experiment| experiment.id()).collect();
    let not_run = not_run(app, &setup::without_sets(args), settings, &tables);
    let input = input(app, setup::profile(app, &args.profile)?, tables, excluded, records);
    let input = Input { not_run, deleted: ledger.deleted()?, plans: plans.known, ..input };
    let code = finish(input, settings, Some(&asked_for), how.strict)?;
    ran.diverged.map_or(Ok(code), Err)
}

/// Renders the report again from the ledger alone; if `anonymous`, the one for double-blind review.
pub(super) fn report(app: &App, args: &ConfigArgs, anonymous: bool) -> Result<Ending> {
    let settings = setup::resolve(app, args)?.settings;
    finish(recorded_input(app, args, &settings, anonymous)?, &settings, None, false)
}

/// The input of the report that the ledger alone gives.
///
/// # Errors
/// When the ledger has no completed run of the profile.
pub(super) fn recorded_input(app: &App, args: &ConfigArgs, settings: &Settings, anonymous: bool) -> Result<Input> {
    let ledger = setup::ledger(settings);
    let (records, mut problems) = ledger.records()?;
    let plans = plan_store::read(&ledger)?;
    problems.extend(plans.problems);
    let records: Vec<Arc<Record>> = records.into_iter().map(Arc::new).collect();
    let (tables, excluded) = comparable_runs(app, args, settings, &records, &problems)?;
    let not_run = not_run(app, args, settings, &tables);
    let named = input(app, setup::profile(app, &args.profile)?, tables, excluded, records);
    let named = Input { not_run, deleted: ledger.deleted()?, plans: plans.known, ..named };
    Ok(if anonymous { report::anonymous(&named) } else { named })
}

/// The name of a report's folder.
pub(super) fn folder_name(profile: &str, anonymous: bool) -> String {
    if anonymous { format!("{profile}-anonymous") } else { profile.to_owned() }
}

/// A cell of a table, as [`RunArgs::cells`] names it.
#[derive(Deserialize)]
struct Place {
    row: Row,
    column: String,
    seed: u64,
}

impl Place {
    fn is_of(&self, cell: &Cell) -> bool {
        cell.is_at(&self.row, &self.column, self.seed)
    }
}

/// `sempair list`.
pub(super) fn list(app: &App, args: &ConfigArgs, cores: &[u16], json: bool) -> Result<Ending> {
    let resolved = setup::resolve(app, args)?;
    let settings = &resolved.settings;
    let (records, _) = setup::ledger(settings).records()?;
    let (cache, compute) = (setup::cache(settings), setup::compute(settings)?);
    let scaling = setup::scaling(settings, &compute);
    let threads = rayon::current_num_threads();
    let estimate = Estimate::new(&records, &args.profile, &Host::current(threads), &compute, &scaling);
    let done: HashSet<&str> =
        records.iter().filter(|r| r.status == Status::Completed).map(|record| record.key.as_str()).collect();
    let mut all: Vec<Cell> = Vec::new();
    let mut rows = Vec::new();
    for experiment in app.experiments {
        let state = experiment.cells(settings).map(|cells| {
            let is_missing = |cell: &&Cell| !done.contains(cell.key(experiment.id()).as_str());
            let missing: Vec<&Cell> = cells.iter().filter(is_missing).collect();
            let estimated = estimate.missing(missing.iter().copied().map(Some), &cache, false);
            all.extend(missing.iter().map(|&cell| cell.clone()));
            let of_table = records.iter().filter(|r| r.experiment == experiment.id() && r.profile == args.profile);
            State {
                cells: cells.len(),
                missing: missing.len(),
                seconds: estimated.total(threads),
                taken: of_table.filter_map(|record| record.peak_memory).max(),
                predicted: estimated.memory(),
                stages: distinct(&cells),
            }
        });
        rows.push((experiment, state));
    }
    let missing = estimate.missing(all.iter().map(Some), &cache, false);
    let forecast = |threads| {
        Forecast::of(missing.schedule(Resources { threads, memory: u64::MAX, jobs: Jobs::default().on(&compute) }))
    };
    if json {
        let facts = rows.iter().map(|(experiment, state)| match state {
            Ok(state) => state.json(experiment.id(), experiment.title()),
            Err(error) => json!({ "id": experiment.id(), "title": experiment.title(), "error": error.what() }),
        });
        setup::print_json(&facts.collect::<Vec<_>>())?;
        return Ok(Ending::Done);
    }
    for (experiment, state) in &rows {
        let state = state.as_ref().map_or_else(|error| error.what().to_string(), State::words);
        say!("{:13} {} ({state})", experiment.id(), experiment.title());
    }
    if let Some(hint) = rows.iter().find_map(|(_, state)| state.as_ref().err().and_then(Error::hint_text)) {
        say!("hint: {hint}");
    }
    let here = forecast(threads);
    if here.seconds > 0.0 {
        say!("all together  about {}, since tables share encoders", duration(here.seconds));
    }
    if !cores.is_empty() {
        say!("{:>7}  {:>12}  {:>12}  {:>12}", "cores", "time", "longest cell", "work/cores");
    }
    for &cores in cores {
        let Forecast { seconds, chain, share } = forecast(cores.into());
        say!("{cores:>7}  {:>12}  {:>12}  {:>12}", duration(seconds), duration(chain), duration(share));
    }
    Ok(Ending::Done)
}

/// The stages of some cells, each once.
fn distinct(cells: &[Cell]) -> Vec<Arc<Stage>> {
    let mut seen = HashSet::new();
    cells.iter().flat_map(Cell::stages).filter(|stage| seen.insert(stage.key())).cloned().collect()
}

/// The progress of a table.
struct State {
    cells: usize,
    missing: usize,
    /// The predicted time of the missing cells, in seconds.
    seconds: f64,
    /// The largest memory of its earlier runs, in bytes.
    taken: Option<u64>,
    /// The largest predicted memory of a missing stage, in bytes, without the program itself.
    predicted: u64,
    stages: Vec<Arc<Stage>>,
}

impl State {
    fn json(&self, id: &str, title: &str) -> serde_json::Value {
        let stage = |stage: &Arc<Stage>| {
            let Description { name, after, code, cost, timed, .. } = &stage.description;
            let after: Vec<&str> = after.iter().map(|before| before.key()).collect();
            json!({
                "name": name, "key": stage.key(), "after": after, "code": code.version, "seconds": cost.seconds,
                "memory": cost.memory, "inexact_files": timed,
            })
        };
        json!({
            "id": id, "title": title, "cells": self.cells, "done": self.cells - self.missing,
            "missing": self.missing, "seconds": self.seconds, "peak_memory": self.taken,
            "predicted_memory": self.predicted, "stages": self.stages.iter().map(stage).collect::<Vec<_>>(),
        })
    }

    fn words(&self) -> String {
        let Self { cells, missing, seconds, taken, predicted, .. } = self;
        let mut words = format!("{} of {cells} cells done", cells - missing);
        if *missing > 0 {
            words += &format!("; about {} to go", duration(*seconds));
        }
        match taken {
            Some(bytes) => words += &format!("; {} MiB of memory in earlier runs", bytes >> 20),
            None if *predicted > 0 => words += &format!(", with {} MiB of memory", predicted >> 20),
            None => {}
        }
        words
    }
}

pub(super) fn chosen<'a>(app: &App<'a>, tables: &[String]) -> Result<Vec<&'a dyn Experiment<Settings>>> {
    if tables.is_empty() {
        return Ok(app.experiments.to_vec());
    }
    let find = |id: &String| {
        app.experiments.iter().copied().find(|experiment| experiment.id() == id).ok_or_else(|| {
            Error::new(format!("there is no table `{id}`; there are {}", ids(app).join(", ")))
                .hint("`sempair list` shows all tables")
        })
    };
    if let Some((_, twice)) = tables.iter().enumerate().find(|(i, table)| tables[..*i].contains(table)) {
        return Err(Error::new(format!("the table `{twice}` is asked for twice")).hint("name each table once"));
    }
    tables.iter().map(find).collect()
}

/// Leaves out the tables that have no rows with these settings. It is an error if such a table was asked for.
pub(super) fn with_rows<'a>(plans: Vec<Plan<'a, Settings>>, asked_for: &[String]) -> Result<Vec<Plan<'a, Settings>>> {
    let (with, without): (Vec<_>, Vec<_>) = plans.into_iter().partition(|plan| !plan.table.rows.is_empty());
    match without.iter().map(|plan| plan.experiment.id()).find(|id| asked_for.iter().any(|asked| asked == id)) {
        Some(id) => Err(Error::new(format!("the table `{id}` has no rows with these settings"))
            .hint(format!("`sempair config {id}` shows its settings; `--profile thorough` has all tables"))),
        None => Ok(with),
    }
}

/// Prints a line for each column that has no cells because its data are not imported.
pub(super) fn say_what_is_missing(plans: &[Plan<'_, Settings>], catalog: &Catalog, progress: &Progress) {
    for Plan { experiment, table, cells } in plans {
        if cells.is_empty() {
            let id = experiment.id();
            progress.line(&format!(
                "table {id}: its dataset is not imported, so the table stays empty (`sempair config {id}` shows which)"
            ));
            continue;
        }
        for column in &table.columns {
            let is_there = || catalog.contains(&column.id).unwrap_or(false);
            if !cells.iter().any(|cell| cell.column == column.id) && !is_there() {
                progress.line(&format!(
                    "table {}: `{}` is not imported, so its column stays empty (`sempair data import PATH` adds it)",
                    experiment.id(),
                    column.id
                ));
            }
        }
    }
}

/// Collects the input for a report of these runs.
pub(super) fn input(
    app: &App,
    profile: &Profile,
    tables: ComparableRuns,
    excluded: Vec<(String, String)>,
    records: Vec<Arc<Record>>,
) -> Input {
    // The time of the newest run, not of the rendering, so that the same ledger gives the same bytes.
    let ended = tables.iter().flat_map(|(_, runs)| runs.iter().filter_map(|run| run.ended.as_ref())).max();
    Input {
        profile: profile.name.into(),
        description_of_profile: profile.description.into(),
        generated: ended.cloned().unwrap_or_default(),
        evaluations: evaluations(records.iter().map(Arc::as_ref)),
        all_records: records.into_iter().filter(|record| record.profile == profile.name).collect(),
        tables,
        not_run: Vec::new(),
        deleted: 0,
        excluded,
        anonymous: false,
        roles: setup::roles(app),
        plans: Vec::new(),
    }
}

/// Writes the report, and prints a summary of all its tables, or of the tables in `only`.
fn finish(input: Input, settings: &Settings, only: Option<&HashSet<&str>>, strict: bool) -> Result<Ending> {
    let is_told = |table: &str| only.is_none_or(|only| only.contains(table));
    let folder = Path::new(&settings.paths.reports).join(folder_name(&input.profile, input.anonymous));
    let written = [folder.clone(), folder.join("tables"), folder.join("figures")];
    setup::ledger(settings).folders().iter().chain(&written).for_each(|folder| leftovers::remove_from(folder));
    let rendered = render(&input, &folder)?;
    say!("{}", rendered.summary(is_told).trim_end());
    let told = || rendered.results.tables.iter().filter(|table| is_told(&table.id));
    // A claim that these tables cannot test, or were not asked to test, does not count as missed.
    let held = [Verdict::Reproduced, Verdict::NotTestable];
    let missed = || told().flat_map(|table| &table.claims).any(|c| c.asked && !held.contains(&c.verdict));
    // The process ends after this command: freeing ten thousand records one by one takes as long as drawing all
    // figures.
    std::mem::forget(input);
    Ok(if strict && missed() { Ending::Found } else { Ending::Done })
}
