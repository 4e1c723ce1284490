//! The facts of a report as data: cells, claims, compute. They are the content of `results.json`.

use crate::harness::evaluations;
use crate::harness::experiment::Better;
use crate::harness::experiment::Column;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Note;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::harness::record::Record;
use crate::report::captions;
use crate::report::categories;
use crate::report::claims::claim_results;
use crate::report::claims::mark_repeated;
use crate::report::curves;
use crate::report::facts::Baseline;
use crate::report::facts::Cell;
use crate::report::facts::ClaimResult;
use crate::report::facts::ComputeSpent;
use crate::report::facts::Excluded;
use crate::report::facts::Gain;
use crate::report::facts::GitState;
use crate::report::facts::Input;
use crate::report::facts::LedgerState;
use crate::report::facts::Machine;
use crate::report::facts::Results;
use crate::report::facts::SetEvaluations;
use crate::report::facts::TableResults;
use crate::report::facts::is_baseline_of;
use crate::report::facts::paper_column;
use crate::report::findings;
use crate::report::gains;
use crate::report::plans;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::stats;
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Computes the facts of a report. A pure function: equal inputs give equal results for any order of the records.
pub fn results(input: &Input) -> Results {
    of(input, &selections(input))
}

/// The runs of each table.
pub(super) fn selections(input: &Input) -> Vec<Selection<'_>> {
    input.tables.par_iter().map(|(table, runs)| Selection::new(table, runs)).collect()
}

/// The facts of a report from the runs already selected for each table.
pub(super) fn of(input: &Input, selections: &[Selection]) -> Results {
    let mut excluded: Vec<Excluded> = input
        .excluded
        .iter()
        .map(|(run, reason)| Excluded { run: run.clone(), reason: reason.clone(), superseded_by: None })
        .collect();
    excluded.extend(selections.iter().flat_map(|s| s.excluded.iter().cloned()));
    excluded.sort();
    excluded.dedup();
    let used = used(selections);
    let mut tables: Vec<TableResults> =
        selections.par_iter().map(|s| table_results(s, input, &input.all_records)).collect();
    mark_repeated(&mut tables);
    let not_run: Vec<Selection> = input.not_run.iter().map(|table| Selection::new(table, &[])).collect();
    Results {
        schema: "sempair.results/1",
        generated: input.generated.clone(),
        anonymous: input.anonymous,
        git: git_state(&used),
        profile: input.profile.clone(),
        profile_description: input.description_of_profile.clone(),
        verdict_rule: stats::VERDICT_RULE,
        tables,
        not_run: not_run.par_iter().map(|s| table_results(s, input, &[])).collect(),
        ledger: ledger(input),
        excluded,
        compute: compute_spent(&used, input.all_records.iter().map(Arc::as_ref).collect()),
        evaluations: set_evaluations(input, &used),
        plans: plans::states(input),
        roles: input.roles.clone(),
    }
}

/// The runs of all tables, each once, in the order in which they started.
pub(super) fn used<'a>(selections: &[Selection<'a>]) -> Vec<&'a Record> {
    let mut used: Vec<&Record> = selections.iter().flat_map(|s| s.records.iter().copied()).collect();
    by_start(&mut used);
    used
}

/// Sorts runs by start and removes duplicates. Ids increase with time, even if a clock was set back.
fn by_start(records: &mut Vec<&Record>) {
    records.sort_by(|a, b| a.id.cmp(&b.id));
    records.dedup_by(|a, b| a.id == b.id);
}

/// The number of records, and the hash of the hashes that the records contain.
fn ledger(input: &Input) -> LedgerState {
    let mut hashes: Vec<&str> = input.all_records.iter().map(|record| record.hash.as_str()).collect();
    hashes.sort_unstable();
    let blake3 = (!input.anonymous).then(|| blake3::hash(hashes.join("\n").as_bytes()).to_hex().to_string());
    LedgerState { records: hashes.len(), blake3, deleted: input.deleted }
}

