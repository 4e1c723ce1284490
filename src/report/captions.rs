//! The caption of a table: what it measures, and how to read its spreads, bold values and signs.

use crate::harness::experiment::Column;
use crate::harness::experiment::Note;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::outcome::DataRef;
use crate::harness::record::Record;
use crate::report::facts::Cell;
use crate::report::facts::TablePlan;
use crate::report::facts::is_baseline_of;
use crate::report::plans;
use crate::report::text;
use crate::report::words;
use serde::Serialize;

/// A caption in parts. A part that the table does not need is empty.
#[derive(Serialize)]
pub(super) struct Caption {
    /// Which rows learned too little for a comparison. It comes first.
    pub unlearned: String,
    /// What is measured.
    pub measure: String,
    pub spread: String,
    /// What is bold, printed after the word `Bold`.
    pub bold: String,
    /// How to read the paper's columns, printed after the word `Paper`.
    pub paper: String,
    pub signs: String,
    /// How the rows were trained.
    pub setting: String,
    /// What was planned before the runs.
    pub planned: String,
}

impl Caption {
    /// All parts as one text.
    pub fn whole(&self) -> String {
        let named = |name: &str, part: &str| if part.is_empty() { String::new() } else { format!("{name}: {part}") };
        let parts = [
            self.unlearned.clone(),
            self.measure.clone(),
            self.spread.clone(),
            named("Bold", &self.bold),
            named("Paper", &self.paper),
            self.signs.clone(),
            self.setting.clone(),
            self.planned.clone(),
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }
}

/// The caption of a table with these cells, whose runs stand so to its plan.
pub(super) fn caption(table: &Table, cells: &[Cell], plan: Option<&TablePlan>) -> Caption {
    let bold = if cells.iter().any(|cell| cell.best) {
        "the better of two compared rows where the interval of their paired difference excludes 0."
    } else {
        ""
    };
    let paper = if table.paper.iter().any(|figure| table.metrics.iter().any(|metric| metric.id == figure.metric)) {
        "– means not stated; > 0 means ahead, size not stated."
    } else {
        ""
    };
    Caption {
        unlearned: unlearned(table, cells),
        measure: table.caption.trim().to_string(),
        spread: spread(cells),
        bold: bold.to_string(),
        paper: paper.to_string(),
        signs: signs(table, cells),
        setting: table.setting.clone(),
        planned: plan.map(plans::caption).unwrap_or_default(),
    }
}

/// Which rows learned too little to be compared: rows whose mean is below an untrained encoder or raw pixels, and rows
/// whose confidence interval includes the mean of an untrained encoder.
fn unlearned(table: &Table, cells: &[Cell]) -> String {
    let of_floor = |floor: &str| {
        let below = |cell: &Cell| cell.below.iter().any(|name| name == floor);
        rows(table, cells, below).map(|rows| format!("Mean below {}: {rows}.", a_baseline(floor)))
    };
    let mut said: Vec<String> = FLOORS.into_iter().filter_map(of_floor).collect();
    if !said.is_empty() {
        said.push("These rows learned too little in this training time.".to_string());
    }
    let is_unclear = |cell: &Cell| {
        let untrained = floor_of(cell, UNTRAINED, cells);
        let low = cell.ci95.map(|(low, _)| low);
        untrained.zip(cell.mean.zip(low)).is_some_and(|(floor, (mean, low))| mean > floor && low <= floor)
    };
    let stuck = stuck(&table.rows, cells);
    let unclear = if stuck.is_none() { rows(table, cells, is_unclear) } else { None };
    said.extend(stuck);
    said.extend(unclear.map(|rows| format!("The interval includes the mean of {}: {rows}.", a_baseline(UNTRAINED))));
    said.join(" ")
}

/// Trainings that ended within or below the interval of an untrained encoder on every set, in rows with other trainings
/// that did not. The interval of such a row shows that its training may fail, not how good its pairs are.
pub(super) fn stuck(rows: &[Row], cells: &[Cell]) -> Option<String> {
    let of_row = |row: &Row| {
        let of: Vec<&Cell> =
            cells.iter().filter(|cell| cell.row == *row && !cell.baseline && cell.metric == TOP1).collect();
        let seeds = &of.first()?.seeds;
        let is_low = |cell: &&Cell, seed: u64| {
            let value = cell.seeds.iter().position(|of| *of == seed).and_then(|at| cell.values.get(at).copied());
            value.zip(highest(cell, UNTRAINED, cells)).is_some_and(|(value, floor)| value <= floor)
        };
        let stuck = seeds.iter().filter(|seed| of.iter().all(|cell| is_low(cell, **seed))).count();
        (stuck > 0 && stuck < seeds.len())
            .then(|| format!("{stuck} of the {} trainings of {}", seeds.len(), text::name(row)))
    };
    let named: Vec<String> = rows.iter().filter_map(of_row).collect();
    let what = format!("ended within or below the interval of {}, on every set.", a_baseline(UNTRAINED));
    (!named.is_empty()).then(|| format!("{} {what}", text::list(&named)))
}

/// The trained rows that have cells for which `holds` is true, with the columns of these cells. A count if there are
/// more than [`NAMED`] rows.
fn rows(table: &Table, cells: &[Cell], holds: impl Fn(&Cell) -> bool) -> Option<String> {
    let trained = || cells.iter().filter(|cell| !cell.baseline && cell.metric == TOP1 && cell.mean.is_some());
    let of_row = |row: &Row| {
        let of: Vec<&Cell> = trained().filter(|cell| cell.row == *row).collect();
        let sets: Vec<String> = of
            .iter()
            .filter(|cell| holds(cell))
            .map(|cell| words::column_title(&table.columns, &cell.column))
            .collect();
        let name = text::name(row);
        match sets.len() {
            0 => None,
            n if n == of.len() => Some(name),
            _ => Some(format!("{name} on {}", text::list(&sets))),
        }
    };
    let named: Vec<String> = table.rows.iter().filter_map(of_row).collect();
    match named.len() {
        0 => None,
        n if n <= NAMED => Some(named.join("; ")),
        _ => Some(format!("{} of {} means", trained().filter(|cell| holds(cell)).count(), trained().count())),
    }
}

/// The most rows that are named.
const NAMED: usize = 4;

/// The upper end of the interval of the baseline that belongs to a trained row's cell; its mean if it has no interval.
fn highest(cell: &Cell, floor: &str, cells: &[Cell]) -> Option<f64> {
    let baseline = baseline_of(cell, floor, cells)?;
    baseline.ci95.map(|(_, high)| high).or(baseline.mean)
}

/// The mean of the baseline that belongs to a trained row's cell.
fn floor_of(cell: &Cell, floor: &str, cells: &[Cell]) -> Option<f64> {
    baseline_of(cell, floor, cells)?.mean
}

fn baseline_of<'c>(cell: &Cell, floor: &str, cells: &'c [Cell]) -> Option<&'c Cell> {
    let is = |of: &&Cell| {
        let is_named = of.row.first().is_some_and(|(_, method)| method == floor);
        of.baseline && is_named && (&of.column, &of.metric) == (&cell.column, &cell.metric)
    };
    cells.iter().filter(is).find(|of| is_baseline_of(&of.row, &cell.row))
}

