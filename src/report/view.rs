//! What the templates are filled with: the results as words, in the order of the page.

use crate::error::Result;
use crate::harness::experiment::Column;
use crate::harness::experiment::DataRef;
use crate::harness::experiment::Row;
use crate::harness::record::Record;
use crate::harness::record::Setting;
use crate::report::figures;
use crate::report::results;
use crate::report::results::Cell;
use crate::report::results::ClaimResult;
use crate::report::results::ComputeSpent;
use crate::report::results::Excluded;
use crate::report::results::Machine;
use crate::report::results::Results;
use crate::report::results::TableResults;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::stats::Verdict;
use crate::report::text;
use serde::Serialize;

/// The origin of a setting that was not touched starts with this (`defaults.toml:12`).
const DEFAULTS: &str = "default";
/// The origin of a setting given on the command line.
const COMMAND_LINE: &str = "--set";

#[derive(Serialize)]
pub(super) struct ReportView {
    pub title: &'static str,
    pub profile: String,
    pub profile_description: String,
    pub generated: String,
    pub provenance: String,
    pub stand_ins: bool,
    pub verdict_rule: &'static str,
    pub claims: Vec<ClaimView>,
    pub tables: Vec<TableView>,
    pub compute: ComputeView,
    pub runs: Vec<RunView>,
    pub settings: Vec<SettingsView>,
    pub excluded: Vec<Excluded>,
}

#[derive(Serialize)]
pub(super) struct ClaimView {
    pub text: String,
    pub verdict: &'static str,
    pub class: &'static str,
    pub mark: &'static str,
    pub substitute: bool,
    pub evidence: String,
}

#[derive(Serialize)]
pub(super) struct TableView {
    /// Also the stem of the table's files.
    pub id: String,
    pub title: String,
    pub caption: String,
    pub row_title: String,
    pub groups: Vec<GroupView>,
    pub heads: Vec<HeadView>,
    pub rows: Vec<RowView>,
    pub notes: Vec<String>,
    pub missing: Vec<String>,
    pub figures: Vec<FigureView>,
    pub data: Vec<DataView>,
    pub rerun: Vec<String>,
    pub lineage: Vec<LineageView>,
}

/// A column of the table: a data set over its metrics.
#[derive(Serialize)]
pub(super) struct GroupView {
    pub title: String,
    pub substitute: bool,
    pub note: String,
    pub span: usize,
    /// First and last column of the LaTeX table, counted from 1.
    pub from: usize,
    pub to: usize,
}

#[derive(Clone, Serialize)]
pub(super) struct HeadView {
    pub title: String,
    /// With the data set's name, for formats with one header line.
    pub long: String,
    pub paper: bool,
    pub first: bool,
    #[serde(skip)]
    column: String,
    #[serde(skip)]
    metric: String,
}

#[derive(Serialize)]
pub(super) struct RowView {
    pub label: String,
    /// The label before it was shortened.
    pub full: String,
    pub class: &'static str,
    /// A rule stands above the first baseline.
    pub rule: bool,
    pub cells: Vec<CellView>,
}

#[derive(Serialize)]
pub(super) struct CellView {
    pub text: String,
    pub spread: String,
    /// Room is kept for a spread, so that the means of a column stand under each other.
    pub room: bool,
    pub best: bool,
    pub paper: bool,
    pub first: bool,
}

#[derive(Serialize)]
pub(super) struct FigureView {
    pub name: String,
    pub caption: String,
    pub svg: String,
}

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

/// Words for everything in the results and the runs behind them.
pub(super) fn view(results: &Results, selections: &[Selection]) -> Result<ReportView> {
    let used = results::used(selections);
    let settings = shared_settings(&used);
    let mut runs: Vec<RunView> = Vec::new();
    for record in selections.iter().flat_map(|s| &s.records) {
        // Two tables may use one run; its line, and the id that links lead to, must stand once.
        if !runs.iter().any(|r| r.id == record.id) {
            runs.push(run(record, &settings));
        }
    }
    let tables: Result<Vec<TableView>> =
        results.tables.iter().zip(selections).map(|(table, selection)| table_view(results, table, selection)).collect();
    Ok(ReportView {
        title: "Semantic pairs for self-supervised learning: a reproduction",
        profile: results.profile.clone(),
        profile_description: sentence(&results.profile_description),
        generated: results.generated.clone(),
        provenance: provenance(results),
        stand_ins: results.tables.iter().any(|t| t.columns.iter().any(|c| c.substitute)),
        verdict_rule: results.verdict_rule,
        claims: results.tables.iter().flat_map(|t| t.claims.iter().map(|c| claim(t, c))).collect(),
        tables: tables?,
        compute: compute(&results.compute),
        runs,
        settings: settings.into_iter().map(|(name, values, runs)| SettingsView { name, values, runs }).collect(),
        excluded: results.excluded.clone(),
    })
}

