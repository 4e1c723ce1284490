//! A table of encoders, with one line for each encoder and one column for each measurement, mostly the linear
//! evaluation on a set. The paper's tables share this form; each table defines its own lines and claims.

use std::sync::Arc;

use crate::data::pairs::PairKind;
use crate::error::Result;
use crate::harness::config::Group;
use crate::harness::experiment::{
    Axis, Cell, Claim, Column, Expected, Experiment, Family, Note, PaperFigure, Row, Stated, Table,
};

use super::columns::{Measure, Metric, OnSet, TOP1, merged};
use super::line::Line;
use super::settings::{OwnSettings, Settings};
use super::setup::Setup;
use super::stages::{Context, Representation};

/// The contents of one such table.
pub struct EncoderTable {
    /// The settings that the lines share, which the caption describes.
    pub settings: Settings,
    /// The rows.
    pub lines: Vec<Line>,
    /// The columns.
    pub measures: Vec<Arc<dyn Measure>>,
    /// The paper's figures.
    pub paper: Vec<PaperFigure>,
    /// The claims. The paper measures them, or, where [`EncoderTable::in_paper`] is false, only argues them.
    pub claims: Vec<Claim>,
    /// The caption's sentence about the columns. If it is empty, the caption says that they are accuracies.
    pub about_columns: String,
    /// The first note, about the rows.
    pub about_rows: String,
    /// What varies between seeds besides the pretraining. If it is empty, the caption names the probe's held-out part.
    pub varies: String,
    /// Whether the table stays empty if none of its sets is there. For other tables, this is an error.
    pub may_lack_data: bool,
    /// Notes that a reader must know.
    pub notes: Vec<Note>,
    /// The order of the rows, along which figures draw lines.
    pub axis: Option<Axis>,
    /// Whether the paper measures the claims, and does not only argue them.
    pub in_paper: bool,
}

/// Claims that were just added, one for each column. Its methods add details to all of them.
pub struct Cases<'a>(&'a mut [Claim]);

impl Cases<'_> {
    fn each(self, change: impl FnMut(&mut Claim)) -> Self {
        self.0.iter_mut().for_each(change);
        self
    }

    /// Makes the claims a case of a statement; the case is empty where the statement has only one.
    pub fn of(self, family: &Family, case: &str) -> Self {
        self.each(|claim| (claim.family, claim.case) = (family.clone(), case.into()))
    }

    /// Sets what the paper states about the size of the contrast on each of its columns.
    pub fn stated(self, of: impl Fn(&str) -> Stated) -> Self {
        self.each(|claim| claim.stated = of(&of_paper(&claim.column)))
    }

    /// Claims that the contrast is at most `margin` in either direction.
    pub fn within(self, margin: f64) -> Self {
        self.each(|claim| claim.expected = Expected::Within(margin))
    }

    /// Marks the claims as not measured by the paper.
    pub fn ours(self) -> Self {
        self.each(|claim| claim.in_paper = false)
    }
}

impl EncoderTable {
    /// A table of these lines on these evaluation sets, without claims.
    pub fn new(settings: &Settings, sets: &[String], lines: Vec<Line>) -> Self {
        Self {
            settings: settings.clone(),
            lines,
            measures: sets.iter().map(|set| Arc::new(OnSet::new(set)) as Arc<dyn Measure>).collect(),
            paper: Vec::new(),
            claims: Vec::new(),
            about_columns: String::new(),
            about_rows: String::new(),
            varies: String::new(),
            may_lack_data: false,
            notes: Vec::new(),
            axis: None,
            in_paper: true,
        }
    }

    /// Adds a column.
    pub fn measure(&mut self, measure: impl Measure + 'static) {
        self.measures.push(Arc::new(measure));
    }

    /// Records the linear accuracy on an evaluation set also during each training, not only at its end.
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

    /// Adds one claim for each column that has the metric.
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

