//! Table `transfer`: linear evaluation of frozen features on sets that pretraining never saw, augmented pairs (AP)
//! against semantic pairs (SP).
//!
//! Cost: one pretraining for each kind of pairs and seed, shared by all sets; the probes take seconds.

use sempair::data::catalog::SYNTH;
use sempair::data::pairs::Kind;
use sempair::data::world;
use sempair::error::{Error, Result};
use sempair::harness::experiment::{Cell, Claim, Column, Experiment, MetricInfo, Outcome, PaperFigure, Row, Table};
use sempair::harness::lab::Lab;
use sempair::train::settings::Settings;
use sempair::train::stages::{self, Representation};

/// The table.
pub struct Transfer;

/// The paper's columns, and the embedded stand-in of each.
const COLUMNS: [(&str, &str, &str); 3] =
    [("cifar-10", "CIFAR-10", "synth-10"), ("cifar-100", "CIFAR-100", "synth-100"), ("stl-10", "STL-10", "synth-stl")];

/// The paper's figures for SimCLR, top-1 in percent: AP, SP and the gain that it states, by column.
const PAPER: [(&str, Option<f64>, Option<f64>, f64); 3] = [
    ("cifar-10", Some(81.76), Some(83.60), 0.8),
    ("cifar-100", None, Some(59.58), 0.9),
    ("stl-10", Some(81.76), Some(85.59), 3.8),
];

/// What each row evaluates. Raw pixels do not depend on the seed.
const ROWS: [Representation; 4] = [
    Representation::Pixels,
    Representation::Random,
    Representation::Pretrained(Kind::Augmented),
    Representation::Pretrained(Kind::Semantic),
];

impl Experiment<Settings> for Transfer {
    fn id(&self) -> &'static str {
        "transfer"
    }

    fn title(&self) -> &'static str {
        "Linear evaluation of features from augmented and from semantic pairs"
    }

    fn table(&self, settings: &Settings) -> Table {
        let row = |what| row(settings, what);
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| row(Representation::Pretrained(kind)));
        let columns: Vec<Column> = settings.transfer.sets.iter().map(|set| column(set)).collect();
        Table {
            id: self.id().into(),
            title: self.title().into(),
            caption: caption(settings),
            rows: ROWS.map(row).into(),
            baselines: vec![row(Representation::Pixels), row(Representation::Random)],
            metrics: vec![metric("top1", "linear"), metric("knn", "k-NN")],
            paper: paper(&ap, &sp),
            claims: columns.iter().map(|column| claim(column, &ap, &sp)).collect(),
            columns,
            notes: notes(),
            varies: "initialisation, order of the pairs, augmentation, and the part held out to choose the probe's \
                     penalty; the pairs and the evaluation sets are the same"
                .into(),
        }
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        // A set that is not imported leaves its column empty; the report says so. The pairs' set is needed.
        let catalog = settings.catalog();
        catalog.pairs_identity(&settings.pairs)?;
        let mut there = Vec::new();
        for set in &settings.transfer.sets {
            if catalog.contains(set)? {
                there.push(set);
            }
        }
        if let ([], Some(missing)) = (&there[..], settings.transfer.sets.first()) {
            catalog.identity(missing)?;
        }
        let mut cells = Vec::new();
        for what in ROWS {
            for seed in 0..if what == Representation::Pixels { 1 } else { settings.seeds } {
                for set in &there {
                    let inputs = stages::inputs(settings, what, set, seed)?;
                    cells.push(Cell { row: row(settings, what), column: (*set).clone(), seed, inputs });
                }
            }
        }
        Ok(cells)
    }

    fn run(&self, cell: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        let what = ROWS.into_iter().find(|&what| row(settings, what) == cell.row);
        let what = what.ok_or_else(|| Error::new(format!("table transfer has no row {:?}", cell.row)))?;
        stages::evaluate(settings, what, &cell.column, cell.seed, lab)
    }
}

fn row(settings: &Settings, what: Representation) -> Row {
    let (method, pairs) = match what {
        Representation::Pixels => ("raw pixels", "none"),
        Representation::Random => ("random initialisation", "none"),
        Representation::Pretrained(Kind::Augmented) => (settings.method.title(), "AP"),
        Representation::Pretrained(Kind::Semantic) => (settings.method.title(), "SP"),
    };
    vec![("method".into(), method.into()), ("pairs".into(), pairs.into())]
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

fn paper(ap: &Row, sp: &Row) -> Vec<PaperFigure> {
    let figure = |row: &Row, column: &str, value| PaperFigure {
        row: row.clone(),
        column: column.into(),
        metric: "top1".into(),
        value,
    };
    PAPER.iter().flat_map(|(column, a, s, _)| [figure(ap, column, *a), figure(sp, column, *s)]).collect()
}

fn claim(column: &Column, ap: &Row, sp: &Row) -> Claim {
    Claim {
        text: format!("Semantic pairs beat augmented pairs with {} on {}", sp[0].1, column.title),
        column: column.id.clone(),
        metric: "top1".into(),
        better: sp.clone(),
        worse: ap.clone(),
        margin: 0.0,
    }
}

/// Where the paper's figures contradict each other, and what it leaves out.
fn notes() -> Vec<String> {
    let mut notes = Vec::new();
    for (column, ap, sp, gain) in PAPER {
        let title = COLUMNS.iter().find(|(id, ..)| *id == column).map_or(column, |(_, title, _)| title);
        match (ap, sp) {
            (Some(ap), Some(sp)) if (sp - ap - gain).abs() > 0.051 => notes.push(format!(
                "The paper's figures for {title} do not agree: {sp:.2} - {ap:.2} = {:+.2}, but the gain that it states \
                 is {gain:+.1}. The same {ap:.2} stands for STL-10, where it does match the stated gain, so here it may \
                 be a slip ({sp:.2} - {gain:.1} would be {:.1}).",
                sp - ap,
                sp - gain
            )),
            (None, _) => notes.push(format!(
                "The paper does not state AP on {title}; it states a gain of {gain:+.1} there."
            )),
            _ => {}
        }
    }
    notes
}

fn caption(settings: &Settings) -> String {
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
         pairs ({} categories, {} each) from {source}; SP pairs two images of one category, AP the first image of each \
         such pair with itself. Encoder {} with stem {} at {}x{} pixels. The paper trains ResNet-50 for 200 to 800 \
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

/// A setting as the configuration writes it.
fn name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(String::from)).unwrap_or_default()
}
