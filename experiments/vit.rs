//! Table `vit`: DINO on a vision transformer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each kind of pairs and seed. A step of a transformer takes as long as several steps of a
//! small ResNet.

use sempair::error::Result;
use sempair::harness::experiment::{Family, Stated};
use sempair::methods::Name;
use sempair::models::{Encoder, Stem};
use sempair::optim::Recipe;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings};
use serde::Deserialize;

/// The paper's figures for DINO on a ViT, top-1 in percent: AP and SP by column.
const PAPER: [(&str, f64, f64); 3] = [("cifar-10", 81.1, 81.8), ("cifar-100", 64.5, 65.3), ("stl-10", 79.2, 82.1)];

/// The keys `vit.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// The transformer.
    encoder: Encoder,
    /// Its stem.
    stem: Stem,
    /// The recipe that DINO trains it with.
    recipe: Recipe,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, settings: &Settings) -> Result<()> {
        self.recipe.validate(id)?;
        on_transformer(settings, self).model.check(id)
    }
}

/// The table.
pub const TABLE: Evaluations<Own> = Evaluations {
    id: "vit",
    title: "DINO on a vision transformer from augmented and from semantic pairs",
    encoder_table,
};

/// Returns the settings of DINO with the transformer as the encoder.
fn on_transformer(settings: &Settings, own: &Own) -> Settings {
    let mut settings = settings.of(Name::Dino);
    (settings.model.encoder, settings.model.stem) = (own.encoder, own.stem);
    settings.methods.dino.recipe = own.recipe.clone();
    settings
}

fn encoder_table(settings: &Settings, own: &Own) -> EncoderTable {
    let settings = on_transformer(settings, own);
    let both = both_pairs(&settings, None);
    let [ap, sp] = rows(&both);
    let mut lines = vec![Line::pixels(&settings), Line::random(&settings)];
    lines.extend(both);
    let mut table = EncoderTable::new(&settings, &settings.evaluation.sets, lines);
    for (column, of_ap, of_sp) in PAPER {
        table.state(ap.clone(), column, Some(of_ap));
        table.state(sp.clone(), column, Some(of_sp));
    }
    let family =
        Family::new("vit", "DINO on a ViT gains from semantic pairs", "+0.7 to +2.9 in its figures, three sets");
    table
        .claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with DINO on a ViT on {set}"))
        .of(&family, "DINO")
        .stated(|_| Stated::Sign);
    table
}