/// The verdict as a word, a class and a mark.
pub(super) fn verdict(verdict: Verdict) -> (&'static str, &'static str, &'static str) {
    match verdict {
        Verdict::Reproduced => ("Reproduced", "reproduced", "✓"),
        Verdict::NotReproduced => ("Not reproduced", "not-reproduced", "✗"),
        Verdict::Inconclusive => ("Inconclusive", "inconclusive", "?"),
    }
}

fn provenance(results: &Results) -> String {
    let dirty = if results.git.dirty { ", with uncommitted changes" } else { "" };
    match (&results.git.commit, results.git.commits.len()) {
        (None, _) => "an unknown commit".to_string(),
        (Some(commit), 0 | 1) => format!("commit {}{dirty}", short(commit, 12)),
        (Some(commit), n) => format!("{n} commits, the newest run at {}{dirty}", short(commit, 12)),
    }
}

fn claim(table: &TableResults, claim: &ClaimResult) -> ClaimView {
    let (word, class, mark) = verdict(claim.verdict);
    let column = table.columns.iter().find(|c| c.id == claim.column).map_or(claim.column.as_str(), |c| &c.title);
    let metric = table.metrics.iter().find(|m| m.id == claim.metric).map_or(claim.metric.as_str(), |m| &m.title);
    let margin = if claim.margin == 0.0 { String::new() } else { format!(", margin {}", exact(claim.margin)) };
    let unit = if claim.unit == "%" { " points" } else { "" };
    let evidence = match claim.difference {
        None => "No seed has both rows yet.".to_string(),
        Some(difference) => {
            let seeds = claim.seeds.len();
            let plural = if seeds == 1 { "" } else { "s" };
            let p = match (claim.p, claim.p_floor) {
                (Some(p), Some(floor)) => {
                    format!(
                        "; p {} (smallest possible {})",
                        text::p_value(p),
                        text::p_value(floor).trim_start_matches("= ")
                    )
                }
                _ => String::new(),
            };
            let words = text::difference(difference, claim.ci95, unit);
            format!(
                "{} minus {}: {words}{margin}; {seeds} common seed{plural}{p}.",
                text::name(&claim.better),
                text::name(&claim.worse)
            )
        }
    };
    ClaimView {
        text: sentence(&claim.text),
        verdict: word,
        class,
        mark,
        substitute: claim.substitute,
        evidence: format!("{column}, {metric}. {evidence}"),
    }
}

fn table_view(results: &Results, table: &TableResults, selection: &Selection) -> Result<TableView> {
    let heads = heads(table);
    let figures = figures::figures(selection, table)?;
    Ok(TableView {
        id: text::file_stem(&table.id),
        title: table.title.clone(),
        caption: table.caption.clone(),
        row_title: row_title(selection),
        groups: groups(table, &heads),
        rows: rows(table, selection, &heads),
        heads,
        notes: table.notes.clone(),
        missing: table.missing.clone(),
        figures: figures.into_iter().map(|f| FigureView { name: f.name, caption: f.caption, svg: f.svg }).collect(),
        data: table.data.iter().map(data).collect(),
        rerun: rerun(results, table, selection),
        lineage: lineage(table, selection),
    })
}

/// `method (pairs)`, from the keys of the first row.
fn row_title(selection: &Selection) -> String {
    let keys =
        selection.table.rows.first().map(|row| row.iter().map(|(key, _)| (String::new(), key.clone())).collect());
    keys.map_or_else(|| "row".to_string(), |keys: Row| text::label(&keys))
}

/// Per data set: each metric as measured, and behind it the paper's where the paper has this metric on this set.
fn heads(table: &TableResults) -> Vec<HeadView> {
    let mut heads = Vec::new();
    for column in &table.columns {
        for (i, metric) in table.metrics.iter().enumerate() {
            let unit = if metric.unit.is_empty() { String::new() } else { format!(", {}", metric.unit) };
            let (name, dagger) = (text::brief(&metric.title), if column.substitute { " †" } else { "" });
            let ours = HeadView {
                title: format!("{name}{unit}"),
                long: format!("{}{dagger} {name}{unit}", text::brief(&column.title)),
                paper: false,
                first: i == 0,
                column: column.id.clone(),
                metric: metric.id.clone(),
            };
            heads.push(ours.clone());
            let stated = |c: &Cell| c.column == column.id && c.metric == metric.id && c.paper.is_some();
            if table.cells.iter().any(stated) {
                let theirs = results::paper_column(column).unwrap_or(&column.id);
                heads.push(HeadView {
                    title: "paper".to_string(),
                    long: format!("paper: {theirs} {name}{unit}"),
                    paper: true,
                    first: false,
                    ..ours
                });
            }
        }
    }
    heads
}

