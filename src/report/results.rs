//! The facts of a report as data: cells, claims, compute. What `results.json` holds.

use crate::harness::config::Roles;
use crate::harness::experiment::Better;
use crate::harness::experiment::Column;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::harness::record::Record;
use crate::report::claims::ClaimResult;
use crate::report::claims::claim_results;
use crate::report::claims::contrast;
use crate::report::claims::mark_repeated;
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
    /// Runs left out by the caller, as (run id, reason).
    pub excluded: Vec<(String, String)>,
    /// Every run that the compute account covers, failed and killed ones included.
    pub all_records: Vec<Arc<Record>>,
    /// When, as it is to be printed: time is an argument here.
    pub generated: String,
    /// For double-blind review; [`anonymous`](crate::report::anonymous) makes such an input.
    pub anonymous: bool,
    /// What each setting decides.
    pub roles: Roles,
}

/// The content of `results.json`, schema `sempair.results/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    pub schema: &'static str,
    pub generated: String,
    /// What names people, machines and places is withheld, commits too.
    pub anonymous: bool,
    pub git: GitState,
    pub profile: String,
    pub profile_description: String,
    /// How verdicts are reached, in words.
    pub verdict_rule: &'static str,
    pub tables: Vec<TableResults>,
    /// Runs offered but not used, by id.
    pub excluded: Vec<Excluded>,
    pub compute: ComputeSpent,
    #[serde(skip)]
    pub roles: Roles,
}

/// The code behind the runs that are used.
#[derive(Clone, Debug, Serialize)]
pub struct GitState {
    /// The commit of the newest run used.
    pub commit: Option<String>,
    /// Whether any run used came from a tree with uncommitted changes.
    pub dirty: bool,
    /// Every commit among the runs used, sorted.
    pub commits: Vec<String>,
    /// The hash of the sources that determine results, of every build among the runs used, sorted.
    pub codes: Vec<String>,
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableResults {
    pub id: String,
    pub title: String,
    /// The whole caption: what is measured, what varies between seeds, n, what is bold, what is a stand-in.
    pub caption: String,
    pub varies: String,
    pub columns: Vec<Column>,
    pub metrics: Vec<MetricInfo>,
    /// Every data set that the runs read, by name.
    pub data: Vec<DataRef>,
    pub cells: Vec<Cell>,
    pub claims: Vec<ClaimResult>,
    /// Whether the paper measures what the claims are about, and does not only argue it.
    pub in_paper: bool,
    /// How the trained rows stand to each baseline.
    pub baselines: Vec<Baseline>,
    pub notes: Vec<String>,
    /// One sentence for each hole in the table.
    pub missing: Vec<String>,
    /// What the runs of this table cost, those that failed or are not used too.
    pub compute: ComputeSpent,
}

/// How many trained rows have a higher mean than a baseline. Where few have, little was learned, and differences between
/// such rows say little.
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

/// One figure of a table: a metric of a row on a column, over seeds.
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
    /// 95 % t interval; for percentages cut at 0 and 100, for times at 0.
    pub ci95: Option<(f64, f64)>,
    /// Wilson's 95 % interval of each seed's accuracy over the test items, in the order of `seeds`; empty unless all runs
    /// recorded which items were right.
    pub wilson95: Vec<(f64, f64)>,
    /// Best of its column, or not significantly worse; see the caption.
    pub best: bool,
    /// The paper's figure; null where it is not stated.
    pub paper: Option<f64>,
    /// The paper's column that this one is or stands for.
    pub paper_column: Option<String>,
    /// The data are not the paper's, so this figure cannot be compared with the paper's.
    pub substitute: bool,
    /// Run ids, in the order of `seeds`.
    pub runs: Vec<String>,
    /// Which test items were right, in the order of `seeds`; nothing for a run that did not record it.
    #[serde(skip)]
    pub hits: Vec<Option<Hits>>,
}

impl Cell {
    /// The interval to show: the t interval over seeds, or for one seed Wilson's over the test items.
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

/// What the numbers cost.
#[derive(Clone, Debug, Serialize)]
pub struct ComputeSpent {
    pub runs: usize,
    /// Number of runs by status, for example `completed`.
    pub by_status: BTreeMap<&'static str, usize>,
    /// Runs behind the tables.
    pub used: usize,
    pub seconds_used: f64,
    /// All runs: failed, killed and superseded ones too.
    pub seconds: f64,
    pub machines: Vec<Machine>,
}

/// A machine and how it computed.
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

/// Computes the facts of a report. Pure: equal inputs give equal results in whatever order the records come.
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
    Results {
        schema: "sempair.results/1",
        generated: input.generated.clone(),
        anonymous: input.anonymous,
        git: git_state(&used),
        profile: input.profile.clone(),
        profile_description: input.description_of_profile.clone(),
        verdict_rule: stats::VERDICT_RULE,
        tables,
        excluded,
        compute: compute_spent(&used, input.all_records.iter().map(Arc::as_ref).collect()),
        roles: input.roles.clone(),
    }
}

