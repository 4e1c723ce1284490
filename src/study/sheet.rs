//! A table of encoders: a line for each, a column for each thing that is measured of them, mostly the linear evaluation on
//! a set. What the paper's tables have in common; each says which lines it has, and what it claims of them.

use std::sync::Arc;

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::Kind;
use crate::data::world;
use crate::error::Result;
use crate::harness::config::Group;
use crate::harness::experiment::{
    Axis, Cell, Claim, Column, Distance, Expected, Experiment, Family, Note, PaperFigure, Row, Stated, Table,
};
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
    pub measures: Vec<Arc<dyn Measure>>,
    /// The paper's figures.
    pub paper: Vec<PaperFigure>,
    /// What is claimed: by the paper, or where [`Sheet::in_paper`] is false by what it argues.
    pub claims: Vec<Claim>,
    /// What the caption says of the columns, in one sentence; where empty, that they are accuracies.
    pub about_columns: String,
    /// What a reader must know of the rows: the first note.
    pub about_rows: String,
    /// What a reader must know.
    pub notes: Vec<Note>,
    /// The order of the rows, over which figures draw lines.
    pub axis: Option<Axis>,
    /// Whether the paper measures this, and does not only argue it.
    pub in_paper: bool,
}

/// Claims that were just made, one for each column, to say more of them.
pub struct Cases<'a>(&'a mut [Claim]);

impl Cases<'_> {
    fn each(self, change: impl FnMut(&mut Claim)) -> Self {
        self.0.iter_mut().for_each(change);
        self
    }

    /// They are this case of a statement; the case is empty where the statement has one only.
    pub fn of(self, family: &Family, case: &str) -> Self {
        self.each(|claim| (claim.family, claim.case) = (family.clone(), case.into()))
    }

    /// What the paper says of the size of the contrast on each of its columns.
    pub fn stated(self, of: impl Fn(&str) -> Stated) -> Self {
        self.each(|claim| claim.stated = of(&of_paper(&claim.column)))
    }

    /// The contrast is no more than so much either way.
    pub fn within(self, margin: f64) -> Self {
        self.each(|claim| claim.expected = Expected::Within(margin))
    }

    /// The paper does not measure these.
    pub fn ours(self) -> Self {
        self.each(|claim| claim.in_paper = false)
    }
}

impl Sheet {
    /// A sheet of these lines on these evaluation sets, which claims nothing yet.
    pub fn new(settings: &Settings, sets: &[String], lines: Vec<Line>) -> Self {
        Self {
            settings: settings.clone(),
            lines,
            measures: sets.iter().map(|set| Arc::new(OnSet(set.clone())) as Arc<dyn Measure>).collect(),
            paper: Vec::new(),
            claims: Vec::new(),
            about_columns: String::new(),
            about_rows: String::new(),
            notes: Vec::new(),
            axis: None,
            in_paper: true,
        }
    }

    /// Adds a column.
    pub fn measure(&mut self, measure: impl Measure + 'static) {
        self.measures.push(Arc::new(measure));
    }

