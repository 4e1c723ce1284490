//! What an experiment is: a table described in advance, its cells, and how one cell is run.

use crate::error::Result;
use crate::harness::lab::Lab;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;

/// Names a row by its labels, in order, such as `[("method", "SimCLR"), ("pairs", "AP")]`.
pub type Row = Vec<(String, String)>;

/// A dataset (or another setting) that results are shown for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Such as `synth-10`.
    pub id: String,
    pub title: String,
    /// The paper's column id, such as `cifar-10`, when this is that column or a stand-in for it.
    pub stands_for: Option<String>,
    /// These are not the paper's data.
    pub substitute: bool,
    /// The metrics that it has; all of the table's when empty.
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
}

/// A figure that the paper states, or leaves out (`value: None`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PaperFigure {
    pub row: Row,
    /// The paper's column id.
    pub column: String,
    pub metric: String,
    pub value: Option<f64>,
}

/// A statement of the paper that measurements can support, about a contrast: the sum of the rows `plus` less the sum of
/// the rows `minus`, seed by seed. `SP beats AP` has one row on each side; `AP loses more than SP` has two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    pub text: String,
    pub column: String,
    pub metric: String,
    pub plus: Vec<Row>,
    pub minus: Vec<Row>,
    pub expected: Expected,
}

/// What a claim says of its contrast, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// It is at least so much, and above 0.
    AtLeast(f64),
    /// It lies between minus and plus so much: practically nothing.
    Within(f64),
}

impl Claim {
    /// The contrast is above 0.
    pub fn contrast(text: String, column: &str, metric: &str, plus: Vec<Row>, minus: Vec<Row>) -> Self {
        Self { text, column: column.into(), metric: metric.into(), plus, minus, expected: Expected::AtLeast(0.0) }
    }
}

/// A small line of a figure. `x` and `y` have the same length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    pub name: String,
    pub x_title: String,
    pub y_title: String,
    pub x: Vec<f64>,
    pub y: Vec<f64>,
}

impl Curve {
    /// The most points that a record keeps of a curve; long series belong in the cache.
    pub const MAX_POINTS: usize = 200;

    /// At most [`Curve::MAX_POINTS`] evenly spaced points of this curve, with its first and its last.
    #[must_use]
    pub fn thinned(mut self) -> Self {
        let last = self.x.len().saturating_sub(1);
        if last >= Self::MAX_POINTS {
            let kept = |values: &[f64]| -> Vec<f64> {
                (0..Self::MAX_POINTS).map(|i| values[i * last / (Self::MAX_POINTS - 1)]).collect()
            };
            (self.x, self.y) = (kept(&self.x), kept(&self.y));
        }
        self
    }
}

/// A table of the paper: what is measured, beside what the paper states.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub id: String,
    pub title: String,
    pub caption: String,
    pub rows: Vec<Row>,
    /// The rows among `rows` that the paper does not have.
    pub baselines: Vec<Row>,
    pub columns: Vec<Column>,
    pub metrics: Vec<MetricInfo>,
    pub paper: Vec<PaperFigure>,
    pub claims: Vec<Claim>,
    /// What a reader must know, the paper's own inconsistencies included.
    pub notes: Vec<String>,
    /// What varies between seeds, such as "initialisation, order of the data and augmentation".
    pub varies: String,
    /// Whether the paper measures what the claims are about, and does not only argue it.
    pub in_paper: bool,
    /// Whether the rows learned from other data than the paper's.
    pub substitute: bool,
}

/// One run of a table: a row, a column and a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub row: Row,
    /// A column's id.
    pub column: String,
    pub seed: u64,
    /// Everything that determines the result besides code and device: settings and identities of data.
    pub inputs: serde_json::Value,
    /// The costly stages that it is made of, in order: what schedules and estimates know. May be empty.
    pub needs: Vec<Need>,
}

impl Cell {
    /// A cell whose result is that of the last of its stages.
    pub fn of(row: Row, column: &str, seed: u64, needs: Vec<Need>) -> Self {
        let inputs = needs.last().map_or(serde_json::Value::Null, |need| need.inputs.clone());
        Self { row, column: column.to_owned(), seed, inputs, needs }
    }
}