/// The runs behind all tables, each once, by start and id.
pub(super) fn used<'a>(selections: &[Selection<'a>]) -> Vec<&'a Record> {
    let mut used: Vec<&Record> = selections.iter().flat_map(|s| s.records.iter().copied()).collect();
    by_start(&mut used);
    used
}

/// The paper's column for one of ours: itself, or the one it stands for.
pub(super) fn paper_column(column: &Column) -> Option<&str> {
    column.stands_for.as_deref().or_else(|| (!column.substitute).then_some(column.id.as_str()))
}

fn by_start(records: &mut Vec<&Record>) {
    records.sort_by(|a, b| (&a.started, &a.id).cmp(&(&b.started, &b.id)));
    records.dedup_by(|a, b| a.id == b.id);
}

fn git_state(used: &[&Record]) -> GitState {
    let mut commits: Vec<String> = used.iter().filter_map(|r| r.git.commit.clone()).collect();
    let commit = commits.last().cloned();
    commits.sort();
    commits.dedup();
    let codes = used.iter().map(|r| r.build.code.clone()).filter(|code| !code.is_empty());
    let codes = codes.collect::<BTreeSet<String>>().into_iter().collect();
    GitState { commit, dirty: used.iter().any(|r| r.git.dirty), commits, codes }
}