fn git_state(used: &[&Record]) -> GitState {
    let mut commits: Vec<String> = used.iter().filter_map(|r| r.git.commit.clone()).collect();
    let commit = commits.last().cloned();
    commits.sort();
    commits.dedup();
    let codes = used.iter().map(|r| r.build.code.clone()).filter(|code| !code.is_empty());
    let codes = codes.collect::<BTreeSet<String>>().into_iter().collect();
    let tree = used.iter().map(|r| r.git.tree()).max().unwrap_or(Tree::Unknown);
    GitState { commit, tree, commits, codes }
}

fn table_results(selection: &Selection, input: &Input, all: &[Arc<Record>]) -> TableResults {
    let (table, data) = (selection.table, data(selection));
    let runs: Vec<&Record> = all.iter().map(Arc::as_ref).filter(|record| record.experiment == table.id).collect();
    let mut cells = Vec::new();
    for column in &table.columns {
        for metric in table.metrics.iter().filter(|metric| column.has(&metric.id)) {
            let mut of_column: Vec<Cell> =
                select::rows(table).map(|(row, baseline)| cell(selection, row, baseline, column, metric)).collect();
            mark_below(&mut of_column, metric.better);
            cells.extend(of_column);
        }
    }
    let mut claims = claim_results(table, &cells, &data);
    let plan = plans::of_table(input, selection);
    if let Some((known, plan)) = &plan {
        plans::judge(&mut claims, selection, known, plan);
    }
    let plan = plan.map(|(_, plan)| plan);
    let gains = gains::gains(table, &cells);
    mark_better(table, &gains, &claims, &mut cells);
    TableResults {
        id: table.id.clone(),
        title: table.title.clone(),
        finding: findings::finding(table, &claims),
        caption: captions::caption(table, &cells, plan.as_ref()).whole(),
        varies: table.varies.clone(),
        notes: notes_of(selection, &data)
            .into_iter()
            .chain(plan.iter().filter_map(|of| plans::note(of, &claims)))
            .collect(),
        columns: table.columns.clone(),
        unasked: table.unasked.clone(),
        metrics: table.metrics.clone(),
        paper: table.paper.clone(),
        categories: categories::of_categories(selection),
        claims,
        pooled: gains::pooled(table, &cells),
        gains,
        in_paper: table.in_paper,
        baselines: baselines(table, &cells),
        distance: table.distance.clone(),
        health: curves::health(selection),
        data,
        missing: selection.missing(all),
        compute: compute_spent(&selection.records, runs),
        plan,
        cells,
    }
}

fn cell(selection: &Selection, row: &Row, baseline: bool, column: &Column, metric: &MetricInfo) -> Cell {
    let mut cell = Cell {
        row: row.clone(),
        baseline,
        column: column.id.clone(),
        metric: metric.id.clone(),
        unit: metric.unit.clone(),
        decimals: metric.decimals,
        seeds: Vec::new(),
        values: Vec::new(),
        mean: None,
        sd: None,
        ci95: None,
        wilson95: Vec::new(),
        best: false,
        below: Vec::new(),
        paper: paper_column(column).and_then(|theirs| paper_figure(selection.table, row, theirs, metric)),
        paper_elsewhere: paper_figure(selection.table, row, "", metric),
        notes: notes(selection.table, row, column),
        paper_column: paper_column(column).map(str::to_string),
        substitute: column.substitute,
        runs: Vec::new(),
        hits: Vec::new(),
    };
    for record in selection.cell(row, &column.id) {
        if let Some(value) = record.metrics.get(&metric.id).filter(|v| v.is_finite()) {
            cell.seeds.push(record.seed);
            cell.values.push(*value);
            cell.runs.push(record.id.clone());
            cell.hits.push(record.hits.get(&metric.id).cloned());
        }
    }
    let wilson = |hits: &Option<Hits>| hits.as_ref().and_then(|hits| stats::wilson(hits.right(), hits.items()));
    cell.wilson95 = cell.hits.iter().map(wilson).collect::<Option<_>>().unwrap_or_default();
    if let Some(summary) = stats::summary(&cell.values) {
        cell.mean = Some(summary.mean);
        cell.sd = summary.sd;
        cell.ci95 = summary.ci95.map(|ends| within_range(ends, &metric.unit));
    }
    cell
}

