//! Where a table's numbers come from, as text: data, runs, settings, machines, and the commands that rerun it.

use crate::error::shell;
use crate::harness::config::Role;
use crate::harness::config::Roles;
use crate::harness::experiment::MetricInfo;
use crate::harness::frozen_plan::Standing;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::progress::duration;
use crate::harness::record;
use crate::harness::record::Record;
use crate::harness::record::Setting;
use crate::report::facts::ComputeSpent;
use crate::report::facts::Machine;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::gains::ASIDE;
use crate::report::results;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use serde::Serialize;
use serde_json::Value;

/// The key of the setting that describes how the other settings were chosen.
pub(super) const HOW_CHOSEN: &str = "how_chosen";

#[derive(Serialize)]
pub(super) struct DataView {
    pub name: String,
    pub description: String,
    pub images: String,
    pub licence: String,
    pub hash: String,
    pub short: String,
}

#[derive(Serialize)]
pub(super) struct LineageView {
    /// The anchor that the values of the table link to.
    pub anchor: String,
    pub row: String,
    pub column: String,
    pub runs: Vec<RunLink>,
}

#[derive(Serialize)]
pub(super) struct RunLink {
    pub id: String,
    pub short: String,
    pub seed: u64,
    /// The value of the column's first metric; empty if the run has none.
    pub value: String,
    /// The commit, if the commits of the table's runs differ; for review the hash of the code.
    pub revision: String,
    /// The name of its set of settings, if there are several sets.
    pub settings: String,
    /// How it stands to the table's plan, if it is not planned.
    pub standing: &'static str,
}

#[derive(Serialize)]
pub(super) struct MachineView {
    pub cpu: String,
    pub cores: String,
    pub threads: String,
    pub device: String,
    pub isa: String,
    pub precision: String,
    pub rustc: String,
}

/// A set of settings that several runs share.
#[derive(Serialize)]
pub(super) struct SettingsView {
    pub name: String,
    pub runs: usize,
    pub values: Vec<SettingView>,
}

#[derive(Clone, PartialEq, Serialize)]
pub(super) struct SettingView {
    pub key: String,
    pub value: String,
    pub origin: String,
}

/// The commit of the report, in words; for review the hash of the code, since a commit names its authors.
pub(super) fn provenance(results: &Results) -> String {
    let git = &results.git;
    let dirty = match git.tree {
        Tree::Clean => "",
        Tree::Unknown => ", uncommitted changes unknown",
        Tree::Dirty => ", with uncommitted changes",
    };
    match (results.anonymous, &git.commit, git.commits.len(), &git.codes[..]) {
        (true, _, _, []) => "unknown code".to_string(),
        (true, _, _, [code]) => format!("code {}{dirty}", short(code, 12)),
        (true, _, _, codes) => format!("{} versions of the code{dirty}", codes.len()),
        (false, None, ..) => "an unknown commit".to_string(),
        (false, Some(commit), 0 | 1, _) => format!("commit {}{dirty}", short(commit, 12)),
        (false, Some(commit), n, _) => format!("{n} commits, the newest run at {}{dirty}", short(commit, 12)),
    }
}

/// The sets of changed settings of the runs used in the tables.
pub(super) fn settings(results: &Results, selections: &[Selection]) -> Vec<SettingsView> {
    shared_settings(&results::used(selections), &results.roles)
}

/// A data set, with its hash in full and shortened.
pub(super) fn data(set: &DataRef) -> DataView {
    DataView {
        name: set.name.clone(),
        description: set.description.clone(),
        images: text::count(set.images),
        licence: if set.licence.is_empty() { "not recorded".to_string() } else { set.licence.clone() },
        hash: set.hash.clone(),
        short: short(&set.hash, 12),
    }
}