fn groups(table: &TableResults, heads: &[HeadView]) -> Vec<GroupView> {
    let mut from = 2;
    let group = |column: &Column| {
        let span = heads.iter().filter(|h| h.column == column.id).count();
        let note = match (&column.stands_for, column.substitute) {
            (Some(theirs), true) => format!("in place of {theirs}"),
            _ => String::new(),
        };
        from += span;
        GroupView {
            title: text::brief(&column.title),
            substitute: column.substitute,
            note,
            span,
            from: from - span,
            to: from - 1,
        }
    };
    table.columns.iter().map(group).collect()
}

fn rows(table: &TableResults, selection: &Selection, heads: &[HeadView]) -> Vec<RowView> {
    let digits = paper_digits(table);
    let mut seen_baseline = false;
    select::rows(selection.table)
        .map(|(row, baseline)| {
            let rule = baseline && !seen_baseline;
            seen_baseline |= baseline;
            let class = match (rule, baseline) {
                (true, _) => "baseline first-baseline",
                (_, true) => "baseline",
                _ => "",
            };
            let cells = heads.iter().map(|head| cell(table, row, head, digits)).collect();
            let full = text::label(row);
            RowView { label: text::brief(&full), full, class, rule, cells }
        })
        .collect()
}

fn cell(table: &TableResults, row: &Row, head: &HeadView, paper_digits: usize) -> CellView {
    let cell = table.cells.iter().find(|c| c.row == *row && c.column == head.column && c.metric == head.metric);
    let blank = |text: &str| CellView {
        text: text.to_string(),
        spread: String::new(),
        room: !head.paper && table.cells.iter().any(|c| c.ci95.is_some()),
        best: false,
        paper: head.paper,
        first: head.first,
    };
    match cell {
        // The paper has no baselines: their cells are empty and not "not stated".
        Some(cell) if head.paper => match cell.paper {
            Some(value) => blank(&text::fixed(value, paper_digits)),
            None => blank(if cell.baseline { "" } else { text::DASH }),
        },
        Some(Cell { mean: Some(mean), ci95, best, .. }) => {
            let measured = text::measured(*mean, *ci95);
            CellView { spread: measured.spread(), best: *best, ..blank(&measured.mean) }
        }
        _ => blank(text::DASH),
    }
}

/// As many decimals as the paper's most exact figure of this table has.
fn paper_digits(table: &TableResults) -> usize {
    let digits = |value: f64| exact(value).split_once('.').map_or(0, |(_, digits)| digits.len());
    table.cells.iter().filter_map(|c| c.paper).map(digits).max().unwrap_or(1)
}

fn data(set: &DataRef) -> DataView {
    DataView {
        name: set.name.clone(),
        description: set.description.clone(),
        images: text::count(set.images),
        hash: set.hash.clone(),
        short: short(&set.hash, 16),
    }
}

/// The commands that make the table again: same commit, profile, number of seeds and settings of the command line.
fn rerun(results: &Results, table: &TableResults, selection: &Selection) -> Vec<String> {
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
    for setting in newest.iter().flat_map(|r| &r.settings).filter(|s| s.origin.contains(COMMAND_LINE)) {
        command += &format!(" --set {}", text::shell(&format!("{}={}", setting.key, plain(setting))));
    }
    lines.push(text::clean(&command));
    lines
}

fn lineage(table: &TableResults, selection: &Selection) -> Vec<LineageView> {
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

fn compute(spent: &ComputeSpent) -> ComputeView {
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

fn run(record: &Record, settings: &[(String, Vec<SettingView>, usize)]) -> RunView {
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
        settings: settings
            .iter()
            .find(|(_, values, _)| *values == own)
            .map_or_else(String::new, |(name, ..)| name.clone()),
        checkpoint_short: if checkpoint.is_empty() { text::DASH.to_string() } else { short(&checkpoint, 10) },
        checkpoint,
    }
}

/// The distinct sets of changed settings, named A, B, .., with how many runs have each.
fn shared_settings(runs: &[&Record]) -> Vec<(String, Vec<SettingView>, usize)> {
    let mut sets: Vec<(String, Vec<SettingView>, usize)> = Vec::new();
    for record in runs {
        let own = overrides(record);
        match sets.iter_mut().find(|(_, values, _)| *values == own) {
            Some((_, _, n)) => *n += 1,
            None => sets.push((letters(sets.len()), own, 1)),
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

/// A number in its shortest exact form.
fn exact(value: f64) -> String {
    format!("{value}")
}

/// With a full stop where a sentence lacks its end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.is_empty() || text.ends_with(['.', '!', '?']) { text.to_string() } else { format!("{text}.") }
}
