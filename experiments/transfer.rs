//! Table `transfer`: linear evaluation of frozen features on sets that pretraining never saw, augmented pairs (AP)
//! against semantic pairs (SP), method by method.
//!
//! Cost: one pretraining for each method, kind of pairs and seed, shared by all sets; the probes take seconds.

use sempair::data::pairs::Kind;
use sempair::methods::Name;
use sempair::train::settings::Settings;
use sempair::train::sheet::{Evaluations, Line, Sheet, both_pairs, column_title, trained};

/// The paper's figures for SimCLR, top-1 in percent: AP, SP and the gain that it states, by column. It states none for
/// VICReg and BYOL, only that SP beats AP on every set; DINO's are of a ViT and stand in the table `vit`.
const PAPER: [(&str, Option<f64>, Option<f64>, f64); 3] = [
    ("cifar-10", Some(81.76), Some(83.60), 0.8),
    ("cifar-100", None, Some(59.58), 0.9),
    ("stl-10", Some(81.76), Some(85.59), 3.8),
];

/// The table.
pub const TABLE: Evaluations = Evaluations {
    id: "transfer",
    title: "Linear evaluation of features from augmented and from semantic pairs",
    sheet,
};

fn sheet(settings: &Settings) -> Sheet {
    let mut lines = vec![Line::pixels(settings), Line::random(settings)];
    lines.extend(settings.transfer.methods.iter().flat_map(|&method| both_pairs(&settings.of(method), None)));
    let mut sheet = Sheet::new(settings, &settings.evaluation.sets, lines);
    for (column, ap, sp, _) in PAPER {
        sheet.state(trained(Name::Simclr, Kind::Augmented), column, ap);
        sheet.state(trained(Name::Simclr, Kind::Semantic), column, sp);
    }
    for &method in &settings.transfer.methods {
        let [ap, sp] = [Kind::Augmented, Kind::Semantic].map(|kind| trained(method, kind));
        sheet
            .claim(&[sp], &[ap], |set| format!("Semantic pairs beat augmented pairs with {} on {set}", method.title()));
    }
    sheet.notes = notes();
    sheet
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
