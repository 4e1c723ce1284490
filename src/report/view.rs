//! What the templates are filled with: the results as words, in the order of the page.

use crate::error::Result;
use crate::harness::experiment::Column;
use crate::harness::experiment::Expected;
use crate::harness::experiment::Row;
use crate::report::checklist;
use crate::report::checklist::Answer;
use crate::report::claims::ClaimResult;
use crate::report::claims::mark_repeated;
use crate::report::figures;
use crate::report::figures::Figure;
use crate::report::in_order;
use crate::report::results;
use crate::report::results::Cell;
use crate::report::results::Excluded;
use crate::report::results::Results;
use crate::report::results::TableResults;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::sources;
use crate::report::sources::ComputeView;
use crate::report::sources::DataView;
use crate::report::sources::LineageView;
use crate::report::sources::RunView;
use crate::report::sources::SettingsView;
use crate::report::stats::Verdict;
use crate::report::text;
use crate::report::text::sentence;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(super) struct ReportView {
    pub title: &'static str,
    pub profile: String,
    pub profile_description: String,
    pub generated: String,
    pub provenance: String,
    pub anonymous: bool,
    pub stand_ins: bool,
    pub verdict_rule: &'static str,
    /// By table, without those that claim nothing.
    pub claims: Vec<ClaimsView>,
    /// How many claims have each verdict, in the order of [`VERDICTS`], a measurement that tables share counted once.
    pub tally: Tally,
    /// The same of what the paper measures, where the report has claims that it only argues; else empty.
    pub tally_in_paper: Vec<usize>,
    /// How many trained rows have a mean above each baseline, in words.
    pub baselines: Vec<String>,
    /// Whether some have not.
    pub some_below: bool,
    pub tables: Vec<TableView>,
    pub checklist: Vec<Answer>,
    pub compute: ComputeView,
    pub runs: Vec<RunView>,
    pub settings: Vec<SettingsView>,
    pub excluded: Vec<ExcludedView>,
    /// Of how many runs these are.
    pub left_out: usize,
}

/// Runs that were not used for one reason.
#[derive(Serialize)]
pub(super) struct ExcludedView {
    pub reason: String,
    /// The first of them.
    pub runs: Vec<String>,
    /// How many there are besides.
    pub more: usize,
}

/// The claims of one table.
#[derive(Serialize)]
pub(super) struct ClaimsView {
    /// The table's.
    pub id: String,
    pub title: String,
    /// As [`ReportView::tally`].
    pub tally: Tally,
    /// Whether the paper measures what they are about, and does not only argue it.
    pub in_paper: bool,
    pub claims: Vec<ClaimView>,
}

#[derive(Serialize)]
pub(super) struct ClaimView {
    pub text: String,
    pub verdict: &'static str,
    pub class: &'static str,
    pub mark: &'static str,
    /// Where the verdict holds, behind it: empty for the paper's data.
    pub place: &'static str,
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
    pub figures: Vec<Figure>,
    pub data: Vec<DataView>,
    pub compute: String,
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
    /// The place of the lineage with the runs behind it; empty where there are none.
    pub lineage: String,
}

/// Words for everything in the results and the runs behind them.
pub(super) fn view(results: &Results, selections: &[Selection]) -> Result<ReportView> {
    let of_tables = || results.tables.par_iter().zip(selections);
    let figures = in_order(of_tables().map(|(table, selection)| figures::figures(selection, table)))?;
    let (runs, settings) = sources::runs(results, selections, &figures);
    let tables = of_tables().zip(figures);
    let tables = tables.map(|((table, selection), figures)| table_view(results, table, selection, figures)).collect();
    Ok(ReportView {
        title: "Semantic pairs for self-supervised learning: a reproduction",
        profile: results.profile.clone(),
        profile_description: sentence(&results.profile_description),
        generated: results.generated.clone(),
        provenance: sources::provenance(results),
        anonymous: results.anonymous,
        stand_ins: results.tables.iter().any(|t| t.columns.iter().any(|c| c.substitute)),
        verdict_rule: results.verdict_rule,
        claims: results.tables.iter().filter(|table| !table.claims.is_empty()).map(claims).collect(),
        tally: tally(once(results, |_| true)),
        tally_in_paper: if results.tables.iter().all(|table| table.in_paper || table.claims.is_empty()) {
            Vec::new()
        } else {
            tally(once(results, |table| table.in_paper)).to_vec()
        },
        baselines: baselines(results),
        some_below: results
            .tables
            .iter()
            .flat_map(|table| &table.baselines)
            .any(|baseline| baseline.above < baseline.of),
        tables,
        checklist: checklist::answers(results, selections),
        compute: sources::compute(&results.compute),
        runs,
        settings,
        excluded: excluded(&results.excluded),
        left_out: results.excluded.len(),
    })
}

/// So many runs are named that were not used for one reason; `results.json` names all.
const NAMED: usize = 20;

