//! The facts of a report as data, the content of `results.json`: cells, claims, gains, compute. `results` computes them.

use crate::harness::config::Roles;
use crate::harness::evaluations::Evaluations;
use crate::harness::experiment::Column;
use crate::harness::experiment::Distance;
use crate::harness::experiment::Expected;
use crate::harness::experiment::Family;
use crate::harness::experiment::MetricInfo;
use crate::harness::experiment::Note;
use crate::harness::experiment::PaperFigure;
use crate::harness::experiment::Row;
use crate::harness::experiment::Table;
use crate::harness::frozen_plan::KnownPlan;
use crate::harness::frozen_plan::Standing;
use crate::harness::git::Tree;
use crate::harness::outcome::DataRef;
use crate::harness::outcome::Hits;
use crate::harness::record::Record;
use crate::report::stats;
use crate::report::stats::Verdict;
use serde::Serialize;
use serde::Serializer;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Everything a report is made of; see `report::results`.
pub struct Input {
    /// The profile's name, such as `quick`.
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
    /// The number of runs of the ledger, of any profile, whose records a user deleted.
    pub deleted: usize,
    /// The time to print: the report does not read the clock.
    pub generated: String,
    /// Whether the report is for double-blind review; [`anonymous`](crate::report::anonymous) makes such an input.
    pub anonymous: bool,
    /// What each setting decides.
    pub roles: Roles,
    /// The plans of the ledger that are as they were frozen, oldest first.
    pub plans: Vec<KnownPlan>,
    /// How often each test split was evaluated, by all runs of the ledger.
    pub evaluations: BTreeMap<String, Evaluations>,
}

/// The content of `results.json`, schema `sempair.results/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The name and the version of this format: `sempair.results/1`.
    pub schema: &'static str,
    /// The time to print, as in [`Input`]: when the newest run ended, such as `2026-11-29T18:25:05.480Z`.
    pub generated: String,
    /// Whether names of people and machines, file paths and commits are withheld.
    pub anonymous: bool,
    /// The commits and the sources of the runs that are used.
    pub git: GitState,
    /// The profile's name, such as `quick`.
    pub profile: String,
    /// What the profile means, in words for the reader.
    pub profile_description: String,
    /// How verdicts are reached, in words.
    pub verdict_rule: &'static [&'static str],
    /// The tables of the report, in the order of the input.
    pub tables: Vec<TableResults>,
    /// Tables without runs, with the paper's values.
    pub not_run: Vec<TableResults>,
    /// The records that the report is made from.
    pub ledger: LedgerState,
    /// Runs offered but not used, by id.
    pub excluded: Vec<Excluded>,
    /// What all runs of the profile cost, including runs that failed or are not used.
    pub compute: ComputeSpent,
    /// How often the test splits of the tables were evaluated; left out if no run states its test split.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<SetEvaluations>,
    /// The plans of the profile, oldest first; left out if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plans: Vec<PlanState>,
    /// What each setting decides; not part of `results.json`.
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
    /// The number of records of the profile, including runs that failed or are not used.
    pub records: usize,
    /// BLAKE3 of the hashes of all records, sorted, one per line; `None` for review, where records are changed.
    pub blake3: Option<String>,
    /// The number of runs of the ledger, of any profile, whose records a user deleted.
    #[serde(skip_serializing_if = "is_none")]
    pub deleted: usize,
}

fn is_none(count: &usize) -> bool {
    *count == 0
}

/// How often the test split of a dataset was evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct SetEvaluations {
    /// The dataset, such as `cifar-10`.
    pub set: String,
    /// By how many runs of the ledger, of any table and profile.
    #[serde(flatten)]
    pub recorded: Evaluations,
    /// How many of these this report uses.
    pub used: usize,
}

/// A plan that was frozen before runs.
#[derive(Clone, Debug, Serialize)]
pub struct PlanState {
    /// Its id, a UUID of version 7.
    pub id: String,
    /// When it was frozen: RFC 3339, UTC.
    pub frozen: String,
    /// Its hash, which a journal of the ledger states; `None` for review.
    pub hash: Option<String>,
    /// The commit at which it was frozen; `None` if it is unknown, and for review.
    pub commit: Option<String>,
    /// The number of its settings, which decide results.
    pub settings: usize,
    /// BLAKE3 of the settings' keys and values.
    pub settings_hash: String,
    /// The tables for which it counts.
    pub tables: Vec<String>,
    /// Its tables for which a later plan counts.
    pub replaced: Vec<String>,
    /// Whether it states the rule of verdicts in the words of this report.
    pub same_rule: bool,
}

