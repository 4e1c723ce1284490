//! A table of linear evaluations: a line for each encoder, a column for each evaluation set. What the paper's tables have
//! in common; each says which lines it has, and what it claims of them.

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::Kind;
use crate::data::world;
use crate::error::{Error, Result};
use crate::harness::experiment::{Cell, Claim, Column, Experiment, MetricInfo, Outcome, PaperFigure, Row, Table};
use crate::harness::lab::Lab;
use crate::methods::Name;

use super::settings::Settings;
use super::stages::{self, KNN, Representation, SECONDS, TOP1};

/// The paper's columns, and the embedded stand-in of each.
const COLUMNS: [(&str, &str, &str); 3] =
    [("cifar-10", "CIFAR-10", "synth-10"), ("cifar-100", "CIFAR-100", "synth-100"), ("stl-10", "STL-10", "synth-stl")];

/// The column of what a training took, in [`SECONDS`].
pub const TRAINING: &str = "training";

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
    /// The evaluation sets.
    pub sets: Vec<String>,
    /// Whether the time of each training is a column.
    pub timed: bool,
    /// The paper's figures.
    pub paper: Vec<PaperFigure>,
    /// The paper's claims.
    pub claims: Vec<Claim>,
    /// What the caption says of the rows.
    pub about_rows: String,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Sheet {
    /// A sheet of these lines on all evaluation sets, which claims nothing yet.
    pub fn new(settings: &Settings, lines: Vec<Line>) -> Self {
        Self {
            settings: settings.clone(),
            lines,
            sets: settings.evaluation.sets.clone(),
            timed: false,
            paper: Vec::new(),
            claims: Vec::new(),
            about_rows: String::new(),
            notes: Vec::new(),
        }
    }

    /// The evaluation sets' columns.
    pub fn columns(&self) -> Vec<Column> {
        self.sets.iter().map(|set| column(set)).collect()
    }

    /// Claims one thing of every evaluation set.
    pub fn claim(&mut self, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) {
        let claims = self
            .columns()
            .into_iter()
            .map(|column| Claim::contrast(text(&column.title), &column.id, TOP1, plus.to_vec(), minus.to_vec()));
        self.claims.extend(claims);
    }

    /// States the paper's figure of a row on one of its columns, top-1 in percent; none where the paper leaves it out.
    pub fn state(&mut self, row: Row, column: &str, value: Option<f64>) {
        self.paper.push(PaperFigure { row, column: column.into(), metric: TOP1.into(), value });
    }

    fn table(self, id: &str, title: &str) -> Table {
        let mut columns = self.columns();
        let mut metrics = vec![metric(TOP1, "linear", "%"), metric(KNN, "k-NN", "%")];
        if self.timed {
            columns.push(timing());
            metrics.push(metric(SECONDS, "time", "s"));
        }
        let rows = |baseline: bool| self.lines.iter().filter(move |line| line.is_baseline() == baseline);
        let listed = |baseline: bool| rows(baseline).map(|line| line.row.clone()).collect::<Vec<Row>>();
        let there: Vec<Row> = self.lines.iter().map(|line| line.row.clone()).collect();
        Table {
            id: id.into(),
            title: title.into(),
            caption: self.caption(),
            rows: listed(false),
            baselines: listed(true),
            columns,
            metrics,
            paper: self.paper.into_iter().filter(|of| there.contains(&of.row)).collect(),
            claims: self.claims,
            notes: self.notes,
            varies: "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                     penalty; the pairs and the evaluation sets are the same"
                .into(),
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
        for set in &self.sets {
            if catalog.contains(set)? {
                there.push(set);
            }
        }
        if let ([], Some(missing)) = (&there[..], self.sets.first()) {
            catalog.identity(missing)?;
        }
        let mut cells = Vec::new();
        for line in &self.lines {
            let cell = |column: &str, seed, inputs| Cell { row: line.row.clone(), column: column.into(), seed, inputs };
            // Raw pixels do not depend on the seed.
            for seed in 0..if line.what == Representation::Pixels { 1 } else { line.settings.seeds } {
                for set in &there {
                    cells.push(cell(set, seed, stages::inputs(&line.settings, line.what, set, seed)?));
                }
                if let (true, Representation::Pretrained(kind)) = (self.timed, line.what) {
                    cells.push(cell(TRAINING, seed, stages::pretraining_inputs(&line.settings, kind, seed)?));
                }
            }
        }
        Ok(cells)
    }

    fn run(&self, id: &str, cell: &Cell, lab: &mut Lab) -> Result<Outcome> {
        let line = self.lines.iter().find(|line| line.row == cell.row);
        let line = line.ok_or_else(|| Error::new(format!("table {id} has no row {:?}", cell.row)))?;
        match line.what {
            Representation::Pretrained(kind) if cell.column == TRAINING => {
                stages::pretrain_alone(&line.settings, kind, cell.seed, lab)
            }
            what => stages::evaluate(&line.settings, what, &cell.column, cell.seed, lab),
        }
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
            format!("`{}`, which is not the paper's hand-made set of pairs", pairs.from)
        };
        let rows = if self.about_rows.is_empty() { String::new() } else { format!(" {}", self.about_rows) };
        format!(
            "Top-1 accuracy in percent of a linear probe and of {}-NN on frozen features.{rows} Pretraining, unless a row \
             says otherwise: {} epochs on {} pairs ({} categories, {} each) from {source}; SP pairs two images of one \
             category, AP the first image of each such pair with itself. Encoder {} with stem {} at {}x{} pixels. The \
             paper trains for 200 to 800 epochs on 29,359 pairs.",
            settings.probe.neighbours,
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

fn column(set: &str) -> Column {
    let of_paper = COLUMNS.iter().find(|(id, _, stand_in)| set == *id || set == *stand_in);
    Column {
        id: set.into(),
        title: of_paper.filter(|(id, ..)| set == *id).map_or(set, |(_, title, _)| title).into(),
        stands_for: of_paper.map(|(id, ..)| (*id).into()),
        substitute: of_paper.is_none_or(|(id, ..)| set != *id),
        metrics: vec![TOP1.into(), KNN.into()],
    }
}

/// The column of what a training took; on other machines than the paper's.
fn timing() -> Column {
    Column {
        id: TRAINING.into(),
        title: "training time".into(),
        stands_for: None,
        substitute: true,
        metrics: vec![SECONDS.into()],
    }
}

fn metric(id: &str, title: &str, unit: &str) -> MetricInfo {
    MetricInfo { id: id.into(), title: title.into(), unit: unit.into() }
}

/// A setting as the configuration writes it.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
