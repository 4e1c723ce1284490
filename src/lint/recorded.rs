//! Every value of a report, for look-up: means, single seeds, intervals, differences, p values, the paper's values, and
//! settings.

use crate::harness::experiment::Expected;
use crate::harness::experiment::Note;
use crate::harness::experiment::Row;
use crate::harness::record::Record;
use crate::harness::record::Status;
use crate::harness::record::short;
use crate::lint::numbers::Number;
use crate::lint::numbers::Role;
use crate::lint::numbers::numbers;
use crate::report::facts::Cell;
use crate::report::facts::ClaimResult;
use crate::report::facts::Gain;
use crate::report::facts::Input;
use crate::report::facts::Results;
use crate::report::facts::TableResults;
use crate::report::text;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::collections::HashSet;

/// The tolerance for floating-point errors. Rounding to the decimals of the manuscript, up or down at a half, changes a
/// value by at most half a step.
const SLACK: f64 = 1e-9;

/// The significance level of the report's intervals and tests.
const LEVEL: f64 = 0.05;

/// The kind of a value, in the order in which matches are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum FigureKind {
    Mean,
    Paper,
    Difference,
    Seed,
    End,
    P,
    Margin,
    Note,
    Spread,
    Setting,
}

/// A recorded value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What the value belongs to, such as `transfer, SimCLR (SP) on synth-10, linear`.
    pub of: String,
    /// Which value it is, such as `mean` or `seed 0`.
    pub part: String,
    /// As recorded, without rounding; in the unit of its metric if it has one.
    pub value: f64,
    /// The ends of the ids of its runs.
    pub runs: Vec<String>,
    #[serde(skip)]
    kind: FigureKind,
}

impl Figure {
    /// What the value belongs to, and which value it is.
    pub fn name(&self) -> String {
        format!("{}, {}", self.of, self.part)
    }

    /// Whether it rounds to the number in the manuscript.
    pub(super) fn rounds_to(&self, number: &Number) -> bool {
        let value = if self.kind == FigureKind::Difference && number.role == Role::Value {
            self.value.abs()
        } else {
            self.value
        };
        (value - number.value).abs() <= number.step / 2.0 + SLACK
    }
}

/// Values in ascending order, each with its index in `Figures::all`.
type Index = Vec<(f64, usize)>;

/// Recorded values that can be looked up by value.
pub(super) struct Figures {
    all: Vec<Figure>,
    values: Index,
    changes: Index,
    spreads: Index,
    p: Index,
    notes: Index,
    settings: Index,
    by_name: HashMap<(String, String), usize>,
}

impl Figures {
    /// The values of a report, including its settings.
    pub fn current(input: &Input, results: &Results) -> Self {
        let mut all = of_results(results);
        all.extend(settings(input));
        let level = ("every table".to_owned(), "level of tests and intervals".to_owned());
        all.push(Figure { of: level.0, part: level.1, value: LEVEL, runs: Vec::new(), kind: FigureKind::Setting });
        Self::new(all)
    }

    /// The values of the earlier reports, and of the runs that these and `current` leave out.
    pub fn earlier(before: &[(&Input, &Results)], current: (&Input, &Results)) -> Self {
        let mut all = Vec::new();
        for (input, results) in before {
            all.extend(of_results(results));
            all.extend(settings(input));
        }
        all.extend(before.iter().chain([&current]).flat_map(|(input, results)| left_out(input, results)));
        Self::new(all)
    }

    fn new(mut all: Vec<Figure>) -> Self {
        all.sort_by_key(|figure| figure.kind);
        let index = |key: &dyn Fn(&Figure) -> Option<f64>| {
            let mut index: Index = all.iter().enumerate().filter_map(|(i, figure)| Some((key(figure)?, i))).collect();
            index.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            index
        };
        let only = |kind: FigureKind| index(&move |figure: &Figure| (figure.kind == kind).then_some(figure.value));
        let values = index(&|figure| match figure.kind {
            FigureKind::Note | FigureKind::Spread | FigureKind::Setting => None,
            // `Worse by 2.1 points` means -2.1.
            FigureKind::Difference => Some(figure.value.abs()),
            _ => Some(figure.value).filter(|value| *value >= 0.0),
        });
        let changes = index(&|figure| match figure.kind {
            FigureKind::Note | FigureKind::Spread | FigureKind::Setting => None,
            FigureKind::Difference | FigureKind::End => Some(figure.value),
            _ => Some(figure.value).filter(|value| *value < 0.0),
        });
        let [spreads, p, notes, settings] =
            [FigureKind::Spread, FigureKind::P, FigureKind::Note, FigureKind::Setting].map(only);
        // All notes of a table have the same name.
        let names = all.iter().enumerate().rev().filter(|(_, figure)| figure.kind != FigureKind::Note);
        let by_name = names.map(|(i, figure)| ((figure.of.clone(), figure.part.clone()), i)).collect();
        Self { values, changes, spreads, p, notes, settings, by_name, all }
    }

