//! Table `vit`: DINO on a vision transformer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each kind of pairs and seed; a transformer's step takes several of a small ResNet's.

use sempair::data::pairs::Kind;
use sempair::methods::Name;
use sempair::train::settings::Settings;
use sempair::train::sheet::{Evaluations, Line, Sheet, both_pairs, trained};

/// The table.
pub struct VisionTransformer;

/// The paper's figures for DINO on a ViT, top-1 in percent: AP and SP by column.
const PAPER: [(&str, f64, f64); 3] = [("cifar-10", 81.1, 81.8), ("cifar-100", 64.5, 65.3), ("stl-10", 79.2, 82.1)];

impl Evaluations for VisionTransformer {
    fn id(&self) -> &'static str {
        "vit"
    }

    fn title(&self) -> &'static str {
        "DINO on a vision transformer from augmented and from semantic pairs"
    }

    fn sheet(&self, settings: &Settings) -> Sheet {
        let settings = settings.on_transformer();
        let [augmented, semantic] = both_pairs(&settings, None);
        let mut sheet = Sheet::new(&settings, vec![Line::random(&settings), augmented, semantic]);
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| trained(Name::Dino, kind));
        for (column, of_ap, of_sp) in PAPER {
            sheet.state(ap.clone(), column, Some(of_ap));
            sheet.state(sp.clone(), column, Some(of_sp));
        }
        sheet.claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with DINO on a ViT on {set}"));
        sheet
    }
}
