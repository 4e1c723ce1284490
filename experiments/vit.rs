//! Table `vit`: DINO on a vision transformer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each kind of pairs and seed; a transformer's step takes several of a small ResNet's.

use sempair::error::Result;
use sempair::harness::experiment::{Cell, Experiment, Outcome, Table};
use sempair::harness::lab::Lab;
use sempair::methods::Name;
use sempair::train::comparison::{Comparison, Stated};
use sempair::train::settings::Settings;

/// The table.
pub struct VisionTransformer;

/// The paper's figures for DINO on a ViT, top-1 in percent: AP and SP by column.
const PAPER: [(&str, f64, f64); 3] = [("cifar-10", 81.1, 81.8), ("cifar-100", 64.5, 65.3), ("stl-10", 79.2, 82.1)];

impl Experiment<Settings> for VisionTransformer {
    fn id(&self) -> &'static str {
        "vit"
    }

    fn title(&self) -> &'static str {
        "DINO on a vision transformer from augmented and from semantic pairs"
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
    let stated = PAPER.map(|(column, ap, sp)| Stated { method: Name::Dino, column, ap: Some(ap), sp: Some(sp) });
    then(&Comparison {
        id: VisionTransformer.id(),
        title: VisionTransformer.title(),
        settings: settings.on_transformer(),
        methods: &[Name::Dino],
        stated: &stated,
        pixels: false,
        notes: Vec::new(),
    })
}
