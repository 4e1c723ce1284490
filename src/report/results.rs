//! The facts of a report as data: cells, claims, compute. They are the content of `results.json`.

use crate::harness::config::Roles;
use crate::harness::experiment::Better;
use crate::harness::experiment::Column;
use crate::harness::experiment::Distance;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Note;
use crate::harness::experiment::PaperFigure;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::harness::record::Record;
use crate::report::captions;
use crate::report::claims::ClaimResult;
use crate::report::claims::claim_results;
use crate::report::claims::mark_repeated;
use crate::report::curves;
use crate::report::findings;
use crate::report::gains;
use crate::report::gains::Gain;
use crate::report::select;
use crate::report::select::Selection;
use crate::report::stats;
use rayon::prelude::*;
use serde::Serialize;
use serde::Serializer;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything a report is made of; see [`results`].
pub struct Input {
    pub profile: String,
    /// What the profile means, in a sentence for the reader.
    pub description_of_profile: String,
    /// Each table with the completed runs chosen for it.
    pub tables: Vec<(Table, Vec<Arc<Record>>)>,
    /// Tables without runs.
    pub not_run: Vec<Table>,
    /// Runs left out by the caller, as (run id, reason).
    pub excluded: Vec<(String, String)>,
    /// Every run that counts for the compute spent, including failed and killed runs.
    pub all_records: Vec<Arc<Record>>,
    /// The time to print: the report does not read the clock.
    pub generated: String,
    /// Whether the report is for double-blind review; [`anonymous`](crate::report::anonymous) makes such an input.
    pub anonymous: bool,
    /// What each setting decides.
    pub roles: Roles,
}

/// The content of `results.json`, schema `sempair.results/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub schema: &'static str,
    pub generated: String,
    /// Whether names of people and machines, file paths and commits are withheld.
    pub anonymous: bool,
    pub git: GitState,
    pub profile: String,
    pub profile_description: String,
    /// How verdicts are reached, in words.
    pub verdict_rule: &'static [&'static str],
    pub tables: Vec<TableResults>,
    /// Tables without runs, with the paper's values.
    pub not_run: Vec<TableResults>,
    /// The records that the report is made from.
    pub ledger: LedgerState,
    /// Runs offered but not used, by id.
    pub excluded: Vec<Excluded>,
    pub compute: ComputeSpent,
    #[serde(skip)]
    pub roles: Roles,
}

/// The code of the runs that are used.
#[derive(Clone, Debug, Serialize)]
pub struct GitState {
    /// The commit of the newest run used.
    pub commit: Option<String>,
    /// Whether the files were those of the commit; the worst state of all runs used.
    pub tree: Tree,
    /// Every commit among the runs used, sorted.
    pub commits: Vec<String>,
    /// The hash of the sources that determine results, of every build among the runs used, sorted.
    pub codes: Vec<String>,
}

/// The records of a profile, as a count and a hash.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerState {
    pub records: usize,
    /// BLAKE3 of the hashes of all records, sorted, one per line; `None` for review, where records are changed.
    pub blake3: Option<String>,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableResults {
    pub id: String,
    pub title: String,
    /// The finding, in one sentence.
    pub finding: String,
    /// The whole caption: what is measured, the spread, what is bold, the signs, how the rows were trained.
    pub caption: String,
    pub varies: String,
    pub columns: Vec<Column>,
    /// The columns that the paper has and the settings leave out.
    pub unasked: Vec<String>,
    pub metrics: Vec<MetricInfo>,
    /// Every data set that the runs read, by name.
    pub data: Vec<DataRef>,
    pub cells: Vec<Cell>,
    /// The values that the paper states, including values for which there is no cell.
    pub paper: Vec<PaperFigure>,
    pub claims: Vec<ClaimResult>,
    /// The gains of semantic pairs over augmented pairs, by row and column.
    pub gains: Vec<Gain>,
    /// The means of the gains over the columns; not claims.
    pub pooled: Vec<Gain>,
    /// Whether the paper measures what the claims are about, instead of only arguing it.
    pub in_paper: bool,
    /// How the trained rows compare with each baseline.
    pub baselines: Vec<Baseline>,
    pub notes: Vec<Note>,
    /// How the experiment compares with the paper's, setting by setting.
    pub distance: Vec<Distance>,
    /// The rank of the features of each row during training.
    pub health: Vec<Health>,
    /// One sentence for each missing cell of the table.
    pub missing: Vec<String>,
    /// What the runs of this table cost, including runs that failed or are not used.
    pub compute: ComputeSpent,
}

/// How many trained rows have a higher mean than a baseline. If only few have, little was learned, and differences
/// between such rows mean little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Baseline {
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    pub column: String,
    pub metric: String,
    /// Rows with a higher mean.
    pub above: usize,
    /// Rows with a mean.
    pub of: usize,
}

/// The effective rank of a row's features, at its first epoch and at its last, as means over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    pub rank_first: f64,
    pub rank_last: f64,
    /// Whether the last rank is below 0.8 of the first: a sign of collapse.
    pub fell: bool,
}