/// How the runs of a table stand to the plan that counts for it.
#[derive(Clone, Debug, Serialize)]
pub struct TablePlan {
    /// The plan's id.
    pub id: String,
    /// The day on which it was frozen.
    #[serde(skip)]
    pub day: String,
    /// The seeds that it has for this table.
    #[serde(skip)]
    pub seeds: BTreeSet<u64>,
    /// The number of runs that are planned.
    pub planned: usize,
    /// How many of these had other code, another machine or other data than when the plan was frozen.
    pub moved: usize,
    /// The number of planned runs without a result.
    pub missing: usize,
    /// The number of runs of the table, of any status, that did not begin after the plan.
    pub earlier: usize,
    /// The other runs, by row, column and seed.
    pub others: Vec<Unplanned>,
}

/// A run that is not planned.
#[derive(Clone, Debug, Serialize)]
pub struct Unplanned {
    /// The run's id.
    pub run: String,
    /// Whether it is from before the plan, or why it is post hoc.
    #[serde(flatten)]
    pub standing: Standing,
}

impl TablePlan {
    /// How a run stands to the plan; `None` if it is planned.
    pub fn standing(&self, run: &str) -> Option<&Standing> {
        self.others.iter().find(|other| other.run == run).map(|other| &other.standing)
    }

    /// The number of runs that are post hoc.
    pub fn post_hoc(&self) -> usize {
        self.others.iter().filter(|other| other.standing != Standing::BeforeThePlan).count()
    }
}

/// One table.
#[derive(Clone, Debug, Serialize)]
pub struct TableResults {
    /// Such as `transfer`.
    pub id: String,
    /// One line for readers, such as `Linear evaluation of features from augmented and from semantic pairs`.
    pub title: String,
    /// The finding, in one sentence.
    pub finding: String,
    /// The whole caption: what is measured, the spread, what is bold, the signs, how the rows were trained.
    pub caption: String,
    /// What varies between seeds, such as `initialisation, order of the pairs`; empty if it is not recorded.
    pub varies: String,
    /// In the order of the table, including the columns in `unasked`.
    pub columns: Vec<Column>,
    /// The columns that the paper has and the settings leave out.
    pub unasked: Vec<String>,
    /// The quantities that the cells measure, in the order of the table.
    pub metrics: Vec<MetricInfo>,
    /// Every data set that the runs read, by name.
    pub data: Vec<DataRef>,
    /// By column, metric and row, including cells without runs; baselines come after the trained rows.
    pub cells: Vec<Cell>,
    /// The values that the paper states, including values for which there is no cell.
    pub paper: Vec<PaperFigure>,
    /// The values on each category, where runs record them; in files without them, they are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<OfCategory>,
    /// What the runs say about each claim, in the order of the table.
    pub claims: Vec<ClaimResult>,
    /// The gains of semantic pairs over augmented pairs, by row and column.
    pub gains: Vec<Gain>,
    /// The means of the gains over the columns; not claims.
    pub pooled: Vec<Gain>,
    /// Whether the paper measures what the claims are about, instead of only arguing it.
    pub in_paper: bool,
    /// How the trained rows compare with each baseline.
    pub baselines: Vec<Baseline>,
    /// Notes of the table, then notes about its runs; cells refer to them by number.
    pub notes: Vec<Note>,
    /// How the experiment compares with the paper's, setting by setting.
    pub distance: Vec<Distance>,
    /// The rank of the features of each row during training.
    pub health: Vec<Health>,
    /// One sentence for each missing cell of the table.
    pub missing: Vec<String>,
    /// What the runs of this table cost, including runs that failed or are not used.
    pub compute: ComputeSpent,
    /// How its runs stand to the plan; left out without a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<TablePlan>,
}

/// The values of a row and column on one category of the test.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OfCategory {
    /// Labels of the row.
    pub row: Row,
    /// The column's id.
    pub column: String,
    /// The metric's id.
    pub metric: String,
    /// The category's name.
    pub category: String,
    /// How many test items it has.
    pub items: u64,
    /// Seed and value of each run; `None` where the value is not defined.
    pub values: Vec<(u64, Option<f64>)>,
}

impl OfCategory {
    /// The mean over seeds; `None` if no run has a value.
    pub fn mean(&self) -> Option<f64> {
        let there: Vec<f64> = self.values.iter().filter_map(|(_, value)| *value).collect();
        (!there.is_empty()).then(|| there.iter().sum::<f64>() / there.len() as f64)
    }
}

/// How many trained rows have a higher mean than a baseline. If only few have, little was learned, and differences
/// between such rows mean little.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Baseline {
    /// The labels of the baseline.
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    /// The column's id, such as `synth-10`.
    pub column: String,
    /// The id of the table's first metric in percent, such as `top1`.
    pub metric: String,
    /// Rows with a higher mean.
    pub above: usize,
    /// Rows with a mean.
    pub of: usize,
}