/// The notes of a table, and notes about its runs.
fn notes_of(selection: &Selection, data: &[DataRef]) -> Vec<Note> {
    let table = selection.table;
    let said = table.notes.iter().cloned().chain(captions::sets(table, data));
    said.chain(captions::busy_times(table, &selection.records)).collect()
}

/// The numbers of the notes about the paper's value of a row on a column, counted from 1.
fn notes(table: &Table, row: &Row, column: &Column) -> Vec<usize> {
    let theirs = paper_column(column);
    let is = |note: &Note| note.at.as_ref().is_some_and(|(of, on)| of == row && Some(on.as_str()) == theirs);
    (1..).zip(&table.notes).filter(|(_, note)| is(note)).map(|(number, _)| number).collect()
}

fn paper_figure(table: &Table, row: &Row, theirs: &str, metric: &MetricInfo) -> Option<f64> {
    table.paper.iter().find(|f| f.row == *row && f.column == theirs && f.metric == metric.id)?.value
}

/// Clips an interval to the valid range: 0 to 100 for a percentage, 0 and above for a time.
fn within_range((low, high): (f64, f64), unit: &str) -> (f64, f64) {
    match unit {
        "%" => (low.max(0.0), high.min(100.0)),
        "s" => (low.max(0.0), high),
        _ => (low, high),
    }
}

/// Lists in each cell of a trained row the baselines with a better mean.
fn mark_below(cells: &mut [Cell], better: Better) {
    let is_better = |baseline: f64, mean: f64| match better {
        Better::More => baseline > mean,
        Better::Less => baseline < mean,
        Better::Neither => false,
    };
    let baselines: Vec<(Row, f64)> =
        cells.iter().filter(|cell| cell.baseline).filter_map(|cell| Some((cell.row.clone(), cell.mean?))).collect();
    for cell in cells.iter_mut().filter(|cell| !cell.baseline) {
        let Some(mean) = cell.mean else { continue };
        let is_above = |(row, baseline): &&(Row, f64)| is_baseline_of(row, &cell.row) && is_better(*baseline, mean);
        let above = baselines.iter().filter(is_above).filter_map(|(row, _)| Some(row.first()?.1.clone()));
        cell.below = above.collect();
    }
}

/// Marks the better of semantic and augmented pairs, and of any two rows with different pairs that a claim compares, if
/// the interval of their paired difference excludes 0. Marks nothing for a metric without a better direction.
fn mark_better(table: &Table, gains: &[Gain], claims: &[ClaimResult], cells: &mut [Cell]) {
    let of_gains = gains.iter().map(|gain| (&gain.plus, &gain.minus, &gain.columns[0], &gain.metric, gain.ci95));
    let of_claims = claims.iter().filter_map(|claim| match (&claim.plus[..], &claim.minus[..]) {
        ([plus], [minus]) if gains::is_paired(plus, minus) => {
            Some((plus, minus, &claim.column, &claim.metric, claim.ci95))
        }
        _ => None,
    });
    for (plus, minus, column, metric, ci95) in of_gains.chain(of_claims) {
        let better = table.metrics.iter().find(|of| of.id == *metric).map_or(Better::Neither, |of| of.better);
        let best = match (gains::ahead(ci95), better) {
            (1, Better::More) | (-1, Better::Less) => plus,
            (-1, Better::More) | (1, Better::Less) => minus,
            _ => continue,
        };
        let is = |cell: &&mut Cell| cell.row == *best && cell.column == *column && cell.metric == *metric;
        cells.iter_mut().filter(is).for_each(|cell| cell.best = true);
    }
}

