//! Selects the runs of a ledger that a report shows: for each table, the runs that are comparable with its newest
//! run. The table has the rows and columns that these runs were asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::harness::code::differing;
use crate::harness::config::{Role, Roles};
use crate::harness::experiment::{Experiment, Table};
use crate::harness::ledger::Problem;
use crate::harness::provenance::Compute;
use crate::harness::record::{Record, Setting, Status};
use crate::study::settings::Settings;

use super::{App, ConfigArgs, setup};

/// Tables, each with the runs that it may show.
pub(super) type ComparableRuns = Vec<(Table, Vec<Arc<Record>>)>;

/// Returns each table of the profile with its newest comparable runs, and the runs and files that are left out, each
/// with the reason.
///
/// # Errors
/// When the ledger has no completed run of the profile.
pub(super) fn comparable_runs(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    records: &[Arc<Record>],
    problems: &[Problem],
) -> Result<(ComparableRuns, Vec<(String, String)>)> {
    let (tables, excluded) = beside(app, args, settings, records, problems, ComparableRuns::new());
    if tables.is_empty() {
        let dir = setup::ledger(settings).dir().display().to_string();
        return Err(Error::new(format!("{dir} has no completed run of the profile `{}`", args.profile))
            .hint(format!("`sempair reproduce --profile {}` runs them", args.profile)));
    }
    Ok((tables, excluded))
}

/// As [`comparable_runs`], but for the tables in `own`, which a command has asked for, uses the runs that the command found
/// or made. The other tables have the settings of their own runs.
pub(super) fn beside(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    records: &[Arc<Record>],
    problems: &[Problem],
    mut own: ComparableRuns,
) -> (ComparableRuns, Vec<(String, String)>) {
    let mut excluded: Vec<(String, String)> =
        problems.iter().map(|problem| (problem.file.display().to_string(), problem.what.clone())).collect();
    let grounds = Grounds::new(app);
    let none = setup::without_sets(args);
    let lists = if own.is_empty() { args } else { &none };
    let mut tables = Vec::new();
    for &experiment in app.experiments {
        let (runs, others) = comparable(records, experiment.id(), &grounds, &args.profile);
        if let Some(place) = own.iter().position(|(table, _)| table.id == experiment.id()) {
            let (table, runs) = own.swap_remove(place);
            excluded.extend(others.into_iter().filter(|(id, _)| runs.iter().all(|run| run.id != *id)));
            tables.push((table, runs));
            continue;
        }
        excluded.extend(others);
        if !runs.is_empty() {
            match table(app, lists, settings, (experiment, &runs), &grounds) {
                Ok(table) => tables.push((table, runs)),
                Err(error) => excluded.extend(runs.iter().map(|run| (run.id.clone(), error.what().to_owned()))),
            }
        }
    }
    (tables, excluded)
}

/// Returns the table with the settings of these runs, which are comparable and sorted oldest first. Rows and columns
/// on the command line override theirs.
///
/// # Errors
/// When the current settings do not fill the table either.
pub(super) fn table(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    (experiment, runs): (&dyn Experiment<Settings>, &[Arc<Record>]),
    grounds: &Grounds<'_>,
) -> Result<Table> {
    match setup::resolve_above(app, args, asked(runs, &grounds.roles), &grounds.roles) {
        Ok(of_runs) => experiment.table(&of_runs),
        Err(error) => {
            let mut table = experiment.table(settings)?;
            let note = format!(
                "This version does not accept the settings of these runs ({}); rows and caption use its own.",
                error.what()
            );
            table.notes.push(note.into());
            Ok(table)
        }
    }
}

