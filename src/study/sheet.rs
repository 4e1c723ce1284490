//! A table of encoders: a line for each, a column for each thing that is measured of them, mostly the linear evaluation on
//! a set. What the paper's tables have in common; each says which lines it has, and what it claims of them.

use std::sync::Arc;

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::{Kind, Making};
use crate::data::world;
use crate::error::Result;
use crate::harness::config::Group;
use crate::harness::experiment::{Cell, Claim, Column, Experiment, PaperFigure, Row, Table};
use crate::methods::Name;

use super::columns::{Measure, Metric, OnSet, TOP1, merged};
use super::settings::{OwnSettings, Settings};
use super::stages::{Context, Representation};

/// A row: an encoder, and the settings that make it.
pub struct Line {
    /// Its labels.
    pub row: Row,
    /// What is evaluated.
    pub what: Representation,
    /// What makes it, and what evaluates it.
    pub settings: Settings,
    /// Whether it is there to be compared with, and no row of the paper's.
    pub baseline: bool,
}

impl Line {
    /// Raw pixels.
    pub fn pixels(settings: &Settings) -> Self {
        Self::baseline("raw pixels", Representation::Pixels, settings.clone())
    }

    /// The encoder before its first step.
    pub fn random(settings: &Settings) -> Self {
        Self::baseline("random initialisation", Representation::Random, settings.clone())
    }

    /// The encoder trained with labels, on the images of the semantic pairs.
    pub fn supervised(settings: &Settings) -> Self {
        let what = Representation::Pretrained(Kind::Semantic);
        Self::baseline(Name::Supervised.title(), what, settings.of(Name::Supervised))
    }

    fn baseline(title: &str, what: Representation, settings: Settings) -> Self {
        Self { row: labels(title, "none"), what, settings, baseline: true }
    }

    /// A pretraining by the settings' method.
    pub fn pretrained(settings: Settings, kind: Kind) -> Self {
        let row = trained(settings.method, kind);
        Self { row, what: Representation::Pretrained(kind), settings, baseline: false }
    }

    /// With another value of a label.
    #[must_use]
    pub fn relabelled(mut self, key: &str, value: &str) -> Self {
        self.row.iter_mut().filter(|label| label.0 == key).for_each(|label| value.clone_into(&mut label.1));
        self
    }

