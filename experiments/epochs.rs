//! Table `epochs`: SimCLR trained for longer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each number of epochs, kind of pairs and seed; the shortest is that of `transfer`.

use sempair::methods::Name;
use sempair::train::settings::Settings;
use sempair::train::sheet::{Evaluations, Line, Sheet, both_pairs, rows};

/// The paper's longest training, and what it states there on STL-10, top-1 in percent: AP, SP and the gain.
const PAPER: (usize, &str, f64, f64, f64) = (800, "stl-10", 82.41, 86.56, 3.75);

/// The table.
pub const TABLE: Evaluations = Evaluations { id: "epochs", title: "SimCLR by length of training", sheet };

fn sheet(settings: &Settings) -> Sheet {
    let simclr = settings.of(Name::Simclr);
    let mut lines = vec![Line::random(&simclr)];
    let mut lengths = Vec::new();
    for &epochs in &settings.epochs.values {
        let mut of_length = simclr.clone();
        of_length.pretrain.epochs = epochs;
        let both = both_pairs(&of_length, Some(("epochs", &format!("{epochs} epochs"))));
        lengths.push((epochs, rows(&both)));
        lines.extend(both);
    }
    let mut sheet = Sheet::new(&simclr, &settings.evaluation.sets, lines);
    sheet.about_rows = "The learning rate's course has the length of each training.".into();
    if let Some((epochs, [ap, sp])) = lengths.into_iter().max_by_key(|length| length.0) {
        let (of_paper, column, of_ap, of_sp, gain) = PAPER;
        sheet.state(ap.clone(), column, Some(of_ap));
        sheet.state(sp.clone(), column, Some(of_sp));
        sheet.claim(&[sp], &[ap], |set| {
            format!("Semantic pairs beat augmented pairs with SimCLR on {set} after {epochs} epochs")
        });
        sheet.notes.push("The paper trains for longer on STL-10 alone; here the same is claimed of every set.".into());
        sheet.notes.push(format!(
            "The paper's figures are of {of_paper} epochs; they stand beside the longest training here, {epochs} epochs."
        ));
        sheet.notes.push(format!(
            "They do not agree with each other: {of_sp:.2} - {of_ap:.2} = {:+.2}, but the gain that the paper states is \
             {gain:+.2}.",
            of_sp - of_ap
        ));
    }
    sheet
}
