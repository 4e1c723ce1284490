//! Where a table's numbers come from, as words: data, runs, settings, machines, and the commands that make it again.

use crate::harness::experiment::DataRef;
use crate::harness::record::Record;
use crate::harness::record::Setting;
use crate::report::results;
use crate::report::results::ComputeSpent;
use crate::report::results::Machine;
use crate::report::results::Results;
use crate::report::results::TableResults;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::text;
use serde::Serialize;

/// The origin of a setting that was not touched starts with this (`defaults.toml:12`).
const DEFAULTS: &str = "default";
/// The origin of a setting of the profile starts with this (`profiles/quick.toml:3`).
const PROFILE: &str = "profile";
/// The setting that `--seeds` gives.
const SEEDS: &str = "seeds";

#[derive(Serialize)]
pub(super) struct DataView {
    pub name: String,
    pub description: String,
    pub images: String,
    pub hash: String,
    pub short: String,
}

#[derive(Serialize)]
pub(super) struct LineageView {
    pub row: String,
    pub column: String,
    pub runs: Vec<RunLink>,
}

#[derive(Serialize)]
pub(super) struct RunLink {
    pub id: String,
    pub short: String,
    pub seed: u64,
}

#[derive(Serialize)]
pub(super) struct ComputeView {
    pub sentence: String,
    pub machines: Vec<MachineView>,
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

#[derive(Serialize)]
pub(super) struct RunView {
    pub id: String,
    pub row: String,
    pub column: String,
    pub seed: u64,
    pub commit: String,
    pub commit_short: String,
    pub tree: &'static str,
    pub started: String,
    pub time: String,
    pub settings: String,
    pub checkpoint: String,
    pub checkpoint_short: String,
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

/// The commit behind the report, in words.
pub(super) fn provenance(results: &Results) -> String {
    let dirty = if results.git.dirty { ", with uncommitted changes" } else { "" };
    match (&results.git.commit, results.git.commits.len()) {
        (None, _) => "an unknown commit".to_string(),
        (Some(commit), 0 | 1) => format!("commit {}{dirty}", short(commit, 12)),
        (Some(commit), n) => format!("{n} commits, the newest run at {}{dirty}", short(commit, 12)),
    }
}

/// Every run behind the tables, in their order, and the sets of changed settings that the runs refer to.
pub(super) fn runs(selections: &[Selection]) -> (Vec<RunView>, Vec<SettingsView>) {
    let settings = shared_settings(&results::used(selections));
    let mut runs: Vec<RunView> = Vec::new();
    for record in selections.iter().flat_map(|s| &s.records) {
        let view = run(record, &settings);
        // Two tables may use one run; its line, and the id that links lead to, must stand once.
        if !runs.iter().any(|r| r.id == view.id) {
            runs.push(view);
        }
    }
    (runs, settings)
}

/// A data set, its hash cut for the eye.
pub(super) fn data(set: &DataRef) -> DataView {
    DataView {
        name: set.name.clone(),
        description: set.description.clone(),
        images: text::count(set.images),
        hash: set.hash.clone(),
        short: short(&set.hash, 16),
    }
}

/// The commands that make the table again: same commit, profile and number of seeds, and every setting that came from
/// elsewhere (command line, environment, the user's file), so that nothing depends on what lies on the machine.
pub(super) fn rerun(results: &Results, table: &TableResults, selection: &Selection) -> Vec<String> {
    let mut lines = Vec::new();
    if results.git.dirty {
        lines.push("# Some runs came from a tree with uncommitted changes: a clean checkout may differ.".to_string());
    }
    if results.git.commits.len() > 1 {
        lines.push("# The runs come from several commits (see the lineage); this is the newest.".to_string());
    }
    if let Some(commit) = &results.git.commit {
        lines.push(format!("git checkout {}", text::shell(commit)));
    }
    let seeds = table.cells.iter().map(|c| c.seeds.len()).max().unwrap_or(0);
    let mut command = format!("sempair table {} --profile {}", text::shell(&table.id), text::shell(&results.profile));
    if seeds > 0 {
        command += &format!(" --seeds {seeds}");
    }
    let newest = selection.records.iter().max_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id)));
    let given = |s: &&Setting| !s.origin.starts_with(DEFAULTS) && !s.origin.starts_with(PROFILE) && s.key != SEEDS;
    for setting in newest.iter().flat_map(|r| &r.settings).filter(given) {
        command += &format!(" --set {}", text::shell(&format!("{}={}", setting.key, plain(setting))));
    }
    lines.push(text::clean(&command));
    lines
}