/// The effective rank of a row's features, at the first and the last epoch at which it was measured, as means over seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Health {
    /// The labels of the row.
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    /// At the first epoch at which it was measured; at least 1.
    pub rank_first: f64,
    /// At the last epoch at which it was measured for all seeds; at least 1.
    pub rank_last: f64,
    /// Whether the last rank is below 0.8 of the first: a sign of collapse.
    pub fell: bool,
}

/// One cell of a table: a metric of a row on a column, over seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// The labels of the row, such as its method and its pairs.
    #[serde(serialize_with = "as_object")]
    pub row: Row,
    /// Whether the row is a baseline, which the paper does not have.
    pub baseline: bool,
    /// The column's id, such as `synth-10`.
    pub column: String,
    /// The metric's id, such as `top1`.
    pub metric: String,
    /// The metric's unit, such as `%`; empty if it has none.
    pub unit: String,
    /// The decimals to print if more than 1; otherwise the unit decides.
    #[serde(skip)]
    pub decimals: usize,
    /// The seeds of the runs that have a finite value, in ascending order.
    pub seeds: Vec<u64>,
    /// One value per seed, in the order of `seeds`.
    pub values: Vec<f64>,
    /// Mean over seeds; `None` without values.
    pub mean: Option<f64>,
    /// Sample standard deviation over seeds (n - 1); `None` for fewer than two values.
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
    /// The run's id, or the path of a file that is not a readable record.
    pub run: String,
    /// Why it is not used, such as `superseded by a newer run of its cell and seed`.
    pub reason: String,
    /// The run that is used in its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded_by: Option<String>,
}

/// The compute spent on the results.
#[derive(Clone, Debug, Serialize)]
pub struct ComputeSpent {
    /// Number of runs of any status, each counted once.
    pub runs: usize,
    /// Number of runs by status, for example `completed`.
    pub by_status: BTreeMap<&'static str, usize>,
    /// Number of runs used in the tables.
    pub used: usize,
    /// Machine time of the runs used in the tables, in seconds.
    pub seconds_used: f64,
    /// Of all runs, including failed, killed and superseded runs.
    pub seconds: f64,
    /// The energy of processors and memory in all runs that record it, in joules; left out if none does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy_joules: Option<f64>,
    /// The number of runs that record their energy.
    #[serde(skip_serializing_if = "is_none")]
    pub energy_runs: usize,
    /// The machines of all runs, each combination of its fields once, sorted.
    pub machines: Vec<Machine>,
}

/// A machine and its compute settings.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Machine {
    /// The model of the processor, such as `AMD EPYC`; empty if unknown.
    pub cpu: String,
    /// Cores that the process could use; 0 if unknown.
    pub cores: u64,
    /// `cpu`, or the GPU with its multiprocessors; empty if unknown.
    pub device: String,
    /// The instruction set of the kernels, such as `avx2+fma`; empty if unknown.
    pub isa: String,
    /// `f32` or `bf16`; empty if unknown.
    pub precision: String,
    /// Threads of the process, shared by runs at the same time; 0 if unknown.
    pub threads: u64,
    /// The compiler, such as `rustc 1.95.0 (59807616e 2026-04-14)`; empty if unknown.
    pub rustc: String,
}

/// McNemar's test of one seed: two rows on the same test items.
#[derive(Clone, Debug, Serialize)]
pub struct McNemar {
    /// The seed of the two runs that are compared.
    pub seed: u64,
    /// Items on which only the first row is right.
    pub plus_only: usize,
    /// Items on which only the second row is right.
    pub minus_only: usize,
    /// Two-sided p of the exact test.
    pub p: f64,
}