/// The commands that rerun the table: same commit, instruction set, precision, profile and number of seeds, and every
/// setting of this table that came from elsewhere (command line, environment, the user's file), so that the result does
/// not depend on files of the machine. Settings that are places do not matter and are left out.
pub(super) fn rerun(results: &Results, table: &TableResults, selection: &Selection) -> Vec<String> {
    let mut lines = Vec::new();
    match selection.records.iter().map(|record| record.git.tree()).max() {
        Some(Tree::Dirty) => lines
            .push("# Some runs came from a tree with uncommitted changes: a clean checkout may differ.".to_string()),
        Some(Tree::Unknown) => {
            lines.push("# For some runs it is unknown whether the tree had uncommitted changes.".to_string());
        }
        Some(Tree::Clean) | None => {}
    }
    if selection.records.iter().any(|record| record.git.commit != selection.records[0].git.commit) {
        lines.push("# The runs come from several commits, listed with the runs; this is the newest.".to_string());
    }
    if results.anonymous {
        lines.push("# The commit is withheld for review; `sempair show RUN` prints the code's hash.".to_string());
    }
    let run = format!("cargo run --release -- table {} --profile", shell(&table.id));
    let Some(newest) = selection.records.iter().max_by_key(|r| &r.id) else {
        lines.push(format!("{run} {}", shell(&results.profile)));
        return lines;
    };
    if let Some(commit) = &newest.git.commit {
        lines.push(format!("git checkout {}", shell(commit)));
    }
    let mut command = String::new();
    let on_gpu = newest.compute.device.starts_with("cuda");
    if !newest.compute.isa.is_empty() && !on_gpu {
        command += &format!("SEMPAIR_ISA={} ", shell(&newest.compute.isa));
    }
    command += &format!("{run} {}", shell(&results.profile));
    // Seeds count from 0, so the last one gives the number of seeds requested, even if some are missing.
    let seeds = selection.records.iter().map(|r| r.seed.saturating_add(1)).max().unwrap_or(1);
    command += &format!(" --seeds {seeds}");
    if !newest.compute.device.is_empty() {
        // With `auto`, the machine decides.
        command += if on_gpu { " --device cuda" } else { " --device cpu" };
    }
    if !newest.compute.precision.is_empty() {
        command += &format!(" --set precision={}", shell(&newest.compute.precision));
    }
    lines.push(text::clean(&(command + &sets(results, table, selection))));
    lines
}

/// The options of a command that give the settings of this table which neither the defaults nor the profile have. Those of
/// the machine and the number of seeds are left out.
pub(super) fn sets(results: &Results, table: &TableResults, selection: &Selection) -> String {
    let other_table = |key: &str| {
        key.split_once('.').is_some_and(|(first, _)| first != table.id && results.tables.iter().any(|t| t.id == first))
    };
    let of_machine =
        |key: &str| ["seeds", "precision", "device"].contains(&key) || results.roles.of(key) == Role::Place;
    let newest = selection.records.iter().max_by_key(|record| &record.id);
    let settings = newest.into_iter().flat_map(|newest| newest.settings.iter());
    let option = |setting: &Setting| {
        let value = given(setting, &selection.records, &results.roles)?;
        Some(format!(" --set {}", shell(&format!("{}={}", setting.key, plain(&value)))))
    };
    settings.filter(|s| !other_table(&s.key) && !of_machine(&s.key)).filter_map(option).collect()
}

