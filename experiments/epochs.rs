//! Table `epochs`: SimCLR trained for longer, augmented pairs (AP) against semantic pairs (SP).
//!
//! Cost: one pretraining for each number of epochs, kind of pairs and seed. The shortest is that of `transfer`.

use sempair::error::Result;
use sempair::harness::experiment::{Axis, Family, Stated};
use sempair::methods::Name;
use sempair::study::encoder_table::{EncoderTable, Evaluations};
use sempair::study::line::{Line, both_pairs, rows};
use sempair::study::settings::{OwnSettings, Settings, some_above_zero};
use serde::Deserialize;

/// The paper's longest training in epochs, and its figures for it on STL-10, top-1 in percent: AP, SP and the gain.
const PAPER: (usize, &str, f64, f64, f64) = (800, "stl-10", 82.41, 86.56, 3.75);

/// The keys `epochs.*`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Lengths of training in epochs, in the order of the rows.
    values: Vec<usize>,
}

impl OwnSettings for Own {
    fn check(&self, id: &str, _: &Settings) -> Result<()> {
        some_above_zero(&format!("{id}.values"), &self.values)
    }
}

/// The table.
pub const TABLE: Evaluations<Own> = Evaluations { id: "epochs", title: "SimCLR by length of training", encoder_table };

fn encoder_table(settings: &Settings, Own { values }: &Own) -> EncoderTable {
    let simclr = settings.of(Name::Simclr);
    let mut lines = vec![Line::random(&simclr)];
    let mut lengths = Vec::new();
    for &epochs in values {
        let mut of_length = simclr.clone();
        of_length.pretrain.epochs = epochs;
        let both = both_pairs(&of_length, Some(("epochs", &format!("{epochs} epochs"))));
        lengths.push((epochs, rows(&both)));
        lines.extend(both);
    }
    let mut table = EncoderTable::new(&simclr, &settings.evaluation.sets, lines);
    settings.evaluation.sets.first().into_iter().for_each(|set| table.follow(set));
    table.about_rows = "The learning rate's schedule has the length of each training.".into();
    let steps = lengths.iter().map(|(epochs, _)| (format!("{epochs} epochs"), *epochs));
    table.axis = Some(Axis::counts("epochs", "epochs", steps.collect::<Vec<_>>()));
    if let Some((epochs, [ap, sp])) = lengths.into_iter().max_by_key(|length| length.0) {
        let (of_paper, column, of_ap, of_sp, gain) = PAPER;
        table.state(ap.clone(), column, Some(of_ap));
        table.state(sp.clone(), column, Some(of_sp));
        let family = Family::new("epochs", "Semantic pairs stay ahead in long training", "SimCLR, 800 epochs, STL-10");
        table
            .claim(&[sp], std::slice::from_ref(&ap), |set| {
                format!("Semantic pairs beat augmented pairs with SimCLR on {set} after {epochs} epochs")
            })
            .of(&family, &format!("{epochs} epochs"))
            .stated(|set| if set == column { Stated::Gain(gain) } else { Stated::Nothing });
        table.notes.push("The paper shows longer training only on STL-10; here the claim covers all sets.".into());
        table.notes.push(
            format!(
                "The paper's figures are for {of_paper} epochs. They are shown next to the longest training here, \
                 {epochs} epochs."
            )
            .into(),
        );
        let note = format!(
            "The paper's figures do not agree: {of_sp:.2} − {of_ap:.2} = {:+.2}, but the gain that it states is {gain:+.2}.",
            of_sp - of_ap
        );
        table.note_at(&ap, column, note);
    }
    table
}