    /// Every recorded value that the number may be, in order of kind.
    pub fn matching(&self, number: &Number) -> Vec<&Figure> {
        let half = number.step / 2.0 + SLACK;
        let rounded = |index| within(index, number.value - half, number.value + half);
        let mut found: Vec<usize> = match number.role {
            Role::Value => rounded(&self.values).collect(),
            Role::Change => rounded(&self.changes).collect(),
            Role::Spread => rounded(&self.spreads).collect(),
            Role::Bound => within(&self.p, 0.0, number.value + SLACK).collect(),
        };
        if number.role == Role::Value {
            // p values are not written with one decimal, and many numbers with one decimal would match a p value.
            found.retain(|i| self.all[*i].kind != FigureKind::P || number.step < 0.05);
            // Settings are written exactly, never rounded.
            let exact = number.value.abs() * SLACK;
            found.extend(within(&self.settings, number.value - exact, number.value + exact));
        }
        if found.is_empty() && [Role::Value, Role::Change].contains(&number.role) {
            found.extend(rounded(&self.notes));
        }
        found.sort_unstable();
        found.into_iter().map(|i| &self.all[i]).collect()
    }

    /// The values that a number and its spread may be in the same cell, as two lists; empty if there is no such cell.
    pub fn matching_pair(&self, number: &Number, spread: &Number) -> (Vec<&Figure>, Vec<&Figure>) {
        let (mut values, mut spreads) = (self.matching(number), self.matching(spread));
        let of = |figures: &[&Figure]| figures.iter().map(|figure| figure.of.clone()).collect::<HashSet<String>>();
        // A spread belongs to a mean or a difference.
        values.retain(|figure| [FigureKind::Mean, FigureKind::Difference].contains(&figure.kind));
        let with_spread = of(&spreads);
        values.retain(|figure| with_spread.contains(&figure.of));
        let with_value = of(&values);
        spreads.retain(|figure| with_value.contains(&figure.of));
        (values, spreads)
    }

    /// The recorded value closest to a number. For a change, a value with the opposite sign comes first.
    pub fn nearest(&self, number: &Number) -> Option<&Figure> {
        if number.role == Role::Change {
            let turned = Number { value: -number.value, ..number.clone() };
            if let Some(figure) = self.matching(&turned).first() {
                return Some(figure);
            }
        }
        let index = match number.role {
            Role::Value => &self.values,
            Role::Change => &self.changes,
            Role::Spread => &self.spreads,
            Role::Bound => &self.p,
        };
        let after = index.partition_point(|(value, _)| *value < number.value);
        let beside = [after.checked_sub(1), Some(after)].into_iter().flatten().filter_map(|i| index.get(i));
        let (_, nearest) = beside.min_by(|a, b| (a.0 - number.value).abs().total_cmp(&(b.0 - number.value).abs()))?;
        Some(&self.all[*nearest])
    }

    /// The spread of any of these cells that is closest to a number.
    pub fn nearest_spread(&self, number: &Number, cells: &[&Figure]) -> Option<&Figure> {
        let cells: HashSet<&str> = cells.iter().map(|figure| figure.of.as_str()).collect();
        let spreads =
            self.spreads.iter().map(|(_, i)| &self.all[*i]).filter(|spread| cells.contains(spread.of.as_str()));
        spreads.min_by(|a, b| (a.value - number.value).abs().total_cmp(&(b.value - number.value).abs()))
    }

    /// The value with this name.
    pub fn named(&self, of: &str, part: &str) -> Option<&Figure> {
        self.by_name.get(&(of.to_owned(), part.to_owned())).map(|i| &self.all[*i])
    }
}