/// Compares the trained rows with each baseline, on each column, by the table's first metric in percent.
fn baselines(table: &Table, cells: &[Cell]) -> Vec<Baseline> {
    let Some(metric) = table.metrics.iter().find(|metric| metric.unit == "%") else { return Vec::new() };
    let of_metric = |cell: &&Cell| cell.metric == metric.id && cell.mean.is_some();
    let compare = |baseline: &Cell| {
        let is_beside = |c: &&Cell| c.column == baseline.column && is_baseline_of(&baseline.row, &c.row);
        let trained = cells.iter().filter(of_metric).filter(|c| !c.baseline).filter(is_beside);
        let above = trained.clone().filter(|cell| cell.mean > baseline.mean).count();
        let (row, column, metric) = (baseline.row.clone(), baseline.column.clone(), metric.id.clone());
        Baseline { row, column, metric, above, of: trained.count() }
    };
    let compared = cells.iter().filter(of_metric).filter(|cell| cell.baseline).map(compare);
    compared.filter(|baseline| baseline.of > 0).collect()
}

fn data(selection: &Selection) -> Vec<DataRef> {
    let mut data: Vec<DataRef> = selection.records.iter().flat_map(|r| r.data.iter().cloned()).collect();
    let content = |data: &DataRef| (data.name.clone(), data.hash.clone(), data.description.clone(), data.images);
    // A licence may have been added between two runs.
    data.sort_by_cached_key(|data| (content(data), Reverse(data.licence.clone())));
    data.dedup_by_key(|data| content(data));
    data
}

/// How often the test splits that these runs used were evaluated.
fn set_evaluations(input: &Input, used: &[&Record]) -> Vec<SetEvaluations> {
    let mut by_set: BTreeMap<&str, usize> = BTreeMap::new();
    used.iter().flat_map(|run| evaluations::tests(run)).for_each(|set| *by_set.entry(set).or_default() += 1);
    let of_set = |(set, used): (&str, usize)| {
        let recorded = input.evaluations.get(set).copied().unwrap_or_default();
        (recorded.completed > 0).then(|| SetEvaluations { set: set.to_owned(), recorded, used })
    };
    by_set.into_iter().filter_map(of_set).collect()
}

fn compute_spent<'a>(used: &[&'a Record], mut runs: Vec<&'a Record>) -> ComputeSpent {
    // A run used in a table counts even if the caller's list of all runs lacks it.
    runs.extend(used);
    by_start(&mut runs);
    let mut by_status = BTreeMap::new();
    for run in &runs {
        *by_status.entry(run.status.name()).or_insert(0) += 1;
    }
    let mut machines: Vec<Machine> = runs.iter().map(|r| machine(r)).collect();
    machines.sort();
    machines.dedup();
    let energy: Vec<f64> = runs.iter().filter_map(|run| run.energy_joules).collect();
    ComputeSpent {
        energy_joules: (!energy.is_empty()).then(|| energy.iter().sum()),
        energy_runs: energy.len(),
        runs: runs.len(),
        by_status,
        used: used.len(),
        seconds_used: seconds(used),
        seconds: seconds(&runs),
        machines,
    }
}

/// The total machine time of runs, in seconds; 0, and not -0, if there are none.
fn seconds(runs: &[&Record]) -> f64 {
    runs.iter().fold(0.0, |sum, run| sum + run.machine_seconds())
}

fn machine(record: &Record) -> Machine {
    Machine {
        cpu: record.host.cpu.clone(),
        cores: record.host.cores as u64,
        threads: record.host.threads as u64,
        device: record.compute.device.clone(),
        isa: record.compute.isa.clone(),
        precision: record.compute.precision.clone(),
        rustc: record.build.rustc.clone(),
    }
}
