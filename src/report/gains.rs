//! Rows as readers compare them: blocks of rows that differ only in their pairs, and the gains of semantic pairs.

use crate::harness::experiment::Claim;
use crate::harness::experiment::Column;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::report::facts::Cell;
use crate::report::facts::Gain;
use crate::report::stats;
use crate::report::text;

/// The key of the label in which the rows of a block differ.
const PAIRS: &str = "pairs";
/// The labels of rows with augmented pairs and with semantic pairs.
pub(super) const AP: &str = "AP";
pub(super) const SP: &str = "SP";
/// The metric that the paper does not use. It is shown separately, not in the main tables.
pub(super) const ASIDE: &str = "knn";

/// Rows that differ only in their pairs.
pub(super) struct Block {
    /// The labels that its rows share and other rows do not.
    pub label: String,
    pub rows: Vec<Row>,
    /// Whether it is in the table. If not, the paper has it and the settings leave it out.
    pub asked: bool,
    /// Whether it is our addition to a table of the paper.
    pub beyond: bool,
}

impl Block {
    /// The row with this kind of pairs.
    pub fn of(&self, kind: &str) -> Option<&Row> {
        self.rows.iter().find(|row| pairs(row) == kind)
    }

    /// The rows with semantic and with augmented pairs, if the block has both.
    pub fn gain(&self) -> Option<(&Row, &Row)> {
        Some((self.of(SP)?, self.of(AP)?))
    }
}

/// The pairs of a row; empty if it names none.
pub(super) fn pairs(row: &Row) -> &str {
    row.iter().find(|(key, _)| key == PAIRS).map_or("", |(_, value)| value)
}

/// The two rows of a claim that compares a single row with a single other row.
pub(super) fn single(claim: &Claim) -> Option<(&Row, &Row)> {
    match (&claim.plus[..], &claim.minus[..]) {
        ([plus], [minus]) => Some((plus, minus)),
        _ => None,
    }
}

/// Whether `plus` has semantic pairs, `minus` has augmented pairs, and all other labels are equal.
pub(super) fn is_gain(plus: &Row, minus: &Row) -> bool {
    (pairs(plus), pairs(minus)) == (SP, AP) && without_pairs(plus) == without_pairs(minus)
}

/// Whether the better of two compared rows is shown in bold: only if they have different pairs.
pub(super) fn is_paired(plus: &Row, minus: &Row) -> bool {
    pairs(plus) != pairs(minus)
}

fn without_pairs(row: &Row) -> Row {
    row.iter().filter(|(key, _)| key != PAIRS).cloned().collect()
}

/// The blocks of a table: first the blocks that the paper's claims are about, in the order of the claims, whether or
/// not the table has them, then the others in the order of the table. With an axis, the table's blocks come first.
pub(super) fn blocks(table: &Table) -> Vec<Block> {
    let trained = || table.rows.iter().filter(|row| !table.baselines.contains(row));
    let of_gains: Vec<(&Row, &Row, bool)> = table
        .claims
        .iter()
        .filter(|claim| in_scope(table, claim))
        .filter_map(|claim| single(claim).map(|(plus, minus)| (plus, minus, claim.in_paper)))
        .filter(|(plus, minus, _)| is_gain(plus, minus))
        .collect();
    let claimed = of_gains.iter().filter(|(.., in_paper)| *in_paper).flat_map(|&(plus, minus, _)| [minus, plus]);
    // Steps keep their order.
    let rows: Vec<&Row> =
        if table.axis.is_some() { trained().chain(claimed).collect() } else { claimed.chain(trained()).collect() };
    let mut blocks: Vec<(Row, Block)> = Vec::new();
    for &row in &rows {
        let key = without_pairs(row);
        if !blocks.iter().any(|(of, _)| *of == key) {
            let is_claimed =
                |in_paper: bool| of_gains.iter().any(|(_, of, ours)| *ours == in_paper && without_pairs(of) == key);
            let label = block_label(&key, &rows);
            let beyond = is_claimed(false) && !is_claimed(true);
            blocks.push((key.clone(), Block { label, rows: Vec::new(), asked: false, beyond }));
        }
        let block = blocks.iter_mut().find(|(of, _)| *of == key);
        if let Some((_, block)) = block.filter(|(_, block)| !block.rows.contains(row)) {
            block.rows.push(row.clone());
        }
    }
    let has_paper = of_gains.iter().any(|(.., in_paper)| *in_paper);
    let whole = |(_, block): (Row, Block)| {
        // In the table's own order: AP, other pairs, SP.
        let mut own: Vec<Row> = trained().filter(|row| block.rows.contains(row)).cloned().collect();
        let asked = !own.is_empty();
        own.extend(block.rows.iter().filter(|row| !trained().any(|other| other == *row)).cloned());
        Block { rows: own, asked, beyond: block.beyond && has_paper, ..block }
    };
    blocks.into_iter().map(whole).collect()
}

/// Whether the table has the claim's column and metric, so that it could measure the claim.
pub(super) fn in_scope(table: &Table, claim: &Claim) -> bool {
    column_of(table, claim).is_some() && table.metrics.iter().any(|metric| metric.id == claim.metric)
}

/// The table's column for a claim: the column with that id, otherwise a column that stands for it.
pub(super) fn column_of<'a>(table: &'a Table, claim: &Claim) -> Option<&'a Column> {
    let is = |column: &&Column| column.id == claim.column;
    let stands_for = |column: &&Column| column.stands_for.as_deref() == Some(&claim.column);
    table.columns.iter().find(is).or_else(|| table.columns.iter().find(stands_for))
}

