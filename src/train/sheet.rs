//! A table of encoders: a line for each, a column for each thing that is measured of them, mostly the linear evaluation on
//! a set. What the paper's tables have in common; each says which lines it has, and what it claims of them.

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::Kind;
use crate::data::world::{self, Nuisance};
use crate::error::{Error, Result};
use crate::harness::experiment::{Cell, Claim, Column, Experiment, MetricInfo, Need, Outcome, PaperFigure, Row, Table};
use crate::harness::lab::Lab;
use crate::methods::Name;

use super::settings::Settings;
use super::stages::{self, COSINE, EXACT, KNN, Representation, SECONDS, TOP1};

/// The paper's columns, and the embedded stand-in of each.
const COLUMNS: [(&str, &str, &str); 3] =
    [("cifar-10", "CIFAR-10", "synth-10"), ("cifar-100", "CIFAR-100", "synth-100"), ("stl-10", "STL-10", "synth-stl")];

/// What is measured of each line: a column.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// Linear probe and k-NN on a set.
    Set(String),
    /// What a nuisance factor in a set's test images does to features and probe.
    Varied(String, Nuisance),
    /// What the training took.
    Time,
    /// What it took until the probe on a set was as accurate as the least accurate of some trainings, which are those
    /// of the lines, is in the end.
    Equal(String, Vec<(Settings, Kind)>),
    /// How many of the pairs that were trained on are of one category.
    Pairs,
}

impl Measure {
    /// The column's id.
    pub fn id(&self) -> &str {
        match self {
            Self::Set(set) => set,
            Self::Varied(_, nuisance) => nuisance.name(),
            Self::Time => "training",
            Self::Equal(..) => "equal",
            Self::Pairs => "pairs",
        }
    }

    /// The evaluation set that must be there.
    fn set(&self) -> Option<&str> {
        match self {
            Self::Set(set) | Self::Varied(set, _) | Self::Equal(set, _) => Some(set),
            Self::Time | Self::Pairs => None,
        }
    }

    /// Its metrics.
    fn metrics(&self) -> &'static [&'static str] {
        match self {
            Self::Set(_) => &[TOP1, KNN],
            Self::Varied(..) => &[COSINE, TOP1],
            Self::Time | Self::Equal(..) => &[SECONDS],
            Self::Pairs => &[EXACT],
        }
    }

    fn column(&self) -> Column {
        let of_paper = |set: &str| COLUMNS.iter().find(|(id, _, stand_in)| set == *id || set == *stand_in);
        let (title, stands_for, substitute) = match self {
            Self::Set(set) => match of_paper(set) {
                Some((id, title, _)) => (if set == id { title } else { set.as_str() }, Some(*id), set != id),
                None => (set.as_str(), None, true),
            },
            Self::Varied(set, nuisance) => (nuisance.name(), None, of_paper(set).is_none_or(|(id, ..)| set != id)),
            // Of other machines, and of other pairs, than the paper's.
            Self::Time => ("training time", None, true),
            Self::Equal(..) => ("time to equal accuracy", None, true),
            Self::Pairs => ("pairs", None, true),
        };
        Column {
            id: self.id().into(),
            title: title.into(),
            stands_for: stands_for.map(String::from),
            substitute,
            metrics: self.metrics().iter().map(|&metric| metric.into()).collect(),
        }
    }

    /// The stages of a cell of the column; none where the line has no such cell.
    fn needs(&self, line: &Line, seed: u64) -> Result<Option<Vec<Need>>> {
        let Line { settings, what, .. } = line;
        match (self, *what) {
            (Self::Set(set), what) => stages::needs(settings, what, set, seed).map(Some),
            (Self::Varied(set, nuisance), what) => {
                stages::needs_of_varied(settings, what, (set, *nuisance), seed).map(Some)
            }
            (Self::Time | Self::Pairs, Representation::Pretrained(kind)) => {
                stages::needs_of_pretraining(settings, kind, seed).map(Some)
            }
            (Self::Equal(set, lines), Representation::Pretrained(_)) => {
                stages::needs_of_time_to_equal(lines, set, seed).map(Some)
            }
            (_, Representation::Pixels | Representation::Random) => Ok(None),
        }
    }

    fn run(&self, line: &Line, seed: u64, lab: &mut Lab) -> Result<Outcome> {
        let Line { settings, what, .. } = line;
        match (self, *what) {
            (Self::Set(set), what) => stages::evaluate(settings, what, set, seed, lab),
            (Self::Varied(set, nuisance), what) => stages::evaluate_varied(settings, what, (set, *nuisance), seed, lab),
            (Self::Time | Self::Pairs, Representation::Pretrained(kind)) => {
                stages::pretrain_alone(settings, kind, seed, lab)
            }
            (Self::Equal(set, lines), Representation::Pretrained(kind)) => {
                let own = lines.iter().position(|(of, on)| of == settings && *on == kind);
                let own = own.ok_or_else(|| Error::new(format!("{:?} is not among those to be equal", line.row)))?;
                stages::time_to_equal(lines, own, set, seed, lab)
            }
            (_, Representation::Pixels | Representation::Random) => {
                Err(Error::new(format!("{:?} has no training", line.row)))
            }
        }
    }
}