fn excluded(runs: &[Excluded]) -> Vec<ExcludedView> {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    runs.iter().for_each(|of| by_reason.entry(&of.reason).or_default().push(&of.run));
    let view = |(reason, runs): (&str, Vec<&str>)| ExcludedView {
        reason: reason.to_string(),
        more: runs.len().saturating_sub(NAMED),
        runs: runs.into_iter().take(NAMED).map(String::from).collect(),
    };
    by_reason.into_iter().map(view).collect()
}

/// The verdicts in the order in which they are counted.
const VERDICTS: [Verdict; 5] =
    [Verdict::Reproduced, Verdict::NotReproduced, Verdict::Inconclusive, Verdict::NotRun, Verdict::NotTestable];

/// A number for each verdict.
pub(super) type Tally = [usize; VERDICTS.len()];

/// The claims of some tables, each measurement once.
fn once(results: &Results, of: impl Fn(&TableResults) -> bool + Clone) -> impl Iterator<Item = &ClaimResult> + Clone {
    let tables = results.tables.iter().filter(move |table| of(table));
    tables.flat_map(|table| &table.claims).filter(|claim| claim.same_as.is_none())
}

/// For each baseline how many means of trained rows are above it, by table: `random initialisation: 5 of 6 in transfer`.
fn baselines(results: &Results) -> Vec<String> {
    let mut of_row: Vec<(String, Vec<String>)> = Vec::new();
    for table in &results.tables {
        let first = |i: &usize| table.baselines[..*i].iter().all(|other| other.row != table.baselines[*i].row);
        for row in (0..table.baselines.len()).filter(first).map(|i| &table.baselines[i].row) {
            let of_table = || table.baselines.iter().filter(|baseline| baseline.row == *row);
            let (above, of): (usize, usize) = (of_table().map(|b| b.above).sum(), of_table().map(|b| b.of).sum());
            let (name, words) = (text::name(row), format!("{above} of {of} in {}", table.id));
            match of_row.iter_mut().find(|(other, _)| *other == name) {
                Some((_, all)) => all.push(words),
                None => of_row.push((name, vec![words])),
            }
        }
    }
    of_row.into_iter().map(|(row, words)| format!("{row}: {}", words.join(", "))).collect()
}

fn tally<'a>(claims: impl Iterator<Item = &'a ClaimResult> + Clone) -> Tally {
    VERDICTS.map(|verdict| claims.clone().filter(|claim| claim.verdict == verdict).count())
}

/// How many claims of some tables have each verdict, a measurement that these share counted once.
pub(super) fn tally_of(mut tables: Vec<TableResults>) -> Tally {
    mark_repeated(&mut tables);
    tally(tables.iter().flat_map(|table| &table.claims).filter(|claim| claim.same_as.is_none()))
}

fn claims(table: &TableResults) -> ClaimsView {
    ClaimsView {
        id: text::file_stem(&table.id),
        title: table.title.clone(),
        tally: tally(table.claims.iter()),
        in_paper: table.in_paper,
        claims: table.claims.iter().map(|of| claim(table, of)).collect(),
    }
}

fn claim(table: &TableResults, claim: &ClaimResult) -> ClaimView {
    let (word, class, mark) = text::verdict(claim.verdict);
    let column = table.columns.iter().find(|c| c.id == claim.column).map_or(claim.column.as_str(), |c| &c.title);
    let metric = table.metrics.iter().find(|m| m.id == claim.metric).map_or(claim.metric.as_str(), |m| &m.title);
    let unit = text::unit_of_difference(&claim.unit);
    let stand_in = table.columns.iter().any(|c| c.id == claim.column && c.substitute);
    let place = match (claim.substitute, stand_in) {
        (false, _) => "",
        (true, true) => " on stand-in data",
        (true, false) => " with other pairs than the paper's",
    };
    let evidence = match claim.difference {
        None if claim.verdict == Verdict::NotTestable => "The table has no such rows or column.".to_string(),
        None => "No seed has completed runs of all its rows.".to_string(),
        Some(difference) => format!(
            "{} minus {}: {}{}; {}{}{}.{}",
            sum(&claim.plus),
            sum(&claim.minus),
            text::difference(difference, claim.ci95, &unit),
            margin(claim.expected, &unit),
            counted(claim.seeds.len(), "common seed"),
            p_values(claim),
            claim.seeds_to_decide.map_or_else(String::new, |n| format!("; about {n} seeds would decide")),
            claim.same_as.as_ref().map_or_else(String::new, |table| format!(" The same measurement as in {table}.")),
        ),
    };
    ClaimView {
        text: sentence(&claim.text),
        verdict: word,
        class,
        mark,
        place,
        evidence: format!("{column}, {metric}. {evidence}"),
    }
}

/// The rows of one side of a contrast.
fn sum(rows: &[Row]) -> String {
    let names: Vec<String> = rows.iter().map(text::name).collect();
    if names.len() > 1 { format!("[{}]", names.join(" + ")) } else { names.concat() }
}