/// The runs behind each row and column.
pub(super) fn lineage(table: &TableResults, selection: &Selection) -> Vec<LineageView> {
    let mut lines = Vec::new();
    for (row, _) in select::rows(selection.table) {
        for column in &table.columns {
            let runs: Vec<RunLink> = selection
                .cell(row, &column.id)
                .map(|r| RunLink { id: text::clean(&r.id), short: tail(&r.id), seed: r.seed })
                .collect();
            if !runs.is_empty() {
                lines.push(LineageView { row: text::name(row), column: text::brief(&column.title), runs });
            }
        }
    }
    lines
}

/// What the numbers cost.
pub(super) fn compute(spent: &ComputeSpent) -> ComputeView {
    let counts: Vec<String> = spent.by_status.iter().map(|(status, n)| format!("{n} {status}")).collect();
    let runs = if spent.runs == 1 { "run" } else { "runs" };
    let sentence = format!(
        "{} {runs} started ({}), {} in all, failed and killed ones included; {} of it in the {} behind these tables. \
         Work that runs share is done once and counted in the run that did it.",
        spent.runs,
        if counts.is_empty() { "none".to_string() } else { counts.join(", ") },
        text::duration(spent.seconds),
        text::duration(spent.seconds_used),
        spent.used,
    );
    ComputeView { sentence, machines: spent.machines.iter().map(machine).collect() }
}

fn machine(m: &Machine) -> MachineView {
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

fn run(record: &Record, settings: &[SettingsView]) -> RunView {
    let own = overrides(record);
    let commit = record.git.commit.clone().unwrap_or_else(|| "unknown".to_string());
    let checkpoint = record.checkpoint.clone().unwrap_or_default();
    RunView {
        id: text::clean(&record.id),
        row: text::name(&record.row),
        column: record.column.clone(),
        seed: record.seed,
        commit_short: short(&commit, 10),
        commit,
        tree: if record.git.dirty { "changed" } else { "clean" },
        started: record.started.clone(),
        time: text::duration(record.seconds),
        settings: settings.iter().find(|s| s.values == own).map_or_else(String::new, |s| s.name.clone()),
        checkpoint_short: if checkpoint.is_empty() { text::DASH.to_string() } else { short(&checkpoint, 10) },
        checkpoint,
    }
}

/// The distinct sets of changed settings, named A, B, .., with how many runs have each.
fn shared_settings(runs: &[&Record]) -> Vec<SettingsView> {
    let mut sets: Vec<SettingsView> = Vec::new();
    for record in runs {
        let values = overrides(record);
        match sets.iter_mut().find(|s| s.values == values) {
            Some(set) => set.runs += 1,
            None => sets.push(SettingsView { name: letters(sets.len()), runs: 1, values }),
        }
    }
    sets
}

fn overrides(record: &Record) -> Vec<SettingView> {
    let changed = record.settings.iter().filter(|s| !s.origin.starts_with(DEFAULTS));
    changed.map(|s| SettingView { key: s.key.clone(), value: plain(s), origin: s.origin.clone() }).collect()
}

/// A value as it is typed: strings without their quotes.
fn plain(setting: &Setting) -> String {
    setting.value.as_str().map_or_else(|| setting.value.to_string(), str::to_string)
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

fn short(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

/// The end of a run's id, which is random and so distinct; the ledger finds a run by it.
fn tail(id: &str) -> String {
    let id = text::clean(id);
    let from = id.chars().count().saturating_sub(8);
    id.chars().skip(from).collect()
}