/// All metrics, in the order in which a column shows those that it has.
const METRICS: [&str; 5] = [COSINE, TOP1, KNN, SECONDS, EXACT];

/// How reports show a metric: title and unit.
fn metric(id: &str) -> MetricInfo {
    let (title, unit) = match id {
        TOP1 => ("linear", "%"),
        KNN => ("k-NN", "%"),
        SECONDS => ("time", "s"),
        EXACT => ("exact", ""),
        COSINE => ("cosine", ""),
        other => unreachable!("a column measures `{other}`"),
    };
    MetricInfo { id: id.into(), title: title.into(), unit: unit.into() }
}

/// A row: an encoder, and the settings that make it.
pub struct Line {
    /// Its labels.
    pub row: Row,
    /// What is evaluated.
    pub what: Representation,
    /// What makes it, and what evaluates it.
    pub settings: Settings,
}

impl Line {
    /// Raw pixels.
    pub fn pixels(settings: &Settings) -> Self {
        Self { row: labels("raw pixels", "none"), what: Representation::Pixels, settings: settings.clone() }
    }

    /// The encoder before its first step.
    pub fn random(settings: &Settings) -> Self {
        Self { row: labels("random initialisation", "none"), what: Representation::Random, settings: settings.clone() }
    }

    /// A pretraining by the settings' method.
    pub fn pretrained(settings: Settings, kind: Kind) -> Self {
        Self { row: trained(settings.method, kind), what: Representation::Pretrained(kind), settings }
    }

    /// With one more label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: impl ToString) -> Self {
        self.row.push((key.into(), value.to_string()));
        self
    }

    /// Whether the row is one that the paper does not have.
    fn is_baseline(&self) -> bool {
        !matches!(self.what, Representation::Pretrained(_))
    }
}

/// The lines of AP and of SP by the settings' method, each with `label`.
pub fn both_pairs(settings: &Settings, label: Option<(&str, &str)>) -> [Line; 2] {
    [Kind::Augmented, Kind::Semantic].map(|kind| {
        let line = Line::pretrained(settings.clone(), kind);
        match label {
            Some((key, value)) => line.labelled(key, value),
            None => line,
        }
    })
}

/// The rows of two lines.
pub fn rows(lines: &[Line; 2]) -> [Row; 2] {
    lines.each_ref().map(|line| line.row.clone())
}

/// What sets one such table apart.
pub struct Sheet {
    /// What the lines have in common, as the caption tells it.
    pub settings: Settings,
    /// The rows.
    pub lines: Vec<Line>,
    /// The columns.
    pub measures: Vec<Measure>,
    /// The paper's figures.
    pub paper: Vec<PaperFigure>,
    /// What is claimed: by the paper, or where [`Sheet::in_paper`] is false by what it argues.
    pub claims: Vec<Claim>,
    /// What the caption says of the columns; where empty, that they are accuracies.
    pub about_columns: String,
    /// What the caption says of the rows.
    pub about_rows: String,
    /// What a reader must know.
    pub notes: Vec<String>,
    /// Whether the paper measures this, and does not only argue it.
    pub in_paper: bool,
}

impl Sheet {
    /// A sheet of these lines on these evaluation sets, which claims nothing yet.
    pub fn new(settings: &Settings, sets: &[String], lines: Vec<Line>) -> Self {
        Self {
            settings: settings.clone(),
            lines,
            measures: sets.iter().cloned().map(Measure::Set).collect(),
            paper: Vec::new(),
            claims: Vec::new(),
            about_columns: String::new(),
            about_rows: String::new(),
            notes: Vec::new(),
            in_paper: true,
        }
    }

    /// Claims one thing of every column that has the metric.
    pub fn claim_of(&mut self, metric: &str, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) {
        let columns = self.measures.iter().filter(|measure| measure.metrics().contains(&metric)).map(Measure::column);
        let claims = columns
            .map(|column| Claim::contrast(text(&column.title), &column.id, metric, plus.to_vec(), minus.to_vec()));
        self.claims.extend(claims);
    }

    /// Claims one thing of the accuracy on every evaluation set.
    pub fn claim(&mut self, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) {
        self.claim_of(TOP1, plus, minus, text);
    }

    /// States the paper's figure of a row on one of its columns, top-1 in percent; none where the paper leaves it out.
    pub fn state(&mut self, row: Row, column: &str, value: Option<f64>) {
        self.paper.push(PaperFigure { row, column: column.into(), metric: TOP1.into(), value });
    }

