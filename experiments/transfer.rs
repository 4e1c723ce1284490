//! Table `transfer`: linear evaluation of frozen features on sets that pretraining never saw, augmented pairs (AP)
//! against semantic pairs (SP), method by method.
//!
//! Cost: one pretraining for each method, kind of pairs and seed, shared by all sets; the probes take seconds.

use sempair::error::Result;
use sempair::harness::experiment::{Cell, Experiment, Outcome, Table};
use sempair::harness::lab::Lab;
use sempair::methods::Name;
use sempair::train::comparison::{Comparison, Stated, column_title};
use sempair::train::settings::Settings;

/// The table.
pub struct Transfer;

/// The paper's figures for SimCLR, top-1 in percent: AP, SP and the gain that it states, by column. It states none for
/// VICReg and BYOL, only that SP beats AP on every set; DINO's are of a ViT and stand in the table `vit`.
const PAPER: [(&str, Option<f64>, Option<f64>, f64); 3] = [
    ("cifar-10", Some(81.76), Some(83.60), 0.8),
    ("cifar-100", None, Some(59.58), 0.9),
    ("stl-10", Some(81.76), Some(85.59), 3.8),
];

impl Experiment<Settings> for Transfer {
    fn id(&self) -> &'static str {
        "transfer"
    }

    fn title(&self) -> &'static str {
        "Linear evaluation of features from augmented and from semantic pairs"
    }

    fn table(&self, settings: &Settings) -> Table {
        comparison(settings, |of| of.table())
    }

    fn cells(&self, settings: &Settings) -> Result<Vec<Cell>> {
        comparison(settings, |of| of.cells())
    }

    fn run(&self, cell: &Cell, settings: &Settings, lab: &mut Lab) -> Result<Outcome> {
        comparison(settings, |of| of.run(cell, lab))
    }
}

fn comparison<T>(settings: &Settings, then: impl FnOnce(&Comparison<'_>) -> T) -> T {
    let stated = PAPER.map(|(column, ap, sp, _)| Stated { method: Name::Simclr, column, ap, sp });
    then(&Comparison {
        id: Transfer.id(),
        title: Transfer.title(),
        settings: settings.clone(),
        methods: &settings.transfer.methods,
        stated: &stated,
        pixels: true,
        notes: notes(),
    })
}

/// Where the paper's figures contradict each other, and what it leaves out.
fn notes() -> Vec<String> {
    let mut notes = Vec::new();
    for (column, ap, sp, gain) in PAPER {
        let title = column_title(column);
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