/// One cell of a table: a metric of a row on a column, over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    pub baseline: bool,
    pub column: String,
    pub metric: String,
    pub unit: String,
    #[serde(skip)]
    pub decimals: usize,
    pub seeds: Vec<u64>,
    /// One value per seed, in the order of `seeds`.
    pub values: Vec<f64>,
    pub mean: Option<f64>,
    pub sd: Option<f64>,
    /// 95 % confidence interval of the mean (Student's t), clipped to 0 and 100 for percentages, at 0 for times.
    pub ci95: Option<(f64, f64)>,
    /// Wilson's 95 % score interval of each seed's accuracy over the test items, in the order of `seeds`; empty unless
    /// all runs recorded which items were right.
    pub wilson95: Vec<(f64, f64)>,
    /// Whether it is the better of two rows: the interval of their paired difference excludes 0; see the caption.
    pub best: bool,
    /// The baselines that have a better mean.
    pub below: Vec<String>,
    /// The paper's value; null if it is not stated.
    pub paper: Option<f64>,
    /// The paper's value on a set that the paper does not name.
    pub paper_elsewhere: Option<f64>,
    /// The numbers of the notes about the paper's value, counted from 1.
    pub notes: Vec<usize>,
    /// The paper's column that this one is or stands for.
    pub paper_column: Option<String>,
    /// Whether the data are not the paper's, so that this value is not comparable with the paper's.
    pub substitute: bool,
    /// Run ids, in the order of `seeds`.
    pub runs: Vec<String>,
    /// Which test items were right, in the order of `seeds`; `None` for a run that did not record it.
    #[serde(skip)]
    pub hits: Vec<Option<Hits>>,
}

impl Cell {
    /// The interval to show: the t interval over seeds, or for one seed Wilson's interval over the test items.
    pub fn interval(&self) -> Option<(f64, f64)> {
        self.ci95.or_else(|| if let [only] = self.wilson95[..] { Some(only) } else { None })
    }
}

/// A run that was not used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Excluded {
    pub run: String,
    pub reason: String,
    /// The run that is used in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// The compute spent on the results.
#[derive(Clone, Debug, Serialize)]
pub struct ComputeSpent {
    pub runs: usize,
    /// Number of runs by status, for example `completed`.
    pub by_status: BTreeMap<&'static str, usize>,
    /// Number of runs used in the tables.
    pub used: usize,
    pub seconds_used: f64,
    /// Of all runs, including failed, killed and superseded runs.
    pub seconds: f64,
    pub machines: Vec<Machine>,
}

/// A machine and its compute settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: u64,
    pub device: String,
    pub isa: String,
    pub precision: String,
    pub threads: u64,
    pub rustc: String,
}

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
    let mut tables: Vec<TableResults> = selections.par_iter().map(|s| table_results(s, &input.all_records)).collect();
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
        not_run: not_run.par_iter().map(|s| table_results(s, &[])).collect(),
        ledger: ledger(input),
        excluded,
        compute: compute_spent(&used, input.all_records.iter().map(Arc::as_ref).collect()),
        roles: input.roles.clone(),
    }
}

/// The runs of all tables, each once, in the order in which they started.
pub(super) fn used<'a>(selections: &[Selection<'a>]) -> Vec<&'a Record> {
    let mut used: Vec<&Record> = selections.iter().flat_map(|s| s.records.iter().copied()).collect();
    by_start(&mut used);
    used
}

/// The paper's column for one of ours: itself, or the one it stands for.
pub(super) fn paper_column(column: &Column) -> Option<&str> {
    column.stands_for.as_deref().or_else(|| (!column.substitute).then_some(column.id.as_str()))
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
    LedgerState { records: hashes.len(), blake3 }
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

fn table_results(selection: &Selection, all: &[Arc<Record>]) -> TableResults {
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
    let claims = claim_results(table, &cells, &data);
    let gains = gains::gains(table, &cells);
    mark_better(table, &gains, &claims, &mut cells);
    TableResults {
        id: table.id.clone(),
        title: table.title.clone(),
        finding: findings::finding(table, &claims),
        caption: captions::caption(table, &cells).whole(),
        varies: table.varies.clone(),
        columns: table.columns.clone(),
        unasked: table.unasked.clone(),
        metrics: table.metrics.clone(),
        paper: table.paper.clone(),
        claims,
        pooled: gains::pooled(table, &cells),
        gains,
        in_paper: table.in_paper,
        baselines: baselines(table, &cells),
        notes: notes_of(selection, &data),
        distance: table.distance.clone(),
        health: curves::health(selection),
        data,
        missing: selection.missing(all),
        compute: compute_spent(&selection.records, runs),
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

/// Whether a row has all labels of a baseline, such as the images, apart from method and pairs.
pub(super) fn is_baseline_of(baseline: &Row, row: &Row) -> bool {
    let is_own = |key: &str| ["method", "pairs"].contains(&key);
    baseline.iter().all(|label| is_own(&label.0) || row.contains(label))
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
    ComputeSpent {
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

pub(super) fn as_object<S: Serializer>(row: &Row, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(row.iter().map(|(key, value)| (key, value)))
}
