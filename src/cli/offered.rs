//! Which runs of a ledger stand in a report: those of each table that are comparable with its newest, in a table of what
//! they were asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::error::{Error, Result};
use crate::harness::experiment::{Experiment, Table};
use crate::harness::ledger::Problem;
use crate::harness::record::{Record, Setting, Status, decides_nothing, lists_rows, says_where};
use crate::train::settings::Settings;

use super::{App, ConfigArgs, setup};

/// Tables, each with the runs that may stand in it.
pub(super) type Offered = Vec<(Table, Vec<Arc<Record>>)>;

/// Each table of the profile with its newest comparable runs, and the runs and files that are left out with the reason.
///
/// # Errors
/// When there are no such runs.
pub(super) fn offered(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    records: &[Arc<Record>],
    problems: &[Problem],
) -> Result<(Offered, Vec<(String, String)>)> {
    let (tables, excluded) = beside(app, args, settings, records, problems, Offered::new());
    if tables.is_empty() {
        let dir = setup::ledger(settings).dir().display().to_string();
        return Err(Error::new(format!("{dir} has no completed run of the profile `{}`", args.profile))
            .hint(format!("`sempair reproduce --profile {}` runs them", args.profile)));
    }
    Ok((tables, excluded))
}

/// The same beside the tables that a command has asked for, its `own`, which have the runs that it found or made. The
/// others are as their runs were asked to fill them.
pub(super) fn beside(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    records: &[Arc<Record>],
    problems: &[Problem],
    mut own: Offered,
) -> (Offered, Vec<(String, String)>) {
    let mut excluded: Vec<(String, String)> =
        problems.iter().map(|problem| (problem.file.display().to_string(), problem.what.clone())).collect();
    let ids = ids(app);
    let none = ConfigArgs { methods: None, seeds: None, sets: Vec::new(), ..args.clone() };
    let lists = if own.is_empty() { args } else { &none };
    let mut tables = Vec::new();
    for &experiment in app.experiments {
        let (runs, others) = comparable(records, experiment.id(), &ids, &args.profile);
        if let Some(place) = own.iter().position(|(table, _)| table.id == experiment.id()) {
            let (table, runs) = own.swap_remove(place);
            excluded.extend(others.into_iter().filter(|(id, _)| runs.iter().all(|run| run.id != *id)));
            tables.push((table, runs));
            continue;
        }
        excluded.extend(others);
        if !runs.is_empty() {
            tables.push((table(app, lists, settings, experiment, &runs), runs));
        }
    }
    (tables, excluded)
}

/// The table as these runs, comparable and oldest first, were asked to fill it, with what the command line lists.
pub(super) fn table(
    app: &App,
    args: &ConfigArgs,
    settings: &Settings,
    experiment: &dyn Experiment<Settings>,
    runs: &[Arc<Record>],
) -> Table {
    match setup::resolve_above(app, args, asked(runs)) {
        Ok(of_runs) => experiment.table(&of_runs),
        Err(error) => {
            let mut table = experiment.table(settings);
            table.notes.push(format!(
                "These runs had settings that this version does not take ({}); rows and caption are of those it has now.",
                error.what()
            ));
            table
        }
    }
}

/// The settings of the newest of these runs; a list of rows or columns has what any run was asked for, in the order of
/// asking.
fn asked(runs: &[Arc<Record>]) -> Vec<(String, Value)> {
    let mut different: Vec<&Arc<Record>> = Vec::new();
    for run in runs.iter().rev() {
        if !different.iter().any(|other| other.settings.is(&run.settings)) {
            different.push(run);
        }
    }
    let mut asked: BTreeMap<&str, Value> = BTreeMap::new();
    for setting in different.iter().rev().flat_map(|run| run.settings.iter()) {
        match (asked.get_mut(setting.key.as_str()), &setting.value) {
            (Some(Value::Array(list)), Value::Array(more)) if lists_rows(&setting.key) => {
                let new: Vec<Value> = more.iter().filter(|one| !list.contains(one)).cloned().collect();
                list.extend(new);
            }
            _ => {
                asked.insert(&setting.key, setting.value.clone());
            }
        }
    }
    asked.retain(|key, _| !says_where(key));
    asked.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The tables by name.
pub(super) fn ids<'a>(app: &App<'a>) -> Vec<&'a str> {
    app.experiments.iter().map(|experiment| experiment.id()).collect()
}