/// What the runs say about one claim of the paper; see [`stats::VERDICT_RULE`].
#[derive(Clone, Debug, Serialize)]
pub struct ClaimResult {
    /// In one sentence, such as `Semantic pairs beat augmented pairs with SimCLR on synth-10`.
    pub text: String,
    /// The statement that this claim is a case of.
    pub family: Family,
    /// Which case of the statement; empty if it is the only case of its column.
    pub case: String,
    /// Whether the paper measures this. If not, the paper only argues it, or it is our addition.
    pub in_paper: bool,
    /// The size of the contrast in the paper.
    pub paper: PaperGain,
    /// The id of the table's column for it, such as `synth-10`; the claim's own column if the table has none.
    pub column: String,
    /// The metric's id, such as `top1`.
    pub metric: String,
    /// The metric's unit, such as `%`; empty if it has none or if the table lacks the metric.
    pub unit: String,
    /// Whether its rows and its column were requested.
    pub asked: bool,
    /// The rows whose values are added.
    #[serde(serialize_with = "as_objects")]
    pub plus: Vec<Row>,
    /// The rows whose values are subtracted.
    #[serde(serialize_with = "as_objects")]
    pub minus: Vec<Row>,
    /// What the claim says about the difference, with its margin.
    pub expected: Expected,
    /// By [`stats::VERDICT_RULE`], before Holm's adjustment.
    pub verdict: Verdict,
    /// Mean over seeds of `plus` minus `minus`, in `unit`; `None` without common seeds.
    pub difference: Option<f64>,
    /// 95 % confidence interval of `difference` (Student's t); `None` for fewer than two common seeds.
    pub ci95: Option<(f64, f64)>,
    /// Two-sided p of the exact sign-flip test over common seeds; null above 20 seeds.
    pub p: Option<f64>,
    /// The smallest p that this number of seeds can give.
    pub p_floor: Option<f64>,
    /// Two-sided p of the paired t test of no difference. For a claim of practically no difference, the larger p of the
    /// two one-sided t tests.
    pub t_p: Option<f64>,
    /// `t_p` after Holm's adjustment over all tested claims of the table.
    pub holm_p: Option<f64>,
    /// The number of seeds that would decide the claim, if the verdict is inconclusive.
    pub seeds_to_decide: Option<usize>,
    /// McNemar's test of each seed, for one row against another whose runs recorded which test items were right.
    pub mcnemar: Vec<McNemar>,
    /// The seeds that all of its rows have.
    pub seeds: Vec<u64>,
    /// Whether it was tested on data other than the paper's, or with encoders trained on other data.
    pub substitute: bool,
    /// Whether it was tested in the paper's own setting. Only then is it called reproduced or not reproduced; otherwise
    /// it is called as claimed or not.
    pub own_setting: bool,
    /// Another table with a claim about the same measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<String>,
    /// How it stands to the table's plan; left out without a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standing: Option<Standing>,
}

impl ClaimResult {
    /// The number of seeds that would decide an open claim, in words; `None` if the claim is not open.
    pub fn would_decide(&self) -> Option<String> {
        match (self.verdict, self.seeds_to_decide, self.ci95) {
            (Verdict::Inconclusive, Some(seeds), _) => Some(seeds.to_string()),
            (Verdict::Inconclusive, None, Some(_)) => Some(format!("more than {}", stats::MOST_SEEDS)),
            _ => None,
        }
    }

    /// Whether its verdict is significant after Holm's adjustment over all tested claims of its table.
    pub fn stands(&self) -> bool {
        matches!(self.verdict, Verdict::Reproduced | Verdict::NotReproduced) && self.holm_p.is_some_and(|p| p < 0.05)
    }
}

/// What the paper says about the size of a claim's contrast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PaperGain {
    /// The size that the paper states.
    pub stated: Option<f64>,
    /// The size computed from the paper's values.
    pub by_figures: Option<f64>,
    /// The paper says that the contrast is above 0, but not by how much.
    pub sign_only: bool,
}

fn as_objects<S: Serializer>(rows: &[Row], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Object<'a>(#[serde(serialize_with = "as_object")] &'a Row);
    serializer.collect_seq(rows.iter().map(Object))
}

/// The difference between two rows, paired by seed.
#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    /// The block, such as `SimCLR`.
    pub of: String,
    /// The row with semantic pairs, whose values are added.
    #[serde(serialize_with = "as_object")]
    pub plus: Row,
    /// The row with augmented pairs, whose values are subtracted.
    #[serde(serialize_with = "as_object")]
    pub minus: Row,
    /// The columns it is computed on. For several columns, it is the mean over them.
    pub columns: Vec<String>,
    /// The metric's id, such as `top1`.
    pub metric: String,
    /// Mean over seeds of `plus` minus `minus`, in the metric's unit.
    pub difference: f64,
    /// 95 % confidence interval of `difference` (Student's t); `None` for one seed.
    pub ci95: Option<(f64, f64)>,
    /// The seeds that both rows have on all columns.
    pub seeds: Vec<u64>,
}

pub(super) fn as_object<S: Serializer>(row: &Row, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(row.iter().map(|(key, value)| (key, value)))
}

/// Returns the paper's column that a column corresponds to: the same column, or the one that it stands in for.
pub(super) fn paper_column(column: &Column) -> Option<&str> {
    column.stands_for.as_deref().or_else(|| (!column.substitute).then_some(column.id.as_str()))
}

/// Whether a row has all labels of a baseline, such as the images, apart from method and pairs.
pub(super) fn is_baseline_of(baseline: &Row, row: &Row) -> bool {
    let is_own = |key: &str| ["method", "pairs"].contains(&key);
    baseline.iter().all(|label| is_own(&label.0) || row.contains(label))
}
