//! What the runs say about each claim of a table.

use crate::harness::experiment::Claim;
use crate::harness::experiment::Expected;
use crate::harness::experiment::PaperFigure;
use crate::harness::experiment::Row;
use crate::harness::experiment::Stated;
use crate::harness::experiment::Table;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::report::facts::Cell;
use crate::report::facts::ClaimResult;
use crate::report::facts::McNemar;
use crate::report::facts::PaperGain;
use crate::report::facts::TableResults;
use crate::report::facts::paper_column;
use crate::report::gains;
use crate::report::gains::contrast;
use crate::report::stats;
use crate::report::stats::Verdict;

/// Every claim of a table, tested on its cells.
pub(super) fn claim_results(table: &Table, cells: &[Cell], data: &[DataRef]) -> Vec<ClaimResult> {
    let substitute = table.substitute || data.iter().any(|data| data.substitute);
    let result = |claim| claim_result(table, claim, cells, substitute);
    let mut results: Vec<ClaimResult> = table.claims.iter().map(result).collect();
    let tested: Vec<usize> = (0..results.len()).filter(|&i| results[i].t_p.is_some()).collect();
    let p: Vec<f64> = tested.iter().filter_map(|&i| results[i].t_p).collect();
    tested.into_iter().zip(stats::holm(&p)).for_each(|(i, p)| results[i].holm_p = Some(p));
    results
}

fn claim_result(table: &Table, claim: &Claim, cells: &[Cell], substitute: bool) -> ClaimResult {
    let column = gains::column_of(table, claim);
    let testable = gains::in_scope(table, claim);
    let find = |row: &Row| {
        let column = column?;
        cells.iter().find(|c| c.row == *row && c.column == column.id && c.metric == claim.metric)
    };
    let [plus, minus] = [&claim.plus, &claim.minus].map(|rows| rows.iter().map(find).collect::<Option<Vec<&Cell>>>());
    let has_rows = plus.is_some() && minus.is_some();
    let (plus, minus) = if has_rows { (plus, minus) } else { (None, None) };
    let (plus, minus) = (plus.unwrap_or_default(), minus.unwrap_or_default());
    let substitute = testable && (substitute || column.is_some_and(|c| c.substitute));
    let (values, seeds) = contrast(&plus, &minus);
    let paired = stats::paired(&values);
    let metric = table.metrics.iter().find(|m| m.id == claim.metric);
    let verdict = match paired {
        _ if !testable => Verdict::NotTestable,
        Some(paired) => stats::verdict(&paired.difference, claim.expected),
        None => Verdict::NotRun,
    };
    ClaimResult {
        text: claim.text.clone(),
        family: claim.family.clone(),
        case: claim.case.clone(),
        in_paper: claim.in_paper,
        paper: paper_gain(table, claim),
        asked: has_rows && column.is_some_and(|column| !table.unasked.contains(&column.id)),
        column: column.map_or_else(|| claim.column.clone(), |c| c.id.clone()),
        metric: claim.metric.clone(),
        unit: metric.map_or_else(String::new, |m| m.unit.clone()),
        plus: claim.plus.clone(),
        minus: claim.minus.clone(),
        expected: claim.expected,
        verdict,
        difference: paired.map(|p| p.difference.mean),
        ci95: paired.and_then(|p| p.difference.ci95),
        p: paired.and_then(|p| p.sign_flip_p),
        p_floor: paired.map(|p| p.sign_flip_floor),
        t_p: paired.and_then(|p| match claim.expected {
            Expected::AtLeast(_) => p.t_p,
            Expected::Within(margin) => stats::equivalence_p(&p.difference, margin),
        }),
        holm_p: None,
        seeds_to_decide: paired
            .filter(|_| verdict == Verdict::Inconclusive)
            .and_then(|p| stats::seeds_to_decide(&p.difference, claim.expected)),
        mcnemar: if let ([plus], [minus]) = (&plus[..], &minus[..]) { mcnemar(plus, minus) } else { Vec::new() },
        seeds,
        substitute,
        own_setting: !substitute && claim.in_paper && table.distance.iter().all(|fact| fact.same),
        same_as: None,
        standing: None,
    }
}

fn paper_gain(table: &Table, claim: &Claim) -> PaperGain {
    let theirs = gains::column_of(table, claim).and_then(paper_column).unwrap_or(&claim.column);
    let figure = |row: &Row| {
        let is = |f: &&PaperFigure| f.row == *row && f.column == theirs && f.metric == claim.metric;
        table.paper.iter().find(is)?.value
    };
    let sum = |rows: &[Row]| rows.iter().map(figure).sum::<Option<f64>>();
    let stated = if let Stated::Gain(gain) = claim.stated { Some(gain) } else { None };
    let by_figures = sum(&claim.plus).zip(sum(&claim.minus)).map(|(plus, minus)| plus - minus);
    PaperGain { stated, by_figures, sign_only: claim.stated == Stated::Sign && by_figures.is_none() }
}

/// Marks claims that repeat a measurement of another table: tables share trainings, so two claims can use the same
/// values. The later claim is marked. Tables that the paper measures come before tables that it only argues.
pub(super) fn mark_repeated(tables: &mut [TableResults]) {
    let mut order: Vec<usize> = (0..tables.len()).collect();
    order.sort_by_key(|&table| !tables[table].in_paper);
    let mut seen: Vec<(Expected, Measurement, String)> = Vec::new();
    for table in order {
        for claim in 0..tables[table].claims.len() {
            tables[table].claims[claim].same_as = None;
            let of = &tables[table];
            let (expected, measured) = (of.claims[claim].expected, measured(of, &of.claims[claim]));
            if of.claims[claim].difference.is_none() {
                continue;
            }
            let first = seen.iter().find(|(of, other, _)| (*of, other) == (expected, &measured));
            match first.map(|(.., table)| table.clone()) {
                Some(other) if other != of.id => tables[table].claims[claim].same_as = Some(other),
                Some(_) => {}
                None => seen.push((expected, measured, of.id.clone())),
            }
        }
    }
}

/// The column, the metric, and the values of the rows on both sides of a claim.
type Measurement = (String, String, [Vec<Vec<f64>>; 2]);

fn measured(table: &TableResults, claim: &ClaimResult) -> Measurement {
    let is = |cell: &&Cell, row: &Row| cell.row == *row && cell.column == claim.column && cell.metric == claim.metric;
    let values = |row: &Row| table.cells.iter().find(|cell| is(cell, row)).map(|cell| cell.values.clone());
    let sides = [&claim.plus, &claim.minus].map(|rows| rows.iter().filter_map(values).collect());
    (claim.column.clone(), claim.metric.clone(), sides)
}

/// McNemar's test for each seed where both rows recorded which items were right, out of the same number of items.
fn mcnemar(plus: &Cell, minus: &Cell) -> Vec<McNemar> {
    let of_seed = |(&seed, hits): (&u64, &Option<Hits>)| {
        let plus = hits.as_ref()?;
        let minus = minus.hits[minus.seeds.iter().position(|s| *s == seed)?].as_ref()?;
        let (plus_only, minus_only) = (plus.only_here(minus)?, minus.only_here(plus)?);
        Some(McNemar { seed, plus_only, minus_only, p: stats::mcnemar_p(plus_only, minus_only) })
    };
    plus.seeds.iter().zip(&plus.hits).filter_map(of_seed).collect()
}