/// The labels that not all rows share; all labels of the block if every row shares them.
fn block_label(key: &Row, rows: &[&Row]) -> String {
    let shared = |label: &&(String, String)| rows.iter().all(|row| row.contains(label));
    let own: Row = key.iter().filter(|label| !shared(label)).cloned().collect();
    text::label(if own.is_empty() { key } else { &own })
}

/// The labels in which two rows differ, as in `SP − AP`.
pub(super) fn contrast_label(plus: &Row, minus: &Row) -> String {
    let differing = |row: &Row, other: &Row| {
        let own: Row = row.iter().filter(|label| !other.contains(label)).cloned().collect();
        if pairs(row) == pairs(other) { text::label(&own) } else { pairs(row).to_string() }
    };
    format!("{} − {}", differing(plus, minus), differing(minus, plus))
}

/// The gain of every block on every column and metric where both rows have runs.
pub(super) fn gains(table: &Table, cells: &[Cell]) -> Vec<Gain> {
    let mut gains = Vec::new();
    for block in blocks(table) {
        let Some((sp, ap)) = block.gain() else { continue };
        for metric in &table.metrics {
            for column in table.columns.iter().filter(|column| column.has(&metric.id)) {
                gains.extend(gain(&block.label, (sp, ap), &[column], &metric.id, cells));
            }
        }
    }
    gains
}

/// The mean gain of every block over the columns of one kind of data, if there are several such columns: by the metric
/// that is claimed, and by [`ASIDE`].
pub(super) fn pooled(table: &Table, cells: &[Cell]) -> Vec<Gain> {
    let claimed = table.claims.iter().find(|claim| single(claim).is_some_and(|(plus, minus)| is_gain(plus, minus)));
    let Some(claimed) = claimed else { return Vec::new() };
    let aside = table.metrics.iter().any(|metric| metric.id == ASIDE).then_some(ASIDE);
    let mut gains = Vec::new();
    for block in blocks(table) {
        let Some((sp, ap)) = block.gain() else { continue };
        for metric in [Some(claimed.metric.as_str()), aside].into_iter().flatten() {
            for substitute in [false, true] {
                let of_kind = |column: &&Column| {
                    column.has(metric) && column.substitute == substitute && !table.unasked.contains(&column.id)
                };
                let columns: Vec<&Column> = table.columns.iter().filter(of_kind).collect();
                if columns.len() > 1 {
                    gains.extend(gain(&block.label, (sp, ap), &columns, metric, cells));
                }
            }
        }
    }
    gains
}

/// The difference between two rows, averaged over the columns. `None` if both rows have no common seed on all columns.
fn gain(of: &str, (plus, minus): (&Row, &Row), columns: &[&Column], metric: &str, cells: &[Cell]) -> Option<Gain> {
    let cell = |row: &Row, column: &Column| {
        cells.iter().find(|cell| cell.row == *row && cell.column == column.id && cell.metric == metric)
    };
    let of_columns: Vec<(Vec<f64>, Vec<u64>)> = columns
        .iter()
        .map(|column| Some(contrast(&[cell(plus, column)?], &[cell(minus, column)?])))
        .collect::<Option<_>>()?;
    let (_, first) = of_columns.first()?;
    let of_seed = |seed: &u64| {
        let value = |(values, seeds): &(Vec<f64>, Vec<u64>)| Some(values[seeds.iter().position(|s| s == seed)?]);
        Some((of_columns.iter().map(value).sum::<Option<f64>>()? / columns.len() as f64, *seed))
    };
    let (values, seeds): (Vec<f64>, Vec<u64>) = first.iter().filter_map(of_seed).unzip();
    let difference = stats::paired(&values)?.difference;
    Some(Gain {
        of: of.to_string(),
        plus: plus.clone(),
        minus: minus.clone(),
        columns: columns.iter().map(|column| column.id.clone()).collect(),
        metric: metric.to_string(),
        difference: difference.mean,
        ci95: difference.ci95,
        seeds,
    })
}

/// Which of two rows is higher, by the confidence interval of their difference: 1 for the first, -1 for the second, 0
/// if undecided.
pub(super) fn ahead(ci95: Option<(f64, f64)>) -> i8 {
    match ci95 {
        Some((low, _)) if low > 0.0 => 1,
        Some((_, high)) if high < 0.0 => -1,
        _ => 0,
    }
}

/// The sum of `plus` minus the sum of `minus` for each seed that all of these cells have, and these seeds.
pub(super) fn contrast(plus: &[&Cell], minus: &[&Cell]) -> (Vec<f64>, Vec<u64>) {
    let Some(first) = plus.first() else { return Default::default() };
    let of_seed = |seed: &u64| {
        let value = |cell: &&Cell| Some(cell.values[cell.seeds.iter().position(|s| s == seed)?]);
        let values = |cells: &[&Cell]| cells.iter().map(value).collect::<Option<Vec<f64>>>();
        Some((contrast_of(&values(plus)?, &values(minus)?), *seed))
    };
    first.seeds.iter().filter_map(of_seed).unzip()
}

/// The sum of `plus` minus the sum of `minus`, of one seed.
pub(super) fn contrast_of(plus: &[f64], minus: &[f64]) -> f64 {
    plus.iter().sum::<f64>() - minus.iter().sum::<f64>()
}