/// The completed runs of a table that may stand side by side: those with the code and the configuration of the newest.
/// The rest is named with the reason.
pub(super) fn comparable(
    records: &[Arc<Record>],
    table: &str,
    tables: &[&str],
    profile: &str,
) -> (Vec<Arc<Record>>, Vec<(String, String)>) {
    let mut of_table: Vec<&Arc<Record>> = records
        .iter()
        .filter(|r| r.experiment == table && r.profile == profile && r.status == Status::Completed)
        .collect();
    of_table.sort_by_key(|record| (&record.started, &record.id));
    let Some(&newest) = of_table.last() else { return Default::default() };
    let (same, other): (Vec<_>, Vec<_>) =
        of_table.into_iter().partition(|record| are_comparable(record, newest, tables));
    let reason = "run with other code or another configuration than the newest run of its table";
    (same.into_iter().cloned().collect(), other.iter().map(|r| (r.id.clone(), reason.to_string())).collect())
}

/// Whether two runs of a table may stand in it side by side.
fn are_comparable(a: &Record, b: &Record, tables: &[&str]) -> bool {
    let settings = || a.settings.is(&b.settings) || fixed_settings(a, tables) == fixed_settings(b, tables);
    a.build.code == b.build.code && a.compute == b.compute && settings()
}

/// The settings that must be equal.
fn fixed_settings<'a>(record: &'a Record, tables: &[&str]) -> BTreeMap<&'a str, &'a Value> {
    let settings = record.settings.iter().filter(|setting| !may_differ(setting, &record.experiment, tables));
    settings.map(|setting| (setting.key.as_str(), &setting.value)).collect()
}

/// Whether runs of a table may stand side by side that differ in this: how many seeds and which rows and sets were asked
/// for, what other tables have, and where files lie.
fn may_differ(setting: &Setting, table: &str, tables: &[&str]) -> bool {
    let key = setting.key.as_str();
    let of_other_table = key.split_once('.').is_some_and(|(first, _)| tables.contains(&first) && first != table);
    decides_nothing(key) || of_other_table
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
            run("1", &[("samples.values", json!([16])), ("pretrain.epochs", json!(8)), ("vit.epochs", json!(3))]),
            run("2", &[("samples.values", json!([8, 16])), ("pretrain.epochs", json!(8)), ("vit.epochs", json!(4))]),
            run("3", &[("samples.values", json!([16])), ("pretrain.epochs", json!(8)), ("vit.epochs", json!(3))]),
        ];
        let asked = asked(&runs);
        let value = |key: &str| asked.iter().find(|(of, _)| of == key).map(|(_, value)| value.clone());
        assert_eq!(value("samples.values"), Some(json!([16, 8])));
        assert_eq!(value("vit.epochs"), Some(json!(3)), "the newest run's, where they differ");
    }

    #[test]
    fn what_decides_nothing_keeps_no_runs_apart() {
        let with = |id: &str, key: &str, value: Value| run(id, &[("pretrain.epochs", json!(8)), (key, value)]);
        let apart = |key: &str| {
            let runs = [with("1", key, json!("a")), with("2", key, json!("b"))];
            comparable(&runs, "samples", &["samples", "vit"], "quick").1.len()
        };
        assert_eq!(["how_chosen", "device", "paths.data", "vit.stem", "samples.sets"].map(apart), [0; 5]);
        assert_eq!(["pairs.from", "samples.other", "methods.byol.momentum"].map(apart), [1; 3]);
    }
}