fn margin(expected: Expected, unit: &str) -> String {
    match expected {
        Expected::AtLeast(0.0) => String::new(),
        Expected::AtLeast(margin) => format!(", margin {}", exact(margin)),
        Expected::Within(margin) => format!(", at most {}{unit} either way count as none", exact(margin)),
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn p_values(claim: &ClaimResult) -> String {
    let mut words = String::new();
    if let (Some(p), Some(floor)) = (claim.p, claim.p_floor) {
        let floor = text::p_value(floor);
        words += &format!("; sign-flip p {} (smallest possible {})", text::p_value(p), floor.trim_start_matches("= "));
    }
    if let (Some(p), Some(holm)) = (claim.t_p, claim.holm_p) {
        let test = match claim.expected {
            Expected::AtLeast(_) => "t test",
            Expected::Within(_) => "equivalence test",
        };
        words += &format!("; {test} p {}, Holm {}", text::p_value(p), text::p_value(holm));
    }
    if !claim.mcnemar.is_empty() {
        let of_seeds: Vec<String> =
            claim.mcnemar.iter().map(|test| text::p_value(test.p).trim_start_matches("= ").to_string()).collect();
        words += &format!("; McNemar's p on the test images, seed by seed: {}", of_seeds.join(", "));
    }
    words
}

fn table_view(results: &Results, table: &TableResults, selection: &Selection, figures: Vec<Figure>) -> TableView {
    let heads = heads(table);
    TableView {
        id: text::file_stem(&table.id),
        title: table.title.clone(),
        caption: table.caption.clone(),
        row_title: row_title(selection),
        groups: groups(table, &heads),
        rows: rows(table, selection, &heads),
        heads,
        notes: table.notes.clone(),
        missing: table.missing.clone(),
        figures,
        data: table.data.iter().map(sources::data).collect(),
        compute: sources::spent(&table.compute),
        rerun: sources::rerun(results, table, selection),
        lineage: sources::lineage(table, selection),
    }
}

/// `method (pairs)`, from the keys of the row that has most.
fn row_title(selection: &Selection) -> String {
    let longest = selection.table.rows.iter().max_by_key(|row| row.len());
    let keys = longest.map(|row| row.iter().map(|(key, _)| (String::new(), key.clone())).collect());
    keys.map_or_else(|| "row".to_string(), |keys: Row| text::label(&keys))
}

/// Per data set: each metric as measured, and behind it the paper's where the paper has this metric on this set.
fn heads(table: &TableResults) -> Vec<HeadView> {
    let mut heads = Vec::new();
    for column in &table.columns {
        for (i, metric) in table.metrics.iter().filter(|metric| column.has(&metric.id)).enumerate() {
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
        .enumerate()
        .map(|(i, (row, baseline))| {
            let rule = baseline && !seen_baseline;
            seen_baseline |= baseline;
            let class = match (rule, baseline) {
                (true, _) => "baseline first-baseline",
                (_, true) => "baseline",
                _ => "",
            };
            let cells = heads.iter().map(|head| cell(table, (i, row), head, digits)).collect();
            let full = text::label(row);
            RowView { label: text::brief(&full), full, class, rule, cells }
        })
        .collect()
}

fn cell(table: &TableResults, (i, row): (usize, &Row), head: &HeadView, paper_digits: usize) -> CellView {
    let cell = table.cells.iter().find(|c| c.row == *row && c.column == head.column && c.metric == head.metric);
    let blank = |text: &str| CellView {
        text: text.to_string(),
        spread: String::new(),
        room: !head.paper && table.cells.iter().any(|c| c.interval().is_some()),
        best: false,
        paper: head.paper,
        first: head.first,
        lineage: String::new(),
    };
    match cell {
        // The paper has no baselines: their cells are empty and not "not stated".
        Some(cell) if head.paper => match cell.paper {
            Some(value) => blank(&text::fixed(value, paper_digits)),
            None => blank(if cell.baseline { "" } else { text::DASH }),
        },
        Some(cell @ Cell { mean: Some(mean), best, .. }) => {
            let measured = text::measured(*mean, cell.interval(), cell.decimals);
            let column = table.columns.iter().position(|c| c.id == head.column).unwrap_or_default();
            let lineage = sources::anchor(&table.id, i, column);
            CellView { spread: measured.spread(), best: *best, lineage, ..blank(&measured.mean) }
        }
        _ => blank(text::DASH),
    }
}

/// As many decimals as the paper's most exact figure of this table has.
fn paper_digits(table: &TableResults) -> usize {
    let digits = |value: f64| exact(value).split_once('.').map_or(0, |(_, digits)| digits.len());
    table.cells.iter().filter_map(|c| c.paper).map(digits).max().unwrap_or(1)
}

/// A number in its shortest exact form.
fn exact(value: f64) -> String {
    format!("{value}")
}