/// Returns the tables without runs, with the settings of the other tables' runs. Rows and columns on the command line
/// override theirs. A table that these settings cannot fill, or leave without rows, is left out.
pub(super) fn not_run(app: &App, args: &ConfigArgs, settings: &Settings, tables: &ComparableRuns) -> Vec<Table> {
    let roles = setup::roles(app);
    let mut runs: Vec<Arc<Record>> = tables.iter().flat_map(|(_, runs)| runs.iter().cloned()).collect();
    runs.sort_by(|a, b| a.id.cmp(&b.id));
    let of_runs = setup::resolve_above(app, args, asked(&runs, &roles), &roles);
    let settings = of_runs.as_ref().unwrap_or(settings);
    let is_missing =
        |experiment: &&&dyn Experiment<Settings>| tables.iter().all(|(table, _)| table.id != experiment.id());
    let tables = app.experiments.iter().filter(is_missing).filter_map(|experiment| experiment.table(settings).ok());
    tables.filter(|table| !table.rows.is_empty()).collect()
}

/// The settings of the newest of these runs. A list of rows or columns has the items of all runs, in the order in
/// which they were asked for.
pub(super) fn asked(runs: &[Arc<Record>], roles: &Roles) -> Vec<(String, Value)> {
    let mut different: Vec<&Arc<Record>> = Vec::new();
    for run in runs.iter().rev() {
        if !different.iter().any(|other| other.settings.is(&run.settings)) {
            different.push(run);
        }
    }
    let mut asked: BTreeMap<&str, Value> = BTreeMap::new();
    for setting in different.iter().rev().flat_map(|run| run.settings.iter()) {
        match (asked.get_mut(setting.key.as_str()), &setting.value) {
            (Some(Value::Array(list)), Value::Array(more)) if roles.of(&setting.key) == Role::Rows => {
                let new: Vec<Value> = more.iter().filter(|one| !list.contains(one)).cloned().collect();
                list.extend(new);
            }
            _ => {
                asked.insert(&setting.key, setting.value.clone());
            }
        }
    }
    asked.retain(|key, _| roles.of(key) != Role::Place);
    asked.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The ids of all tables.
pub(super) fn ids<'a>(app: &App<'a>) -> Vec<&'a str> {
    app.experiments.iter().map(|experiment| experiment.id()).collect()
}

/// The information that decides whether runs may be shown together.
pub(super) struct Grounds<'a> {
    tables: Vec<&'a str>,
    roles: Roles,
}

impl<'a> Grounds<'a> {
    /// Takes the tables and settings of the program.
    pub(super) fn new(app: &App<'a>) -> Self {
        Self { tables: ids(app), roles: setup::roles(app) }
    }

    /// The reason why a run may not be shown together with the newest run of its table; `None` if it may.
    fn against(&self, run: &Record, newest: &Record) -> Option<String> {
        self.other_compute(run, newest).or_else(|| self.other_settings(run, newest))
    }

    fn other_compute(&self, run: &Record, newest: &Record) -> Option<String> {
        let words = |Compute { device, isa, precision }: &Compute| format!("{device}, {isa}, {precision}");
        (run.compute != newest.compute).then(|| {
            format!(
                "computed on {}, and the newest run of its table on {}",
                words(&run.compute),
                words(&newest.compute)
            )
        })
    }

    fn other_settings(&self, run: &Record, newest: &Record) -> Option<String> {
        if run.settings.is(&newest.settings) {
            return None;
        }
        let [own, others] = [run, newest].map(|record| self.fixed_settings(record));
        let keys = own.keys().chain(others.keys().filter(|key| !own.contains_key(*key)));
        let mut different = keys.filter(|key| own.get(*key) != others.get(*key));
        let first = different.next()?;
        let value = |of: &BTreeMap<&str, &Value>| of.get(first).map_or("not set".to_owned(), ToString::to_string);
        let more = and_more(different.count());
        Some(format!(
            "run with `{first}` {}{more}, and the newest run of its table with {}",
            value(&own),
            value(&others)
        ))
    }

    /// The settings that must be equal in runs that are shown together.
    fn fixed_settings<'r>(&self, record: &'r Record) -> BTreeMap<&'r str, &'r Value> {
        let settings = record.settings.iter().filter(|setting| !self.may_differ(setting, &record.experiment));
        settings.map(|setting| (setting.key.as_str(), &setting.value)).collect()
    }

    /// Whether runs of a table that differ in this setting may be shown together. They may if the setting decides no
    /// result, chooses rows or columns, is a place of files, or belongs to another table.
    fn may_differ(&self, setting: &Setting, table: &str) -> bool {
        let key = setting.key.as_str();
        let of_other_table =
            key.split_once('.').is_some_and(|(first, _)| self.tables.contains(&first) && first != table);
        self.roles.of(key) != Role::Results || of_other_table
    }
}