fn within(index: &Index, low: f64, high: f64) -> impl Iterator<Item = usize> + '_ {
    let from = index.partition_point(|(value, _)| *value < low);
    index[from..].iter().take_while(move |(value, _)| *value <= high).map(|(_, i)| *i)
}

fn of_results(results: &Results) -> Vec<Figure> {
    let cells = results.tables.iter().flat_map(|table| table.cells.iter().flat_map(|cell| of_cell(table, cell)));
    let claims = results.tables.iter().flat_map(|table| table.claims.iter().flat_map(|claim| of_claim(table, claim)));
    let is_claimed = |table: &TableResults, gain: &Gain| {
        let is = |claim: &ClaimResult| {
            claim.plus == [gain.plus.clone()]
                && claim.minus == [gain.minus.clone()]
                && gain.columns == [claim.column.clone()]
                && claim.metric == gain.metric
        };
        table.claims.iter().any(is)
    };
    let gains = results.tables.iter().flat_map(|table| {
        let all = table.gains.iter().chain(&table.pooled).filter(|gain| !is_claimed(table, gain));
        all.flat_map(|gain| of_gain(table, gain))
    });
    cells.chain(claims).chain(gains).chain(results.tables.iter().flat_map(of_notes)).collect()
}

/// The values that the notes of a table state, such as a gain that the paper claims.
fn of_notes(table: &TableResults) -> Vec<Figure> {
    let figure = |number: Number| Figure {
        of: text::clean(&table.id),
        part: "stated in a note".into(),
        value: number.value,
        runs: Vec::new(),
        kind: FigureKind::Note,
    };
    // Notes are short and come from this program, so reading them does not fail.
    let read = |note: &Note| numbers(&text::latex(&note.text)).unwrap_or_default();
    table.notes.iter().flat_map(read).map(figure).collect()
}

/// `transfer, SimCLR (SP) on synth-10, linear`.
fn place(table: &TableResults, what: &str, column: &str, metric: &str) -> String {
    let column = table.columns.iter().find(|c| c.id == column).map_or(column, |c| &c.title);
    let metric = table.metrics.iter().find(|m| m.id == metric).map_or(metric, |m| &m.title);
    text::clean(&format!("{}, {what} on {column}, {metric}", table.id))
}

fn of_cell(table: &TableResults, cell: &Cell) -> Vec<Figure> {
    let row = text::name(&cell.row);
    let of = place(table, &row, &cell.column, &cell.metric);
    let all: Vec<String> = cell.runs.iter().map(|id| text::clean(short(id))).collect();
    let figure = |kind, part: &str, value: f64, runs: &[String]| Figure {
        of: of.clone(),
        part: part.into(),
        value,
        runs: runs.to_vec(),
        kind,
    };
    let mut figures = Vec::new();
    figures.extend(cell.mean.map(|mean| figure(FigureKind::Mean, "mean", mean, &all)));
    figures.extend(cell.sd.map(|sd| figure(FigureKind::Spread, "standard deviation", sd, &all)));
    if let (Some(mean), Some((low, high))) = (cell.mean, cell.ci95) {
        figures.push(figure(FigureKind::Spread, "half-width of the 95 % CI", (mean - low).max(high - mean), &all));
        figures.push(figure(FigureKind::End, "lower end of the 95 % CI", low, &all));
        figures.push(figure(FigureKind::End, "upper end of the 95 % CI", high, &all));
    }
    let runs = cell.seeds.iter().zip(&cell.values).zip(&all);
    figures.extend(runs.map(|((seed, value), run)| {
        figure(FigureKind::Seed, &format!("seed {seed}"), *value, std::slice::from_ref(run))
    }));
    // The paper's value belongs to its own column, for which ours may stand in.
    let theirs = cell.paper_column.as_ref().filter(|_| cell.substitute).unwrap_or(&cell.column);
    let of_paper = place(table, &row, theirs, &cell.metric);
    figures.extend(
        cell.paper.map(|value| Figure { of: of_paper, ..figure(FigureKind::Paper, "the paper's", value, &[]) }),
    );
    figures
}

