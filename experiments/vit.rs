//! Table `vit`: DINO on a vision transformer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each kind of pairs and seed; a transformer's step takes several of a small ResNet's.

use sempair::train::settings::Settings;
use sempair::train::sheet::{Evaluations, Line, Sheet, both_pairs, rows};

/// The paper's figures for DINO on a ViT, top-1 in percent: AP and SP by column.
const PAPER: [(&str, f64, f64); 3] = [("cifar-10", 81.1, 81.8), ("cifar-100", 64.5, 65.3), ("stl-10", 79.2, 82.1)];

/// The table.
pub const TABLE: Evaluations =
    Evaluations { id: "vit", title: "DINO on a vision transformer from augmented and from semantic pairs", sheet };

fn sheet(settings: &Settings) -> Sheet {
    let settings = settings.on_transformer();
    let both = both_pairs(&settings, None);
    let [ap, sp] = rows(&both);
    let mut lines = vec![Line::random(&settings)];
    lines.extend(both);
    let mut sheet = Sheet::new(&settings, &settings.evaluation.sets, lines);
    for (column, of_ap, of_sp) in PAPER {
        sheet.state(ap.clone(), column, Some(of_ap));
        sheet.state(sp.clone(), column, Some(of_sp));
    }
    sheet.claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with DINO on a ViT on {set}"));
    sheet
}
