//! `why`: says why the cells of a table, or the cell of one run, will run again.

use std::collections::{HashMap, HashSet};

use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::harness::config::{Resolved, Role};
use crate::harness::difference::{self, Change, Section};
use crate::harness::experiment::{Cell, Experiment};
use crate::harness::record::{Record, Status, short};
use crate::harness::runner;
use crate::study::settings::Settings;

use super::{App, ConfigArgs, Ending, diff, records, run, setup};

/// What will happen to a cell, and why.
enum Fate {
    /// This run has its result.
    Done(String),
    /// No completed run has its place.
    New,
    Again {
        /// The newest completed run of its place.
        last: String,
        changes: Vec<Change>,
        /// The stages that are not in the cache.
        stages: Vec<&'static str>,
    },
}

/// `sempair why`.
pub(super) fn why(app: &App, args: &ConfigArgs, of: &str, json: bool) -> Result<Ending> {
    let resolved = setup::resolve(app, args)?;
    let ledger = setup::ledger(&resolved.settings);
    let (experiment, only) = match app.experiments.iter().find(|experiment| experiment.id() == of) {
        Some(&experiment) => (experiment, None),
        None => {
            let record = ledger.find(of).map_err(|error| error.hint("give a table of `sempair list`, or a run"))?;
            (run::chosen(app, std::slice::from_ref(&record.experiment))?[0], Some(record))
        }
    };
    let (records, _) = ledger.records()?;
    let site = Site::new(app, args, &resolved, experiment, &records);
    let is_asked = |cell: &Cell| only.as_ref().is_none_or(|record| is_at(cell, record));
    let cells: Vec<Cell> = experiment.cells(&resolved.settings)?.into_iter().filter(is_asked).collect();
    if let (Some(record), true) = (&only, cells.is_empty()) {
        return Err(Error::new(format!(
            "with these settings, {} has no such cell as run {}",
            of_table(experiment),
            record.short()
        ))
        .hint(format!(
            "`sempair show {}` prints its settings; it is of the profile `{}`",
            record.short(),
            record.profile
        )));
    }
    let fates = cells.iter().map(|cell| site.fate(cell)).collect::<Result<Vec<Fate>>>()?;
    if json {
        let facts = cells.iter().zip(&fates).map(|(cell, fate)| fate.json(cell));
        setup::print_json(&facts.collect::<Vec<_>>())?;
    } else {
        print(&cells, &fates);
    }
    Ok(Ending::Done)
}

fn of_table(experiment: &dyn Experiment<Settings>) -> String {
    format!("the table `{}`", experiment.id())
}

fn is_at(cell: &Cell, record: &Record) -> bool {
    cell.is_at(&record.row, &record.column, record.seed)
}

/// What the cells of a table are compared with.
struct Site<'a> {
    app: &'a App<'a>,
    args: &'a ConfigArgs,
    resolved: &'a Resolved<Settings>,
    experiment: &'a dyn Experiment<Settings>,
    /// The completed runs of the table, oldest first.
    completed: Vec<&'a Record>,
    /// For each changed setting with its recorded value, the keys of the table's cells if it is set back.
    set_back: std::cell::RefCell<HashMap<String, Option<HashSet<String>>>>,
}

impl<'a> Site<'a> {
    fn new(
        app: &'a App<'a>,
        args: &'a ConfigArgs,
        resolved: &'a Resolved<Settings>,
        experiment: &'a dyn Experiment<Settings>,
        records: &'a [Record],
    ) -> Self {
        let is_of_table = |record: &&Record| record.status == Status::Completed && record.experiment == experiment.id();
        let completed = records.iter().filter(is_of_table).collect();
        Self { app, args, resolved, experiment, completed, set_back: std::cell::RefCell::default() }
    }