    /// Claims one thing of every column that has the metric.
    pub fn claim_of(
        &mut self,
        metric: Metric,
        plus: &[Row],
        minus: &[Row],
        text: impl Fn(&str) -> String,
    ) -> Cases<'_> {
        let measures = self.measures.iter().filter(|measure| measure.metrics().contains(&metric));
        let mut columns: Vec<Column> = measures.map(|measure| measure.column()).collect();
        columns.extend(self.unasked().into_iter().filter(|_| metric == TOP1));
        let from = self.claims.len();
        self.claims.extend(
            columns.into_iter().map(|column| {
                Claim::contrast(text(&column.title), &column.id, metric.id, plus.to_vec(), minus.to_vec())
            }),
        );
        Cases(&mut self.claims[from..])
    }

    /// Claims one thing of the accuracy on every evaluation set, those too that the paper has figures for ([`Sheet::state`]
    /// comes first) and the settings leave out.
    pub fn claim(&mut self, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) -> Cases<'_> {
        self.claim_of(TOP1, plus, minus, text)
    }

    /// States the paper's figure of a row on one of its columns, top-1 in percent; none where the paper leaves it out. The
    /// column is empty where the paper does not name its set.
    pub fn state(&mut self, row: Row, column: &str, value: Option<f64>) {
        self.paper.push(PaperFigure { row, column: column.into(), metric: TOP1.id.into(), value });
    }

    /// A note about the paper's figure of a row on one of its columns.
    pub fn note_at(&mut self, row: &Row, column: &str, text: String) {
        self.notes.push(Note { text, at: Some((row.clone(), column.into())) });
    }

    /// The sets that the paper has figures for, in its order, and the settings leave out: neither they nor stand-ins for
    /// them are among the columns.
    fn unasked(&self) -> Vec<Column> {
        let asked: Vec<Column> = self.measures.iter().map(|measure| measure.column()).collect();
        let mut unasked: Vec<Column> = Vec::new();
        for figure in self.paper.iter().filter(|figure| figure.metric == TOP1.id && !figure.column.is_empty()) {
            let is_theirs = |column: &Column| column.stands_for.as_deref().unwrap_or(&column.id) == figure.column;
            if !asked.iter().chain(&unasked).any(is_theirs) {
                unasked.push(column(&OnSet(figure.column.clone())));
            }
        }
        unasked
    }

    fn table(self, id: &str, title: &str) -> Table {
        let rows = |baseline: bool| self.lines.iter().filter(move |line| line.is_baseline() == baseline);
        let listed = |baseline: bool| rows(baseline).map(|line| line.row.clone()).collect::<Vec<Row>>();
        let neighbours = Representation::Pretrained(Kind::Neighbours);
        let found = if self.lines.iter().any(|line| line.what == neighbours) {
            "; nearest neighbours are found by each seed's own encoder, all other pairs"
        } else {
            "; the pairs"
        };
        let unasked = self.unasked();
        let mut columns: Vec<Column> = self.measures.iter().map(|measure| column(measure.as_ref())).collect();
        // Behind the other evaluation sets.
        let sets = self.measures.iter().take_while(|measure| measure.set().is_some()).count();
        let unasked_ids = unasked.iter().map(|column| column.id.clone()).collect();
        columns.splice(sets..sets, unasked);
        let about_rows = (!self.about_rows.is_empty()).then(|| Note::from(self.about_rows.as_str()));
        Table {
            id: id.into(),
            title: title.into(),
            caption: self.caption(),
            setting: self.setting(),
            rows: listed(false),
            baselines: listed(true),
            in_paper: self.in_paper,
            columns,
            unasked: unasked_ids,
            metrics: merged(&self.measures).iter().map(Metric::info).collect(),
            claims: self.claims.iter().map(|claim| self.whole(claim, id, title)).collect(),
            notes: about_rows.into_iter().chain(self.notes).collect(),
            varies: format!(
                "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                 penalty{found} and the evaluation sets are the same"
            ),
            axis: self.axis,
            distance: distance(&self.settings),
            paper: self.paper,
            // Of a list only the records of its runs know whether it may be the paper's.
            substitute: self.settings.pairs.list.is_empty(),
        }
    }

    /// A claim that says of which statement it is a case: of the table's own where it names none.
    fn whole(&self, claim: &Claim, id: &str, title: &str) -> Claim {
        let own = || Family::new(id, title, "");
        let family = if claim.family.id.is_empty() { own() } else { claim.family.clone() };
        Claim { family, in_paper: claim.in_paper && self.in_paper, ..claim.clone() }
    }

    /// Every line, column and seed for which there are data.
    fn cells(&self) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty; the report says so. The pairs' sets are needed.
        let context = Context::new(&self.settings);
        let catalog = &context.catalog;
        for line in self.lines.iter().filter(|line| !line.is_baseline()) {
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
            // Raw pixels do not depend on the seed.
            for seed in 0..if line.what == Representation::Pixels { 1 } else { line.settings.seeds } {
                for measure in &there {
                    if let Some(measured) = measure.cell(line, seed, &context)? {
                        cells.push(Cell::new(line.row.clone(), &measure.column().id, seed, measured));
                    }
                }
            }
        }
        Ok(cells)
    }

    fn caption(&self) -> String {
        let neighbours = self.settings.probe.neighbours;
        if self.about_columns.is_empty() {
            format!(
                "Top-1 accuracy in percent of a linear probe on frozen features ({neighbours}-NN in a table of its own)."
            )
        } else {
            self.about_columns.clone()
        }
    }

    /// How the rows were trained, for the caption.
    fn setting(&self) -> String {
        let settings = &self.settings;
        format!(
            "Pretrained, unless a row says otherwise, for {} on {} from {}, with encoder {} at {size} × {size} pixels.",
            length(settings),
            counted(settings),
            source(settings),
            encoder(settings),
            size = settings.model.image,
        )
    }
}

/// How long the rows are trained.
fn length(settings: &Settings) -> String {
    format!("{} epochs", settings.pretrain.epochs)
}