/// Returns the completed runs of a table that may be shown together, oldest first: they have the configuration of the
/// newest run, and their code does not differ from that of any newer run among them. The other runs are returned with
/// the reason.
pub(super) fn comparable(
    records: &[Arc<Record>],
    table: &str,
    grounds: &Grounds<'_>,
    profile: &str,
) -> (Vec<Arc<Record>>, Vec<(String, String)>) {
    let mut of_table: Vec<&Arc<Record>> = records
        .iter()
        .filter(|r| r.experiment == table && r.profile == profile && r.status == Status::Completed)
        .collect();
    of_table.sort_by_key(|record| &record.id);
    let Some(&newest) = of_table.last() else { return Default::default() };
    let mut codes = Codes::default();
    let (mut same, mut other) = (Vec::new(), Vec::new());
    for record in of_table.into_iter().rev() {
        let reason = other_build(record, newest).or_else(|| grounds.against(record, newest));
        match reason.or_else(|| codes.against(record)) {
            None => same.push(record.clone()),
            Some(reason) => other.push((record.id.clone(), reason)),
        }
    }
    same.reverse();
    other.reverse();
    (same, other)
}

/// The hash of each part of the code of the accepted runs. Runs of two methods have few parts in common, so a run
/// must be compared with all newer runs, not only with the newest.
#[derive(Default)]
struct Codes {
    taken: BTreeMap<String, String>,
    /// The result for each code that was already checked, by address: many runs share one code.
    known: HashMap<usize, Option<String>>,
}

impl Codes {
    /// The reason why the run's code excludes it. If there is none, its parts are added.
    fn against(&mut self, run: &Record) -> Option<String> {
        if let Some(known) = self.known.get(&run.code.address()) {
            return known.clone();
        }
        let reason = differing(&run.code, &self.taken).split_first().map(|(first, rest)| {
            format!("run with another `{first}`{} than newer runs of its table", and_more(rest.len()))
        });
        if reason.is_none() {
            self.taken.extend(run.code.iter().map(|(name, hash)| (name.clone(), hash.clone())));
        }
        self.known.insert(run.code.address(), reason.clone());
        reason
    }
}

/// The reason why the run's build excludes it. Records from before stages had their own code versions have one hash
/// of all code.
fn other_build(run: &Record, newest: &Record) -> Option<String> {
    let reason = match (run.code.is_empty(), newest.code.is_empty()) {
        (false, false) => return None,
        (true, true) if run.build.code == newest.build.code => return None,
        (true, true) => "run with other code than the newest run of its table",
        _ => {
            "recorded before stages had code versions of their own, so that its code cannot be compared with that of the \
              newest run of its table"
        }
    };
    Some(reason.to_owned())
}

