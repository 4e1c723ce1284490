//! An experiment: a table that is described in advance, and its cells. A cell has stages, and its results are read
//! from their files.

use crate::error::Result;
use crate::harness::canonical;
use crate::harness::code::Code;
use crate::harness::config::Group;
use crate::harness::outcome::Outcome;
pub use crate::harness::record::Row;
use crate::harness::stage::Done;
use crate::harness::stage::Stage;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A dataset (or another setting) that results are shown for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Such as `synth-10`.
    pub id: String,
    /// The name for readers, such as `CIFAR-10`.
    pub title: String,
    /// The paper's column id, such as `cifar-10`, when this is that column or a stand-in for it.
    pub stands_for: Option<String>,
    /// Whether the data are not those of the paper.
    pub substitute: bool,
    /// The metrics that it has; if empty, all metrics of the table.
    #[serde(default)]
    pub metrics: Vec<String>,
}

impl Column {
    /// Whether cells of this column have the metric.
    pub fn has(&self, metric: &str) -> bool {
        self.metrics.is_empty() || self.metrics.iter().any(|id| id == metric)
    }
}

/// A quantity that a cell measures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricInfo {
    /// Such as `top1`.
    pub id: String,
    /// Such as `linear`.
    pub title: String,
    /// Such as `%`.
    pub unit: String,
    /// Which direction is good.
    #[serde(default, skip_serializing)]
    pub better: Better,
    /// The number of decimals if it is above 1; otherwise the unit decides.
    #[serde(default, skip_serializing)]
    pub decimals: usize,
}

/// Which values of a metric are good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Higher values are better, as for an accuracy.
    More,
    /// Lower values are better, as for a time.
    Less,
    /// Neither direction is better.
    #[default]
    Neither,
}

/// A figure that the paper states, or leaves out (`value: None`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperFigure {
    /// The row that the figure belongs to.
    pub row: Row,
    /// The paper's column id; empty if the paper does not name its dataset.
    pub column: String,
    /// The id of the metric, such as `top1`.
    pub metric: String,
    /// The figure in the metric's unit; `None` where the paper leaves it out.
    pub value: Option<f64>,
}

/// A statement of the paper that measurements can support. It is about a contrast: the sum of the rows `plus` minus
/// the sum of the rows `minus`, seed by seed. `SP beats AP` has one row on each side; `AP loses more than SP` has
/// two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// The statement in words, such as `Semantic pairs beat augmented pairs with SimCLR on CIFAR-10`.
    pub text: String,
    /// The id of the column that the rows are compared on, such as `synth-10`.
    pub column: String,
    /// The id of the metric that is compared, such as `top1`.
    pub metric: String,
    /// The rows whose values are added.
    pub plus: Vec<Row>,
    /// The rows whose values are subtracted.
    pub minus: Vec<Row>,
    /// How large the contrast must be, or how near to 0.
    pub expected: Expected,
    /// The general statement that this claim is a case of.
    #[serde(default)]
    pub family: Family,
    /// Which case it is, such as `SimCLR`; empty if it is the only one of its column.
    #[serde(default)]
    pub case: String,
    /// Whether the paper measures this. If not, the paper only argues it, or it is our addition.
    #[serde(default = "yes")]
    pub in_paper: bool,
    /// What the paper says about the size of the contrast.
    #[serde(default)]
    pub stated: Stated,
}

fn yes() -> bool {
    true
}

/// A general statement that several claims are cases of, for example one for each method and column.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Family {
    /// Such as `main`; empty for claims that only repeat the statement of their table.
    pub id: String,
    /// The statement in a few words, such as `Semantic pairs transfer better`.
    pub title: String,
    /// What the paper says about it, such as `all four methods, all sets`.
    pub paper: String,
}

impl Family {
    /// The id of the paper's main statement, which comes first in a report.
    pub const MAIN: &str = "main";

    /// Makes a family.
    pub fn new(id: &str, title: &str, paper: &str) -> Self {
        Self { id: id.into(), title: title.into(), paper: paper.into() }
    }
}

/// What the paper says about the size of a claim's contrast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stated {
    /// Nothing.
    #[default]
    Nothing,
    /// That it is above 0, but not by how much.
    Sign,
    /// That it is this large.
    Gain(f64),
}

/// What a claim says about its contrast, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It is at least this much, and above 0.
    AtLeast(f64),
    /// It lies between minus and plus this much: practically no effect.
    Within(f64),
}

