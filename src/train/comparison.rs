//! A table of augmented pairs (AP) against semantic pairs (SP) by linear evaluation: what several tables have in common.

use serde::Serialize;

use crate::data::catalog::SYNTH;
use crate::data::pairs::Kind;
use crate::data::world;
use crate::error::{Error, Result};
use crate::harness::experiment::{Cell, Claim, Column, MetricInfo, Outcome, PaperFigure, Row, Table};
use crate::harness::lab::Lab;
use crate::methods::Name;

use super::settings::Settings;
use super::stages::{self, Representation};

/// The paper's columns, and the embedded stand-in of each.
const COLUMNS: [(&str, &str, &str); 3] =
    [("cifar-10", "CIFAR-10", "synth-10"), ("cifar-100", "CIFAR-100", "synth-100"), ("stl-10", "STL-10", "synth-stl")];

/// What the paper states of a method on a set, top-1 in percent.
#[derive(Clone, Copy, Debug)]
pub struct Stated {
    /// The method.
    pub method: Name,
    /// The paper's column id.
    pub column: &'static str,
    /// With augmented pairs.
    pub ap: Option<f64>,
    /// With semantic pairs.
    pub sp: Option<f64>,
}

/// What sets one such table apart.
pub struct Comparison<'a> {
    /// The table's id.
    pub id: &'static str,
    /// The table's title.
    pub title: &'static str,
    /// Settings of every row, but for the method.
    pub settings: Settings,
    /// Methods, in the order of the rows.
    pub methods: &'a [Name],
    /// The paper's figures.
    pub stated: &'a [Stated],
    /// Whether raw pixels are a row, beside the untrained encoder.
    pub pixels: bool,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A row: what is evaluated, and of which method where it was pretrained.
type Source = (Representation, Option<Name>);

impl Comparison<'_> {
    /// The table as these settings fill it.
    pub fn table(&self) -> Table {
        let columns: Vec<Column> = self.settings.evaluation.sets.iter().map(|set| column(set)).collect();
        let sources = self.sources();
        let baselines = sources.iter().filter(|(_, method)| method.is_none()).map(|&source| row(source)).collect();
        let claims = self.methods.iter().flat_map(|&method| columns.iter().map(move |column| claim(column, method)));
        Table {
            id: self.id.into(),
            title: self.title.into(),
            caption: self.caption(),
            rows: sources.into_iter().map(row).collect(),
            baselines,
            metrics: vec![metric("top1", "linear"), metric("knn", "k-NN")],
            paper: self.stated.iter().filter(|of| self.methods.contains(&of.method)).flat_map(figures).collect(),
            claims: claims.collect(),
            columns: columns.clone(),
            notes: self.notes.clone(),
            varies: "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                     penalty; the pairs and the evaluation sets are the same"
                .into(),
        }
    }

    /// Every row, column and seed for which there are data.
    ///
    /// # Errors
    /// When the pairs' set or every evaluation set is missing.
    pub fn cells(&self) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty; the report says so. The pairs' set is needed.
        let catalog = self.settings.catalog();
        catalog.pairs_identity(&self.settings.pairs)?;
        let mut there = Vec::new();
        for set in &self.settings.evaluation.sets {
            if catalog.contains(set)? {
                there.push(set);
            }
        }
        if let ([], Some(missing)) = (&there[..], self.settings.evaluation.sets.first()) {
            catalog.identity(missing)?;
        }
        let mut cells = Vec::new();
        for (what, method) in self.sources() {
            let settings = self.of(method);
            // Raw pixels do not depend on the seed.
            for seed in 0..if what == Representation::Pixels { 1 } else { settings.seeds } {
                for set in &there {
                    let inputs = stages::inputs(&settings, what, set, seed)?;
                    cells.push(Cell { row: row((what, method)), column: (*set).clone(), seed, inputs });
                }
            }
        }
        Ok(cells)
    }

    /// Runs one of the cells.
    ///
    /// # Errors
    /// Missing data, a training that fails, or the user's wish to stop.
    pub fn run(&self, cell: &Cell, lab: &mut Lab) -> Result<Outcome> {
        let source = self.sources().into_iter().find(|&source| row(source) == cell.row);
        let (what, method) =
            source.ok_or_else(|| Error::new(format!("table {} has no row {:?}", self.id, cell.row)))?;
        stages::evaluate(&self.of(method), what, &cell.column, cell.seed, lab)
    }

    fn of(&self, method: Option<Name>) -> Settings {
        let settings = self.settings.clone();
        Settings { method: method.unwrap_or(settings.method), ..settings }
    }

    fn sources(&self) -> Vec<Source> {
        let mut sources = vec![(Representation::Random, None)];
        if self.pixels {
            sources.insert(0, (Representation::Pixels, None));
        }
        for &method in self.methods {
            for kind in [Kind::Augmented, Kind::Semantic] {
                sources.push((Representation::Pretrained(kind), Some(method)));
            }
        }
        sources
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
        format!(
            "Top-1 accuracy in percent of a linear probe and of {}-NN on frozen features. Pretraining: {} epochs on {} \
             pairs ({} categories, {} each) from {source}; SP pairs two images of one category, AP the first image of \
             each such pair with itself. Encoder {} with stem {} at {}x{} pixels. The paper trains for 200 to 800 \
             epochs on 29,359 pairs.",
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

fn row((what, method): Source) -> Row {
    let (method, pairs) = match (what, method) {
        (Representation::Pixels, _) => ("raw pixels", "none"),
        (Representation::Random, _) => ("random initialisation", "none"),
        (Representation::Pretrained(kind), method) => {
            (method.map_or("", Name::title), if kind == Kind::Augmented { "AP" } else { "SP" })
        }
    };
    vec![("method".into(), method.into()), ("pairs".into(), pairs.into())]
}

/// A pretrained row.
fn trained(method: Name, kind: Kind) -> Row {
    row((Representation::Pretrained(kind), Some(method)))
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
    }
}

fn metric(id: &str, title: &str) -> MetricInfo {
    MetricInfo { id: id.into(), title: title.into(), unit: "%".into() }
}

fn figures(stated: &Stated) -> [PaperFigure; 2] {
    [(Kind::Augmented, stated.ap), (Kind::Semantic, stated.sp)].map(|(kind, value)| PaperFigure {
        row: trained(stated.method, kind),
        column: stated.column.into(),
        metric: "top1".into(),
        value,
    })
}

fn claim(column: &Column, method: Name) -> Claim {
    Claim {
        text: format!("Semantic pairs beat augmented pairs with {} on {}", method.title(), column.title),
        column: column.id.clone(),
        metric: "top1".into(),
        better: trained(method, Kind::Semantic),
        worse: trained(method, Kind::Augmented),
        margin: 0.0,
    }
}

/// A setting as the configuration writes it.
fn name(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