/// The value of a setting that must be given, since neither the defaults nor the profile have it; otherwise `None`.
fn given(setting: &Setting, records: &[&Record], roles: &Roles) -> Option<Value> {
    if roles.of(&setting.key) != Role::Rows {
        return (!setting.is_built_in()).then(|| setting.value.clone());
    }
    // The table has the rows and columns of all its runs, so the values that chose them are combined.
    let mut all: Vec<&Value> = Vec::new();
    let of_key: Vec<&Setting> =
        records.iter().filter_map(|record| record.settings.iter().find(|s| s.key == setting.key)).collect();
    for item in of_key.iter().filter_map(|s| s.value.as_array()).flatten() {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    let all: Value = all.into_iter().cloned().collect();
    let there = of_key.iter().any(|s| s.is_built_in() && s.value == all);
    (!there).then_some(all)
}

/// The anchor of a place in the lineage: a row and a column of a table, by their positions.
pub(super) fn anchor(table: &str, row: usize, column: usize) -> String {
    format!("runs-{}-{row}-{column}", text::file_stem(table))
}

/// The runs of each row and column, each with its value.
pub(super) fn lineage(
    results: &Results,
    table: &TableResults,
    selection: &Selection,
    settings: &[SettingsView],
) -> Vec<LineageView> {
    let is_one = one_revision(results, selection).is_some();
    let standing = |record: &Record| table.plan.as_ref()?.standing(&record.id);
    let mut lines = Vec::new();
    for (i, (row, _)) in select::rows(selection.table).enumerate() {
        for (j, column) in table.columns.iter().enumerate() {
            let metric = table.metrics.iter().find(|metric| column.has(&metric.id) && metric.id != ASIDE);
            let run = |record: &Record| RunLink {
                id: text::clean(&record.id),
                short: text::clean(record::short(&record.id)),
                seed: record.seed,
                value: value(record, metric),
                revision: if is_one { String::new() } else { revision(results, record) },
                settings: if settings.len() > 1 { settings_of(record, results, settings) } else { String::new() },
                standing: standing(record).map_or("", Standing::name),
            };
            let runs: Vec<RunLink> = selection.cell(row, &column.id).map(run).collect();
            if !runs.is_empty() {
                let (row, column) = (text::name(row), text::brief(&column.title));
                lines.push(LineageView { anchor: anchor(&table.id, i, j), row, column, runs });
            }
        }
    }
    lines
}

fn value(record: &Record, metric: Option<&MetricInfo>) -> String {
    let value = metric.and_then(|metric| record.metrics.get(&metric.id)).filter(|value| value.is_finite());
    value.map_or_else(String::new, |value| text::fixed(*value, 2))
}

/// The commit of a run, or for review the hash of its code, with a star if the tree had uncommitted changes, and a
/// question mark if that is unknown.
fn revision(results: &Results, record: &Record) -> String {
    let revision = if results.anonymous { Some(record.build.code.clone()) } else { record.git.commit.clone() };
    let revision = revision.filter(|revision| !revision.is_empty()).unwrap_or_else(|| "unknown".to_string());
    format!("{}{}", short(&revision, 12), record.git.tree().mark())
}

/// The commit of all runs of a table, or for review their code, in words; `None` if they differ.
pub(super) fn one_revision(results: &Results, selection: &Selection) -> Option<String> {
    let any = selection.records.first()?;
    let first = revision(results, any);
    let what = if results.anonymous { "code" } else { "commit" };
    let plain = first.trim_end_matches(['*', '?']);
    let tree = match any.git.tree() {
        Tree::Clean => "clean tree",
        Tree::Dirty => "uncommitted changes",
        Tree::Unknown => "it is unknown whether there were uncommitted changes",
    };
    let is_one = selection.records.iter().all(|record| revision(results, record) == first);
    is_one.then(|| format!("{what} {plain}, {tree}"))
}

fn settings_of(record: &Record, results: &Results, settings: &[SettingsView]) -> String {
    let own = overrides(record, &results.roles);
    settings.iter().find(|set| set.values == own).map_or_else(String::new, |set| set.name.clone())
}

/// What runs cost, in words.
pub(super) fn spent(spent: &ComputeSpent) -> String {
    let counts: Vec<String> = spent.by_status.iter().map(|(status, n)| format!("{n} {status}")).collect();
    let runs = if spent.runs == 1 { "run" } else { "runs" };
    let energy = spent.energy_joules.map_or_else(String::new, |joules| {
        let runs = text::counted(spent.energy_runs, "run");
        format!(" Energy of processors and memory, as {runs} recorded it: {}.", text::energy(joules))
    });
    format!(
        "{} {runs} started ({}), {} in total, including failed and killed runs; {} of it in the {} whose results are \
         shown. Work that runs share is done once and counted in the run that did it.{energy}",
        spent.runs,
        if counts.is_empty() { "none".to_string() } else { counts.join(", ") },
        duration(spent.seconds),
        duration(spent.seconds_used),
        spent.used,
    )
}

pub(super) fn machine(m: &Machine) -> MachineView {
    let known = |text: &str| if text.is_empty() { text::DASH.to_string() } else { text.to_string() };
    let number = |n: u64| if n == 0 { text::DASH.to_string() } else { n.to_string() };
    MachineView {
        cpu: known(&m.cpu),
        cores: number(m.cores),
        threads: number(m.threads),
        device: known(&m.device),
        isa: known(&m.isa),
        precision: known(&m.precision),
        rustc: known(&m.rustc),
    }
}

/// The distinct sets of changed settings, named A, B, .., each with its number of runs.
fn shared_settings(runs: &[&Record], roles: &Roles) -> Vec<SettingsView> {
    let mut sets: Vec<SettingsView> = Vec::new();
    for record in runs {
        let values = overrides(record, roles);
        match sets.iter_mut().find(|s| s.values == values) {
            Some(set) => set.runs += 1,
            None => sets.push(SettingsView { name: letters(sets.len()), runs: 1, values }),
        }
    }
    sets
}

/// The settings of a run that are not defaults. Settings that are places are left out, since they are of no use to
/// others.
fn overrides(record: &Record, roles: &Roles) -> Vec<SettingView> {
    let told = |s: &&Setting| !s.is_default() && s.key != HOW_CHOSEN && roles.of(&s.key) != Role::Place;
    let changed = record.settings.iter().filter(told);
    changed.map(|s| SettingView { key: s.key.clone(), value: plain(&s.value), origin: s.origin.clone() }).collect()
}

/// A value as it is typed: strings without their quotes.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// A, B, .., Z, AA, ..
fn letters(mut n: usize) -> String {
    let mut name = String::new();
    loop {
        name.insert(0, char::from(b'A' + (n % 26) as u8));
        if n < 26 {
            return name;
        }
        n = n / 26 - 1;
    }
}

/// The first `most` characters.
pub(super) fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}