impl Claim {
    /// Makes the claim that the contrast is above 0.
    pub fn contrast(text: String, column: &str, metric: &str, plus: Vec<Row>, minus: Vec<Row>) -> Self {
        Self {
            text,
            column: column.into(),
            metric: metric.into(),
            plus,
            minus,
            expected: Expected::AtLeast(0.0),
            family: Family::default(),
            case: String::new(),
            in_paper: true,
            stated: Stated::Nothing,
        }
    }
}

/// An order of the rows of a table in a few steps. Figures are drawn as lines over these steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Axis {
    /// The key of the rows' label that names the step, such as `epochs`.
    pub label: String,
    /// The title of the axis, for readers.
    pub title: String,
    /// The steps; rows whose label is none of them are not drawn.
    pub steps: Vec<Step>,
    /// How the steps are spaced.
    pub scale: Scale,
}

/// How far apart the steps of an axis are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// At equal distances: the steps are not numbers.
    Categories,
    /// In proportion to their numbers.
    Linear,
    /// On a logarithmic scale, which suits counts: equal factors have equal distances.
    Log,
}

/// A step of an axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The value of the rows' label.
    pub label: String,
    /// Its position on the axis.
    pub at: f64,
}

impl Axis {
    /// Makes an axis of numbers, each with the label of its rows.
    pub fn new(label: &str, title: &str, steps: impl IntoIterator<Item = (String, f64)>) -> Self {
        let steps = steps.into_iter().map(|(label, at)| Step { label, at }).collect();
        Self { label: label.into(), title: title.into(), steps, scale: Scale::Linear }
    }

    /// Makes an axis of categories, at equal distances.
    pub fn categories(label: &str, title: &str, steps: impl IntoIterator<Item = String>) -> Self {
        let steps = steps.into_iter().zip((0..).map(f64::from));
        Self { scale: Scale::Categories, ..Self::new(label, title, steps) }
    }

    /// Makes an axis of counts, on a logarithmic scale.
    pub fn counts(label: &str, title: &str, steps: impl IntoIterator<Item = (String, usize)>) -> Self {
        let steps = steps.into_iter().map(|(label, count)| (label, count as f64));
        Self { scale: Scale::Log, ..Self::new(label, title, steps) }
    }
}

/// What a reader must know, including contradictions within the paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// The note in words, as plain text.
    pub text: String,
    /// The row and the paper's column of the figure that it is about; `None` if it is about the table.
    #[serde(default)]
    pub at: Option<(Row, String)>,
}

impl<T: Into<String>> From<T> for Note {
    fn from(text: T) -> Self {
        Self { text: text.into(), at: None }
    }
}

/// One aspect in which a table's experiment agrees with the paper's, or differs from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distance {
    /// Such as `Encoder`.
    pub what: String,
    /// What the paper says.
    pub paper: String,
    /// What the settings say.
    pub here: String,
    /// Whether the settings agree with the paper.
    pub same: bool,
    /// The difference in a few words, for the answer at the top of a report; empty if it is left out there.
    #[serde(default)]
    pub brief: String,
}

/// A table of the paper: what is measured, and what the paper states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// The table's id on the command line, such as `transfer`.
    pub id: String,
    /// The table's title, in one line.
    pub title: String,
    /// What is measured, in one sentence.
    pub caption: String,
    /// How the rows were trained, in one sentence.
    #[serde(default)]
    pub setting: String,
    /// The rows in the table's order.
    pub rows: Vec<Row>,
    /// The rows among `rows` that the paper does not have.
    pub baselines: Vec<Row>,
    /// The columns in the table's order, with those in `unasked`.
    pub columns: Vec<Column>,
    /// The ids of the columns that the paper has and the settings leave out.
    #[serde(default)]
    pub unasked: Vec<String>,
    /// The metrics that the columns have, each once, in the order in which they are shown.
    pub metrics: Vec<MetricInfo>,
    /// The figures that the paper states, or leaves out, for rows and columns of the table.
    pub paper: Vec<PaperFigure>,
    /// The statements that the measurements are compared with.
    pub claims: Vec<Claim>,
    /// What a reader must know about the table; reports number the notes from 1, in this order.
    pub notes: Vec<Note>,
    /// What varies between seeds, such as "initialisation, order of the data and augmentation".
    pub varies: String,
    /// The order of the rows, if they have one.
    #[serde(default)]
    pub axis: Option<Axis>,
    /// Where this experiment differs from the paper's, and where it agrees.
    #[serde(default)]
    pub distance: Vec<Distance>,
    /// Whether the paper measures what the claims are about, and does not only argue it.
    pub in_paper: bool,
    /// Whether the rows were trained on other data than those of the paper.
    pub substitute: bool,
}