    fn table(self, id: &str, title: &str) -> Table {
        let measured = |id: &&str| self.measures.iter().any(|measure| measure.metrics().contains(id));
        let rows = |baseline: bool| self.lines.iter().filter(move |line| line.is_baseline() == baseline);
        let listed = |baseline: bool| rows(baseline).map(|line| line.row.clone()).collect::<Vec<Row>>();
        let there: Vec<Row> = self.lines.iter().map(|line| line.row.clone()).collect();
        let neighbours = Representation::Pretrained(Kind::Neighbours);
        let found = if self.lines.iter().any(|line| line.what == neighbours) {
            "; nearest neighbours are found by each seed's own encoder, all other pairs"
        } else {
            "; the pairs"
        };
        Table {
            id: id.into(),
            title: title.into(),
            caption: self.caption(),
            rows: listed(false),
            baselines: listed(true),
            in_paper: self.in_paper,
            columns: self.measures.iter().map(Measure::column).collect(),
            metrics: METRICS.iter().copied().filter(measured).map(metric).collect(),
            paper: self.paper.into_iter().filter(|of| there.contains(&of.row)).collect(),
            claims: self.claims,
            notes: self.notes,
            varies: format!(
                "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                 penalty{found} and the evaluation sets are the same"
            ),
            // Only a list can have the paper's pairs, which are made by hand.
            substitute: self.settings.pairs.list.is_empty(),
        }
    }

    /// Every line, column and seed for which there are data.
    fn cells(&self) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty; the report says so. The pairs' sets are needed.
        let catalog = self.settings.catalog();
        for line in self.lines.iter().filter(|line| !line.is_baseline()) {
            catalog.pairs_identity(&line.settings.pairs)?;
        }
        let mut there = Vec::new();
        for measure in &self.measures {
            if measure.set().map_or(Ok(true), |set| catalog.contains(set))? {
                there.push(measure);
            }
        }
        let sets: Vec<&str> = self.measures.iter().filter_map(Measure::set).collect();
        if let (false, Some(missing)) = (there.iter().any(|measure| measure.set().is_some()), sets.first()) {
            catalog.identity(missing)?;
        }
        let mut cells = Vec::new();
        for line in &self.lines {
            // Raw pixels do not depend on the seed.
            for seed in 0..if line.what == Representation::Pixels { 1 } else { line.settings.seeds } {
                for measure in &there {
                    if let Some(needs) = measure.needs(line, seed)? {
                        cells.push(Cell::of(line.row.clone(), measure.id(), seed, needs));
                    }
                }
            }
        }
        Ok(cells)
    }

    fn run(&self, id: &str, cell: &Cell, lab: &mut Lab) -> Result<Outcome> {
        let line = self.lines.iter().find(|line| line.row == cell.row);
        let line = line.ok_or_else(|| Error::new(format!("table {id} has no row {:?}", cell.row)))?;
        let measure = self.measures.iter().find(|measure| measure.id() == cell.column);
        let measure = measure.ok_or_else(|| Error::new(format!("table {id} has no column `{}`", cell.column)))?;
        measure.run(line, cell.seed, lab)
    }

    fn caption(&self) -> String {
        let settings = &self.settings;
        let pairs = &settings.pairs;
        let source = if pairs.from == SYNTH {
            format!(
                "the embedded procedural world (version {}), which stands in for the paper's photographs",
                world::VERSION
            )
        } else {
            format!("{}, which is not the paper's hand-made set of pairs", pairs.from)
        };
        let neighbours = settings.probe.neighbours;
        let measured = if self.about_columns.is_empty() {
            format!("Top-1 accuracy in percent of a linear probe and of {neighbours}-NN on frozen features.")
        } else {
            self.about_columns.clone()
        };
        let rows = if self.about_rows.is_empty() { String::new() } else { format!(" {}", self.about_rows) };
        format!(
            "{measured}{rows} Pretraining, unless a row \
             says otherwise: {} epochs on {} pairs ({} categories, {} each) from {source}; SP pairs two images of one \
             category, AP the first image of each such pair with itself (the paper makes AP's second element by crop, \
             rotation, flip and colour jitter before the transformations of training). Encoder {} with stem {} at \
             {}x{} pixels. The paper trains for 200 to 800 epochs on 29,359 pairs.",
            settings.pretrain.epochs,
            pairs.categories * pairs.per_category,
            pairs.categories,
            pairs.per_category,
            name(&settings.model.encoder),
            name(&settings.model.stem),
            settings.model.image,
            settings.model.image,
        )
    }
}

/// A table that is such a sheet.
pub struct Evaluations {
    /// The table's id on the command line.
    pub id: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// The table as these settings fill it.
    pub sheet: fn(&Settings) -> Sheet,
}

impl Experiment<Settings> for Evaluations {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn table(&self, settings: &Settings) -> Table {
        (self.sheet)(settings).table(self.id, self.title)
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        (self.sheet)(settings).cells()
    }

    fn run(&self, cell: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        (self.sheet)(settings).run(self.id, cell, lab)
    }
}

/// The labels of a pretrained row without others.
pub fn trained(method: Name, kind: Kind) -> Row {
    labels(method.title(), kind.title())
}

fn labels(method: &str, pairs: &str) -> Row {
    vec![("method".into(), method.into()), ("pairs".into(), pairs.into())]
}

/// The title of the paper's column.
pub fn column_title(id: &str) -> &str {
    COLUMNS.iter().find(|(column, ..)| *column == id).map_or(id, |(_, title, _)| title)
}

/// A setting as the configuration writes it.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