/// A stage that a cell needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Need {
    /// Name and inputs, as [`Lab::stage`] is given them.
    pub stage: String,
    pub inputs: serde_json::Value,
    /// What computing it takes, as its maker reckons.
    pub seconds: f64,
}

impl Need {
    /// A stage by name and inputs, and its reckoned seconds.
    pub fn new(stage: &str, inputs: serde_json::Value, seconds: f64) -> Self {
        Self { stage: stage.to_owned(), inputs, seconds }
    }
}

/// Data that a run used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataRef {
    pub name: String,
    pub description: String,
    pub hash: String,
    pub images: u64,
    /// As whoever imported them stated it; empty where nobody did.
    #[serde(default)]
    pub licence: String,
}

/// Which items of a test set were right, in the set's order: what tests on paired items need. Written, and kept in
/// memory, as the number of items, a colon and the items' bits, four in a hexadecimal digit, the first in its highest
/// bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Hits {
    items: usize,
    /// Hexadecimal; the last has zeros after the last item.
    digits: String,
}

impl Hits {
    /// Of how many items.
    pub fn items(&self) -> usize {
        self.items
    }

    /// How many items were right.
    pub fn right(&self) -> usize {
        self.fours().map(|four| four.count_ones() as usize).sum()
    }

    /// How many items were right here and wrong there; `None` where these are not as many items.
    pub fn only_here(&self, there: &Self) -> Option<usize> {
        let only = self.fours().zip(there.fours()).map(|(here, there)| (here & !there).count_ones() as usize);
        (self.items == there.items).then(|| only.sum())
    }

    fn fours(&self) -> impl Iterator<Item = u32> {
        self.digits.chars().map(|digit| digit.to_digit(16).expect("digits are hexadecimal"))
    }
}

impl FromIterator<bool> for Hits {
    fn from_iter<T: IntoIterator<Item = bool>>(items: T) -> Self {
        let items: Vec<bool> = items.into_iter().collect();
        let digit = |four: &[bool]| (0..4).fold(0, |digit, i| 2 * digit + u32::from(*four.get(i).unwrap_or(&false)));
        let digits = items.chunks(4).filter_map(|four| char::from_digit(digit(four), 16)).collect();
        Self { items: items.len(), digits }
    }
}

impl From<Hits> for String {
    fn from(Hits { items, digits }: Hits) -> Self {
        format!("{items}:{digits}")
    }
}

impl TryFrom<String> for Hits {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let read = || {
            let (items, digits) = text.split_once(':')?;
            let items: usize = items.parse().ok()?;
            let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
            let whole = digits.len() == items.div_ceil(4) && digits.bytes().all(is_digit);
            let beyond = (4 * digits.len()).checked_sub(items)?;
            let last = digits.chars().last().and_then(|digit| digit.to_digit(16)).unwrap_or(0);
            (whole && last.trailing_zeros() as usize >= beyond).then(|| Self { items, digits: digits.to_owned() })
        };
        read().ok_or_else(|| format!("not items: `{}`", text.chars().take(20).collect::<String>()))
    }
}

/// What a cell measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// By the metric's id, in its unit.
    pub metrics: BTreeMap<String, f64>,
    pub curves: Vec<Curve>,
    pub data: Vec<DataRef>,
    /// Hash of the checkpoint that was evaluated.
    pub checkpoint: Option<String>,
    /// Hash of the file of per-item predictions in the cache.
    pub predictions: Option<String>,
    /// For metrics that are accuracies, by id: which items were right.
    pub hits: BTreeMap<String, Hits>,
    /// What else a reader may ask for: a chosen penalty, the number of parameters.
    pub facts: BTreeMap<String, serde_json::Value>,
}

/// A table of the paper as code. `S` is the type of the settings.
pub trait Experiment<S>: Sync {
    /// The table's id on the command line, such as `transfer`.
    fn id(&self) -> &'static str;

    /// One line for lists.
    fn title(&self) -> &'static str;

    /// The table as these settings fill it.
    fn table(&self, settings: &S) -> Table;

    /// The cells of the table, in the order in which they run.
    fn cells(&self, settings: &S) -> Result<Vec<Cell>>;

    /// Runs one cell. Work that other cells share, and work that must survive an interruption, goes into stages.
    fn run(&self, cell: &Cell, settings: &S, lab: &mut Lab) -> Result<Outcome>;
}