/// One run of a table: a row, a column and a seed.
#[derive(Clone)]
pub struct Cell {
    /// The labels of its row.
    pub row: Row,
    /// A column's id.
    pub column: String,
    /// The seed of the run, counted from 0.
    pub seed: u64,
    /// The stages that decide the figures, each after the stages that it needs.
    stages: Vec<Arc<Stage>>,
    measurement: Measurement,
}

/// Reads an outcome from the files of stages.
pub type Read = Arc<dyn Fn(&Done) -> Result<Outcome> + Send + Sync>;

/// How the figures of a cell are obtained.
#[derive(Clone)]
pub struct Measurement {
    /// The stages whose files are read. The stages that these need are found.
    pub stages: Vec<Arc<Stage>>,
    /// Stages that also run but decide no figure, such as tables of what the images show.
    pub beside: Vec<Arc<Stage>>,
    /// Whether the figures are times that are compared: then stages with times run alone.
    pub timed: bool,
    /// The code that reads the files.
    pub code: Code,
    /// Reads the files, and nothing else that could change.
    pub read: Read,
}

impl Cell {
    /// Makes a cell with this measurement.
    pub fn new(row: Row, column: &str, seed: u64, measurement: Measurement) -> Self {
        let mut stages = Vec::new();
        measurement.stages.iter().for_each(|stage| stage.gather(&mut stages));
        Self { row, column: column.to_owned(), seed, stages, measurement }
    }

    /// All stages to run, each after the stages that it needs.
    pub fn stages(&self) -> impl Iterator<Item = &Arc<Stage>> {
        self.measurement.beside.iter().chain(&self.stages)
    }

    /// Whether this is its place in a table.
    pub fn is_at(&self, row: &Row, column: &str, seed: u64) -> bool {
        self.row == *row && self.column == column && self.seed == seed
    }

    /// Whether its figures are times.
    pub fn is_timed(&self) -> bool {
        self.measurement.timed
    }

    /// Reads the outcome from the files of the stages, when they exist.
    pub fn read(&self, done: &Done) -> Result<Outcome> {
        (self.measurement.read)(done)
    }

    /// Everything that determines the result besides code and device, as records show it: the inputs of the last stage.
    pub fn inputs(&self) -> serde_json::Value {
        self.stages.last().map_or(serde_json::Value::Null, |stage| stage.description.inputs.clone())
    }

    /// The parts of the code that decide the result, with the hash of each.
    pub fn code(&self) -> BTreeMap<String, String> {
        let codes = self.stages.iter().map(|stage| &stage.description.code).chain([&self.measurement.code]);
        codes.flat_map(|code| code.parts.iter()).map(|(name, hash)| (name.clone(), hash.clone())).collect()
    }

    /// The key of its result in a table: a hash of everything that determines the result.
    pub fn key(&self, experiment: &str) -> String {
        let stages: Vec<&str> = self.stages.iter().map(|stage| stage.key()).collect();
        canonical::key(&serde_json::json!({
            "experiment": experiment, "row": self.row, "column": self.column, "seed": self.seed, "stages": stages,
            "code": self.measurement.code.version,
        }))
    }
}

/// A table of the paper as code. `S` is the type of the settings.
pub trait Experiment<S>: Sync {
    /// The table's id on the command line, such as `transfer`.
    fn id(&self) -> &'static str;

    /// One line for lists.
    fn title(&self) -> &'static str;

    /// The group of settings that only this table has, if there are any.
    fn group(&self) -> Option<Group> {
        None
    }

    /// Refuses settings with which the table cannot be filled.
    fn check(&self, settings: &S) -> Result<()> {
        let _ = settings;
        Ok(())
    }

    /// The table with these settings.
    fn table(&self, settings: &S) -> Result<Table>;

    /// The cells of the table, in the order in which they run.
    fn cells(&self, settings: &S) -> Result<Vec<Cell>>;
}