fn spread(cells: &[Cell]) -> String {
    let has_runs = |cell: &&Cell| !cell.values.is_empty();
    if cells.iter().any(|cell| has_runs(&cell)) && !cells.iter().any(|cell| !cell.baseline && has_runs(&cell)) {
        return "Only baselines have runs so far.".to_string();
    }
    let counts = cells.iter().filter(|c| !c.baseline && !c.values.is_empty()).map(|c| c.values.len());
    let mut spread = match (counts.clone().min(), counts.max()) {
        (Some(1), Some(1)) => "One seed: no confidence interval over seeds.".to_string(),
        (Some(low), Some(high)) => {
            let n = if low == high { format!("{low} seeds") } else { format!("{low} to {high} seeds") };
            format!("Mean ± half-width of the 95 % confidence interval, {n}.")
        }
        _ => return "No completed run yet.".to_string(),
    };
    if cells.iter().any(|c| !c.baseline && c.ci95.is_none() && c.interval().is_some()) {
        spread += " For a row with one seed, the interval is Wilson's score interval over the test images.";
    }
    spread
}

fn signs(table: &Table, cells: &[Cell]) -> String {
    let mut signs = Vec::new();
    if cells.iter().any(|cell| cell.below.iter().any(|name| name == UNTRAINED)) {
        signs.push("▾ below the untrained encoder.".to_string());
    }
    let stand_ins: Vec<&Column> = table.columns.iter().filter(|column| is_stand_in(column)).collect();
    if !stand_ins.is_empty() {
        signs.push(
            "† Stand-in data: not comparable with the paper's figures; only the order of the rows is.".to_string(),
        );
    }
    signs.join(" ")
}

/// The main metric of tables of accuracy.
const TOP1: &str = "top1";
/// The row of an encoder before its first training step.
pub(super) const UNTRAINED: &str = "random initialisation";
/// Baselines that have learned nothing. A trained row should be above them.
pub(super) const FLOORS: [&str; 2] = [UNTRAINED, "raw pixels"];

/// The name of a baseline in the report.
pub(super) fn baseline_name(name: &str) -> &str {
    if name == UNTRAINED { "untrained encoder" } else { name }
}

/// The name of a baseline within a sentence.
pub(super) fn a_baseline(name: &str) -> &str {
    if name == UNTRAINED { "an untrained encoder" } else { name }
}

/// The name of one of the paper's sets in the report.
pub(super) fn paper_set(id: &str) -> String {
    text::brief(id).to_uppercase()
}

/// Whether a column's data take the place of a set of the paper.
pub(super) fn is_stand_in(column: &Column) -> bool {
    column.substitute && column.stands_for.is_some()
}

/// Notes on what was imported as the paper's sets. It may be only a part of a set.
pub(super) fn sets<'a>(table: &'a Table, data: &'a [DataRef]) -> impl Iterator<Item = Note> + 'a {
    table.columns.iter().filter(|column| !column.substitute).filter_map(|column| {
        let is_split = |data: &&DataRef| data.name.split_once('/').is_some_and(|(set, _)| set == column.id);
        let DataRef { description, .. } = data.iter().find(is_split)?;
        (!description.is_empty()).then(|| Note::from(format!("{} here: {description}.", column.title)))
    })
}

/// A note that times were measured while other runs used part of the machine.
pub(super) fn busy_times(table: &Table, records: &[&Record]) -> Option<Note> {
    let is_time = |id: &String| table.metrics.iter().any(|metric| metric.id == *id && metric.unit == "s");
    let times = table.columns.iter().filter(|column| column.metrics.iter().any(is_time));
    let times: Vec<&str> = times.map(|column| column.id.as_str()).collect();
    let of_times = || records.iter().filter(|record| times.contains(&record.column.as_str()));
    let busy = of_times().filter(|record| record.beside > 0).count();
    let all = of_times().count();
    (busy > 0).then(|| {
        let said = format!("{busy} of {all} times were measured while other runs used part of the machine");
        format!("{said}; `--force` measures them alone.").into()
    })
}