    fn fate(&self, cell: &Cell) -> Result<Fate> {
        let key = cell.key(self.experiment.id());
        let newest = |is: &dyn Fn(&Record) -> bool| self.completed.iter().rev().find(|record| is(record)).copied();
        if let Some(record) = newest(&|record| record.key == key) {
            return Ok(Fate::Done(record.id.clone()));
        }
        let of_profile = |record: &Record| record.profile == self.args.profile && is_at(cell, record);
        let Some(last) = newest(&of_profile) else { return Ok(Fate::New) };
        let names = (self.experiment.id(), self.experiment.title());
        let compute = setup::compute(&self.resolved.settings)?;
        let now = runner::would_record(cell, names, self.resolved, &self.args.profile, &compute)?;
        let roles = setup::roles(self.app);
        let mut changes = difference::causes(last, &now, |key| roles.of(key) == Role::Results);
        changes.retain(|change| change.section != Section::Settings || self.matters(change, &key));
        let cache = setup::cache(&self.resolved.settings);
        let stages = cell.stages().filter(|stage| !cache.has(stage.name(), stage.key()));
        let stages = stages.map(|stage| stage.name()).collect();
        Ok(Fate::Again { last: last.id.clone(), changes, stages })
    }

    /// Whether the cell with this key would have another key with the recorded value of a setting. If that value is
    /// not possible now, it matters.
    fn matters(&self, change: &Change, key: &str) -> bool {
        let Some(value) = &change.values[0] else { return true };
        let set = format!("{}={value}", change.name);
        let mut known = self.set_back.borrow_mut();
        let keys = known.entry(set.clone()).or_insert_with(|| {
            let mut args = self.args.clone();
            args.sets.push(set);
            let settings = setup::resolve(self.app, &args).ok()?.settings;
            let cells = self.experiment.cells(&settings).ok()?;
            Some(cells.iter().map(|cell| cell.key(self.experiment.id())).collect())
        });
        keys.as_ref().is_none_or(|keys| !keys.contains(key))
    }
}

impl Fate {
    fn json(&self, cell: &Cell) -> Value {
        let place = json!({ "row": cell.row, "column": cell.column, "seed": cell.seed });
        let (state, last, changes, stages) = match self {
            Self::Done(run) => ("done", Some(run), [].as_slice(), [].as_slice()),
            Self::New => ("new", None, [].as_slice(), [].as_slice()),
            Self::Again { last, changes, stages } => ("again", Some(last), changes.as_slice(), stages.as_slice()),
        };
        json!({ "cell": place, "state": state, "run": last, "changes": changes, "stages": stages })
    }

    /// Cells with the same answer are printed together.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Done(_), Self::Done(_)) | (Self::New, Self::New) => true,
            (Self::Again { changes, stages, .. }, Self::Again { changes: others, stages: of_other, .. }) => {
                changes == others && stages == of_other
            }
            _ => false,
        }
    }
}

fn print(cells: &[Cell], fates: &[Fate]) {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (index, fate) in fates.iter().enumerate() {
        match groups.iter_mut().find(|group| fates[group[0]].same(fate)) {
            Some(group) => group.push(index),
            None => groups.push(vec![index]),
        }
    }
    for group in groups {
        let (first, count) = (group[0], group.len());
        let (cells_do, have) =
            if count == 1 { ("1 cell".to_owned(), "has") } else { (format!("{count} cells"), "have") };
        let cell = place(&cells[first]);
        match &fates[first] {
            Fate::Done(run) => say!("{cells_do} {have} a result, such as {cell} (run {})", short(run)),
            Fate::New => say!("{cells_do} {have} never run with this profile, such as {cell}"),
            Fate::Again { last, changes, stages } => {
                say!("{cells_do} will run again, such as {cell} (last: run {})", short(last));
                diff::print_changes(changes);
                if changes.is_empty() {
                    say!("  the data or an earlier stage's inputs changed, which records do not state one by one");
                }
                match stages.as_slice() {
                    [] => say!("  nothing to compute: the files of its stages are in the cache"),
                    stages => say!("  to compute: {}", stages.join(", ")),
                }
            }
        }
    }
}

fn place(cell: &Cell) -> String {
    format!("{} {} seed {}", records::labels(&cell.row), cell.column, cell.seed)
}