fn table_results(selection: &Selection, all: &[Arc<Record>]) -> TableResults {
    let (table, data) = (selection.table, data(selection));
    let runs: Vec<&Record> = all.iter().map(Arc::as_ref).filter(|record| record.experiment == table.id).collect();
    let mut cells = Vec::new();
    for column in &table.columns {
        for metric in table.metrics.iter().filter(|metric| column.has(&metric.id)) {
            let mut of_column: Vec<Cell> =
                select::rows(table).map(|(row, baseline)| cell(selection, row, baseline, column, metric)).collect();
            mark_best(&mut of_column, metric.better);
            cells.extend(of_column);
        }
    }
    TableResults {
        id: table.id.clone(),
        title: table.title.clone(),
        caption: caption(table, &cells),
        varies: table.varies.clone(),
        columns: table.columns.clone(),
        metrics: table.metrics.clone(),
        claims: claim_results(table, &cells, &data),
        in_paper: table.in_paper,
        baselines: baselines(table, &cells),
        notes: table.notes.iter().cloned().chain(sets(table, &data)).collect(),
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
        paper: paper_figure(selection.table, row, column, metric),
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

fn paper_figure(table: &Table, row: &Row, column: &Column, metric: &MetricInfo) -> Option<f64> {
    let theirs = paper_column(column)?;
    table.paper.iter().find(|f| f.row == *row && f.column == theirs && f.metric == metric.id)?.value
}

/// An interval of a percentage does not reach beyond 0 and 100, and that of a time not below 0.
fn within_range((low, high): (f64, f64), unit: &str) -> (f64, f64) {
    match unit {
        "%" => (low.max(0.0), high.min(100.0)),
        "s" => (low.max(0.0), high),
        _ => (low, high),
    }
}

/// Marks the best mean of a column and every row that is not significantly worse (paired t over common seeds,
/// Holm over the rows of the column, 0.05). Rows with one seed are not compared: a mean alone earns nothing. Nothing is
/// marked of a metric of which neither direction is better.
fn mark_best(cells: &mut [Cell], better: Better) {
    let compared: Vec<usize> = (0..cells.len()).filter(|&i| cells[i].values.len() > 1).collect();
    let goodness = |&i: &usize| match (better, cells[i].mean) {
        (Better::More, Some(mean)) => mean,
        (Better::Less, Some(mean)) => -mean,
        _ => f64::MIN,
    };
    let best = compared.iter().copied().max_by(|a, b| goodness(a).total_cmp(&goodness(b)));
    let Some(best) = best.filter(|_| better != Better::Neither) else { return };
    let tests: Vec<(usize, f64)> = compared
        .iter()
        .filter(|&&i| i != best)
        .filter_map(|&i| Some((i, stats::paired(&contrast(&[&cells[best]], &[&cells[i]]).0)?.t_p?)))
        .collect();
    let adjusted = stats::holm(&tests.iter().map(|(_, p)| *p).collect::<Vec<_>>());
    cells[best].best = true;
    for ((i, _), p) in tests.iter().zip(adjusted) {
        cells[*i].best = p >= 0.05;
    }
}

/// Trained rows against each baseline, on each column, by the table's first percentage.
fn baselines(table: &Table, cells: &[Cell]) -> Vec<Baseline> {
    let Some(metric) = table.metrics.iter().find(|metric| metric.unit == "%") else { return Vec::new() };
    let of_metric = |cell: &&Cell| cell.metric == metric.id && cell.mean.is_some();
    let compare = |baseline: &Cell| {
        let trained = cells.iter().filter(of_metric).filter(|c| !c.baseline && c.column == baseline.column);
        let above = trained.clone().filter(|cell| cell.mean > baseline.mean).count();
        let (row, column, metric) = (baseline.row.clone(), baseline.column.clone(), metric.id.clone());
        Baseline { row, column, metric, above, of: trained.count() }
    };
    let compared = cells.iter().filter(of_metric).filter(|cell| cell.baseline).map(compare);
    compared.filter(|baseline| baseline.of > 0).collect()
}

fn caption(table: &Table, cells: &[Cell]) -> String {
    let mut parts = vec![table.caption.trim().to_string()];
    let counts = cells.iter().filter(|c| !c.baseline && !c.values.is_empty()).map(|c| c.values.len());
    match (counts.clone().min(), counts.max()) {
        (Some(1), Some(1)) => parts.push("One seed: no interval over seeds can be given.".to_string()),
        (Some(low), Some(high)) => {
            let n = if low == high { format!("n = {low}") } else { format!("n = {low} to {high}") };
            parts.push(format!(
                "Mean ± half-width of the 95 % t interval over {n} seeds; between seeds vary: {}.",
                table.varies.trim_end_matches('.')
            ));
        }
        _ => parts.push("No completed run yet.".to_string()),
    }
    if cells.iter().any(|c| c.ci95.is_none() && c.interval().is_some()) {
        parts.push(
            "Where a row has one seed, the interval is Wilson's at 95 % over the test images, which says nothing of what \
             varies between seeds."
                .to_string(),
        );
    }
    if cells.iter().any(|c| c.best) {
        parts.push(
            "Bold: of the rows with more than one seed the best mean of a column, and every row that is not significantly \
             worse than it (paired t test on common seeds, Holm-adjusted over the column, p of at least 0.05; few seeds \
             tell few rows apart)."
                .to_string(),
        );
    }
    if !table.paper.is_empty() {
        parts.push("Columns headed “paper” repeat the paper's figures; – there means not stated.".to_string());
    }
    parts.extend(stand_ins(table));
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

/// What a reader must know before comparing a stand-in's figures with the paper's.
fn stand_ins(table: &Table) -> Option<String> {
    let names: Vec<String> = table
        .columns
        .iter()
        .filter(|c| c.substitute)
        .map(|c| match &c.stands_for {
            Some(theirs) => format!("{} for {theirs}", c.title),
            None => c.title.clone(),
        })
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "† Stand-in data, not the paper's ({}): these figures are not comparable with the paper's; only the order \
             of the rows is.",
            names.join("; ")
        )
    })
}

/// What was imported as the paper's sets, which may be parts of them.
fn sets<'a>(table: &'a Table, data: &'a [DataRef]) -> impl Iterator<Item = String> + 'a {
    table.columns.iter().filter(|column| !column.substitute).filter_map(|column| {
        let is_split = |data: &&DataRef| data.name.split_once('/').is_some_and(|(set, _)| set == column.id);
        let DataRef { description, .. } = data.iter().find(is_split)?;
        (!description.is_empty()).then(|| format!("{} here: {description}.", column.title))
    })
}

fn data(selection: &Selection) -> Vec<DataRef> {
    let mut data: Vec<DataRef> = selection.records.iter().flat_map(|r| r.data.iter().cloned()).collect();
    let content = |data: &DataRef| (data.name.clone(), data.hash.clone(), data.description.clone(), data.images);
    // A licence may have been stated between two runs.
    data.sort_by_cached_key(|data| (content(data), Reverse(data.licence.clone())));
    data.dedup_by_key(|data| content(data));
    data
}

fn compute_spent<'a>(used: &[&'a Record], mut runs: Vec<&'a Record>) -> ComputeSpent {
    // A run behind a table counts even where the caller's list of all runs lacks it.
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
        seconds_used: used.iter().map(|r| r.seconds).sum(),
        seconds: runs.iter().map(|r| r.seconds).sum(),
        machines,
    }
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
