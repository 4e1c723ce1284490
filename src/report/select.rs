//! Selects the runs of a table: one per row, column and seed. The newest run is used, the others are listed.

use crate::harness::experiment::Column;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::record::Record;
use crate::harness::record::Status;
use crate::report::facts::Excluded;
use crate::report::text;
use std::cmp::Reverse;
use std::sync::Arc;

/// Why a valid run is not used.
const SUPERSEDED: &str = "superseded by a newer run of its cell and seed";

/// The most seeds that are planned. A record with more is damaged.
const MOST_PLANNED: u64 = 1000;

/// The runs of one table, sorted by row, column, seed; at most one for each.
pub(super) struct Selection<'a> {
    pub table: &'a Table,
    pub records: Vec<&'a Record>,
    pub excluded: Vec<Excluded>,
}

impl<'a> Selection<'a> {
    /// Selects from the records offered for `table`, in any order.
    pub fn new(table: &'a Table, offered: &'a [Arc<Record>]) -> Self {
        let mut sorted: Vec<&Record> = offered.iter().map(Arc::as_ref).collect();
        // Newest first within a place, so that the first one is kept.
        sorted.sort_by_cached_key(|&record| (place(table, record), Reverse(age(record))));
        sorted.dedup_by(|a, b| a.id == b.id);
        let mut records: Vec<&Record> = Vec::new();
        let mut excluded = Vec::new();
        for record in sorted {
            let kept = records.last().filter(|kept| place(table, kept) == place(table, record));
            let refused = match (refusal(table, record), kept) {
                (Some(reason), _) => Some((reason, None)),
                (None, Some(kept)) => Some((SUPERSEDED.to_string(), Some(kept.id.clone()))),
                (None, None) => None,
            };
            match refused {
                Some((reason, superseded_by)) => {
                    excluded.push(Excluded { run: record.id.clone(), reason, superseded_by });
                }
                None => records.push(record),
            }
        }
        Self { table, records, excluded }
    }

    /// The runs of one cell, by seed.
    pub fn cell(&self, row: &Row, column: &str) -> impl Iterator<Item = &'a Record> {
        self.records.iter().copied().filter(move |r| r.row == *row && r.column == column)
    }

    /// What the table lacks, one sentence per missing cell. A baseline may have fewer seeds than the rows, since some
    /// need only one. It is not measured on a column without the table's first metric, such as the column of training
    /// times.
    pub fn missing(&self, all: &[Arc<Record>]) -> Vec<String> {
        let mut seeds: Vec<u64> = self.records.iter().map(|r| r.seed).chain(0..self.planned_seeds()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        let mut holes = Vec::new();
        for (row, baseline) in rows(self.table) {
            let first = self.table.metrics.first();
            let measured = |column: &&Column| !baseline || first.is_none_or(|metric| column.has(&metric.id));
            let asked = |column: &&Column| !self.table.unasked.contains(&column.id);
            for column in self.table.columns.iter().filter(asked).filter(measured) {
                let have: Vec<u64> = self.cell(row, &column.id).map(|r| r.seed).collect();
                let lacking: Vec<u64> = seeds.iter().copied().filter(|s| !have.contains(s)).collect();
                if have.is_empty() || !lacking.is_empty() && !baseline {
                    holes.push(self.hole(row, &column.id, &column.title, have.is_empty(), &lacking, all));
                }
            }
        }
        holes
    }

    /// The number of seeds in the settings of the newest run. A budget may have left some out.
    fn planned_seeds(&self) -> u64 {
        let newest = self.records.iter().max_by_key(|record| age(record));
        let seeds = newest.and_then(|record| record.settings.iter().find(|setting| setting.key == "seeds"));
        seeds.and_then(|setting| setting.value.as_u64()).unwrap_or(0).min(MOST_PLANNED)
    }

    fn hole(&self, row: &Row, column: &str, title: &str, empty: bool, lacking: &[u64], all: &[Arc<Record>]) -> String {
        let what =
            if empty { "no completed run".to_string() } else { format!("no completed run for seed {}", list(lacking)) };
        let mut failures: Vec<&Record> = all
            .iter()
            .map(Arc::as_ref)
            .filter(|r| r.experiment == self.table.id && r.row == *row && r.column == column)
            .filter(|r| r.status != Status::Completed && (lacking.is_empty() || lacking.contains(&r.seed)))
            .collect();
        failures.sort_by_key(|record| age(record));
        failures.dedup_by(|a, b| a.id == b.id);
        let why: Vec<String> = failures.iter().map(|r| failure(r)).collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        format!("{}, {}: {what}{why}.", text::name(row), text::brief(title))
    }
}

/// Every row of the table, and whether it is a baseline. The baselines come last, whether or not `rows` lists them.
pub(super) fn rows(table: &Table) -> impl Iterator<Item = (&Row, bool)> {
    let rows = table.rows.iter().filter(|r| !table.baselines.contains(r));
    rows.map(|r| (r, false)).chain(table.baselines.iter().map(|r| (r, true)))
}

fn failure(record: &Record) -> String {
    let seed = record.seed;
    match &record.error {
        Some(error) => format!("seed {seed} {}: {error}", text::status(record.status)),
        None => format!("seed {seed} {}", text::status(record.status)),
    }
}

fn refusal(table: &Table, record: &Record) -> Option<String> {
    if record.status != Status::Completed {
        return Some(format!("the run {}", text::status(record.status)));
    }
    if !rows(table).any(|(row, _)| *row == record.row) || !table.columns.iter().any(|c| c.id == record.column) {
        return Some(format!("{} on {} is not a cell of table {}", text::name(&record.row), record.column, table.id));
    }
    None
}

/// Row, column and seed as positions in the table. Runs that belong to no cell come last, and runs that did not
/// complete come after completed ones, so that a failed rerun never hides a completed run.
fn place<'r>(table: &Table, record: &'r Record) -> (bool, usize, usize, u64, &'r Row, &'r str) {
    let row = rows(table).position(|(row, _)| *row == record.row).unwrap_or(usize::MAX);
    let column = table.columns.iter().position(|c| c.id == record.column).unwrap_or(usize::MAX);
    (record.status != Status::Completed, row, column, record.seed, &record.row, &record.column)
}

fn age(record: &Record) -> &str {
    &record.id
}

fn list(seeds: &[u64]) -> String {
    seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}