fn and_more(count: usize) -> String {
    if count > 0 { format!(" and {count} more") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run(id: &str, settings: &[(&str, Value)]) -> Arc<Record> {
        let setting = |(key, value): &(&str, Value)| json!({ "key": key, "value": value, "origin": "--set" });
        let settings: Vec<Value> = settings.iter().map(setting).collect();
        let record = json!({
            "schema": "sempair.run/1", "id": id, "experiment": "samples", "key": id, "status": "completed",
            "started": id, "profile": "quick", "settings": settings,
        });
        Arc::new(serde_json::from_value(record).unwrap())
    }

    #[test]
    fn a_table_has_what_any_of_its_runs_was_asked_for() {
        let runs = [
            run(
                "1",
                &[("samples.values", json!([16])), ("pretrain.epochs", json!(8)), ("vit.recipe.epochs", json!(3))],
            ),
            run(
                "2",
                &[("samples.values", json!([8, 16])), ("pretrain.epochs", json!(8)), ("vit.recipe.epochs", json!(4))],
            ),
            run(
                "3",
                &[("samples.values", json!([16])), ("pretrain.epochs", json!(8)), ("vit.recipe.epochs", json!(3))],
            ),
        ];
        let roles = Roles::of_defaults("samples.values = [1] # chooses rows or columns");
        let asked = asked(&runs, &roles);
        let value = |key: &str| asked.iter().find(|(of, _)| of == key).map(|(_, value)| value.clone());
        assert_eq!(value("samples.values"), Some(json!([16, 8])));
        assert_eq!(value("vit.recipe.epochs"), Some(json!(3)), "the newest run's, where they differ");
    }

    const DEFAULTS: &str = "how_chosen = '' # decides no result\ndevice = 'a' # decides no result\n\
                            paths.data = 'a' # a place\nsamples.sets = [] # chooses rows or columns\n";

    fn grounds() -> Grounds<'static> {
        Grounds { tables: vec!["samples", "vit"], roles: Roles::of_defaults(DEFAULTS) }
    }

    #[test]
    fn what_decides_nothing_keeps_no_runs_apart() {
        let with = |id: &str, key: &str, value: Value| run(id, &[("pretrain.epochs", json!(8)), (key, value)]);
        let apart = |key: &str| {
            let runs = [with("1", key, json!("a")), with("2", key, json!("b"))];
            comparable(&runs, "samples", &grounds(), "quick").1.len()
        };
        assert_eq!(["how_chosen", "device", "paths.data", "vit.stem", "samples.sets"].map(apart), [0; 5]);
        assert_eq!(["pairs.from", "samples.other", "methods.byol.momentum"].map(apart), [1; 3]);
    }

    #[test]
    fn a_run_that_is_left_out_says_why() {
        let with = |id: &str, change: &dyn Fn(&mut Record)| {
            let mut record = (*run(id, &[("pretrain.epochs", json!(8))])).clone();
            record.code =
                [("train::run", "1"), ("methods::byol", "2")].map(|(a, b)| (a.into(), b.into())).into_iter().collect();
            change(&mut record);
            Arc::new(record)
        };
        let why = |change: &dyn Fn(&mut Record)| {
            let runs = [with("1", change), with("2", &|_| {})];
            comparable(&runs, "samples", &grounds(), "quick").1.into_iter().map(|(_, why)| why).next()
        };
        let parts = |parts: &[(&str, &str)]| -> BTreeMap<String, String> {
            parts.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect()
        };
        assert_eq!(why(&|_| {}), None);
        // The newest run has nothing in common with the two runs before it; only the newer of these two may be shown.
        let of = |id: &str, hash: &str, part: &str| with(id, &|run| run.code = parts(&[(part, hash)]).into());
        let runs =
            [of("1", "old", "methods::simclr"), of("2", "new", "methods::simclr"), of("3", "x", "methods::dino")];
        let (same, other) = comparable(&runs, "samples", &grounds(), "quick");
        assert_eq!(same.iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), ["2", "3"]);
        assert_eq!(other[0].1, "run with another `methods::simclr` than newer runs of its table");
        assert_eq!(why(&|run| run.code = parts(&[("train::run", "1"), ("methods::dino", "3")]).into()), None);
        assert_eq!(
            why(&|run| run.code = parts(&[("train::run", "x"), ("methods::byol", "x")]).into()).unwrap(),
            "run with another `methods::byol` and 1 more than newer runs of its table"
        );
        assert_eq!(
            why(&|run| run.code = parts(&[]).into()).unwrap(),
            "recorded before stages had code versions of their own, so that its code cannot be compared with that of the \
             newest run of its table"
        );
        assert_eq!(
            why(&|run| run.compute.isa = "avx2".into()).unwrap(),
            "computed on , avx2, , and the newest run of its table on , , "
        );
        assert_eq!(
            why(&|run| run.settings = self::run("1", &[("pretrain.epochs", json!(9))]).settings.clone()).unwrap(),
            "run with `pretrain.epochs` 9, and the newest run of its table with 8"
        );
    }
}