    /// With one more label.
    #[must_use]
    pub fn labelled(mut self, key: &str, value: impl ToString) -> Self {
        self.row.push((key.into(), value.to_string()));
        self
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
    pub measures: Vec<Arc<dyn Measure>>,
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
            measures: sets.iter().map(|set| Arc::new(OnSet::new(set)) as Arc<dyn Measure>).collect(),
            paper: Vec::new(),
            claims: Vec::new(),
            about_columns: String::new(),
            about_rows: String::new(),
            notes: Vec::new(),
            in_paper: true,
        }
    }

    /// Adds a column.
    pub fn measure(&mut self, measure: impl Measure + 'static) {
        self.measures.push(Arc::new(measure));
    }

    /// Has the linear accuracy on an evaluation set recorded along each training, too, not only at its end.
    pub fn follow(&mut self, set: &str) {
        for line in &mut self.lines {
            line.settings.pretrain.snapshots = true;
        }
        for measure in &mut self.measures {
            if measure.column().id == set {
                *measure = Arc::new(OnSet { set: set.to_owned(), along: true });
            }
        }
    }

    /// Claims one thing of every column that has the metric.
    pub fn claim_of(&mut self, metric: Metric, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) {
        let columns = self.measures.iter().filter(|measure| measure.metrics().contains(&metric));
        let claims = columns
            .map(|measure| measure.column())
            .map(|column| Claim::contrast(text(&column.title), &column.id, metric.id, plus.to_vec(), minus.to_vec()));
        self.claims.extend(claims);
    }

    /// Claims one thing of the accuracy on every evaluation set.
    pub fn claim(&mut self, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) {
        self.claim_of(TOP1, plus, minus, text);
    }

    /// States the paper's figure of a row on one of its columns, top-1 in percent; none where the paper leaves it out.
    pub fn state(&mut self, row: Row, column: &str, value: Option<f64>) {
        self.paper.push(PaperFigure { row, column: column.into(), metric: TOP1.id.into(), value });
    }

    fn table(self, id: &str, title: &str) -> Table {
        let rows = |baseline: bool| self.lines.iter().filter(move |line| line.baseline == baseline);
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
            columns: self.measures.iter().map(|measure| column(measure.as_ref())).collect(),
            metrics: merged(&self.measures).iter().map(Metric::info).collect(),
            paper: self.paper.into_iter().filter(|of| there.contains(&of.row)).collect(),
            claims: self.claims,
            notes: self.notes,
            varies: format!(
                "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                 penalty{found} and the evaluation sets are the same"
            ),
            // Of a list only the records of its runs know whether it may be the paper's.
            substitute: self.settings.pairs.list.is_empty(),
        }
    }

    /// Every line, column and seed for which there are data.
    fn cells(&self) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty; the report says so. The pairs' sets are needed.
        let context = Context::new(&self.settings);
        let catalog = &context.catalog;
        for line in self.lines.iter().filter(|line| !line.baseline) {
            catalog.pairs(&line.settings.pairs)?;
        }
        let mut there = Vec::new();
        for measure in &self.measures {
            if measure.set().map_or(Ok(true), |set| catalog.contains(set))? {
                there.push(measure);
            }
        }
        let mut sets = self.measures.iter().filter_map(|measure| measure.set());
        if let (false, Some(missing)) = (there.iter().any(|measure| measure.set().is_some()), sets.next()) {
            catalog.set(missing)?;
        }
        let mut cells = Vec::new();
        for line in &self.lines {
            // A line may have a world of its own.
            let own = (line.settings.world != self.settings.world).then(|| Context::new(&line.settings));
            let context = own.as_ref().unwrap_or(&context);
            // Raw pixels do not depend on the seed.
            for seed in 0..if line.what == Representation::Pixels { 1 } else { line.settings.seeds } {
                for measure in &there {
                    if let Some(measured) = measure.cell(line, seed, context)? {
                        cells.push(Cell::new(line.row.clone(), &measure.column().id, seed, measured));
                    }
                }
            }
        }
        Ok(cells)
    }

    /// How long each method is trained, unless a row says otherwise.
    fn lengths(&self) -> String {
        let mut lengths: Vec<(usize, Vec<&str>)> = Vec::new();
        for line in self.lines.iter().filter(|line| matches!(line.what, Representation::Pretrained(_))) {
            let (method, epochs) = (line.settings.method, self.settings.of(line.settings.method).epochs());
            match lengths.iter_mut().find(|(length, _)| *length == epochs) {
                Some((_, titles)) if titles.contains(&method.title()) => {}
                Some((_, titles)) => titles.push(method.title()),
                None => lengths.push((epochs, vec![method.title()])),
            }
        }
        match &lengths[..] {
            [(epochs, _)] => format!("{epochs} epochs"),
            several => {
                let each = several.iter().map(|(epochs, titles)| format!("{epochs} epochs of {}", titles.join(", ")));
                each.collect::<Vec<_>>().join(", ")
            }
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
            format!("{}, which is not the paper's hand-made set of pairs", pairs.from)
        };
        let neighbours = settings.probe.neighbours;
        let measured = if self.about_columns.is_empty() {
            format!("Top-1 accuracy in percent of a linear probe and of {neighbours}-NN on frozen features.")
        } else {
            self.about_columns.clone()
        };
        // A report is rendered without the list, whose pairs are counted in the data of each run.
        let counted = if pairs.list.is_empty() {
            let (categories, each) = (pairs.categories, pairs.per_category);
            format!("{} pairs ({categories} categories, {each} each)", categories * each)
        } else {
            format!("the pairs of the list {}", pairs.list)
        };
        let augmented = match pairs.augmented {
            Making::Live => {
                "the first image of each such pair with itself (the paper makes AP's second element by crop, rotation, flip \
                 and colour jitter before the transformations of training)"
            }
            Making::Stored => "the first image of each such pair and an image made of it before training",
        };
        let rows = if self.about_rows.is_empty() { String::new() } else { format!(" {}", self.about_rows) };
        format!(
            "{measured}{rows} Pretraining, unless a row \
             says otherwise: {} on {counted} from {source}; SP pairs two images of one \
             category, AP {augmented}. Encoder {} with stem {} at \
             {}x{} pixels. The paper trains for 200 to 800 epochs on 29,359 pairs.",
            self.lengths(),
            name(&settings.model.encoder),
            name(&settings.model.stem),
            settings.model.image,
            settings.model.image,
        )
    }
}

/// A table that is such a sheet. `T` are the settings that it has for itself.
pub struct Evaluations<T = ()> {
    /// The table's id on the command line.
    pub id: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// The table as these settings fill it.
    pub sheet: fn(&Settings, &T) -> Sheet,
}

impl<T: OwnSettings> Evaluations<T> {
    fn filled(&self, settings: &Settings) -> Result<Sheet> {
        Ok((self.sheet)(settings, &T::of(self.id, settings)?))
    }
}

impl<T: OwnSettings> Experiment<Settings> for Evaluations<T> {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self) -> &'static str {
        self.title
    }

    fn group(&self) -> Option<Group> {
        T::group(self.id)
    }

    fn check(&self, settings: &Settings) -> Result<()> {
        T::of(self.id, settings)?.check(self.id, settings)
    }

    fn table(&self, settings: &Settings) -> Result<Table> {
        Ok(self.filled(settings)?.table(self.id, self.title))
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        self.filled(settings)?.cells()
    }
}

/// A column with its metrics.
fn column(measure: &dyn Measure) -> Column {
    let metrics = measure.metrics().iter().map(|metric| metric.id.to_owned()).collect();
    Column { metrics, ..measure.column() }
}

/// The labels of a pretrained row without others.
pub fn trained(method: Name, kind: Kind) -> Row {
    labels(method.title(), kind.title())
}

fn labels(method: &str, pairs: &str) -> Row {
    vec![("method".into(), method.into()), ("pairs".into(), pairs.into())]
}

/// A setting as the configuration writes it.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