fn of_claim(table: &TableResults, claim: &ClaimResult) -> Vec<Figure> {
    let side = |rows: &[Row]| rows.iter().map(text::name).collect::<Vec<_>>().join(" + ");
    let what = format!("{} minus {}", side(&claim.plus), side(&claim.minus));
    let of = place(table, &what, &claim.column, &claim.metric);
    let (low, high) = claim.ci95.unzip();
    let margin = match claim.expected {
        Expected::AtLeast(margin) | Expected::Within(margin) => Some(margin).filter(|margin| *margin != 0.0),
    };
    let half = claim.ci95.map(|(low, high)| (high - low) / 2.0);
    let parts = [
        (FigureKind::Difference, "difference", claim.difference),
        (FigureKind::Difference, "the paper's difference", claim.paper.by_figures),
        (FigureKind::Difference, "the difference that the paper states", claim.paper.stated),
        (FigureKind::End, "lower end of the 95 % CI", low),
        (FigureKind::End, "upper end of the 95 % CI", high),
        (FigureKind::Spread, "half-width of the 95 % CI", half),
        (FigureKind::P, "p of the sign-flip test", claim.p),
        (FigureKind::P, "smallest possible p", claim.p_floor),
        (FigureKind::P, "p of the t test", claim.t_p),
        (FigureKind::P, "p after Holm", claim.holm_p),
        (FigureKind::Margin, "margin", margin),
    ];
    let figure = |(kind, part, value): (FigureKind, &str, Option<f64>)| {
        Some(Figure { of: of.clone(), part: part.into(), value: value?, runs: Vec::new(), kind })
    };
    parts.into_iter().filter_map(figure).collect()
}

/// The values of a gain, single or pooled, that no claim is about.
fn of_gain(table: &TableResults, gain: &Gain) -> Vec<Figure> {
    let what = format!("{} minus {}", text::name(&gain.plus), text::name(&gain.minus));
    let column = if let [only] = &gain.columns[..] { only } else { "the mean of its sets" };
    let of = place(table, &what, column, &gain.metric);
    let (low, high) = gain.ci95.unzip();
    let parts = [
        (FigureKind::Difference, "difference", Some(gain.difference)),
        (FigureKind::End, "lower end of the 95 % CI", low),
        (FigureKind::End, "upper end of the 95 % CI", high),
        (FigureKind::Spread, "half-width of the 95 % CI", gain.ci95.map(|(low, high)| (high - low) / 2.0)),
    ];
    let figure = |(kind, part, value): (FigureKind, &str, Option<f64>)| {
        Some(Figure { of: of.clone(), part: part.into(), value: value?, runs: Vec::new(), kind })
    };
    parts.into_iter().filter_map(figure).collect()
}

/// Single values of completed runs that were offered but not used.
fn left_out(input: &Input, results: &Results) -> Vec<Figure> {
    let excluded: HashSet<&str> = results.excluded.iter().map(|excluded| excluded.run.as_str()).collect();
    let mut figures = Vec::new();
    for ((_, records), table) in input.tables.iter().zip(&results.tables) {
        let unused = records.iter().filter(|r| excluded.contains(r.id.as_str()) && r.status == Status::Completed);
        figures.extend(unused.flat_map(|record| of_record(table, record)));
    }
    figures
}

fn of_record(table: &TableResults, record: &Record) -> Vec<Figure> {
    let known = |(metric, _): &(&String, &f64)| table.metrics.iter().any(|m| m.id == **metric);
    let figure = |(metric, value): (&String, &f64)| Figure {
        of: place(table, &text::name(&record.row), &record.column, metric),
        part: format!("seed {}", record.seed),
        value: *value,
        runs: vec![text::clean(record.short())],
        kind: FigureKind::Seed,
    };
    record.metrics.iter().filter(known).map(figure).collect()
}

/// Every number among the settings of a table's runs, once.
fn settings(input: &Input) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (table, records) in &input.tables {
        let mut seen = HashSet::new();
        for setting in records.iter().flat_map(|record| record.settings.iter()) {
            for value in numbers_in(&setting.value) {
                if seen.insert((&setting.key, value.to_bits())) {
                    let (of, part) = (format!("{}'s settings", table.id), text::clean(&setting.key));
                    figures.push(Figure { of, part, value, runs: Vec::new(), kind: FigureKind::Setting });
                }
            }
        }
    }
    figures
}

fn numbers_in(value: &Value) -> Vec<f64> {
    match value {
        Value::Number(number) => number.as_f64().into_iter().collect(),
        Value::Array(values) => values.iter().flat_map(numbers_in).collect(),
        _ => Vec::new(),
    }
}