/// How many pairs there are. A report is rendered without the list, whose pairs are counted in the data of each run.
fn counted(settings: &Settings) -> String {
    let pairs = &settings.pairs;
    if !pairs.list.is_empty() {
        return format!("the pairs of the list {}", pairs.list);
    }
    let (categories, each) = (pairs.categories, pairs.per_category);
    format!("{} pairs ({categories} categories × {each})", thousands(categories * each))
}

/// A count with commas between groups of three digits.
fn thousands(n: usize) -> String {
    if n < 1000 { n.to_string() } else { format!("{},{:03}", thousands(n / 1000), n % 1000) }
}

/// Where the pairs come from.
fn source(settings: &Settings) -> String {
    match settings.pairs.from.as_str() {
        SYNTH => format!(
            "the embedded procedural world (version {}), which stands in for the paper's photographs",
            world::VERSION
        ),
        set => format!("{set}, which is not the paper's hand-made set of pairs"),
    }
}

fn encoder(settings: &Settings) -> String {
    format!("{} (stem {})", name(&settings.model.encoder), name(&settings.model.stem))
}

/// The paper's pairs: categories, and pairs of each.
const PAIRS: (usize, usize) = (187, 157);
/// The paper's epochs, from its shortest training to its longest.
const EPOCHS: (usize, usize) = (200, 800);
/// The paper's batch.
const BATCH: usize = 256;
/// The side of the paper's images in pixels.
const IMAGE: usize = 64;
/// The paper's encoders, as the settings name them.
const ENCODERS: [&str; 2] = ["resnet50", "vit-s8"];

/// The settings beside the paper's.
fn distance(settings: &Settings) -> Vec<Distance> {
    let (pairs, epochs) = (&settings.pairs, settings.pretrain.epochs);
    let of_paper = PAIRS.0 * PAIRS.1;
    let fact = |what: &str, paper: String, here: String, same: bool| Distance {
        what: what.into(),
        paper,
        here,
        same,
        brief: String::new(),
    };
    let mut facts = vec![Distance {
        brief: format!("{}, not {} matched by hand", counted(settings), thousands(of_paper)),
        ..fact(
            "Pairs",
            format!(
                "{} pairs ({} categories × {}) of ImageNet-1K, matched by hand",
                thousands(of_paper),
                PAIRS.0,
                PAIRS.1
            ),
            format!("{} from {}", counted(settings), source(settings)),
            // Only the records of its runs know what a list holds; they say whether it may be the paper's.
            !pairs.list.is_empty(),
        )
    }];
    if pairs.list.is_empty() {
        let (here, least) = (pairs.categories * pairs.per_category * epochs, of_paper * EPOCHS.0);
        let share = 100.0 * here as f64 / least as f64;
        let words = if share < 100.0 { format!(": {share:.1} % of the paper's least") } else { String::new() };
        let millions = |epochs: usize| (of_paper * epochs) as f64 / 1e6;
        facts.push(fact(
            "Pairs seen in training",
            format!("{:.1} to {:.1} million", millions(EPOCHS.0), millions(EPOCHS.1)),
            format!("{}{words}", thousands(here)),
            share >= 100.0,
        ));
    }
    facts.push(fact(
        "Second view of AP",
        "made by crop, rotation, flip and colour jitter, then transformed like the first".into(),
        "the first image again, transformed at random".into(),
        // More transformations of the same kind: no other experiment.
        true,
    ));
    let here = name(&settings.model.encoder);
    facts.push(Distance {
        brief: format!("encoder {here}, not ResNet-50"),
        ..fact("Encoder", "ResNet-50; ViT-S/8 with DINO".into(), encoder(settings), ENCODERS.contains(&here.as_str()))
    });
    let image = settings.model.image;
    facts.push(fact("Image size", format!("{IMAGE} × {IMAGE}"), format!("{image} × {image}"), image == IMAGE));
    let batch = settings.pretrain.batch;
    facts.push(Distance {
        brief: format!("{}, not {} to {}", length(settings), EPOCHS.0, EPOCHS.1),
        ..fact(
            "Epochs, batch",
            format!("{} to {} epochs, {BATCH}", EPOCHS.0, EPOCHS.1),
            format!("{}, {batch}", length(settings)),
            (EPOCHS.0..=EPOCHS.1).contains(&epochs) && batch == BATCH,
        )
    });
    facts.iter_mut().filter(|fact| fact.same).for_each(|fact| fact.brief.clear());
    facts
}

/// The id of the paper's column that a column is or stands for.
fn of_paper(column: &str) -> String {
    OnSet(column.into()).column().stands_for.unwrap_or_else(|| column.into())
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