    /// Adds one claim about the accuracy for each evaluation set. Sets that the paper has figures for and that the
    /// settings leave out are included, so [`EncoderTable::state`] must be called first.
    pub fn claim(&mut self, plus: &[Row], minus: &[Row], text: impl Fn(&str) -> String) -> Cases<'_> {
        self.claim_of(TOP1, plus, minus, text)
    }

    /// Adds the paper's figure for a row on one of its columns: top-1 in percent, or `None` where the paper leaves it
    /// out. `column` is empty where the paper does not name the set.
    pub fn state(&mut self, row: Row, column: &str, value: Option<f64>) {
        self.paper.push(PaperFigure { row, column: column.into(), metric: TOP1.id.into(), value });
    }

    /// Adds a note about the paper's figure for a row on one of its columns.
    pub fn note_at(&mut self, row: &Row, column: &str, text: String) {
        self.notes.push(Note { text, at: Some((row.clone(), column.into())) });
    }

    /// The sets that the paper has figures for and that the settings leave out, in the paper's order. Neither these
    /// sets nor stand-ins for them are among the columns.
    fn unasked(&self) -> Vec<Column> {
        let asked: Vec<Column> = self.measures.iter().map(|measure| measure.column()).collect();
        let mut unasked: Vec<Column> = Vec::new();
        for figure in self.paper.iter().filter(|figure| figure.metric == TOP1.id && !figure.column.is_empty()) {
            let is_theirs = |column: &Column| column.stands_for.as_deref().unwrap_or(&column.id) == figure.column;
            if !asked.iter().chain(&unasked).any(is_theirs) {
                unasked.push(column(&OnSet::new(&figure.column)));
            }
        }
        unasked
    }

    fn table(self, id: &str, title: &str) -> Table {
        let rows = |baseline: bool| self.lines.iter().filter(move |line| line.baseline == baseline);
        let listed = |baseline: bool| rows(baseline).map(|line| line.row.clone()).collect::<Vec<Row>>();
        let neighbours = Representation::Pretrained(PairKind::Neighbours);
        let found = if self.lines.iter().any(|line| line.what == neighbours) {
            "; nearest neighbours are found by each seed's own encoder, all other pairs"
        } else {
            "; the pairs"
        };
        let unasked = self.unasked();
        let mut columns: Vec<Column> = self.measures.iter().map(|measure| column(measure.as_ref())).collect();
        // After the other evaluation sets.
        let sets = self.measures.iter().take_while(|measure| measure.set().is_some()).count();
        let unasked_ids = unasked.iter().map(|column| column.id.clone()).collect();
        columns.splice(sets..sets, unasked);
        let distance = self.setup().distance();
        let about_rows = (!self.about_rows.is_empty()).then(|| Note::from(self.about_rows.as_str()));
        Table {
            id: id.into(),
            title: title.into(),
            caption: self.caption(),
            setting: self.setup().sentence(),
            rows: listed(false),
            baselines: listed(true),
            in_paper: self.in_paper,
            columns,
            unasked: unasked_ids,
            metrics: merged(&self.measures).iter().map(Metric::info).collect(),
            claims: self.claims.iter().map(|claim| self.whole(claim, id, title)).collect(),
            notes: about_rows.into_iter().chain(self.notes).collect(),
            varies: format!(
                "initialisation, order of the pairs, augmentation, and {}{found} and the evaluation sets are the same",
                if self.varies.is_empty() { "the part held out to choose the probe's penalty" } else { &self.varies }
            ),
            axis: self.axis,
            distance,
            paper: self.paper,
            // Only the run records know whether a list may be the paper's.
            substitute: self.settings.pairs.list.is_empty(),
        }
    }

    /// The claim with its statement filled in: where it names none, the table's own statement.
    fn whole(&self, claim: &Claim, id: &str, title: &str) -> Claim {
        let own = || Family::new(id, title, "");
        let family = if claim.family.id.is_empty() { own() } else { claim.family.clone() };
        Claim { family, in_paper: claim.in_paper && self.in_paper, ..claim.clone() }
    }

    /// The cells of every line, column and seed for which there are data.
    fn cells(&self) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty, and the report says so. The sets
        // of the pairs are required.
        let context = Context::new(&self.settings)?;
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
            if self.may_lack_data {
                return Ok(Vec::new());
            }
            catalog.set(missing)?;
        }
        let mut cells = Vec::new();
        for line in &self.lines {
            // A line may have its own world.
            let own = (line.settings.world != self.settings.world).then(|| Context::new(&line.settings)).transpose()?;
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

    /// How the rows were trained.
    fn setup(&self) -> Setup<'_> {
        let trained = self.lines.iter().filter(|line| !line.baseline);
        Setup::new(&self.settings, trained.map(|line| line.settings.method))
    }
}

/// The id of the paper's column that a column is or stands for.
fn of_paper(column: &str) -> String {
    OnSet::new(column).column().stands_for.unwrap_or_else(|| column.into())
}

/// A table that is such an encoder table. `T` is the type of the table's own settings.
pub struct Evaluations<T = ()> {
    /// The table's id on the command line.
    pub id: &'static str,
    /// One line for lists.
    pub title: &'static str,
    /// Makes the encoder_table from the settings.
    pub encoder_table: fn(&Settings, &T) -> EncoderTable,
}

impl<T: OwnSettings> Evaluations<T> {
    fn filled(&self, settings: &Settings) -> Result<EncoderTable> {
        Ok((self.encoder_table)(settings, &T::of(self.id, settings)?))
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
